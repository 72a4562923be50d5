"""Stop strings as one table: state and token to the next state.

An automaton of Aho and Corasick (1975) finds any of several strings in a stream
of bytes. Its state is the longest suffix of the text that one of the strings
begins with. Here its steps over the bytes of each token of a vocabulary are
taken in advance, so a model that decodes looks up one number per token.
"""

from collections.abc import Sequence
from typing import NamedTuple
from typing import Protocol

import numpy as np

MOST = 2**26
"""Most entries of a table: 128 MiB of int16."""

_LONGEST = 256  # Bytes of a stop string.


class Vocabulary(Protocol):
  """The bytes that each id adds to a text; see `text.token_bytes`."""

  later: Sequence[bytes]
  first: Sequence[bytes]

  def ends_start(self, token: int) -> bool:
    """Return whether the tokens that follow this id have their later bytes."""


class Table(NamedTuple):
  """Hold the result of `compile_table`.

  Attributes:
    next_SV: int16. From 0 on the state after a token; -n where the token ends
      the first stop string, whose first byte is the n-th of the text from its
      end, the bytes of that token included.
    size_V: int32, bytes of each token.
    starts: the state before the first token, for each set of strings.
  """

  next_SV: np.ndarray
  size_V: np.ndarray
  starts: tuple[int, ...]


def compile_table(
    sets: Sequence[Sequence[str]], vocabulary: Vocabulary, where: str
) -> Table:
  """Compile sets of stop strings for a vocabulary.

  The first string to end is found, and of several that end with one byte the
  longest: which one that is does not depend on how a text is cut into tokens.

  Args:
    sets: stop strings; each set has a separate automaton in the table.
    vocabulary: V ids.
    where: the field that the strings are from, for messages.

  Raises:
    ValueError: a string is empty or too long, or the table would be too large.
  """
  encoded = [tuple(_encoded(text, where) for text in texts) for texts in sets]
  automata = [_automaton(strings) for strings in encoded]
  V, at_start = len(vocabulary.later), _differs(vocabulary)
  states = sum(len(delta) + at_start for delta, _ in automata)
  _check_size(states, V, where)
  later, first = _sorted(vocabulary.later), _sorted(vocabulary.first)
  rows, starts = [], []
  for delta, found in automata:
    root = len(rows)
    of_set = [_after(delta, found, state, *later)
              for state in range(len(delta))]
    starts.append(root + len(delta) if at_start else root)
    if at_start:
      of_set.append(_after(delta, found, 0, *first))
    rows += [np.where(row < 0, row, root + row) for row in of_set]
    if at_start:
      stays_V = ~np.array([*map(vocabulary.ends_start, range(V))], bool)
      rows[-1][stays_V] = starts[-1]
  lowest = min(int(row.min()) for row in rows)
  if lowest < np.iinfo(np.int16).min:
    raise ValueError(f'{where}: a token of the vocabulary has more than '
                     f'{-lowest - _LONGEST} bytes, too many to match in')
  return Table(np.stack(rows).astype(np.int16),
               np.array([*map(len, vocabulary.later)], np.int32), tuple(starts))


def _encoded(text: str, where: str) -> bytes:
  try:
    found = text.encode()
  except UnicodeEncodeError as error:
    raise ValueError(f'{where}: {text!r} is not valid Unicode') from error
  if not 0 < len(found) <= _LONGEST:
    raise ValueError(f'{where}: {text[:20]!r} has {len(found)} bytes; a stop '
                     f'string has 1 to {_LONGEST}')
  return found


def _check_size(states: int, tokens: int, where: str):
  most = min(MOST // max(tokens, 1), np.iinfo(np.int16).max)
  if states > most:
    raise ValueError(
        f'{where}: the table of the stop strings would have {states:,} states '
        f'x {tokens:,} tokens; at most {most:,} states are allowed with this '
        'vocabulary, about one for each byte of the strings: give fewer or '
        'shorter ones')


def _automaton(strings: Sequence[bytes]) -> tuple[np.ndarray, np.ndarray]:
  """Return the next state [S, 256], and bytes of the string found [S] or 0."""
  goto, found = [{}], [0]
  for string in strings:
    state = 0
    for byte in string:
      if byte not in goto[state]:
        goto[state][byte] = len(goto)
        goto.append({})
        found.append(0)
      state = goto[state][byte]
    found[state] = len(string)
  delta = np.zeros((len(goto), 256), np.int32)
  queue, fail = [0], [0] * len(goto)
  for state in queue:  # Breadth first: what a state falls back to is done.
    if state:
      delta[state] = delta[fail[state]]
      found[state] = found[state] or found[fail[state]]
    for byte, child in goto[state].items():
      fail[child] = int(delta[state, byte])  # Not yet the child's own number.
      delta[state, byte] = child
      queue.append(child)
  return delta, np.array(found, np.int32)


def _sorted(tokens: Sequence[bytes]) -> tuple[np.ndarray, ...]:
  """Return the tokens, the longest first: bytes, first of each, length, order.
  """
  length_V = np.array([*map(len, tokens)], np.int32)
  order_V = np.argsort(-length_V, kind='stable')
  length_V = length_V[order_V]
  joined = np.frombuffer(b''.join(tokens[i] for i in order_V), np.uint8)
  return joined, np.cumsum(length_V) - length_V, length_V, order_V


def _after(delta, found, state, joined, first_V, length_V, order_V):
  """Return a row of the table, int32 [V]; states are those of the automaton."""
  at_V = np.full(len(length_V), state, np.int32)
  back_V = np.zeros(len(length_V), np.int32)
  for position in range(length_V[0]):
    longer = slice(int(np.searchsorted(-length_V, -position)))
    at_V[longer] = delta[at_V[longer], joined[first_V[longer] + position]]
    found_V = found[at_V[longer]]
    back_V[longer] = np.where(
        (found_V > 0) & (back_V[longer] == 0),
        length_V[longer] - position - 1 + found_V, back_V[longer])
  row_V = np.empty(len(length_V), np.int32)
  row_V[order_V] = np.where(back_V > 0, -back_V, at_V)
  return row_V


def _differs(vocabulary: Vocabulary) -> bool:
  return any(a != b for a, b in zip(vocabulary.later, vocabulary.first))
