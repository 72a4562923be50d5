"""What is printed of times: medians, ratios with their spread, exponents."""

from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
import statistics
from typing import NamedTuple

import numpy as np


class Spread(NamedTuple):
  """A number that was measured several times.

  Attributes:
    median: the middle one.
    low, high: the extremes.
  """

  median: float
  low: float
  high: float

  def __str__(self):
    return f'{self.median:.3g} [{self.low:.3g}, {self.high:.3g}]'


def spread(values: Sequence[float]) -> Spread:
  """Of at least one value."""
  return Spread(statistics.median(values), min(values), max(values))


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> Spread:
  """How many times as long theirs take, of pairs measured side by side."""
  return spread([b / a for a, b in zip(ours, theirs, strict=True)])


def alternate(
    calls: Mapping[str, Callable[[int], float]], rounds: int, warm_up: int = 2
) -> dict[str, list[float]]:
  """What each call measures, in turn: A B A B.

  Rounds before are not counted: programs are compiled in them, by Tunix in the
  second as well.

  Args:
    calls: by name; given the number of the round.
    rounds: that count.
    warm_up: that do not.
  """
  found = {name: [] for name in calls}
  for number in range(warm_up + rounds):
    for name, call in calls.items():
      value = call(number)
      if number >= warm_up:
        found[name].append(value)
  return found


def exponent(sizes: Sequence[float], values: Sequence[float]) -> float:
  """e of the straight line through log values: values ~ sizes ** e."""
  return float(np.polyfit(np.log(sizes), np.log(values), 1)[0])


def series(rows: dict[int, dict[str, float]]) -> dict[str, list[float]]:
  """What was measured at every size, by its name."""
  everywhere = lambda name: all(name in row for row in rows.values())
  return {name: [row[name] for row in rows.values()]
          for name in next(iter(rows.values())) if everywhere(name)}
