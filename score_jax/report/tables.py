"""What a report puts into tables: the runs, their configs, their results."""

from collections.abc import Callable
from collections.abc import Sequence
import dataclasses
from typing import Any
from typing import NamedTuple

from score_jax import files
from score_jax.report import numbers
from score_jax.report import runs as runs_lib
from score_jax.report import table

ABSENT = '–'


class Cell(NamedTuple):
  """A text, and a smaller one below it."""

  text: str
  below: str = ''


@dataclasses.dataclass(frozen=True)
class Table:
  """Rows of cells under a line of titles; the first column names the row."""

  title: str
  columns: Sequence[str]
  rows: list[list[Cell]]
  note: str = ''


class _Field(NamedTuple):
  title: str
  key: str
  written: Callable[[Any], str]
  interval: str = ''


_MOST_ATTEMPTS = 16  # More have no column of each.


def _by_attempt(title, key):
  return tuple(
      _Field(f'{title}t{a}', f'{key}_t{a}', numbers.percent, f'{key}_t{a}_ci95')
      for a in range(1, _MOST_ATTEMPTS + 1))


# A field that no row has gets no column.
_FIELDS = (
    _Field('n', 'n', numbers.count),
    *_by_attempt('acc@', 'accuracy'),
    _Field('delta', 'delta', numbers.points, 'delta_ci95'),
    _Field('i→c', 'i_to_c', numbers.percent, 'i_to_c_ci95'),
    _Field('c→i', 'c_to_i', numbers.percent, 'c_to_i_ci95'),
    _Field('fix rate', 'fix_rate', numbers.percent, 'fix_rate_ci95'),
    _Field('unchanged', 'unchanged', numbers.percent),
    _Field('changed\nif wrong', 'changed_wrong', numbers.percent),
    _Field('changed\nif right', 'changed_right', numbers.percent),
    *_by_attempt('truncated\n', 'truncated'),
    _Field('McNemar\np', 'mcnemar_p', numbers.p_value),
)
_STUDIES = (  # Where `results.json` has it, what it is, and its fields.
    ('self_refine', 'Self-Refine, by prompting', _FIELDS),
    ('baselines', 'two samples, nothing corrected', (
        _Field('pass@2', 'pass_at_2', numbers.percent),
        _Field('tokens', 'tokens', numbers.plain),
        _Field('of two\nattempts', 'tokens_two_attempts', numbers.plain),
        _Field('temperature', 'temperature', numbers.plain))),
    ('repair', 'repair of given attempts', (
        _Field('n', 'n', numbers.count),
        _Field('accuracy', 'accuracy', numbers.percent, 'accuracy_ci95'),
        _Field('unchanged', 'unchanged', numbers.percent),
        _Field('truncated', 'truncated', numbers.percent))),
    ('swapped', "attempt 2 after another problem's attempt 1", (
        _Field('n', 'n', numbers.count),
        _Field('acc@t2\nown', 'accuracy_own', numbers.percent),
        _Field('acc@t2\nswapped', 'accuracy', numbers.percent),
        _Field('same\nanswer', 'same', numbers.percent),
        _Field("the other's\nanswer", 'copied', numbers.percent))),
    ('grading', 'grading', (
        _Field('timeouts', 'timeouts', numbers.count),
        _Field('crashes', 'crashes', numbers.count),
        _Field('answers\na second', 'answers_per_s', numbers.plain))),
)


def overview(runs: Sequence[runs_lib.Run]) -> Table:
  """What each run is."""
  columns = ('run', 'task', 'model', 'stages', 'time in steps', 'commit',
             'begun', 'devices')
  rows = []
  for run in runs:
    with runs_lib.expected(run.folder / 'config.json'):
      rows.append([Cell(run.label, run.record['config']['name']),
                   *_facts(run)])
  return Table('', columns, rows)


def differences(runs: Sequence[runs_lib.Run]) -> Table:
  """The fields of the config in which runs differ; a column a run."""
  configs = [files.flat(run.record['config']) for run in runs]
  names = sorted(set().union(*configs))
  rows = [[Cell(name), *(Cell(config.get(name, ABSENT)) for config in configs)]
          for name in names if len({c.get(name) for c in configs}) > 1]
  return Table('Config, where the runs differ',
               ('field', *(run.label for run in runs)), rows)


def results(run: runs_lib.Run) -> Table:
  """What the evaluations of a run found; a row a stage."""
  note = ('Small: 95% intervals. Shares are of all problems, the fix rate of '
          'those with a wrong first attempt.')
  if table.has_feedback(run.results):
    note = f'{table.NOT_INTRINSIC} {note}'
  return _table(run.label, 'stage', table.named(run.results), _FIELDS, note)


def groups(run: runs_lib.Run) -> list[Table]:
  """The same for the problems of each level, subject, ..."""
  kinds = {}  # In the order of their first appearance.
  for stage, result in table.named(run.results).items():
    for kind, members in result.get('groups', {}).items():
      for member, found in members.items():
        kinds.setdefault(kind, {})[member, stage] = found
  return [
      _table(f'{run.label}, by {kind}', kind,
             {f'{member}, {stage}': of[member, stage]
              for member, stage in sorted(of, key=lambda key: key[0])},
             _FIELDS)
      for kind, of in kinds.items()]


def studies(run: runs_lib.Run) -> list[Table]:
  """What else the evaluations of a run found, a table each."""
  results_by_title = table.named(run.results)
  found = [
      (title, fields, {stage: result[key]
                       for stage, result in results_by_title.items()
                       if result.get(key)})
      for key, title, fields in _STUDIES]
  return [_table(f'{run.label}, {title}', 'stage', rows, fields)
          for title, fields, rows in found if rows]


def _facts(run):
  config, commit = run.record['config'], run.record.get('commit') or ABSENT
  model = config['model']
  commit, _, dirty = commit.partition('-')
  stages = [title for stage, title in table.TITLES.items()
            if run.logged[stage] or stage in run.results]
  return [
      Cell(config['task']['name']),
      Cell(model['family'], model.get('checkpoint', '')),
      Cell(', '.join(stages) or ABSENT),
      Cell(numbers.duration(sum(
          row.get('step_s', 0) for rows in run.logged.values()
          for row in rows))),
      Cell(commit[:12], dirty and 'with changes'),
      Cell(run.record.get('date', ABSENT).replace('T', ' ')[:16]),
      Cell(f'{run.record.get("devices", "")} {run.record.get("device", "")}'),
  ]


def _table(title, corner, found, fields, note=''):
  """A row for each of `found`, a column for each field that is in any."""
  columns = [field for field in fields
             if any(field.key in row for row in found.values())]
  rows = [[Cell(name), *(_cell(field, row) for field in columns)]
          for name, row in found.items()]
  return Table(title, (corner, *(field.title for field in columns)), rows, note)


def _cell(field, row):
  value, interval = row.get(field.key), row.get(field.interval)
  below = ' to '.join(field.written(end).strip('%') for end in interval or ())
  return Cell(ABSENT if value is None else field.written(value), below)
