"""Line charts and histograms, laid out as what an <svg> is made of."""

from collections.abc import Callable
from collections.abc import Sequence
import dataclasses
import itertools
import math
from typing import NamedTuple

from score_jax.report import numbers

WIDTH, HEIGHT = 320, 176
LEFT, RIGHT, TOP, BOTTOM = 40, 310, 8, 152
"""Edges of the plot, in the units of WIDTH and HEIGHT."""

COLOURS, DASHES = 6, 3
"""How many the style sheet has."""

MAX_POINTS = 150
"""Of a line; of more, means over neighbours are drawn."""


class Unit(NamedTuple):
  """How values of an axis are written: one for itself, and one on the axis."""

  value: Callable[[float], str]
  tick: Callable[[float], str]


PERCENT = Unit(numbers.percent, lambda rate: f'{100 * rate:g}%')
POINTS = Unit(numbers.points, lambda x: f'{100 * x:+g}' if x else '0')
PLAIN = Unit(numbers.plain, lambda number: f'{number:g}')


class Line(NamedTuple):
  """Points in the order of x, in the units of the data.

  Attributes:
    series: what is measured; lines of one series share a row of the legend.
    run: whose it is.
    points: (x, y).
    colour: from 0; after `COLOURS` they begin again.
    dash: from 0, solid; likewise.
    bounds: (low, high) of each point; empty for none.
  """

  series: str
  run: str
  points: Sequence[tuple[float, float]]
  colour: int
  dash: int
  bounds: Sequence[tuple[float, float]] = ()


class Tick(NamedTuple):
  """Where on its axis, and the text there."""

  at: float
  text: str


class Mark(NamedTuple):
  """A line as it is drawn.

  Attributes:
    path: the `d` of a <path>.
    style: classes of the style sheet.
    series: as of `Line`.
    run: as of `Line`.
    last: its last value, in words.
  """

  path: str
  style: str
  series: str
  run: str
  last: str


@dataclasses.dataclass(frozen=True)
class Chart:
  """A chart; what is in it, and the words that say it.

  Attributes:
    title: what is drawn.
    x_title: what the horizontal axis is.
    x_ticks: along it.
    y_ticks: along the vertical axis.
    marks: lines.
    bands: `(path, style)` of the areas between the bounds of lines.
    bars: `(x, y, width, height, words)` of rectangles.
  """

  title: str
  x_title: str
  x_ticks: Sequence[Tick]
  y_ticks: Sequence[Tick]
  marks: Sequence[Mark] = ()
  bands: Sequence[tuple[str, str]] = ()
  bars: Sequence[tuple[float, float, float, float, str]] = ()

  def legend(self) -> list[tuple[str, list[Mark]]]:
    """Each series with its marks, which stand side by side."""
    return [(series, list(marks)) for series, marks in itertools.groupby(
        self.marks, lambda mark: mark.series)]

  def words(self) -> str:
    """The chart for those who do not see it."""
    said = [f'{mark.series}{mark.run and " of "}{mark.run} ends at {mark.last}'
            for mark in self.marks]
    said += [words for *_, words in self.bars]
    return f'{self.title} over {self.x_title}: {"; ".join(said)}'


def lines(
    title: str,
    x_title: str,
    unit: Unit,
    drawn: Sequence[Line],
    from_zero: bool = True,
    doubling: bool = False,
) -> Chart:
  """A line chart over whole numbers.

  Args:
    title: what is drawn.
    x_title: what x is.
    unit: of y.
    drawn: at least one line with at least one point.
    from_zero: zero is in it.
    doubling: every doubling of x takes equal space; ticks are at its values.
  """
  place = math.log2 if doubling else float
  means = [_means(line.points) for line in drawn]
  xs = sorted({x for line in drawn for x, _ in line.points})
  ys = [y for points in means for _, y in points] + [0.0] * from_zero
  ys += [y for line in drawn for ends in line.bounds for y in ends]
  y_values = ticks(min(ys), max(ys))
  x_scale = _scale(place(xs[0]), place(xs[-1]), LEFT, RIGHT)
  y_scale = _scale(y_values[0], y_values[-1], BOTTOM, TOP)
  x_values = xs if doubling else [
      x for x in ticks(xs[0], xs[-1])
      if xs[0] <= x <= xs[-1] and x == int(x)] or xs[:1]
  bands = [
      (_path([(x_scale(place(x)), y_scale(y)) for x, y in _around(line)]) + 'Z',
       f'c{line.colour % COLOURS}') for line in drawn if line.bounds]
  marks = [
      Mark(_path([(x_scale(place(x)), y_scale(y)) for x, y in points]),
           f'c{line.colour % COLOURS} d{line.dash % DASHES}', line.series,
           line.run, unit.value(points[-1][1]))
      for line, points in zip(drawn, means)]
  return Chart(
      title, x_title,
      [Tick(x_scale(place(x)), f'{x:g}') for x in x_values],
      [Tick(y_scale(y), unit.tick(y)) for y in y_values], marks, bands)


def histogram(
    title: str, x_title: str, edges: Sequence[float], counts: Sequence[int]
) -> Chart:
  """Bars between `edges`, one more than there are `counts`.

  Raises:
    ValueError: there are not, or there is no count.
  """
  y_values = ticks(0, max(*counts, 1))
  x_scale = _scale(edges[0], edges[-1], LEFT, RIGHT)
  y_scale = _scale(0, y_values[-1], BOTTOM, TOP)
  bars = [
      (_round(x_scale(low) + 0.5), _round(y_scale(n)),
       _round(x_scale(high) - x_scale(low) - 1), _round(BOTTOM - y_scale(n)),
       f'{n} from {low:g} to {high:g}')
      for low, high, n in zip(edges[:-1], edges[1:], counts, strict=True)]
  return Chart(
      title, x_title,
      [Tick(_round(x_scale(x)), f'{x:g}') for x in ticks(edges[0], edges[-1])],
      [Tick(_round(y_scale(y)), f'{y:g}') for y in y_values], bars=bars)


def ticks(low: float, high: float) -> list[float]:
  """Round numbers, about four steps, the first <= low and the last >= high."""
  span = high - low or abs(high) or 1.0
  power = 10.0 ** math.floor(math.log10(span / 4))
  step = next(power * m for m in (1, 2, 2.5, 5, 10) if power * m * 4 >= span)
  first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
  return [round(step * i, 12) for i in range(first, max(last, first + 1) + 1)]


def _around(line):
  """The corners of the area between a line's bounds."""
  xs = [x for x, _ in line.points]
  low, high = zip(*line.bounds)
  return [*zip(xs, low), *reversed(list(zip(xs, high)))]


def _means(points):
  """At most `MAX_POINTS`, each the mean of as many neighbours."""
  size = math.ceil(len(points) / MAX_POINTS)
  parts = [points[i : i + size] for i in range(0, len(points), size)]
  return [tuple(sum(axis) / len(part) for axis in zip(*part)) for part in parts]


def _scale(low, high, start, end):
  """Maps [low, high] onto [start, end]; one value onto the middle."""
  if low == high:
    return lambda value: (start + end) / 2
  return lambda value: _round(
      start + (value - low) / (high - low) * (end - start))


def _path(places):
  """The `d` of a line through places; a dot if there is one only."""
  if len(places) == 1:
    places = [*places, places[0]]
  return 'M' + 'L'.join(f'{x:g},{y:g}' for x, y in places)


def _round(value):
  return round(value, 1)
