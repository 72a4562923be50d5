"""Which charts a report draws of runs."""

from collections.abc import Sequence
from typing import NamedTuple

from score_jax.report import charts
from score_jax.report import runs as runs_lib
from score_jax.report import table


class _Panel(NamedTuple):
  title: str
  unit: charts.Unit
  series: tuple[tuple[str, str], ...]  # What it is called, and its key.


_MOST_ATTEMPTS = 16  # More have no curve of each.


def _attempts(key):
  return tuple((f'attempt {a}', f'{key}_t{a}')
               for a in range(1, _MOST_ATTEMPTS + 1))


_PANELS = (
    _Panel('Accuracy', charts.PERCENT, _attempts('accuracy')),
    _Panel('Delta, points', charts.POINTS, (('delta', 'delta'),)),
    _Panel('Transitions', charts.PERCENT, (
        ('i→c', 'i_to_c'), ('c→i', 'c_to_i'), ('unchanged', 'unchanged'))),
    _Panel('KL to the reference, nats', charts.PLAIN, _attempts('kl')),
    _Panel('Length, tokens', charts.PLAIN, _attempts('length')),
    _Panel('Truncated', charts.PERCENT, _attempts('truncated')),
    _Panel('Entropy, nats a token', charts.PLAIN, _attempts('entropy')),
    _Panel('Loss', charts.PLAIN, (('loss', 'loss'),)),
    _Panel('Waiting for grades, seconds', charts.PLAIN, (
        ('waiting', 'grade_wait_s'),)),
)


def training(
    runs: Sequence[runs_lib.Run]
) -> list[tuple[str, list[charts.Chart]]]:
  """For each stage that was trained, its title and its charts over steps."""
  return _of_stages(lambda stage: [
      _panel(runs, stage, panel) for panel in _PANELS])


def studies(
    runs: Sequence[runs_lib.Run]
) -> list[tuple[str, list[charts.Chart]]]:
  """For each stage, charts of what its evaluation found beside the rates."""
  return _of_stages(lambda stage: [
      _study(runs, stage, 'scaling', 'Majority vote', 'samples',
             ('parallel', 'corrected')),
      _study(runs, stage, 'attempts_in_a_row', 'Attempts in a row', 'attempt',
             ('accuracy',)),
      *_edit_distances(runs, stage)])


def _of_stages(draw):
  """(title, charts) of the stages that have any; None is no chart."""
  drawn = {title: [chart for chart in draw(stage) if chart]
           for stage, title in table.TITLES.items()}
  return [(title, found) for title, found in drawn.items() if found]


def _panel(runs, stage, panel):
  """The chart of a panel; None if no run logged anything of it."""
  found = []
  for name, key in panel.series:
    for run in runs:
      with runs_lib.expected(run.folder / 'metrics.jsonl'):
        points = [(row['step'], float(row[key])) for row in run.logged[stage]
                  if row.get(key) is not None]
      found.append((name, run, points, ()))
  return _lines(panel.title, 'step', panel.unit, runs, found)


def _study(runs, stage, key, title, x, series):
  """Accuracies over samples or attempts; None if no run has the study."""
  found = []
  for name in series:
    for run in runs:
      if study := run.results.get(stage, {}).get(key):
        with runs_lib.expected(run.folder / 'results.json'):
          ys = [float(y) for y in study[name]]
          xs = [int(x) for x in study.get('budget', range(1, len(ys) + 1))]
          bounds = [(float(low), float(high))
                    for low, high in study.get(f'{name}_ci95', ())]
        found.append((name, run, list(zip(xs, ys)), bounds))
  return _lines(title, x, charts.PERCENT, runs, found, from_zero=False,
                doubling=key == 'scaling')


def _edit_distances(runs, stage):
  for run in runs:
    if study := run.results.get(stage, {}).get('edit_distance'):
      of = f' of {run.label}' if len(runs) > 1 else ''
      with runs_lib.expected(run.folder / 'results.json'):
        yield charts.histogram(
            f'Edits between attempts{of}', 'edit distance ratio',
            study['edges'], study['counts'])


def _lines(title, x_title, unit, runs, found, **options):
  """Several runs differ in colour, one run's series do; None without points."""
  names = list(dict.fromkeys(name for name, *_ in found))
  labels = [run.label for run in runs]
  several = len(runs) > 1
  drawn = [
      charts.Line(
          name, run.label if several else '', points,
          colour=(labels.index(run.label) if several else names.index(name)),
          dash=names.index(name) if several else 0, bounds=bounds)
      for name, run, points, bounds in found if points]
  if not drawn:
    return None
  return charts.lines(title, x_title, unit, drawn, **options)
