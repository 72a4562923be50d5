"""The results of a run as a table of plain text."""

from typing import Any

from score_jax.report import numbers

TITLES = {'base': 'base', 'stage1': 'Stage I', 'stage1b': 'Stage I(b)',
          'stage2': 'Stage II'}
_COLUMNS = ('', 'n', 'acc@t1', 'acc@t2', 'delta [95% interval]', 'i->c',
            'c->i', 'unchanged', 'truncated t1/t2')


def results_table(results: dict[str, Any]) -> str:
  """One line a stage, in the order of training, under a line of titles.

  Args:
    results: what `results.json` holds: under 'stages', by stage, `n` problems,
      rates in 0..1 (`accuracy_t1`, `accuracy_t2`, `i_to_c`, `c_to_i`,
      `unchanged`, `truncated_t1`, `truncated_t2`), the difference `delta` of
      the accuracies and its interval `delta_ci95`.

  Returns:
    Lines of columns; rates in percent, delta in percentage points.
  """
  stages = results['stages']
  rows = [_COLUMNS] + [
      _cells(title, stages[name])
      for name, title in TITLES.items() if name in stages
  ]
  widths = [max(map(len, column)) for column in zip(*rows)]
  lines = []
  for first, *rest in rows:
    cells = [first.ljust(widths[0])]
    cells += [cell.rjust(width) for cell, width in zip(rest, widths[1:])]
    lines.append('  '.join(cells).rstrip())
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
