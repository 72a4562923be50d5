"""Means over seeds, their intervals, and paired differences, by hand."""

import pytest

from score_jax.report import seeds


def test_the_mean_and_its_interval_by_hand():
  # Deviations -0.1, 0, 0.1: s = sqrt(0.02 / 2) = 0.1; t(0.975, 2) = 4.3027;
  # half of the interval is 4.3027 * 0.1 / sqrt(3) = 0.24841.
  found = seeds.over([0.3, 0.4, 0.5])
  assert found['mean'] == pytest.approx(0.4)
  assert found['ci95'] == pytest.approx([0.4 - 0.24841, 0.4 + 0.24841],
                                        abs=1e-5)
  assert found['values'] == [0.3, 0.4, 0.5]
  # t(0.975, 1) = 12.7062, s = 0.1 * sqrt(2) / 2, over sqrt(2): 0.05.
  assert seeds.over([0.1, 0.2])['ci95'] == pytest.approx(
      [0.15 - 0.63531, 0.15 + 0.63531], abs=1e-5)


def test_a_single_seed_has_no_interval():
  assert seeds.over([0.25]) == {'mean': 0.25, 'ci95': None, 'values': [0.25]}


def test_a_difference_is_paired_by_seed():
  # Far apart from seed to seed, and the same 0.1 apart in each.
  found = seeds.difference({0: 0.2, 1: 0.9, 7: 0.5}, {1: 0.8, 0: 0.1, 3: 0.0})
  assert found['values'] == pytest.approx([0.1, 0.1])
  assert found['ci95'] == pytest.approx([0.1, 0.1])
  assert seeds.difference({0: 0.2}, {1: 0.2}) is None
