"""The results of a run as a table of plain text."""

import itertools
from typing import Any

from score_jax.report import numbers

TITLES = {'base': 'base', 'stage1': 'Stage I', 'stage1b': 'Stage I(b)',
          'stage2': 'Stage II'}


NOT_INTRINSIC = (
    'With feedback between the attempts: not intrinsic self-correction, and '
    'not to be compared with rows without.')


def named(results: dict[str, Any]) -> dict[str, dict[str, Any]]:
  """Results of stages by their titles, in order, which tell of any feedback.

  Args:
    results: by stage.
  """
  found = {}
  for stage, title in TITLES.items():
    if stage in results:
      kind = results[stage].get('feedback', 'none')
      found[title if kind == 'none' else f'{title} + {kind}'] = results[stage]
  return found


def has_feedback(results: dict[str, Any]) -> bool:
  """Whether a stage was evaluated with feedback."""
  return any(of.get('feedback', 'none') != 'none' for of in results.values())


def results_table(results: dict[str, Any]) -> str:
  """One line a stage, in the order of training, under a line of titles.

  Args:
    results: what `results.json` holds: under 'stages', by stage, `n` problems,
      rates in 0..1 (`accuracy_t1` and so on of each attempt, `i_to_c`,
      `c_to_i`, `unchanged`, `truncated_t1` and so on), the difference `delta`
      of the last and the first accuracy and its interval `delta_ci95`, and
      what `feedback` stood between the attempts.

  Returns:
    Lines of columns; rates in percent, delta in percentage points.
  """
  stages = results['stages']
  attempts = max((len(_accuracies(stage)) for stage in stages.values()),
                 default=2)
  rows = [_columns(attempts)] + [
      _cells(*row, attempts) for row in named(stages).items()]
  widths = [max(map(len, column)) for column in zip(*rows)]
  lines = []
  for first, *rest in rows:
    cells = [first.ljust(widths[0])]
    cells += [cell.rjust(width) for cell, width in zip(rest, widths[1:])]
    lines.append('  '.join(cells).rstrip())
  if has_feedback(stages):
    lines.append(NOT_INTRINSIC)
  return '\n'.join(lines)


def _accuracies(stage) -> list[str]:
  """The fields with the accuracy of each attempt, in order."""
  names = (f'accuracy_t{a}' for a in itertools.count(1))
  return list(itertools.takewhile(stage.__contains__, names))


def _columns(attempts):
  numbered = [f't{a}' for a in range(1, attempts + 1)]
  return ('', 'n', *(f'acc@{t}' for t in numbered), 'delta [95% interval]',
          'i->c', 'c->i', 'unchanged', f'truncated {"/".join(numbered)}')


def _cells(title, stage, attempts):
  percent, points = numbers.percent, numbers.points
  low, high = stage['delta_ci95']
  accuracy = [percent(stage[name]) for name in _accuracies(stage)]
  truncated = [percent(stage[name.replace('accuracy', 'truncated')])
               for name in _accuracies(stage)
               if name.replace('accuracy', 'truncated') in stage]
  return (
      title,
      str(stage['n']),
      *(accuracy + [''] * (attempts - len(accuracy))),
      f'{points(stage["delta"])} [{points(low)}, {points(high)}]',
      percent(stage['i_to_c']),
      percent(stage['c_to_i']),
      percent(stage['unchanged']),
      '/'.join(truncated),
  )
