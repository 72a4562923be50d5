"""The loss: worked numbers, and its gradient against the true objective's."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_jax.rl import advantages
from score_jax.rl import logprobs
from score_jax.rl import objective
from score_jax.rl import rewards

# One row: a token of no attempt, two of attempt 1, two of attempt 2.
ATTEMPT_BT = jnp.array([[0, 1, 1, 2, 2]])
LOGP_BT = jnp.array([[-9.0, -1.0, -2.0, -0.5, -0.25]])
REF_LOGP_BT = jnp.array([[-7.0, -1.5, -1.5, -0.5, -1.25]])
KL_BT = jnp.array([[5.0, 0.1, 0.2, 0.3, 0.4]])


def _stats(logp=LOGP_BT, kl=KL_BT):
  return logprobs.TokenStatistics(logp, jnp.zeros_like(logp), REF_LOGP_BT, kl)


def _loss(stats, advantages, kl_A=(0.0, 0.0), **kwargs):
  return objective.fused_loss(
      stats, ATTEMPT_BT, jnp.array([advantages], jnp.float32), kl_A,
      jnp.ones((2,)), **kwargs)[0]


def test_policy_term_by_hand():
  # -(3 * (-1 - 2) + 5 * (-0.5 - 0.25)) = 9 + 3.75
  np.testing.assert_allclose(_loss(_stats(), (3.0, 5.0)), 12.75)


def test_kl_term_by_hand():
  # Exact, token credit: 0.5 * (0.1 + 0.2) + 2 * (0.3 + 0.4) = 0.15 + 1.4.
  loss = _loss(_stats(), (0.0, 0.0), (0.5, 2.0), kl_credit='token')
  np.testing.assert_allclose(loss, 1.55, rtol=1e-6)
  # Sequence credit adds logp * (KL of later tokens of the SAME attempt):
  # 0.5 * (-1.0 * 0.2) + 2 * (-0.5 * 0.4) = -0.1 - 0.4.
  loss = _loss(_stats(), (0.0, 0.0), (0.5, 2.0))
  np.testing.assert_allclose(loss, 1.05, rtol=1e-6)
  # k2: log-ratios 0.5, -0.5; 0, 1. Halved squares 0.125, 0.125; 0, 0.5:
  # 0.5 * 0.25 + 2 * 0.5 = 1.125.
  loss = _loss(_stats(), (0.0, 0.0), (0.5, 2.0), kl='k2', kl_credit='token')
  np.testing.assert_allclose(loss, 1.125, rtol=1e-6)


def test_a_chunk_is_charged_with_what_is_behind_it_by_hand():
  # Before it is the first token of attempt 1, behind it 0.2 of attempt 1 and
  # 0.7 of attempt 2: 0.5 * (0.1 - 1.0 * 0.2) = -0.05.
  cut = lambda x: x[:, :2]
  loss, behind = objective.fused_loss(
      jax.tree.map(cut, _stats()), cut(ATTEMPT_BT), jnp.zeros((1, 2)),
      (0.5, 2.0), jnp.ones((2,)), jnp.array([[0.2, 0.7]]))
  np.testing.assert_allclose(loss, -0.05, rtol=1e-6)
  np.testing.assert_allclose(behind, [[0.3, 0.7]], rtol=1e-6)


@pytest.mark.parametrize('kl', ['exact', 'k2'])
@pytest.mark.parametrize('kl_credit', ['sequence', 'token'])
def test_chunks_from_the_last_to_the_first_add_up(kl, kl_credit):
  given = jnp.array([[3.0, 5.0]]), (0.5, 2.0), jnp.array([4.0, 2.0])
  of = lambda part, behind: objective.fused_loss(
      jax.tree.map(lambda x: x[:, part], _stats()), ATTEMPT_BT[:, part], *given,
      behind, kl=kl, kl_credit=kl_credit)
  whole, behind_all = of(slice(None), None)
  total, behind = 0, None
  for part in (slice(4, 5), slice(2, 4), slice(0, 2)):
    loss, behind = of(part, behind)
    total += loss
  np.testing.assert_allclose(total, whole, rtol=1e-6)
  np.testing.assert_allclose(behind, behind_all, rtol=1e-6)


@pytest.mark.parametrize('stage', ['stage1', 'stage2'])
@pytest.mark.parametrize('r1,r2', list(itertools.product([0, 1], repeat=2)))
def test_gradient_on_each_token_is_minus_the_shaped_reward(stage, r1, r2):
  credit = (rewards.stage1(2, 0.0, 0.0) if stage == 'stage1'
            else rewards.stage2(2, 10.0, 0.0))
  shaped = rewards.shaped_rewards(np.array([[r1, r2]]), credit)[0]
  grad = jax.grad(lambda logp: _loss(_stats(logp), shaped))(LOGP_BT)[0]
  first = 0.0 if stage == 'stage1' else r1
  second = r2 if stage == 'stage1' else r2 + 10 * (r2 - r1)
  np.testing.assert_allclose(grad, [0, -first, -first, -second, -second])


def test_bonus_has_no_gradient_on_attempt_1():
  def by_alpha(alpha):
    credit = rewards.stage2(2, alpha, 0.0)
    shaped = rewards.shaped_rewards(np.array([[1, 0]]), credit)[0]
    return jax.grad(lambda logp: _loss(_stats(logp), shaped))(LOGP_BT)[0]

  change = by_alpha(10.0) - by_alpha(0.0)
  np.testing.assert_array_equal(change[:3], [0, 0, 0])
  assert np.all(np.asarray(change[3:]) == 10.0)


@pytest.mark.parametrize('credit,first,second', [
    (rewards.stage2(2, 10.0, 0.0), 0, 11),
    (rewards.returns(rewards.stage2(2, 1.0, 0.0), 0.5), 1, 2),
    (rewards.last(2, 0.0), 0, 1),
    (rewards.returns(rewards.last(2, 0.0), 1.0), 1, 1),
    (rewards.first(2, 0.0), 0, 0),
])
def test_whose_tokens_feel_the_second_reward(credit, first, second):
  def grad(r2):
    shaped = rewards.shaped_rewards(np.array([[1, r2]]), credit)[0]
    return jax.grad(lambda logp: _loss(_stats(logp), shaped))(LOGP_BT)[0]

  np.testing.assert_allclose(grad(0) - grad(1),
                             [0, first, first, second, second])


def test_single_turn_training_has_no_gradient_behind_attempt_1():
  credit = rewards.first(2, 0.5)

  def loss(logp, kl):
    shaped = rewards.shaped_rewards(np.array([[1, 1]]), credit)[0]
    return _loss(_stats(logp, kl), shaped, credit.kl_A)

  for grad in jax.grad(loss, argnums=(0, 1))(LOGP_BT, KL_BT):
    grad = np.asarray(grad[0])
    assert grad[[1, 2]].all() and not grad[[0, 3, 4]].any()


def test_stage_1_pins_attempt_1_by_its_kl():
  credit = rewards.stage1(2, beta1=0.01, beta2=0.1)
  grad = jax.grad(
      lambda kl: _loss(_stats(kl=kl), (0.0, 0.0), credit.kl_A))(KL_BT)[0]
  np.testing.assert_allclose(grad, [0, 0.1, 0.1, 0.01, 0.01])


def test_no_gradient_reaches_prompt_or_reference():
  def loss(logp, ref):
    stats = _stats(logp)._replace(ref_logp=ref)
    return _loss(stats, (3.0, 5.0), (0.5, 2.0), kl='k2')

  grad = jax.grad(loss)(LOGP_BT, REF_LOGP_BT)
  assert grad[0, 0] == 0.0 and np.all(np.asarray(grad[0, 1:]) != 0.0)


def test_normalisers_by_hand():
  attempt = jnp.array([[1, 1, 0, 2], [1, 0, 0, 2]])
  np.testing.assert_array_equal(
      objective.normalisers(attempt, 2, 'sequence'), [2, 2])
  np.testing.assert_array_equal(
      objective.normalisers(attempt, 2, 'token'), [3, 2])
  np.testing.assert_array_equal(
      objective.normalisers(jnp.zeros_like(attempt), 2, 'token'), [1, 1])


def test_rows_without_learned_tokens_of_an_attempt_are_not_in_its_mean():
  # First attempts of two of three rows are the base's; a second one is masked.
  attempt = jnp.array([[0, 0, 2, 2], [0, 0, 2, 0], [1, 0, 0, 0]])
  np.testing.assert_array_equal(
      objective.normalisers(attempt, 2, 'sequence'), [1, 2])
  np.testing.assert_array_equal(
      objective.normalisers(attempt, 3, 'sequence'), [1, 2, 1])


def test_normalisers_divide_each_attempt_whole():
  # The two sums by hand above: policy 9 and 3.75, penalty 0.15 and 1.4.
  loss, _ = objective.fused_loss(
      _stats(), ATTEMPT_BT, jnp.array([[3.0, 5.0]]), (0.5, 2.0),
      jnp.array([4.0, 2.0]), kl_credit='token')
  np.testing.assert_allclose(loss, 9.15 / 4 + 5.15 / 2, rtol=1e-6)


def test_token_sums_by_hand():
  stats = logprobs.TokenStatistics(LOGP_BT, 2 * KL_BT, REF_LOGP_BT, KL_BT)
  sums = objective.token_sums(stats, ATTEMPT_BT, LOGP_BT + 0.5, 2)
  expected = {'tokens_t1': 2, 'kl_t1': 0.3, 'entropy_t1': 0.6,
              'logp_gap_t1': 1.0, 'tokens_t2': 2, 'kl_t2': 0.7,
              'entropy_t2': 1.4, 'logp_gap_t2': 1.0}
  assert sums.keys() == expected.keys()
  for name, value in expected.items():
    np.testing.assert_allclose(sums[name], value, rtol=1e-6, err_msg=name)


# An enumerable policy: two attempts of two tokens over three ids, each token
# conditioned on all before it. Every expectation is a sum over 81 sequences.

IDS = 3
SEQUENCES = jnp.array(list(itertools.product(range(IDS), repeat=4)))
ENUMERATED_ATTEMPT_BT = jnp.broadcast_to(jnp.array([[1, 1, 2, 2]]),
                                         SEQUENCES.shape)


def _tables(seed):
  """Scores of token t given the t ids before it."""
  rng = np.random.default_rng(seed)
  return [jnp.asarray(rng.normal(size=(IDS,) * (t + 1)), jnp.float32)
          for t in range(4)]


def _token_logps(tables):
  """log-probabilities [81, 4, IDS] at each prefix of each sequence."""
  columns = [
      jax.nn.log_softmax(table, axis=-1)[tuple(SEQUENCES[:, :t].T)]
      if t else jnp.broadcast_to(jax.nn.log_softmax(table)[None],
                                 (len(SEQUENCES), IDS))
      for t, table in enumerate(tables)]
  return jnp.stack(columns, axis=1)


def _statistics(tables, ref_tables):
  all_logp, all_ref = _token_logps(tables), _token_logps(ref_tables)
  pick = lambda x: jnp.take_along_axis(x, SEQUENCES[..., None], axis=2)[..., 0]
  kl = jnp.sum(jnp.exp(all_logp) * (all_logp - all_ref), axis=-1)
  return logprobs.TokenStatistics(pick(all_logp), jnp.zeros(kl.shape),
                                  pick(all_ref), kl)


REWARD_BA = jnp.asarray(
    np.random.default_rng(5).normal(size=(81, 2)), jnp.float32)
KL_WEIGHTS = (0.7, 0.3)


def _true_objective(tables, ref_tables):
  """E[R1 - kl1 KL(y1)] + E[R2 - kl2 KL(y2|x2)] with gamma = 0.

  gamma = 0 means that attempt 2's reward and KL do not reach attempt 1's
  choices, so its states are drawn from a policy that is held fixed.
  """
  stats = _statistics(tables, ref_tables)
  p1 = jnp.exp(jnp.sum(stats.logp[:, :2], axis=1))
  p2 = jnp.exp(jnp.sum(stats.logp[:, 2:], axis=1))
  ratio = stats.logp - stats.ref_logp
  gain1 = REWARD_BA[:, 0] - KL_WEIGHTS[0] * jnp.sum(ratio[:, :2], axis=1)
  gain2 = REWARD_BA[:, 1] - KL_WEIGHTS[1] * jnp.sum(ratio[:, 2:], axis=1)
  fixed = jax.lax.stop_gradient
  # gain1 depends on y1 alone here, if R1 does: weigh by the fixed p2.
  return jnp.sum(p1 * fixed(p2) * gain1) + jnp.sum(fixed(p1) * p2 * gain2)


@pytest.mark.parametrize('kl', ['exact', 'k2'])
def test_expected_gradient_is_that_of_the_objective(kl):
  tables, ref_tables = _tables(0), _tables(1)

  def expected_loss(tables):
    stats = _statistics(tables, ref_tables)
    p = jax.lax.stop_gradient(jnp.exp(jnp.sum(stats.logp, axis=1)))
    by_row = jax.vmap(lambda s, attempt, reward: objective.fused_loss(
        jax.tree.map(lambda x: x[None], s), attempt[None], reward[None],
        KL_WEIGHTS, jnp.ones((2,)), kl=kl, kl_credit='sequence')[0])
    return jnp.sum(p * by_row(stats, ENUMERATED_ATTEMPT_BT, REWARD_BA))

  expected = jax.grad(_true_objective)(tables, ref_tables)
  got = jax.grad(expected_loss)(tables)
  for a, b in zip(got, expected):
    # Float32 sums of 81 terms of order 1.
    np.testing.assert_allclose(a, -b, atol=2e-6)


def test_token_credit_alone_is_not_the_gradient_of_the_sequence_kl():
  tables, ref_tables = _tables(0), _tables(1)

  def expected_loss(tables):
    stats = _statistics(tables, ref_tables)
    p = jax.lax.stop_gradient(jnp.exp(jnp.sum(stats.logp, axis=1)))
    return jnp.sum(p * jnp.sum(stats.kl[:, :2], axis=1))

  def sequence_kl(tables):
    stats = _statistics(tables, ref_tables)
    p = jnp.exp(jnp.sum(stats.logp, axis=1))
    return jnp.sum(p * jnp.sum((stats.logp - stats.ref_logp)[:, :2], axis=1))

  got, true = jax.grad(expected_loss)(tables), jax.grad(sequence_kl)(tables)
  assert np.max(np.abs(got[0] - true[0])) > 0.01
  np.testing.assert_allclose(got[1], true[1], atol=1e-6)


# Three samples of one problem, two positions; the third ends after the first.
GROUP_LOGP_BT = jnp.array([[-1.0, -2.0], [-0.5, -1.5], [-3.0, 0.0]])
GROUP_KL_BT = jnp.array([[0.1, 0.4], [0.2, 0.8], [0.3, 5.0]])
GROUP_ATTEMPT_BT = jnp.array([[1, 1], [1, 1], [1, 0]])


def _group_loss(part=slice(None), behind_BA=None, group=3, samples=3):
  cut = lambda x: x[:samples, part]
  stats = logprobs.TokenStatistics(
      cut(GROUP_LOGP_BT), cut(0 * GROUP_KL_BT), cut(GROUP_LOGP_BT),
      cut(GROUP_KL_BT))
  return objective.fused_loss(
      stats, cut(GROUP_ATTEMPT_BT), jnp.zeros((samples, 1)), (2.0,),
      jnp.ones((1,)), behind_BA, group=group)


def test_the_baseline_of_the_kl_to_go_by_hand():
  # KL to go behind the first token: 0.4, 0.8, 0; behind the second none. The
  # others of the first sample add up to 0.8, of the second to 0.4, of the third
  # to 1.2; both others are alive there: thirds of these are subtracted.
  #   2 * (0.1 + 0.4 + 0.2 + 0.8 + 0.3) = 3.6
  #   2 * (-1 * (0.4 - 0.8 / 3) - 0.5 * (0.8 - 0.4 / 3) - 3 * (0 - 0.4))
  #     = 22 / 15
  np.testing.assert_allclose(_group_loss()[0], 3.6 + 22 / 15, rtol=1e-6)
  # Without: 2 * (-1 * 0.4 - 0.5 * 0.8) = -1.6.
  np.testing.assert_allclose(_group_loss(group=1)[0], 3.6 - 1.6, rtol=1e-6)
  # Of the first two alone each has one other: a half of it.
  #   3.0 + 2 * (-1 * (0.4 - 0.4) - 0.5 * (0.8 - 0.2)) = 2.4
  np.testing.assert_allclose(_group_loss(group=2, samples=2)[0], 2.4, rtol=1e-6)


def test_the_baseline_of_the_kl_to_go_needs_no_whole_attempts():
  last, behind = _group_loss(slice(1, 2))
  first, _ = _group_loss(slice(0, 1), behind)
  np.testing.assert_allclose(first + last, _group_loss()[0], rtol=1e-6)


def test_a_sample_has_no_part_in_its_own_baseline():
  # Whatever the KL of a sample, its own baseline stays; that of others moves.
  rng = np.random.default_rng(0)
  to_go = jnp.asarray(rng.normal(size=(6, 4)), jnp.float32)
  alive = jnp.asarray(rng.random((6, 4)) < 0.7, jnp.float32)
  found = advantages.baseline_to_go(to_go, alive, 3)
  for row in range(6):
    changed = advantages.baseline_to_go(
        to_go.at[row].add(100.0), alive.at[row].set(1.0), 3)
    same = np.isclose(found, changed, atol=1e-4).all(axis=1)
    assert same[row]
    others = [n for n in range(6) if n // 3 == row // 3 and n != row]
    assert not same[others].any()
    assert same[[n for n in range(6) if n // 3 != row // 3]].all()


@pytest.mark.parametrize('values', [
    [0.1, 0.1, 0.1], [0.2, 0.2, 0.2, 0.2, 0.2, 0.2], [1 / 3] * 7, [11.0] * 8,
    [-0.7] * 5])
def test_equal_rewards_have_advantages_of_exactly_zero(values):
  rewards_BA = np.array([values, values]).T
  np.testing.assert_array_equal(
      advantages.leave_one_out(rewards_BA, len(values)), 0)
