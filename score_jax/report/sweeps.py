"""What a sweep found: tables of means over seeds, charts, a page of both."""

from collections.abc import Callable
import dataclasses
import pathlib
import re
from typing import Any
from typing import NamedTuple

from score_jax import config as config_lib
from score_jax import files
from score_jax.report import numbers
from score_jax.report import page
from score_jax.report import seeds
from score_jax.report import sweep_charts
from score_jax.report import table
from score_jax.report import tables


class Result(NamedTuple):
  """What a finished cell came to.

  Attributes:
    name: of the cell; 'base' and 'stage1' are rows of their own.
    seed: of the cell.
    value: of the dial; None if it has no part in the cell.
    found: what `results.json` holds of its last stage.
    logged: the lines of `metrics.jsonl` of the stages behind the base.
  """

  name: str
  seed: int
  value: float | None
  found: dict[str, Any]
  logged: list[dict[str, Any]]


@dataclasses.dataclass(frozen=True)
class Sweep:
  """A sweep, as far as it is finished.

  Attributes:
    name: of its config.
    settings: its part of the config.
    own: for each cell its own fields, in words.
    results: of the cells that are finished.
  """

  name: str
  settings: config_lib.SweepConfig
  own: dict[str, list[str]]
  results: list[Result]

  def at(self, value: float | None) -> dict[str, dict[int, Result]]:
    """By row and seed, with the rows that the dial has no part in."""
    rows = {}
    for result in self.results:
      if result.value in (None, value):
        rows.setdefault(result.name, {})[result.seed] = result
    return rows


class _Column(NamedTuple):
  title: str
  key: str
  written: Callable[[float], str]


_COLUMNS = (
    _Column('acc@t1', 'accuracy_first', numbers.percent),
    _Column('acc@last', 'accuracy_last', numbers.percent),
    _Column('delta', 'delta', numbers.points),
    _Column('i→c', 'i_to_c', numbers.percent),
    _Column('c→i', 'c_to_i', numbers.percent),
    _Column('unchanged', 'unchanged', numbers.percent),
    _Column('changed\nif wrong', 'changed_wrong', numbers.percent),
    _Column('changed\nif right', 'changed_right', numbers.percent),
)
_DIFFERENCES = tuple(
    _Column(column.title, column.key, numbers.points)
    for column in _COLUMNS[:3])
_SWAPPED = (
    _Column('acc@t2\nown', 'accuracy_own', numbers.percent),
    _Column('acc@t2\nswapped', 'accuracy', numbers.percent),
    _Column('same\nanswer', 'same', numbers.percent),
    _Column("the other's\nanswer", 'copied', numbers.percent),
)


def write(folder: pathlib.Path, sweep: Sweep):
  """Writes table.md, table.json, report.html and plots/ into a folder.

  Raises:
    ValueError: a file cannot be written.
  """
  plots, charts = folder / 'plots', sweep_charts.drawn(sweep)
  files.write_json(folder / 'table.json', record(sweep))
  files.write_lines(folder / 'table.md', [markdown(sweep)])
  files.write_lines(folder / 'report.html', [
      page.sweep_page(sweep.name, all_tables(sweep), charts)])
  with files.named_errors(plots):
    plots.mkdir(exist_ok=True)
  for name, (_, drawn) in charts.items():
    for chart in drawn:
      what = re.sub(r'\W+', '_', chart.title)
      files.write_lines(plots / f'{name}_{what}.svg', [page.plot(chart)])


def markdown(sweep: Sweep) -> str:
  """The tables as text."""
  lines = [f'# {sweep.name}']
  for one in all_tables(sweep):
    row = lambda cells: f'| {" | ".join(cells)} |'
    lines += [
        '', f'## {one.title}', '',
        row(title.replace('\n', ' ') for title in one.columns),
        row('---' for _ in one.columns),
        *(row(f'{cell.text} {cell.below}'.strip() for cell in cells)
          for cells in one.rows)]
    if one.note:
      lines += ['', one.note]
  return '\n'.join(lines)


