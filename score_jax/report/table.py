"""The results of a run as a table of plain text."""

from typing import Any

from score_jax.report import numbers

TITLES = {'base': 'base', 'stage1': 'Stage I', 'stage1b': 'Stage I(b)',
          'stage2': 'Stage II'}
_COLUMNS = ('', 'n', 'acc@t1', 'acc@t2', 'delta [95% interval]', 'i->c',
            'c->i', 'unchanged', 'truncated t1/t2')


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
      rates in 0..1 (`accuracy_t1`, `accuracy_t2`, `i_to_c`, `c_to_i`,
      `unchanged`, `truncated_t1`, `truncated_t2`), the difference `delta` of
      the accuracies and its interval `delta_ci95`, and what `feedback` stood
      between the attempts.

  Returns:
    Lines of columns; rates in percent, delta in percentage points.
  """
  stages = results['stages']
  rows = [_COLUMNS] + [_cells(*row) for row in named(stages).items()]
  widths = [max(map(len, column)) for column in zip(*rows)]
  lines = []
  for first, *rest in rows:
    cells = [first.ljust(widths[0])]
    cells += [cell.rjust(width) for cell, width in zip(rest, widths[1:])]
    lines.append('  '.join(cells).rstrip())
  if has_feedback(stages):
    lines.append(NOT_INTRINSIC)
  return '\n'.join(lines)


def _cells(title, stage):
  percent, points = numbers.percent, numbers.points
  low, high = stage['delta_ci95']
  return (
      title,
      str(stage['n']),
      percent(stage['accuracy_t1']),
      percent(stage['accuracy_t2']),
      f'{points(stage["delta"])} [{points(low)}, {points(high)}]',
      percent(stage['i_to_c']),
      percent(stage['c_to_i']),
      percent(stage['unchanged']),
      f'{percent(stage["truncated_t1"])}/{percent(stage["truncated_t2"])}',
  )
