"""Stop strings in the sampler: what ends a row, and that nothing reads on."""

import dataclasses
import functools
import math
import re
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_jax import config as config_lib
from score_jax import sharding
from score_jax import update
from score_jax.models import decoder
from score_jax.rollout import automaton
from score_jax.rollout import decode
from score_jax.rollout import stops as stops_lib
from score_jax.text import token_bytes
from tests import testing
from tests.rollout import attempts_test
from tests.rollout import automaton_test

# Few letters, so that stop strings come up; 0 to 5 are special tokens.
LATER = [*[b''] * 6, *[
    text.encode() for text in (
        'a', 'b', 'c', ' ', 'ab', 'ba', ' a', 'bc', 'cab', '\n', 'b\n', 'é',
        'abc ', '', 'cc', '  ', 'aé')]]
FIRST = [text.removeprefix(b' ') for text in LATER]
BYTES = token_bytes.TokenBytes(LATER, FIRST)
SETS = [['ab', 'ca\n'], [], ['bcb', ' a', 'cc'], ['é', 'a b', 'ac']]
LONG = 24

assert len(LATER) == testing.VOCAB


@functools.cache
def _table():
  return automaton.compile_table(SETS, BYTES, 'stop strings')


def _stops(kinds_NA, place=jnp.asarray, everywhere=jnp.asarray):
  """Stop strings of problems: numbers in SETS of each of their attempts."""
  table = _table()
  return stops_lib.Stops(
      everywhere(table.next_SV), everywhere(table.size_V),
      place(np.array(table.starts, np.int32)[np.array(kinds_NA)]))


def _kinds(rows, attempts=2):
  return [[(n + a) % len(SETS) for a in range(attempts)] for n in range(rows)]


def _cut(ids, kind):
  """Of an attempt without stop strings: tokens kept, token and bytes cut."""
  strings = [text.encode() for text in SETS[kind]]
  for read in range(1, len(ids) + 1):
    text = BYTES.joined(ids[:read])
    found = automaton_test.search(text, strings)
    if found:
      break
  else:
    return ids, -1, 0, len(ids)
  kept = max(n for n in range(read)
             if len(BYTES.joined(ids[:n])) <= found[0])
  before = len(text) - sum(len(LATER[i]) for i in ids[kept:read])
  return ids[:kept], ids[kept], found[0] - before, read


def _check_row(rollout, other, row, kinds, a, free):
  """Compare an attempt with the one drawn without stop strings.

  Args:
    rollout: with stop strings.
    other: without; up to the stop string one draws the same.
    row: its number.
    kinds: of its problem.
    a: the attempt, from 0.
    free: whether `other` read the same before this attempt.
  """
  layout = rollout.layout
  start, length = layout.starts[a], layout.attempts[a]
  slots = slice(start, start + length)
  n = rollout.length_BA[row, a]
  there = np.arange(length) < n
  np.testing.assert_array_equal(rollout.valid_BS[row, slots], there)
  np.testing.assert_array_equal(
      rollout.attempt_BS[row, slots], there * (a + 1))
  assert (rollout.tokens_BS[row, slots][~there] == testing.PAD).all()
  assert (rollout.logp_BS[row, slots][~there] == 0).all()
  if free:
    ids = other.tokens_BS[row][other.attempt_BS[row] == a + 1].tolist()
    kept, token, count, read = _cut(ids, kinds[a])
    assert rollout.tokens_BS[row, slots][there].tolist() == kept
    assert rollout.stop_token_BA[row, a] == token
    assert rollout.stop_bytes_BA[row, a] == count
    ends = token >= 0 or ids[-1] in testing.STOPS
    assert rollout.truncated_BA[row, a] == (not ends)
    np.testing.assert_array_equal(  # Bit for bit.
        rollout.logp_BS[row, slots][there],
        other.logp_BS[row, slots][: len(kept)])
  return rollout.stop_token_BA[row, a] >= 0


@pytest.mark.parametrize('temperature,unroll,seed', [
    (1.0, True, 0), (0.8, False, 1), (0.0, True, 4)])