def all_tables(sweep: Sweep) -> list[tables.Table]:
  """For each value of the dial what came out; then what the rows are."""
  found = []
  for value in sweep.settings.values or (None,):
    rows, at = sweep.at(value), _at(sweep, value)
    kinds = [(True, 'Results', ''), (False, 'With feedback',
                                     table.NOT_INTRINSIC)]
    for intrinsic, title, note in kinds:
      chosen = {name: of for name, of in rows.items()
                if _is_intrinsic(of) == intrinsic}
      found += [
          _table(f'{title}{at}', chosen, _COLUMNS, _of_result,
                 f'{note} {_NOTE}'.strip()),
          _differences(f'{title}{at}', chosen, rows, sweep.settings.against)]
    found.append(_table(
        f"Attempt 2 after another problem's attempt 1{at}", rows, _SWAPPED,
        _of_swapped, 'A second attempt that does not read the first has the '
        'same answer after either.'))
  found.append(tables.Table(
      'Rows', ('', f'fields that are not those of {sweep.settings.against}'), [
          [tables.Cell(name), tables.Cell(', '.join(own) or 'none')]
          for name, own in sweep.own.items()]))
  return [one for one in found if one.rows]


_NOTE = ('Means over seeds, with 95% intervals (t). Shares are of all problems;'
         ' of wrong and right first attempts where it says so. acc@last is of'
         ' the last attempt.')


def record(sweep: Sweep) -> dict[str, Any]:
  """The numbers of all tables, for JSON."""
  return {
      'name': sweep.name, 'against': sweep.settings.against,
      'dial': list(sweep.settings.dial), 'own': sweep.own,
      'tables': [
          {'value': value, 'rows': {
              name: _row_record(of, sweep.at(value).get(
                  sweep.settings.against, {}))
              for name, of in sweep.at(value).items()}}
          for value in sweep.settings.values or (None,)]}


def _row_record(of, against) -> dict[str, Any]:
  kept = lambda numbers_by_key: {
      key: found for key, found in numbers_by_key.items() if found}
  return {
      'seeds': sorted(of),
      'n': [of[seed].found['n'] for seed in sorted(of)],
      'feedback': next(iter(of.values())).found.get('feedback', 'none'),
      **kept({key: _over(of, _of_result, key) for key in (
          *(c.key for c in _COLUMNS), *_numbered(of))}),
      'swapped': kept({
          c.key: _over(of, _of_swapped, c.key) for c in _SWAPPED}),
      'difference': kept({
          key: _difference(of, against, key) for key in (
              *(c.key for c in _DIFFERENCES), *_numbered(of | against))})}


def _numbered(of) -> list[str]:
  """The fields with the accuracy of each attempt, which any seed has."""
  return sorted({key for result in of.values() for key in result.found
                 if re.fullmatch(r'accuracy_t\d+', key)})


def _at(sweep, value):
  if value is None:
    return ''
  return f', {" and ".join(sweep.settings.dial)} {value:g}'


def _is_intrinsic(of):
  return all(result.found.get('feedback', 'none') == 'none'
             for result in of.values())


def _of_result(result, key):
  return sweep_charts.rate(result.found, key)


def _of_swapped(result, key):
  return result.found.get('swapped', {}).get(key)


def _over(of, read, key):
  """None unless every seed has the number."""
  values = [read(of[seed], key) for seed in sorted(of)]
  return None if not values or None in values else seeds.over(values)


def _difference(of, against, key):
  values = [{seed: _of_result(result, key) for seed, result in row.items()}
            for row in (of, against)]
  if any(None in of_row.values() for of_row in values):
    return None
  return seeds.difference(*values)


def _table(title, rows, columns, read, note) -> tables.Table:
  """A row for each that has any of the numbers."""
  found = []
  for name, of in rows.items():
    over = [_over(of, read, column.key) for column in columns]
    if any(over):
      found.append([
          tables.Cell(name), tables.Cell(str(len(of))),
          *(_cell(column, one) for column, one in zip(columns, over))])
  return tables.Table(
      title, ('', 'seeds', *(column.title for column in columns)), found, note)


def _differences(title, chosen, rows, against) -> tables.Table:
  theirs = rows.get(against, {})
  found = []
  for name, of in chosen.items():
    both = set(of) & set(theirs)
    if name != against and both:
      found.append([tables.Cell(name), tables.Cell(str(len(both))), *(
          _cell(column, _difference(of, theirs, column.key))
          for column in _DIFFERENCES)])
  return tables.Table(
      f'{title}: difference to {against}', ('', 'seeds', *(
          column.title for column in _DIFFERENCES)), found,
      'Points, paired by seed, with 95% intervals (t).')


def _cell(column, over) -> tables.Cell:
  if over is None:
    return tables.Cell(tables.ABSENT)
  ends = over['ci95'] or ()
  if column.written is numbers.percent:  # A share: t knows of no ends to it.
    ends = [min(max(end, 0.0), 1.0) for end in ends]
  ends = [column.written(end).strip('%') for end in ends]
  return tables.Cell(column.written(over['mean']),
                     f'[{", ".join(ends)}]' if ends else '')
