"""Counts, rates and the interval of delta."""

import numpy as np

from score_jax import metrics

# First, last: right-right, right-wrong, wrong-right twice, wrong-wrong.
GRADES = np.array([[1, 1], [1, 0], [0, 1], [0, 1], [0, 0]])
UNCHANGED = np.array([True, False, False, False, True])
TRUNCATED = np.array([[0, 0], [1, 0], [1, 0], [0, 1], [0, 0]], bool)


def _counts():
  return metrics.count(GRADES, UNCHANGED, TRUNCATED)


def test_counts_and_rates_by_hand():
  assert _counts() == {
      'n': 5, 'right_t1': 2, 'right_t2': 3, 'i_to_c': 2, 'c_to_i': 1,
      'unchanged': 2, 'truncated_t1': 2, 'truncated_t2': 1}
  rates = metrics.rates(_counts())
  assert rates['accuracy_t1'] == 2 / 5 and rates['accuracy_t2'] == 3 / 5
  assert rates['delta'] == rates['i_to_c'] - rates['c_to_i']
  assert rates['truncated_t1'] == 2 / 5 and rates['unchanged'] == 2 / 5


def test_delta_is_the_difference_of_accuracies_for_any_grades():
  rng = np.random.default_rng(0)
  for _ in range(50):
    grades = rng.integers(0, 2, (rng.integers(1, 40), 2))
    none = np.zeros(len(grades), bool)
    rates = metrics.rates(metrics.count(grades, none, none[:, None] | [0, 0]))
    assert rates['delta'] == rates['i_to_c'] - rates['c_to_i']
    np.testing.assert_allclose(
        rates['delta'], rates['accuracy_t2'] - rates['accuracy_t1'], atol=1e-12)


def test_batches_of_uneven_size_add_up_without_bias():
  parts = [metrics.count(GRADES[s], UNCHANGED[s], TRUNCATED[s])
           for s in (slice(0, 1), slice(1, 5))]
  assert metrics.add(*parts) == _counts()


def test_first_and_last_of_three_attempts_are_compared():
  truncated = np.array([[0, 1, 0], [0, 1, 1], [0, 1, 1]], bool)
  counts = metrics.count([[0, 0, 1], [1, 1, 0], [0, 1, 0]], np.zeros(3, bool),
                         truncated)
  assert (counts['i_to_c'], counts['c_to_i'], counts['right_t2']) == (1, 1, 1)
  assert (counts['truncated_t1'], counts['truncated_t2']) == (0, 2)


def test_interval_is_that_of_a_paired_sample():
  # 29 up and 7 down of 500 (the paper's own counts): the standard error of
  # the mean of +1, -1, 0 is sqrt((36 / 500 - 0.044^2) / 500) = 0.0118.
  low, high = metrics.delta_interval({'n': 500, 'i_to_c': 29, 'c_to_i': 7})
  np.testing.assert_allclose([low, high],
                             [0.044 - 1.96 * 0.0118, 0.044 + 1.96 * 0.0118],
                             atol=0.002)
  assert metrics.delta_interval({'n': 9, 'i_to_c': 0, 'c_to_i': 0}) == [0, 0]
