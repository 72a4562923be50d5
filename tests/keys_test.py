"""Keys: every purpose, step, row, attempt and token has its own."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np

from score_jax import keys


def test_no_two_uses_share_a_key():
  seen = []
  for seed, purpose, step in itertools.product(
      (0, 1), ('init', 'rollout/stage1', 'rollout/stage2'), (0, 1)):
    rows = keys.row_keys(keys.purpose_key(seed, purpose), step, jnp.arange(3))
    for attempt, position in itertools.product((1, 2), (0, 1)):
      seen.append(keys.token_keys(rows, attempt, position))
  data = np.concatenate([jax.random.key_data(k) for k in seen])
  assert len(np.unique(data, axis=0)) == len(data) == 2 * 3 * 2 * 3 * 4


def test_a_row_has_its_key_wherever_it_stands():
  key = keys.purpose_key(0, 'rollout')
  whole = keys.row_keys(key, 5, jnp.arange(8))
  part = keys.row_keys(key, 5, jnp.array([6, 2]))
  np.testing.assert_array_equal(jax.random.key_data(whole)[jnp.array([6, 2])],
                                jax.random.key_data(part))


def test_seeds_for_other_libraries_differ_by_purpose():
  seeds = {keys.purpose_seed(s, p) for s in (0, 1) for p in ('a', 'b')}
  assert len(seeds) == 4 and all(0 <= s < 2**31 for s in seeds)
