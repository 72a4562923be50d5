"""The table of stop strings, against a search in plain Python."""

import dataclasses

from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st
import numpy as np
import pytest

from score_jax.rollout import automaton
from score_jax.text import token_bytes

WHERE = 'config.task.stop_strings'


def search(text: bytes, strings) -> tuple[int, int] | None:
  """Return first byte and end of the first string to end, the longest of such.
  """
  for end in range(1, len(text) + 1):
    found = [s for s in strings if text[:end].endswith(s)]
    if found:
      return end - max(map(len, found)), end
  return None


def walk(table, start, ids) -> tuple[int, int]:
  """Return how many tokens are read and the number after the last of them."""
  state = start
  for n, token in enumerate(ids):
    state = int(table.next_SV[state, token])
    if state < 0:
      return n + 1, state
  return len(ids), state


def check(vocabulary, sets, ids, which):
  """Compare one walk through the table with a search in the decoded text."""
  table = automaton.compile_table(sets, vocabulary, WHERE)
  read, state = walk(table, table.starts[which], ids)
  strings = [text.encode() for text in sets[which]]
  text = vocabulary.joined(ids[:read])
  found = search(vocabulary.joined(ids), strings)
  if found is None:
    assert (read, state >= 0) == (len(ids), True)
  else:
    first, end = found
    assert state == first - len(text)  # Bytes from the first one to the end.
    # It is the token with the last byte that ends the row, and no other.
    assert len(vocabulary.joined(ids[: read - 1])) < end <= len(text)


# Few letters, so that strings overlap; some bytes are no UTF-8 of their own.
_LETTERS = st.sampled_from(['a', 'b', ' ', '\n', 'é', '世'])
_TEXTS = st.lists(st.text(_LETTERS, min_size=1, max_size=4), max_size=4)
_TOKENS = st.one_of(
    st.text(_LETTERS, max_size=4).map(str.encode),
    st.binary(max_size=2), st.sampled_from([b'\xc3', b'\xa9', b'\xe4', b' ']))


@st.composite
def _vocabularies(draw):
  later = draw(st.lists(_TOKENS, min_size=1, max_size=12))
  kind = draw(st.sampled_from(['same', 'once', 'repeats']))
  first = later if kind == 'same' else [t.removeprefix(b' ') for t in later]
  return token_bytes.TokenBytes(later, first, kind == 'repeats')


@settings(max_examples=500, deadline=None)
@given(vocabulary=_vocabularies(), data=st.data(),
       sets=st.lists(_TEXTS, min_size=1, max_size=3))
def test_the_first_stop_string_is_found_however_a_text_is_cut_into_tokens(
    vocabulary, data, sets):
  ids = data.draw(st.lists(
      st.integers(0, len(vocabulary.later) - 1), max_size=12))
  check(vocabulary, sets, ids, data.draw(st.integers(0, len(sets) - 1)))


@pytest.mark.parametrize('strings,text,cut', [
    (['\ndef '], 'x\n\ndef f', 'x\n'),
    (['abcd', 'bc'], 'xabcd', 'xa'),  # The one that ends first.
    (['abc', 'bc'], 'xabc', 'x'),  # Of two that end there the longer one.
    (['aab'], 'aaab', 'a'),  # A partial match that continues in another.
    (['Pro:'], 'Pr Pro:', 'Pr '),
    (['[D]', '\n#'], '[D[D]', '[D'),
    (['é'], 'e\u0301é', 'e\u0301'), (['世界'], '世世界', '世'),
    (['a'], 'a', ''), (['ab'], 'a', None), ([], 'abc', None)])
def test_every_way_to_cut_a_text_gives_one_result(strings, text, cut):
  data = text.encode()
  for mask in range(2 ** (len(data) - 1)):
    ends = [n + 1 for n in range(len(data) - 1) if mask >> n & 1]
    tokens = [data[a:b] for a, b in zip([0, *ends], [*ends, len(data)])]
    vocabulary = token_bytes.TokenBytes([*tokens, b''], [*tokens, b''])
    table = automaton.compile_table([strings], vocabulary, WHERE)
    read, state = walk(table, table.starts[0], range(len(tokens)))
    there = b''.join(tokens[:read])
    assert (None if state >= 0 else there[:state].decode()) == cut


def test_a_special_token_neither_ends_nor_breaks_a_stop_string():
  # It has no bytes, as it has none in the decoded text.
  vocabulary = token_bytes.TokenBytes([b'', b'\n', b'#', b' #'],
                                      [b'', b'\n', b'#', b'#'])
  for ids in ([1, 0, 2], [0, 1, 2], [0, 0, 1, 0, 0, 2]):
    check(vocabulary, [['\n#']], ids, 0)
  # At the start the space is gone, also behind special tokens.
  table = automaton.compile_table([['#']], vocabulary, WHERE)
  assert walk(table, table.starts[0], [0, 3]) == (2, -1)
  table = automaton.compile_table([[' #']], vocabulary, WHERE)
  assert walk(table, table.starts[0], [0, 3])[1] >= 0
  assert walk(table, table.starts[0], [3, 0, 3]) == (3, -2)


def test_the_table_is_small_and_says_how_large_it_may_be(monkeypatch):
  vocabulary = token_bytes.TokenBytes([b'a', b'bc'], [b'a', b'bc'])
  table = automaton.compile_table([['abc', 'abd'], ['x']], vocabulary, WHERE)
  # A state for each beginning: '', a, ab, abc, abd; and '', x.
  assert table.next_SV.shape == (7, 2) and table.next_SV.dtype == np.int16
  assert table.size_V.tolist() == [1, 2] and table.starts == (0, 5)
  monkeypatch.setattr(automaton, 'MOST', 12)
  with pytest.raises(ValueError) as error:
    automaton.compile_table([['abc', 'abd'], ['x']], vocabulary, WHERE)
  assert str(error.value).startswith(WHERE) and '\n' not in str(error.value)
  assert '7 states x 2 tokens; at most 6 states' in str(error.value)
  large = dataclasses.replace(
      vocabulary, later=[b'a'] * 300_000, first=[b'a'] * 300_000)
  monkeypatch.setattr(automaton, 'MOST', 2**26)
  with pytest.raises(ValueError, match="227 states x 300,000 tokens"):
    automaton.compile_table([[f'{n:03}' * 10 for n in range(8)]], large, WHERE)


@pytest.mark.parametrize('text,says', [
    ('', "'' has 0 bytes"), ('x' * 257, "'xxxxxxxxxxxxxxxxxxxx' has 257 bytes"),
    ('é' * 200, 'has 400 bytes'), ('\ud800', 'not valid Unicode')])
def test_a_bad_string_is_named(text, says):
  vocabulary = token_bytes.TokenBytes([b'a'], [b'a'])
  with pytest.raises(ValueError, match=says) as error:
    automaton.compile_table([['ok', text]], vocabulary, WHERE)
  assert str(error.value).startswith(WHERE)


def test_a_token_too_long_to_match_in_is_refused():
  tokens = [b'a' * 33_000, b'b']
  vocabulary = token_bytes.TokenBytes(tokens, tokens)
  with pytest.raises(ValueError, match='too many to match in'):
    automaton.compile_table([['a']], vocabulary, WHERE)
  assert automaton.compile_table([['b']], vocabulary, WHERE).starts == (0,)
