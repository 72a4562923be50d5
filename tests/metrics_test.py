"""Counts, rates and the interval of delta."""

import numpy as np
import pytest
from scipy import stats

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


def test_change_rates_are_of_wrong_and_of_right_first_attempts():
  # Of three wrong ones the third keeps its answer, of two right ones one does.
  assert metrics.change_rates(GRADES, UNCHANGED) == {
      'changed_wrong': 2 / 3, 'changed_right': 1 / 2}
  assert metrics.change_rates(GRADES[:2], UNCHANGED[:2]) == {
      'changed_wrong': None, 'changed_right': 1 / 2}


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
  assert (counts['i_to_c'], counts['c_to_i']) == (1, 1)
  assert [counts[f'right_t{a}'] for a in (1, 2, 3)] == [1, 2, 1]
  assert [counts[f'truncated_t{a}'] for a in (1, 2, 3)] == [0, 3, 2]


# Grades of attempts 1 to A of one problem each; the rates of every attempt.
@pytest.mark.parametrize('grades,rates', [
    ([[1, 0], [1, 1]], [1, 0.5]),
    ([[0, 1, 0], [0, 1, 1]], [0, 1, 0.5]),
    ([[0, 1, 0]], [0, 1, 0]),
    ([[1, 0, 0, 1], [0, 0, 1, 1], [0, 0, 0, 1], [0, 0, 0, 0]],
     [0.25, 0, 0.25, 0.75]),
    ([[1] * 5, [0] * 5], [0.5] * 5)])
def test_every_attempt_has_its_own_accuracy(grades, rates):
  grades = np.array(grades)
  truncated = grades[:, ::-1] == 0
  found = metrics.summary(metrics.count(
      grades, np.zeros(len(grades), bool), truncated))
  attempts = len(rates)
  assert [found[f'accuracy_t{a + 1}'] for a in range(attempts)] == rates
  assert f'accuracy_t{attempts + 1}' not in found
  assert (found['accuracy_first'], found['accuracy_last']) == (
      rates[0], rates[-1])
  np.testing.assert_allclose(found['delta'], rates[-1] - rates[0])
  assert [found[f'truncated_t{a + 1}'] for a in range(attempts)] == [
      1 - rate for rate in reversed(rates)]
  for name in ('first', 'last', 't1', f't{attempts}'):
    low, high = found[f'accuracy_{name}_ci95']
    assert low <= found[f'accuracy_{name}'] <= high


# 29 up and 7 down of 500, 300 right at first: the paper's own counts.
PAPER = dict(n=500, right_t1=300, right_t2=322, i_to_c=29, c_to_i=7,
             unchanged=0, truncated_t1=0, truncated_t2=0)


@pytest.mark.parametrize('name,events,n', [
    ('accuracy_t1', 300, 500), ('accuracy_first', 300, 500),
    ('accuracy_t2', 322, 500), ('accuracy_last', 322, 500),
    ('i_to_c', 29, 500), ('c_to_i', 7, 500), ('fix_rate', 29, 200)])
def test_intervals_of_rates_are_quantiles_of_beta(name, events, n):
  np.testing.assert_allclose(
      metrics.intervals(PAPER)[f'{name}_ci95'],
      [stats.beta.ppf(0.025, events, n - events + 1),
       stats.beta.ppf(0.975, events + 1, n - events)], rtol=1e-6)


def test_the_interval_of_delta_is_of_the_flips():
  # The standard error of the mean of +1, -1, 0 is
  # sqrt((36 / 500 - 0.044^2) / 500) = 0.0118.
  np.testing.assert_allclose(
      metrics.intervals(PAPER)['delta_ci95'],
      [0.044 - 1.96 * 0.0118, 0.044 + 1.96 * 0.0118], atol=0.003)


def test_what_never_changes_has_an_interval_and_nothing_has_none():
  none = dict.fromkeys(metrics.count_names(2), 0) | {'n': 50}
  found = metrics.summary(none)
  # 0 of 50 flips: 1.96^2 / (50 + 1.96^2); 0 of 50 events: 1 - 0.025^(1 / 50).
  np.testing.assert_allclose(found['delta_ci95'], [-0.07135, 0.07135],
                             atol=1e-5)
  np.testing.assert_allclose(found['fix_rate_ci95'], [0, 0.07112], atol=1e-5)
  assert found['mcnemar_p'] == 1.0
  right = none | {'right_t1': 50, 'right_t2': 50}
  found = metrics.summary(right)
  assert found['fix_rate'] is found['fix_rate_ci95'] is None
  assert found['accuracy_t1_ci95'][1] == 1.0


def test_mcnemar_by_hand():
  # One of five flips goes down: 2 * (1 + 5) / 2^5 = 0.375.
  found = metrics.summary(PAPER | {'i_to_c': 4, 'c_to_i': 1})
  np.testing.assert_allclose(found['mcnemar_p'], 0.375)
  even = metrics.summary(PAPER | {'i_to_c': 3, 'c_to_i': 3})
  assert even['mcnemar_p'] == 1.0
  assert metrics.summary(PAPER)['fix_rate'] == 29 / 200  # The paper's 14.5%.


@pytest.mark.parametrize('first,last,ratio', [
    ('', '', 0.0), ('abc', 'abc', 0.0), ('abc', '', 1.0), ('abc', 'xyz', 0.5),
    ('kitten', 'sitting', 3 / 13)])
def test_edit_distance_ratio_by_hand(first, last, ratio):
  assert metrics.edit_distance_ratio(first, last) == ratio


def test_every_ratio_is_in_one_bin():
  found = metrics.histogram([0.0, 0.049, 0.05, 0.5, 1.0])
  assert len(found['edges']) == 21 and sum(found['counts']) == 5
  assert found['counts'][0] == 2 and found['counts'][1] == 1
  assert found['counts'][10] == 1 and found['counts'][19] == 1


@pytest.mark.parametrize('answers,index', [
    (['a', 'b', 'b'], 1), (['a', 'b'], 0), ([None, 'b'], 1),
    ([None, None], 0), (['b', 'a', 'a', 'b'], 0), ([None, None, 'c'], 2)])
def test_majority_by_hand(answers, index):
  assert metrics.majority(answers) == index


def test_pass_at_k_by_hand():
  # Of 4 samples 1, 0, 4 are right: of the 6 pairs 3, 0 and 6 have a right one.
  np.testing.assert_allclose(metrics.pass_at(2, [1, 0, 4], 4), 1.5 / 3)
  np.testing.assert_allclose(metrics.pass_at(1, [1, 0, 4], 4), 5 / 12)
  np.testing.assert_allclose(metrics.pass_at(4, [1, 0, 3], 4), 2 / 3)


@pytest.mark.parametrize('texts,unread', [
    ([['5', '5'], ['5', '']], 0), ([['5', ''], ['', '5']], 0),
    ([['', ''], ['5', '']], 3), ([['', '']], 2), ([['5', '5']], 0)])
def test_attempts_without_a_readable_answer_are_reported(texts, unread):
  line = metrics.unread_warning('own', texts, lambda text: text or None)
  count = sum(map(len, texts))
  assert bool(line) == (unread > 0)
  assert line.startswith(f'WARNING: {unread} of {count} attempts have no answer'
                         ) or not unread
  assert '\n' not in line and (not line or 'config.task.question' in line)
