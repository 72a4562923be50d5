"""What a number comes to over seeds: its mean, and how sure that is."""

from collections.abc import Sequence
from typing import Any

import numpy as np


def over(values: Sequence[float]) -> dict[str, Any]:
  """The mean over seeds and its 95% interval, by Student's t.

  mean +- t(0.975, n - 1) * s / sqrt(n), with s over n - 1.

  Args:
    values: one a seed, at least one.

  Returns:
    `mean`, `ci95` (low and high; None of a single seed) and `values`.
  """
  from scipy import special  # Half a second, for which no other run waits.

  n, mean = len(values), float(np.mean(values))
  found = {'mean': mean, 'ci95': None, 'values': [float(x) for x in values]}
  if n > 1:
    half = special.stdtrit(n - 1, 0.975) * np.std(values, ddof=1) / n**0.5
    found['ci95'] = [float(mean - half), float(mean + half)]
  return found


def difference(
    ours: dict[int, float], theirs: dict[int, float]
) -> dict[str, Any] | None:
  """`over` of ours - theirs, by seed; None if they have no seed in common."""
  both = sorted(set(ours) & set(theirs))
  return over([ours[seed] - theirs[seed] for seed in both]) if both else None
