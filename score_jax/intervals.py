"""95% intervals of rates of independent problems, and of paired differences.

Both hold for few and for no events: 0 of 50 is compatible with a rate of up to
7%. A percentile bootstrap gives [0, 0] there.
"""

import math

_Z = 1.959963984540054  # The 0.975 quantile of the normal distribution.


def of_rate(events: int, n: int) -> list[float]:
  """Return the exact interval of a rate (Clopper and Pearson, 1934).

  It covers the true rate with at least 95% for every rate and n.

  Args:
    events: 0 to n.
    n: independent trials, at least 1.

  Returns:
    Low and high, in 0 to 1.
  """
  from scipy import stats  # A second, for which no other run waits.

  found = stats.binomtest(int(events), int(n)).proportion_ci(method='exact')
  return [float(found.low), float(found.high)]


def of_difference(up: int, down: int, n: int) -> list[float]:
  """Return the score interval of a difference of two paired rates.

  Tango (Statistics in Medicine 17, 891-908, 1998): the differences d for which
  the score test does not reject at 5%,

      |up - down - n d| <= z * sqrt(n (2 q + d (1 - d))),

  with q the maximum-likelihood estimate of the rate of `down` given d. Neither
  scipy nor statsmodels has it.

  Args:
    up: pairs of n that are wrong, then right.
    down: pairs that are right, then wrong.
    n: independent pairs, at least 1.

  Returns:
    Low and high of (up - down) / n, in -1 to 1.
  """
  estimate = (up - down) / n
  return [-_limit(-estimate, down, up, n), _limit(estimate, up, down, n)]


def _limit(estimate, up, down, n):
  """The upper limit, by bisection: the score falls as the difference grows."""
  low, high = estimate, 1.0
  for _ in range(60):
    middle = (low + high) / 2
    if _score(middle, up, down, n) >= -_Z:
      low = middle
    else:
      high = middle
  return (low + high) / 2


def _score(d, up, down, n):
  """Tango's statistic at a difference d at or above the estimate."""
  b = (2 * n - up + down) * d - up - down
  root = math.sqrt(max(b * b + 8 * n * down * d * (1 - d), 0.0))
  variance = n * ((root - b) / (2 * n) + d * (1 - d))
  return (up - down - n * d) / math.sqrt(variance) if variance > 0 else (
      0.0 if up - down == n * d else -math.inf)
