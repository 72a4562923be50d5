"""Statistics of tokens against float64 NumPy."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_jax.rl import logprobs

B, T, D, V = 3, 11, 8, 29


def _arrays(seed=0):
  rng = np.random.default_rng(seed)
  normal = lambda *shape: rng.normal(size=shape).astype(np.float32)
  return (normal(B, T, D), normal(D, V), normal(B, T, D), normal(D, V),
          rng.integers(0, V, (B, T)).astype(np.int32))


def _reference(hidden, head, ref_hidden, ref_head, tokens, temperature,
               softcap=0.0):
  """Everything at once in float64."""

  def log_softmax(h, w):
    scores = h.astype(np.float64) @ w.astype(np.float64)
    if softcap:
      scores = softcap * np.tanh(scores / softcap)
    scores /= temperature
    top = scores.max(-1, keepdims=True)
    return scores - top - np.log(np.exp(scores - top).sum(-1, keepdims=True))

  logp, ref = log_softmax(hidden, head), log_softmax(ref_hidden, ref_head)
  pick = lambda x: np.take_along_axis(x, tokens[..., None], -1)[..., 0]
  p = np.exp(logp)
  return logprobs.TokenStatistics(pick(logp), -(p * logp).sum(-1), pick(ref),
                                  (p * (logp - ref)).sum(-1))


@pytest.mark.parametrize('temperature', [1.0, 0.7])
def test_equals_float64_numpy(temperature):
  arrays = _arrays()
  got = jax.jit(functools.partial(
      logprobs.token_statistics, temperature=temperature))(*arrays)
  expected = _reference(*arrays, temperature)
  for name in got._fields:
    # Float32 scores of order 10: their rounding is about 1e-6 of that.
    np.testing.assert_allclose(getattr(got, name), getattr(expected, name),
                               atol=2e-5, err_msg=name)


@pytest.mark.parametrize('temperature', [1.0, 0.7])
def test_softcapped_scores_equal_float64_numpy(temperature):
  # Scores of order 3 under a cap of 2: most are bent.
  arrays = _arrays()
  of = lambda **softcap: jax.jit(functools.partial(
      logprobs.token_statistics, temperature=temperature, **softcap))(*arrays)
  got, plain = of(softcap=2.0), of()
  expected = _reference(*arrays, temperature, softcap=2.0)
  for name in got._fields:
    np.testing.assert_allclose(getattr(got, name), getattr(expected, name),
                               atol=2e-5, err_msg=name)
    assert np.abs(getattr(got, name) - getattr(plain, name)).max() > 0.1
  hidden, head, _, _, tokens = arrays
  np.testing.assert_allclose(
      logprobs.token_logps(hidden, head, tokens, softcap=2.0),
      _reference(*arrays, 1.0, softcap=2.0).logp, atol=2e-5)


def test_gradient_through_the_softcap_by_hand():
  # d logp(v) / d head = hidden (onehot - p) (1 - tanh(s / c) ^ 2), summed.
  hidden, head, _, _, tokens = _arrays()
  cap = 2.0
  got = jax.grad(lambda head: jnp.sum(logprobs.token_logps(
      hidden, head, tokens, softcap=cap)))(head)
  bent = np.tanh(hidden.astype(np.float64) @ head / cap)
  p = np.exp(cap * bent)
  p /= p.sum(-1, keepdims=True)
  slope = (np.eye(V)[tokens] - p) * (1 - bent**2)
  np.testing.assert_allclose(got, np.einsum('btd,btv->dv', hidden, slope),
                             atol=1e-5)


def test_bfloat16_states_are_scored_in_float32():
  hidden, head, ref_hidden, ref_head, tokens = _arrays()
  half = lambda x: x.astype(jnp.bfloat16)
  got = logprobs.token_statistics(
      half(hidden), head, half(ref_hidden), ref_head, tokens, temperature=1.0)
  expected = _reference(*(np.asarray(half(x), np.float64) for x in (
      hidden, head, ref_hidden, ref_head)), tokens, 1.0)
  for name in got._fields:
    np.testing.assert_allclose(getattr(got, name), getattr(expected, name),
                               atol=2e-5, err_msg=name)


def test_kl_is_zero_between_equals_and_positive_between_others():
  hidden, head, other, _, tokens = _arrays()
  of = functools.partial(logprobs.token_statistics, temperature=1.0)
  np.testing.assert_array_equal(of(hidden, head, hidden, head, tokens).kl, 0)
  assert np.all(of(hidden, head, other, head, tokens).kl > 0)


def test_no_gradient_into_the_reference():
  hidden, head, ref_hidden, ref_head, tokens = _arrays()

  def total(ref_hidden, ref_head):
    return jnp.sum(logprobs.token_statistics(
        hidden, head, ref_hidden, ref_head, tokens, temperature=1.0).kl)

  for grad in jax.grad(total, argnums=(0, 1))(ref_hidden, ref_head):
    np.testing.assert_array_equal(grad, 0)


def test_token_logps_are_those_of_the_policy():
  hidden, head, *_, tokens = _arrays()
  stats = logprobs.token_statistics(hidden, head, hidden, head, tokens,
                                    temperature=1.0)
  np.testing.assert_allclose(
      logprobs.token_logps(hidden, head, tokens), stats.logp, rtol=1e-6)


@pytest.mark.parametrize('temperature,softcap,spread', [
    (1.0, 0.0, 1.0), (0.7, 0.0, 5.0), (1.0, 2.0, 3.0), (1.3, 30.0, 0.1),
    (0.5, 0.0, 1e-3)])
def test_the_gradient_of_equal_distributions_is_exactly_zero(
    temperature, softcap, spread):
  hidden, head, *_, tokens = _arrays()
  head = spread * head

  def of(hidden, head, *reference):
    return jnp.sum(logprobs.token_statistics(
        hidden, head, *reference, tokens, temperature=temperature,
        softcap=softcap).kl)

  value, grads = jax.jit(jax.value_and_grad(of, (0, 1)))(
      hidden, head, hidden, head)
  assert value == 0
  for grad in grads:
    np.testing.assert_array_equal(grad, 0)


def test_the_kl_of_one_function_is_zero_however_it_is_rounded():
  hidden, head, *_, tokens = _arrays()
  rounded = hidden * np.float32(1 + 1e-6)  # As of another compiled program.

  def loss(hidden, head, differs):
    stats = logprobs.without_kl(logprobs.token_statistics(
        hidden, head, rounded, head, tokens, temperature=1.0), differs)
    log_ratio = stats.logp - stats.ref_logp
    return jnp.sum(stats.kl + 0.5 * log_ratio**2 + log_ratio), log_ratio

  for differs in (True, False):
    (_, log_ratio), grads = jax.value_and_grad(loss, (0, 1), has_aux=True)(
        hidden, head, jnp.bool_(differs))
    assert log_ratio.any() == differs
  kl_alone = lambda *of: loss(*of)[0] - jnp.sum(loss(*of)[1])
  for grad in jax.grad(kl_alone, (0, 1))(hidden, head, jnp.bool_(False)):
    np.testing.assert_array_equal(grad, 0)


@pytest.mark.parametrize('temperature,softcap', [
    (1.0, 0.0), (0.7, 0.0), (0.6, 2.0)])
def test_the_gradient_of_the_exact_kl_is_that_of_its_sum(temperature, softcap):
  hidden, head, ref_hidden, ref_head, tokens = _arrays()

  def log_softmax(h, w):
    scores = jnp.matmul(h, w)
    if softcap:
      scores = softcap * jnp.tanh(scores / softcap)
    return jax.nn.log_softmax(scores / temperature)

  weight = np.random.default_rng(1).normal(size=(B, T)).astype(np.float32)

  def plain(hidden, head):
    logp, ref = log_softmax(hidden, head), log_softmax(ref_hidden, ref_head)
    return jnp.sum(weight * jnp.sum(jnp.exp(logp) * (logp - ref), axis=-1))

  def ours(hidden, head):
    return jnp.sum(weight * logprobs.token_statistics(
        hidden, head, ref_hidden, ref_head, tokens, temperature=temperature,
        softcap=softcap).kl)

  expected = jax.jit(jax.value_and_grad(plain, (0, 1)))(hidden, head)
  got = jax.jit(jax.value_and_grad(ours, (0, 1)))(hidden, head)
  for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(expected)):
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)
