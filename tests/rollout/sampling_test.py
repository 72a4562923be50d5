"""A token a row: draws are those of jax's own, whatever is fastest."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_jax.rollout import sampling


@pytest.mark.parametrize('temperature', [0.5, 1.0])
def test_draws_are_those_of_jax_random_categorical(temperature):
  logits_BV = 3 * jax.random.normal(jax.random.key(0), (64, 501))
  keys_B = jax.random.split(jax.random.key(1), 64)
  tokens_B, logp_B = jax.jit(sampling.sample, static_argnums=2)(
      logits_BV, keys_B, temperature)
  logp_BV = jax.nn.log_softmax(logits_BV / temperature)
  wanted_B = jax.vmap(jax.random.categorical)(keys_B, logp_BV)
  assert tokens_B.dtype == jnp.int32
  np.testing.assert_array_equal(tokens_B, wanted_B)
  assert len(set(tokens_B.tolist())) > 20
  np.testing.assert_allclose(
      logp_B, jnp.take_along_axis(logp_BV, wanted_B[:, None], 1)[:, 0],
      rtol=1e-6)


def test_greedy_takes_the_first_of_equals():
  scores_BV = jnp.array([[1., 4., 4., 0.], [-2., -3., -2., -9.],
                         [-jnp.inf, -jnp.inf, 0., 0.]])
  tokens_B, logp_B = sampling.sample(scores_BV, jnp.zeros(3), 0)
  assert tokens_B.tolist() == [1, 0, 2]
  assert logp_B.tolist() == [0, 0, 0]


def test_an_index_is_one_of_the_vocabulary_whatever_the_scores():
  scores_BV = jnp.array([[jnp.nan, 1., 2.], [-jnp.inf] * 3])
  assert sampling.first_largest(scores_BV).tolist() == [2, 0]
