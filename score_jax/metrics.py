"""What the attempts of many problems add up to: counts first, rates last.

    accuracy_t1, accuracy_t2   right first and last attempts
    i_to_c, c_to_i             incorrect to correct, correct to incorrect
    delta                      i_to_c - c_to_i = accuracy_t2 - accuracy_t1
    unchanged                  the last attempt gives the first one's answer
    truncated_t1, truncated_t2 attempts that ran out of tokens

All are shares of ALL problems counted (paper section 3.1, "Metrics").
"""

import numpy as np

COUNTS = ('n', 'right_t1', 'right_t2', 'i_to_c', 'c_to_i', 'unchanged',
          'truncated_t1', 'truncated_t2')


def count(
    grades_BA: np.ndarray, unchanged_B: np.ndarray, truncated_BA: np.ndarray
) -> dict[str, int]:
  """Counts of a batch; those of two batches add up key by key.

  Args:
    grades_BA: 0 or 1 for each attempt.
    unchanged_B: bool, first and last attempt give the same answer.
    truncated_BA: bool.
  """
  first, last = np.asarray(grades_BA)[:, 0], np.asarray(grades_BA)[:, -1]
  truncated_BA = np.asarray(truncated_BA)
  values = (len(first), first.sum(), last.sum(),
            ((first == 0) & (last == 1)).sum(),
            ((first == 1) & (last == 0)).sum(), np.sum(unchanged_B),
            truncated_BA[:, 0].sum(), truncated_BA[:, -1].sum())
  return dict(zip(COUNTS, map(int, values)))


def add(a: dict[str, int], b: dict[str, int]) -> dict[str, int]:
  """The counts of two batches together."""
  return {name: a[name] + b[name] for name in COUNTS}


def rates(counts: dict[str, int]) -> dict[str, float]:
  """Fractions of all problems; `delta` is exactly `i_to_c - c_to_i`."""
  n = counts['n']
  share = {name: counts[name] / n for name in COUNTS[1:]}
  return {
      'accuracy_t1': share['right_t1'], 'accuracy_t2': share['right_t2'],
      'delta': share['i_to_c'] - share['c_to_i'],
      **{name: share[name] for name in COUNTS[3:]}}


def delta_interval(
    counts: dict[str, int], draws: int = 10_000, seed: int = 0
) -> list[float]:
  """95% interval of delta: the percentile bootstrap over problems.

  Problems are resampled with both their attempts (paired). Each contributes
  +1, -1 or 0, so a resample is one multinomial draw of the three counts.
  """
  n, up, down = counts['n'], counts['i_to_c'], counts['c_to_i']
  rng = np.random.default_rng(seed)
  drawn = rng.multinomial(n, [up / n, down / n, (n - up - down) / n], draws)
  delta = (drawn[:, 0] - drawn[:, 1]) / n
  return [float(q) for q in np.quantile(delta, [0.025, 0.975])]
