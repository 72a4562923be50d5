"""The charts of a sweep: training, edits, inference scaling, the dial."""

from typing import Any

import numpy as np

from score_jax.report import charts
from score_jax.report import seeds

_SERIES = (('first attempt', lambda row: rate(row, 'accuracy_first')),
           ('last attempt', lambda row: rate(row, 'accuracy_last')),
           ('another answer', lambda row: 1 - row['unchanged']))
_BEFORE = {'accuracy_first': 'accuracy_t1', 'accuracy_last': 'accuracy_t2'}


def rate(found: dict[str, Any], key: str) -> float | None:
  """Return a number of a result, by the name it had in older files if need be.

  Before accuracies were logged of every attempt, that of the last one was
  called `accuracy_t2`.
  """
  return found.get(key, found.get(_BEFORE.get(key)))


def drawn(sweep) -> dict[str, tuple[str, list[charts.Chart]]]:
  """By the name of their files: a title, and charts.

  Args:
    sweep: a `sweeps.Sweep`.
  """
  values = sweep.settings.values or (None,)
  found = {
      'training': ('Both attempts over training; a line a seed', [
          chart for value in values for chart in _training(sweep, value)]),
      'edits': ('Edits between the attempts, all seeds', [
          chart for value in values for chart in _edits(sweep, value)]),
      'scaling': ('Inference scaling, means over seeds', [
          chart for value in values for chart in _scaling(sweep, value)]),
      'dial': ('Over the dial, means over seeds', _dial(sweep))}
  return {name: of for name, of in found.items() if of[1]}


def _title(sweep, name, value):
  return name if value is None else (
      f'{name}, {sweep.settings.dial[0].rpartition(".")[2]} {value:g}')


def _training(sweep, value):
  """The paper's figure of collapse, for each row."""
  for name, of in sweep.at(value).items():
    lines = [
        charts.Line(series, f'seed {seed}', points, colour=number, dash=0)
        for number, (series, read) in enumerate(_SERIES)
        for seed, result in of.items()
        if (points := [(step, read(row))
                       for step, row in enumerate(result.logged, 1)
                       if 'accuracy_t1' in row])]
    if lines:
      yield charts.lines(_title(sweep, name, value), 'step', charts.PERCENT,
                         lines)


def _edits(sweep, value):
  for name, of in sweep.at(value).items():
    found = [result.found['edit_distance'] for result in of.values()]
    counts = np.sum([of_seed['counts'] for of_seed in found], axis=0)
    yield charts.histogram(_title(sweep, name, value), 'edit distance ratio',
                           found[0]['edges'], counts.tolist())


def _scaling(sweep, value):
  """Samples in parallel against samples corrected once, where studied."""
  for name, of in sweep.at(value).items():
    found = [result.found['scaling'] for result in of.values()
             if 'scaling' in result.found]
    if found:
      yield charts.lines(
          _title(sweep, name, value), 'samples', charts.PERCENT, [
              _over_seeds(series, n, found)
              for n, series in enumerate(('parallel', 'corrected'))],
          from_zero=False, doubling=True)


def _over_seeds(series, number, found) -> charts.Line:
  """The mean over seeds of a curve, with t intervals if there are several."""
  over = [seeds.over(values) for values in zip(*(of[series] for of in found))]
  bounds = [tuple(min(max(end, 0.0), 1.0) for end in of['ci95'])
            for of in over if of['ci95']]
  points = list(zip(found[0]['budget'], (of['mean'] for of in over)))
  return charts.Line(series, '', points, number, 0, bounds)


def _dial(sweep) -> list[charts.Chart]:
  values = sorted(sweep.settings.values)
  if len(values) < 2:
    return []
  by_value = {value: sweep.at(value) for value in values}
  names = list(dict.fromkeys(name for of in by_value.values() for name in of))
  found = []
  for title, key, unit in (('Delta, points', 'delta', charts.POINTS),
                           ('acc@last', 'accuracy_last', charts.PERCENT),
                           ('unchanged', 'unchanged', charts.PERCENT)):
    lines = [
        charts.Line(name, '', [
            (value, float(np.mean([rate(result.found, key)
                                   for result in rows[name].values()])))
            for value, rows in by_value.items() if name in rows],
            colour=number, dash=number // charts.COLOURS)
        for number, name in enumerate(names)]
    # Doublings have a place only above zero.
    found.append(charts.lines(title, ', '.join(sweep.settings.dial), unit,
                              lines, doubling=values[0] > 0))
  return found