def test_rows_end_with_their_own_stop_strings(temperature, unroll, seed):
  config = testing.model_config(unroll_decode=unroll)
  given = dict(rows=16, samples=2, attempt_tokens=(LONG, 10), seed=seed,
               temperature=temperature, tree=testing.params(config))
  kinds = _kinds(16)
  other = jax.device_get(testing.sample(config, **given))
  found = jax.device_get(testing.sample(config, stops=_stops(kinds), **given))
  assert other.stop_token_BA is None and other.stop_bytes_BA is None
  cuts = []
  for row in range(32):
    of_row = kinds[row // 2]
    was_cut = _check_row(found, other, row, of_row, 0, True)
    # Behind an attempt that was not cut, all that is read is the same.
    _check_row(found, other, row, of_row, 1, not was_cut)
    cuts.append(was_cut)
    # The turn is closed where the attempt has no stop token.
    layout = found.layout
    closes = was_cut or found.truncated_BA[row, 0]
    end = layout.starts[1] - layout.splices[0]
    assert found.valid_BS[row, end] == closes
    assert found.tokens_BS[row, end] == (
        testing.STOP if closes else testing.PAD)
  assert any(cuts) and not all(cuts)
  if temperature:
    assert (found.stop_bytes_BA > 0).any()  # Strings begin inside tokens too.
    assert (found.length_BA[found.stop_token_BA >= 0] == 0).any()


@pytest.mark.parametrize('form,temperature,unroll', [
    ('llama', 0.7, False), ('gemma2', 1.0, True), ('gemma3', 1.2, False)])
def test_sampler_and_trainer_agree_on_log_probabilities(
    form, temperature, unroll):
  # What follows a cut attempt reads nothing of what was cut: the trainer, who
  # has never seen these tokens, gives the same log-probabilities.
  config, tree = attempts_test._model(form, unroll_decode=unroll)
  rollout = testing.sample(
      config, rows=16, samples=2, attempt_tokens=(10, 12, 6),
      splices=((7, 8, 9), (10, 11)), temperature=temperature, tree=tree,
      stops=_stops(_kinds(16, 3)))
  cut_BA = np.asarray(rollout.stop_token_BA) >= 0
  assert cut_BA.any(axis=0).all() and not cut_BA.all(axis=0).any()
  # Cut in the middle, and more than one token of it.
  expected = attempts_test._trainer_logps(config, tree, rollout, temperature)
  got = update.of_attempts(rollout.logp_BS, rollout.layout)
  np.testing.assert_allclose(got, expected, atol=1e-5)
  assert (np.asarray(got)[cut_BA[:, 0]][:, 10:] < -0.1).any()


def test_an_attempt_after_a_cut_one_is_that_after_a_short_one():
  # The prefix as a separate prompt, in which nothing was ever cut.
  config, tree = attempts_test._model('gemma2')
  kinds = _kinds(16)
  found = jax.device_get(testing.sample(
      config, rows=16, samples=1, attempt_tokens=(LONG, 8), temperature=0.0,
      tree=tree, stops=_stops(kinds)))
  second = found.layout.starts[1]
  rows = np.flatnonzero(found.stop_token_BA[:, 0] >= 0)
  assert len(rows) > 3
  valid = found.valid_BS[rows, :second]
  order = np.argsort(valid, axis=1, kind='stable')
  prompt = (np.take_along_axis(found.tokens_BS[rows, :second], order, 1),
            np.take_along_axis(valid, order, 1))
  alone = jax.device_get(testing.sample(
      config, prompt=prompt, samples=1, attempt_tokens=(8,), temperature=0.0,
      tree=tree, stops=_stops([[kinds[row][1]] for row in rows])))
  np.testing.assert_array_equal(
      alone.tokens_BS[:, second:], found.tokens_BS[rows, second:])
  np.testing.assert_array_equal(
      alone.stop_token_BA[:, 0], found.stop_token_BA[rows, 1])


def test_by_hand():
  # Of "xa", "b", "c": "ab" begins in the first token and ends in the second.
  bytes_V = [b'', b'xa', b'b', b'c']
  table = automaton.compile_table(
      [['ab']], token_bytes.TokenBytes(bytes_V, bytes_V), 'stop strings')
  stops = stops_lib.Stops(jnp.asarray(table.next_SV),
                          jnp.asarray(table.size_V), jnp.zeros((1, 1)))
  tokens_BT = jnp.array([[3, 1, 0, 2], [3, 1, 0, 3], [0, 3, 0, 0]])
  there_BT = jnp.array([[1, 1, 1, 1], [1, 1, 1, 1], [1, 1, 0, 0]], bool)
  state_B = jnp.zeros(3, jnp.int32)
  for t in range(4):
    live_B = there_BT[:, t] & (state_B >= 0)
    state_B = stops_lib.next_states(stops, state_B, tokens_BT[:, t], live_B)
  assert state_B.tolist() == [-2, 0, 0]
  cut_BT, cut = stops_lib.cut_mask(stops, state_B, tokens_BT, there_BT)
  # The special token inside the string goes with it.
  assert cut_BT.tolist() == [[False, True, True, True], [False] * 4,
                             [False] * 4]
  assert cut.token_B.tolist() == [1, -1, -1]
  assert cut.bytes_B.tolist() == [1, 0, 0]  # The x is graded.


def _assert_equal(one, other):
  for field in dataclasses.fields(one):
    np.testing.assert_array_equal(
        getattr(one, field.name), getattr(other, field.name), field.name)


def test_a_row_does_not_depend_on_its_neighbours():
  kinds = _kinds(8)
  given = dict(attempt_tokens=(8, 7), samples=2)
  whole = jax.device_get(testing.sample(rows=8, stops=_stops(kinds), **given))
  tokens, valid = testing.prompts(8)
  for first, end in ((0, 2), (3, 5), (6, 8)):
    part = jax.device_get(testing.sample(
        prompt=(tokens[first:end], valid[first:end]),
        numbers=np.arange(2 * first, 2 * end, dtype=np.int32),
        stops=_stops(kinds[first:end]), **given))
    for name in ('tokens_BS', 'valid_BS', 'attempt_BS', 'stop_token_BA',
                 'stop_bytes_BA', 'truncated_BA', 'length_BA'):
      np.testing.assert_array_equal(
          getattr(part, name), getattr(whole, name)[2 * first : 2 * end], name)


@pytest.mark.parametrize('unroll', [True, False])
def test_samples_are_those_of_a_sampler_that_leaves_no_row_behind(unroll):
  config = testing.model_config(unroll_decode=unroll)
  rows, length = 64, 64

  def sampled(long):
    testing._sampler.cache_clear()
    with mock.patch.object(decode, 'LONG', long):
      return jax.device_get(testing.sample(
          config, rows=rows // 8, samples=8, attempt_tokens=(length, length),
          stop_ids=(2,), stops=_stops([[0, 3]] * 8),
          tree=testing.params(config)))

  found = sampled(length)
  assert decode._fewer(config, rows, 71, length) == (32,)
  ends = np.sort(found.length_BA, axis=0)
  assert (ends[rows // 2 - 1] + 8 < ends[-1]).all(), ends
  assert ((found.stop_token_BA >= 0).sum(axis=0) > rows // 4).all()
  _assert_equal(found, sampled(length + 1))


@pytest.mark.parametrize('axes', [(2, 2, 2), (4, 1, 1)])
def test_on_a_mesh_samples_are_the_same_and_nothing_more_travels(axes):
  config = dataclasses.replace(testing.model_config(vocab_size=24),
                               num_heads=16)
  tree, kinds = testing.params(config), _kinds(8)
  mesh = sharding.make_mesh(config_lib.MeshConfig(*axes),
                            jax.devices()[: np.prod(axes)])
  place = lambda x: sharding.put_rows(np.asarray(x), mesh)
  everywhere = lambda x: sharding.put(x, sharding.named(mesh))
  sampler = lambda: testing._sampler(config, 2, (LONG, 10), 1.0, (2, 3),
                                     testing.PAD)
  given = (*testing.prompts(8), (jnp.array([7, 8, 9]),), jax.random.key(0),
           np.int32(0), np.arange(16))
  alone = jax.device_get(sampler()(tree, *given, _stops(kinds)))
  testing._sampler.cache_clear()
  with jax.set_mesh(mesh):
    placed = jax.tree.map(
        jax.device_put, tree, sharding.tree_shardings(
            mesh, decoder.logical_axes(config), sharding.SAMPLER_AXES))
    prompt, valid, splices, key, step, rows = given

    def program(stops):
      testing._sampler.cache_clear()
      return sampler().lower(placed, place(prompt), place(valid), splices, key,
                             step, place(rows), stops).compile()

    stops = _stops(kinds, place, everywhere)
    with_stops, without = program(stops), program(None)
    found = jax.device_get(with_stops(placed, place(prompt), place(valid),
                                      splices, key, step, place(rows), stops))
  testing._sampler.cache_clear()
  for name in ('tokens_BS', 'valid_BS', 'attempt_BS', 'stop_token_BA',
               'stop_bytes_BA', 'truncated_BA', 'length_BA'):
    np.testing.assert_array_equal(getattr(found, name), getattr(alone, name),
                                  name)
  assert (found.stop_token_BA >= 0).any()
  assert _moved(with_stops) == _moved(without)


def _moved(compiled):
  """Elements of everything that travels between devices, and how often."""
  moved = re.findall(
      r'= (.*) (?:all-gather|all-reduce|all-to-all|collective-permute)\(',
      compiled.as_text())
  return sorted(math.prod(map(int, size.split(',')))
                for shapes in moved
                for size in re.findall(r'\[([\d,]+)\]', shapes))


def test_without_stop_strings_the_program_knows_nothing_of_them():
  config = testing.model_config()
  program = testing._sampler(config, 2, (6, 5), 1.0, testing.STOPS,
                             testing.PAD)
  given = (testing.params(config), *testing.prompts(4),
           (jnp.array([7, 8, 9]),), jax.random.key(0), np.int32(0),
           np.arange(8))
  text = program.lower(*given).as_text()
  assert program.lower(*given, None).as_text() == text
  assert 'xi16>' not in text
  assert 'xi16>' in program.lower(*given, _stops(_kinds(4))).as_text()
