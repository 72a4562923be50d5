"""Baselines of one expected gradient, and the noise of each."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_jax import baseline_variance
from score_jax import pipeline
from score_jax.rl import rewards
from tests import tiny_run

LOGITS = np.array([-0.3, -1.2, 0.8])


def _sigmoid(x):
  return 1 / (1 + np.exp(-x))


@pytest.mark.parametrize('alpha', [0.0, 1.0, 10.0])
@pytest.mark.parametrize('samples', [2, 3])
def test_both_baselines_have_the_gradient_of_the_objective(alpha, samples):
  # Stage II by hand: attempt 1 climbs E[r1], attempt 2 climbs
  # E[(1 + alpha) r2] given attempt 1; a slope p (1 - p) for each logit.
  first = _sigmoid(LOGITS)[0]
  slopes = _sigmoid(LOGITS) * _sigmoid(-LOGITS)
  expected = slopes * [1, (1 + alpha) * (1 - first), (1 + alpha) * first]
  credit = rewards.stage2(2, alpha, 0.0)
  for form in (credit, rewards.factored(credit)):
    found = baseline_variance.exactly(form, samples, LOGITS)
    np.testing.assert_allclose(found.mean, expected, atol=1e-5)


def test_the_variance_by_hand():
  # alpha = 0, two samples, fair coins. Where two grades of an attempt differ
  # (half of the pairs) advantages are 1 and -1, scores 1/2 and -1/2, so that
  # each row adds 1/4 to its logit. Attempt 1 has one logit: 1/2 or 0, so its
  # variance is 1/8 - 1/16.
  first = 1 / 8 - 1 / 16
  # Attempt 2 has one for each first grade. If these agree: 1/2 on one logit; if
  # not: 1/4 on each. The mean of either is 1/8.
  second = 1 / 2 * (1 / 2 * 1 / 4 + 1 / 2 * 2 / 16) - 2 / 64
  found = baseline_variance.exactly(rewards.stage2(2, 0.0, 0.0), 2, np.zeros(3))
  np.testing.assert_allclose(found.variance, first + second)


def test_the_factored_baseline_has_less_variance_where_there_is_a_bonus():
  for alpha in (1.0, 10.0):
    credit = rewards.stage2(2, alpha, 0.0)
    shaped, factored = (baseline_variance.exactly(form, 2, LOGITS).variance
                        for form in (credit, rewards.factored(credit)))
    assert factored < 0.95 * shaped
  assert '| 10 | 4 |' in baseline_variance.table()


def _true_kl_gradient(scores, ref_scores):
  """Of the KL over whole attempts, from the chances of these, by parameter."""
  prefixes = list(scores)

  def kl(scores):
    total, todo = 0.0, [((), 0.0, 0.0)]
    while todo:
      prefix, logp, ref = todo.pop()
      if len(prefix) == 3 or (prefix and prefix[-1] == 0):
        total += jnp.exp(logp) * (logp - ref)
        continue
      ours, theirs = (jax.nn.log_softmax(of[prefix])
                      for of in (scores, ref_scores))
      todo += [((*prefix, n), logp + ours[n], ref + theirs[n])
               for n in range(3)]
    return total

  with jax.enable_x64(True):
    scores, ref_scores = (
        {prefix: jnp.asarray(x) for prefix, x in of.items()}
        for of in (scores, ref_scores))
    grad = jax.grad(kl)(scores)
    return np.concatenate([np.asarray(grad[prefix]) for prefix in prefixes])


@pytest.mark.parametrize('kl', ['exact', 'k2'])
@pytest.mark.parametrize('seed,spread', [
    (0, 1.0), (2, 1.0), (4, 0.3), (6, 2.0)])
def test_the_kl_has_one_expected_gradient_with_and_without_its_baseline(
    kl, seed, spread):
  policies = [baseline_variance.small_policy(seed + n, spread) for n in (0, 1)]
  true = _true_kl_gradient(*policies)
  assert np.abs(true).max() > 1e-3
  for kl_baseline in baseline_variance.KL_BASELINES:
    found = baseline_variance.kl_exactly(*policies, 2, kl_baseline, kl)
    np.testing.assert_allclose(found.mean, true, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize('seed,spread,ratio', [
    (0, 1.0, 1.4), (2, 1.0, 1.1), (4, 0.3, 1.09), (6, 2.0, 1.4)])
def test_the_baseline_of_the_kl_to_go_lowers_the_variance(seed, spread, ratio):
  policies = [baseline_variance.small_policy(seed + n, spread) for n in (0, 1)]
  none, others = (
      baseline_variance.kl_exactly(*policies, 4, kl_baseline).variance
      for kl_baseline in baseline_variance.KL_BASELINES)
  assert none > ratio * others
  assert '| exact | 4 |' in baseline_variance.kl_table()


@pytest.mark.slow
def test_of_a_run_at_the_weights_of_a_stage(tmp_path):
  run = tiny_run.start(tmp_path, tiny_run.config(
      'score', stage1={'steps': 1}, stage2={'steps': 1}))
  with jax.set_mesh(run.mesh):
    with pytest.raises(ValueError, match='holds no checkpoint of stage1'):
      baseline_variance.of_run(run, 'stage1', 2)
    pipeline.train_all(run)
    found = baseline_variance.of_run(run, 'stage1', 3)
  assert set(found) == {'shaped', 'factored', 'KL, none', 'KL, leave_one_out'}
  for gradient in found.values():
    assert np.isfinite(gradient.variance) and gradient.variance >= 0


@pytest.mark.parametrize('kl,ends,least', [
    ('exact', False, 5.0), ('exact', True, 1.2), ('k2', False, 1.3)])
def test_long_attempts_gain_by_the_baseline_of_the_kl(kl, ends, least):
  none, others = (
      baseline_variance.kl_sampled(40, ends, kl_baseline, kl, draws=64)
      for kl_baseline in baseline_variance.KL_BASELINES)
  assert none.variance / others.variance > least
  # One expected gradient: the means differ by their noise alone.
  noise = (none.variance + others.variance) / 64
  assert ((none.mean - others.mean)**2).sum() < 4 * noise
