"""Rows that have ended are left behind, and no sample knows of it."""

import dataclasses
import math
import re
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_jax import config as config_lib
from score_jax import sharding
from score_jax.models import decoder
from score_jax.models import held as held_lib
from score_jax.rollout import decode
from tests import testing

ROWS, LENGTH = 64, 64
MODEL = testing.model_config(vocab_size=64)


def _sample(config, long=decode.LONG, **settings):
  """A rollout; where `long` is more than LENGTH, no row is left behind."""
  testing._sampler.cache_clear()
  with mock.patch.object(decode, 'LONG', long):
    return jax.device_get(testing.sample(
        config, rows=ROWS // 8, samples=8, attempt_tokens=(LENGTH, LENGTH),
        tree=testing.params(config), **settings))


def _assert_equal(one, other):
  for field in dataclasses.fields(one):
    np.testing.assert_array_equal(
        getattr(one, field.name), getattr(other, field.name), field.name)


@pytest.mark.parametrize('seed,temperature,changes', [
    (0, 1.0, {}), (1, 1.0, {'unroll_decode': False}),
    (2, 0.7, {'window': 4, 'global_every': 2}),
    (3, 0.0, {}), (4, 0.0, {'unroll_decode': False})])
def test_samples_are_those_of_a_sampler_that_leaves_no_row_behind(
    seed, temperature, changes):
  config = dataclasses.replace(MODEL, **changes)
  # A greedy row ends soon or goes round in circles.
  stops = (2, 3) if temperature else tuple(range(2, 30))
  given = {'seed': seed, 'temperature': temperature, 'stop_ids': stops}
  found = _sample(config, **given)
  # In both attempts half of the rows end early, and others long after them.
  ends = np.sort(found.length_BA, axis=0)
  assert (ends[ROWS // 2 - 1] + 8 < ends[-1]).all(), ends
  assert decode._fewer(config, ROWS, 71, LENGTH) == (32,)
  assert decode._fewer(config, ROWS, 138, LENGTH) == (32, 8)
  _assert_equal(found, _sample(config, LENGTH + 1, **given))


@pytest.mark.parametrize('axes', [(2, 2, 2), (4, 1, 1)])
def test_on_a_mesh_each_part_leaves_its_own_rows_behind(axes):
  # Of 16 rows a part goes on with 8; keys and values of none travel.
  config = dataclasses.replace(MODEL, num_heads=16)
  mesh = sharding.make_mesh(config_lib.MeshConfig(*axes),
                            jax.devices()[: np.prod(axes)])
  place = lambda x: sharding.put_rows(np.asarray(x), mesh)
  with jax.set_mesh(mesh):
    tree = jax.tree.map(
        jax.device_put, testing.params(config), sharding.tree_shardings(
            mesh, decoder.logical_axes(config), sharding.SAMPLER_AXES))

    def program(long):
      testing._sampler.cache_clear()
      given = (tree, *map(place, testing.prompts(ROWS // 8)),
               (jnp.array([7, 8, 9]),), jax.random.key(0), np.int32(0),
               place(np.arange(ROWS)))
      with mock.patch.object(decode, 'LONG', long):
        return testing._sampler(config, 8, (LENGTH, LENGTH), 1.0, (2, 3),
                                testing.PAD).lower(*given).compile(), given

    compiled, given = program(LENGTH)
    found = jax.device_get(compiled(*given))
    other, _ = program(LENGTH + 1)
    _assert_equal(found, jax.device_get(other(*given)))
  live = np.sort(found.length_BA.reshape(4, -1, 2), axis=1)
  assert (live[:, 7].max(axis=0) + 8 < live[:, -1].max(axis=0)).all(), live
  text = compiled.as_text()
  assert '/attempt_2/while"' in text and '/attempt_2/fewer/while"' in text
  moved = re.findall(
      r'= (.*) (?:all-gather|all-reduce|all-to-all|collective-permute)', text)
  sizes = [math.prod(map(int, size.split(',')))
           for shapes in moved for size in re.findall(r'\[([\d,]+)\]', shapes)]
  assert max(sizes, default=0) < 8 * found.tokens_BS.shape[1], moved


def test_a_part_holds_its_live_rows_first():
  live_B = jnp.array([0, 1, 0, 1, 1, 0, 0, 0], bool)
  with mock.patch.object(sharding, 'ways', lambda _: 2):
    held = held_lib.choose(live_B, 2)
  # Rows 1 and 3 of the first part; 0 of the second, and 1 to fill it.
  np.testing.assert_array_equal(held.there_WN, [[1, 3], [0, 1]])
  np.testing.assert_array_equal(held.back_WR[0, [1, 3]], [0, 1])
  np.testing.assert_array_equal(held.back_WR[1, :2], [0, 1])
  x_B = jnp.arange(8) * 10
  picked = held_lib.pick(x_B, held.there_WN)
  np.testing.assert_array_equal(picked, [10, 30, 40, 50])
  again = held_lib.pick(picked, held.back_WR)
  np.testing.assert_array_equal(again[jnp.array([1, 3, 4, 5])], picked)


@pytest.mark.parametrize('stacked', [False, True])
def test_what_was_decoded_goes_back_into_its_row_and_slots(stacked):
  shape = (3, 4, 2, 6, 5) if stacked else (4, 2, 6, 5)
  whole = jax.random.normal(jax.random.key(0), shape)
  held = held_lib.choose(jnp.array([False, True, False, True]), 2)
  cache = held_lib.cache_of((whole, whole), held)
  np.testing.assert_array_equal(cache[0], whole[..., [1, 3], :, :, :])
  found, _ = held_lib.put_back(
      (whole, whole), tuple(-x for x in cache), held, 2, 5)
  expected = np.array(whole)
  expected[..., [1, 3], :, 2:5, :] *= -1
  np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize('rows,slots,length,counts', [
    (64, 2000, 64, (32, 8)), (64, 2000, 63, ()), (16, 2000, 99, (8, 2)),
    (24, 2000, 64, (12, 3)), (12, 2000, 64, (6,)), (15, 2000, 64, ()),
    # Four heads: 8 rows of 128 slots have 4,096 scores.
    (64, 128, 64, (32, 8)), (64, 127, 64, (32,))])
def test_how_many_rows_are_gone_on_with(rows, slots, length, counts):
  assert decode._fewer(MODEL, rows, slots, length) == counts
