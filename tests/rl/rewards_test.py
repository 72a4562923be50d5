"""Credit of both stages, for every pair of grades, worked by hand."""

import numpy as np
import pytest

from score_jax.rl import advantages
from score_jax.rl import rewards

PAIRS = [[0, 0], [0, 1], [1, 0], [1, 1]]


def test_stage_1_pays_the_second_attempt_alone():
  credit = rewards.stage1(2, beta1=0.01, beta2=0.1)
  shaped = rewards.shaped_rewards(np.array(PAIRS), credit)
  np.testing.assert_array_equal(shaped, [[0, 0], [0, 1], [0, 0], [0, 1]])
  assert credit.kl_A == (0.1, 0.01)


def test_stage_2_pays_progress_to_the_second_attempt_alone():
  # The table of the paper at alpha = 10: r1 for attempt 1, r2 + 10 (r2 - r1)
  # for attempt 2.
  credit = rewards.stage2(2, alpha=10.0, beta1=0.01)
  shaped = rewards.shaped_rewards(np.array(PAIRS), credit)
  np.testing.assert_array_equal(shaped, [[0, 0], [0, 11], [1, -10], [1, 1]])
  assert credit.kl_A == (0.01, 0.01)


def test_stage_2_without_bonus_is_plain_multi_turn():
  credit = rewards.stage2(2, alpha=0.0, beta1=0.5)
  np.testing.assert_array_equal(
      rewards.shaped_rewards(np.array(PAIRS), credit), PAIRS)


def test_three_attempts_pay_each_for_progress_over_the_one_before():
  credit = rewards.stage2(3, alpha=2.0, beta1=0.0)
  # r = (0, 1, 0): 0; 1 + 2 (1 - 0) = 3; 0 + 2 (0 - 1) = -2.
  np.testing.assert_array_equal(
      rewards.shaped_rewards(np.array([[0, 1, 0]]), credit), [[0, 3, -2]])
  credit = rewards.stage1(3, beta1=0.01, beta2=0.1)
  np.testing.assert_array_equal(
      rewards.shaped_rewards(np.array([[1, 1, 1]]), credit), [[0, 0, 1]])
  assert credit.kl_A == (0.1, 0.1, 0.01)


@pytest.mark.parametrize('gamma,shaped', [
    # Attempt 2 keeps r2; attempt 1 has gamma times it.
    (0.0, [[0, 0], [0, 1], [0, 0], [0, 1]]),
    (1.0, [[0, 0], [1, 1], [0, 0], [1, 1]])])
def test_the_last_reward_alone_goes_to_all_or_to_the_last(gamma, shaped):
  credit = rewards.returns(rewards.last(2, beta1=0.1), gamma)
  np.testing.assert_array_equal(
      rewards.shaped_rewards(np.array(PAIRS), credit), shaped)
  assert credit.kl_A == (0.1, 0.1)


def test_the_sum_of_both_is_the_first_attempts_return():
  credit = rewards.returns(rewards.stage2(2, alpha=0.0, beta1=0.1), 1.0)
  np.testing.assert_array_equal(
      rewards.shaped_rewards(np.array(PAIRS), credit),
      [[0, 0], [1, 1], [1, 0], [2, 1]])


def test_with_returns_the_bonus_punishes_right_first_attempts():
  # Attempt 1: r1 + 0.8 (r2 + 10 (r2 - r1)) = -7 r1 + 8.8 r2.
  credit = rewards.returns(rewards.stage2(2, alpha=10.0, beta1=0.1), 0.8)
  np.testing.assert_allclose(credit.reward_AA, [[-7, 8.8], [-10, 11]])
  # Over three attempts the third reward counts 0.8 * 0.8 for the first.
  credit = rewards.returns(rewards.last(3, beta1=0.1), 0.8)
  np.testing.assert_allclose(np.array(credit.reward_AA)[:, 2], [0.64, 0.8, 1])


def test_returns_without_a_discount_are_the_rewards_themselves():
  credit = rewards.stage2(3, alpha=0.3, beta1=0.1)
  assert rewards.returns(credit, 0.0) == credit


def test_single_turn_training_leaves_the_second_attempt_alone():
  credit = rewards.first(2, beta1=0.1)
  np.testing.assert_array_equal(
      rewards.shaped_rewards(np.array(PAIRS), credit),
      [[0, 0], [0, 0], [1, 0], [1, 0]])
  assert credit.kl_A == (0.1, 0.0)


def test_progress_pays_the_outcome_to_all_and_progress_to_each():
  # alpha = 2: attempt 1 has r2 + 2 r1, attempt 2 has r2 + 2 (r2 - r1).
  credit = rewards.progress(2, alpha=2.0, beta1=0.1)
  np.testing.assert_array_equal(
      rewards.shaped_rewards(np.array(PAIRS), credit),
      [[0, 0], [1, 3], [2, -2], [3, 1]])
  # Three attempts, r = (0, 1, 0): 0; 2 (1 - 0) = 2; 2 (0 - 1) = -2.
  credit = rewards.progress(3, alpha=2.0, beta1=0.1)
  np.testing.assert_array_equal(
      rewards.shaped_rewards(np.array([[0, 1, 0]]), credit), [[0, 2, -2]])


def test_factored_drops_what_came_before():
  credit = rewards.factored(rewards.stage2(3, alpha=2.0, beta1=0.1))
  np.testing.assert_array_equal(
      credit.reward_AA, [[1, 0, 0], [0, 3, 0], [0, 0, 3]])
  # Leave-one-out of it is 1 + alpha times leave-one-out of r2 alone.
  grades = np.array([[0, 1], [1, 0], [1, 1], [0, 0]])
  credit = rewards.factored(rewards.stage2(2, alpha=10.0, beta1=0.1))
  shaped = rewards.shaped_rewards(grades, credit)
  np.testing.assert_allclose(
      advantages.leave_one_out(shaped, 2),
      np.asarray(advantages.leave_one_out(grades, 2)) * np.array([1, 11]))


def test_leave_one_out_by_hand():
  # Two problems of three samples. Problem 1, attempt 1: rewards 1, 0, 0.
  #   1 - (0 + 0) / 2 = 1;  0 - (1 + 0) / 2 = -0.5;  -0.5.
  # Problem 1, attempt 2: 11, -10, 1:
  #   11 - (-9) / 2 = 15.5;  -10 - 12 / 2 = -16;  1 - 1 / 2 = 0.5.
  # Problem 2: all alike, so no credit.
  shaped = np.array([[1, 11], [0, -10], [0, 1], [1, 4], [1, 4], [1, 4]])
  np.testing.assert_allclose(
      advantages.leave_one_out(shaped, 3),
      [[1, 15.5], [-0.5, -16], [-0.5, 0.5], [0, 0], [0, 0], [0, 0]])


@pytest.mark.parametrize('samples', [2, 5])
def test_baseline_does_not_see_its_own_sample(samples):
  rng = np.random.default_rng(0)
  shaped = rng.normal(size=(samples, 2)).astype(np.float32)
  other = shaped.copy()
  other[0] += 3.0
  change = (advantages.leave_one_out(other, samples)
            - advantages.leave_one_out(shaped, samples))
  np.testing.assert_allclose(change[0], 3.0, rtol=1e-5)
  np.testing.assert_allclose(change[1:], -3.0 / (samples - 1), rtol=1e-5)
