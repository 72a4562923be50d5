"""Intervals against published ones, and what they cover by enumeration."""

import numpy as np
import pytest
from scipy import stats

from score_jax import intervals


@pytest.mark.parametrize('up,down,n,low,high', [
    # Bentur et al. and Cavo et al. in Fagerland et al. (2014), with Tango's
    # interval to three digits; the differences have the other sign there.
    (7, 1, 21, 0.026, 0.517), (16, 6, 161, 0.005, 0.124),
    # Without flips, and with flips one way alone: z^2 / (n + z^2) and Wilson's.
    (0, 0, 50, -0.0713, 0.0713), (50, 0, 50, 0.9287 - 0.0714, 1.0),
    (0, 0, 1, -0.7935, 0.7935), (0, 44, 44, -1.0, -0.8393)])
def test_published_intervals_of_paired_differences(up, down, n, low, high):
  np.testing.assert_allclose(intervals.of_difference(up, down, n), [low, high],
                             atol=6e-4)


@pytest.mark.parametrize('up,down,n', [
    (1, 0, 30), (3, 1, 40), (10, 10, 50), (29, 7, 500), (0, 5, 20)])
def test_the_ends_are_where_the_score_test_rejects(up, down, n):
  # The constrained maximum of the likelihood, by brute force.
  for d in intervals.of_difference(up, down, n):
    q = np.linspace(max(0, -d), (1 - d) / 2, 200_001)[1:-1]
    with np.errstate(divide='ignore', invalid='ignore'):
      likelihood = sum(
          count * np.log(p) for count, p in (
              (up, q + d), (down, q), (n - up - down, 1 - 2 * q - d))
          if count)
    best = q[np.nanargmax(likelihood)] if up + down else max(0, -d)
    score = (up - down - n * d) / np.sqrt(n * (2 * best + d * (1 - d)))
    np.testing.assert_allclose(abs(score), 1.96, atol=2e-3)


@pytest.mark.parametrize('up,down', [
    (0.0, 0.0), (0.004, 0.0), (0.02, 0.0), (0.02, 0.02), (0.05, 0.01),
    (0.0, 0.05), (0.1, 0.1), (0.3, 0.1)])
def test_differences_are_covered_also_where_flips_are_rare(up, down):
  n, covered = 50, 0.0
  for flips in range(n + 1):
    split = stats.binom.pmf(flips, n, up + down)
    if split < 1e-7:
      continue
    for ups in range(flips + 1):
      chance = split * (stats.binom.pmf(ups, flips, up / (up + down))
                        if flips else 1.0)
      if chance > 1e-8:
        low, high = intervals.of_difference(ups, flips - ups, n)
        covered += chance * (low <= up - down <= high)
  assert covered > 0.945


@pytest.mark.parametrize('n', [1, 7, 50])
def test_rates_are_covered_at_every_rate(n):
  bounds = np.array([intervals.of_rate(k, n) for k in range(n + 1)])
  for rate in (0.0, 0.001, 0.0035, 0.01, 0.03, 0.2, 0.5, 0.77, 1.0):
    inside = (bounds[:, 0] <= rate) & (rate <= bounds[:, 1])
    chances = stats.binom.pmf(np.arange(n + 1), n, rate)
    assert chances[inside].sum() > 0.95 - 1e-9


@pytest.mark.parametrize('events,n,low,high', [
    # Of none, and of all: 1 - 0.025 ** (1 / n) and its complement.
    (0, 50, 0.0, 0.071122), (50, 50, 0.928878, 1.0), (0, 1, 0.0, 0.975),
    (1, 1, 0.025, 1.0), (1, 50, 0.000506, 0.106469),
    (3, 10, 0.066740, 0.652453)])
def test_exact_intervals_of_rates(events, n, low, high):
  np.testing.assert_allclose(intervals.of_rate(events, n), [low, high],
                             atol=1e-5)
