"""A token a row: its distribution, in the tail too."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from score_jax.rollout import sampling


@pytest.mark.parametrize('temperature', [0.5, 1.0])
def test_draws_follow_the_scores(temperature):
  logits_V = 2 * jax.random.normal(jax.random.key(0), (7,))
  keys_B = jax.random.split(jax.random.key(1), 40_000)
  logits_BV = jnp.broadcast_to(logits_V, (len(keys_B), 7))
  tokens_B, logp_B = jax.jit(sampling.sample, static_argnums=2)(
      logits_BV, keys_B, temperature)
  logp_V = np.asarray(jax.nn.log_softmax(logits_V / temperature))
  assert tokens_B.dtype == jnp.int32
  np.testing.assert_allclose(logp_B, logp_V[np.asarray(tokens_B)], rtol=1e-6)
  counts = np.bincount(tokens_B, minlength=7)
  assert stats.chisquare(counts, np.exp(logp_V.astype(float)) / np.exp(
      logp_V.astype(float)).sum() * len(keys_B)).pvalue > 1e-3


def test_a_draw_is_of_its_own_key():
  keys_B = jax.random.split(jax.random.key(1), 64)
  logits_BV = jax.random.normal(jax.random.key(0), (64, 501))
  tokens_B, _ = sampling.sample(logits_BV, keys_B, 1.0)
  again_B, _ = sampling.sample(logits_BV[::-1], keys_B[::-1], 1.0)
  np.testing.assert_array_equal(tokens_B, again_B[::-1])
  assert len(set(tokens_B.tolist())) > 40


@pytest.mark.parametrize('bits', [
    0, 1, 2, 77, 2**10 + 1, 2**20 + 3, 2**24 + 1, 2**31, 3 * 2**30,
    2**32 - 2**22])
@pytest.mark.parametrize('fraction', [2.0**-24, 0.3, 1 - 2.0**-24])
def test_noise_is_the_quantile_of_all_its_bits(bits, fraction):
  found = sampling.gumbel_of(jnp.uint32([bits]), jnp.float32(fraction))
  expected = -np.log(-np.log1p(-(bits + fraction) / 2.0**32))
  np.testing.assert_allclose(found[0], expected, rtol=1e-6, atol=2e-7)


def test_noise_is_finite_whatever_the_bits():
  bits_V = jnp.uint32([0, 2**32 - 1, 2**32 - 2, 2**32 - 129])
  for fraction in (2.0**-24, 0.5, 1 - 2.0**-24):
    assert jnp.isfinite(sampling.gumbel_of(bits_V, jnp.float32(fraction))).all()


def test_noise_is_gumbels():
  keys_B = jax.random.split(jax.random.key(3), 300)
  noise_BV = jax.vmap(lambda key: sampling.gumbel(key, 1000))(keys_B)
  assert stats.kstest(np.ravel(noise_BV), 'gumbel_r').pvalue > 1e-3
  # Of one row the noises differ, and rows have nothing in common.
  assert len(np.unique(noise_BV[0])) == 1000
  assert abs(np.corrcoef(noise_BV[0], noise_BV[1])[0, 1]) < 0.15


def test_the_tail_is_exact_far_beyond_the_bits_of_float32():
  # Given the lowest 2**-24 of the uniform variates: 256 of 2**32 integers.
  rng = np.random.default_rng(0)
  bits_N = rng.integers(0, 256, 20_000).astype(np.uint32)
  fraction_N = rng.uniform(2.0**-24, 1, 20_000).astype(np.float32)
  noise_N = sampling.gumbel_of(jnp.asarray(bits_N), jnp.asarray(fraction_N))
  for limit in (16.7, 18.0, 20.0, 22.0, 23.0):
    share = -np.expm1(-np.exp(-limit)) * 2.0**24
    low, high = stats.binom.interval(0.999, 20_000, share)
    assert low <= (noise_N > limit).sum() <= high, limit


def test_a_token_of_one_in_a_billion_can_be_drawn(monkeypatch):
  bits = lambda key, shape, dtype: jnp.full(shape, 2**31, dtype).at[5].set(1)
  monkeypatch.setattr(jax.random, 'bits', bits)
  logits_BV = jnp.zeros((1, 9)).at[0, 5].set(np.log(1e-9))
  tokens_B, logp_B = sampling.sample(
      logits_BV, jax.random.split(jax.random.key(0), 1), 1.0)
  assert tokens_B.tolist() == [5] and logp_B[0] < -20


@pytest.mark.slow
def test_rare_tokens_of_a_large_vocabulary_are_drawn_as_often_as_they_should():
  # All but one token have the probability 3.8e-8. With noise of 23 bits a tenth
  # of the draws that are expected came up.
  V, rare, rows, batches = 262_144, 3.8e-8, 64, 30
  logits_V = jnp.full((V,), np.log(rare), jnp.float32)
  logits_V = logits_V.at[0].set(np.log1p(-rare * (V - 1)))
  logits_BV = jnp.broadcast_to(logits_V, (rows, V))

  @jax.jit
  def drawn(key):
    tokens_B, _ = sampling.sample(logits_BV, jax.random.split(key, rows), 1.0)
    return jnp.sum(tokens_B > 0)

  keys = jax.random.split(jax.random.key(0), batches)
  found = sum(int(drawn(key)) for key in keys)
  low, high = stats.binom.interval(0.999, rows * batches, rare * (V - 1))
  assert low >= 5 and low <= found <= high, (low, found, high)


def test_greedy_takes_the_first_of_equals():
  scores_BV = jnp.array([[1., 4., 4., 0.], [-2., -3., -2., -9.],
                         [-jnp.inf, -jnp.inf, 0., 0.]])
  tokens_B, logp_B = sampling.sample(scores_BV, jnp.zeros(3), 0)
  assert tokens_B.tolist() == [1, 0, 2]
  assert logp_B.tolist() == [0, 0, 0]


def test_an_index_is_one_of_the_vocabulary_whatever_the_scores():
  scores_BV = jnp.array([[jnp.nan, 1., 2.], [-jnp.inf] * 3])
  assert sampling.first_largest(scores_BV).tolist() == [2, 0]
