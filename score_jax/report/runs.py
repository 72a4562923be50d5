"""What the folder of a run holds, read and checked."""

from collections.abc import Iterator
from collections.abc import Sequence
import contextlib
import dataclasses
from typing import Any

from score_jax import config as config_lib
from score_jax import files


@dataclasses.dataclass(frozen=True)
class Run:
  """One run.

  Attributes:
    folder: where it is kept.
    label: what the report calls it; no two runs share one.
    record: `config.json`, as of `writer.run_record`.
    logged: by stage, the lines of `metrics.jsonl` and `timings.jsonl`, one a
      step, in one dict.
    results: by stage, what `results.json` holds of it and of its grading; may
      be empty.
    transcripts: the lines of `transcripts.jsonl`; may be empty.
  """

  folder: files.Path
  label: str
  record: dict[str, Any]
  logged: dict[str, list[dict[str, Any]]]
  results: dict[str, Any]
  transcripts: list[dict[str, Any]]


def read(folders: Sequence[str]) -> list[Run]:
  """Reads runs; only `config.json` has to be there.

  Each evaluation of a run by `--mode=eval`, `WORKDIR/evaluations/NAME`, follows
  it as a run without steps, whose label ends with NAME.

  Raises:
    ValueError: a folder is no run, is named twice, or a file in it is damaged.
      A torn last line is not: a run that goes on may have one.
  """
  paths = [files.opened(folder) for folder in folders]
  for path in paths:
    if paths.count(path) > 1:
      raise ValueError(f'{path} is named twice; name each run once')
  names = [path.name for path in paths]
  unique = len(set(names)) == len(names)
  found = []
  for path in paths:
    label = path.name if unique else str(path)
    found += [_read(path, label), *_evaluations(path, label)]
  return found


class DamagedFile(ValueError):
  """A file of a run is not as a run writes it."""


@contextlib.contextmanager
def expected(path: files.Path) -> Iterator[None]:
  """Turns what a file of another shape makes fail into a line that names it."""
  try:
    yield
  except DamagedFile:
    raise
  except (ArithmeticError, AttributeError, LookupError, RecursionError,
          TypeError, ValueError) as error:
    raise DamagedFile(
        f'{path} is not as a run writes it ({type(error).__name__}: {error}); '
        'mend or move the file') from error


def _evaluations(folder, label) -> list[Run]:
  """Those that were begun, by name."""
  with files.named_errors(folder):
    inside = folder / 'evaluations'
    names = sorted(path.name for path in inside.iterdir()
                   if (path / 'config.json').exists()) if (
                       inside.is_dir()) else []
  return [_read(inside / name, f'{label}/{name}') for name in names]


def _read(folder, label):
  path = folder / 'config.json'
  record = files.read_json(path)
  if record is None:
    raise ValueError(f'{folder} is no run: it has no config.json; name the '
                     '--workdir of a run')
  if not isinstance(record, dict) or 'config' not in record:
    raise ValueError(f'{path} is no record of a run; name the --workdir of one')
  transcripts = folder / 'transcripts.jsonl'
  rows = [row for _, row in files.read_lines(transcripts)]
  for number, row in enumerate(rows, 1):
    _check_transcript(f'{transcripts} line {number}', row)
  return Run(folder, label, record, _logged(folder),
             _results(folder / 'results.json'), rows)


def _logged(folder):
  steps = {}
  for name in ('metrics.jsonl', 'timings.jsonl'):
    path = folder / name
    for number, (_, row) in enumerate(files.read_lines(path), 1):
      with expected(f'{path} line {number}'):
        if row['stage'] not in config_lib.STAGES:
          raise ValueError(f'no stage is named {row["stage"]!r}')
        key = row['stage'], int(row['step'])
        steps.setdefault(key, {}).update(row)
  return {stage: [row for (of, _), row in sorted(steps.items()) if of == stage]
          for stage in config_lib.STAGES}


def _results(path):
  results = files.read_json(path)
  if results is None:
    return {}
  with expected(path):
    grading = results.get('grading', {})
    return {stage: {'grading': grading.get(stage)} | results['stages'][stage]
            for stage in config_lib.STAGES if stage in results['stages']}


def _check_transcript(where, row):
  """ValueError unless every attempt is a text with a grade and a flag."""
  attempts, grades = row.get('attempts'), row.get('grades')
  truncated = row.get('truncated')
  whole = (
      row.get('stage') in config_lib.STAGES
      and all(isinstance(row.get(field), str)
              for field in ('id', 'problem', 'answer'))
      and all(isinstance(x, list) for x in (attempts, grades, truncated))
      and len(attempts) == len(grades) == len(truncated) > 0
      and all(isinstance(text, str) for text in attempts)
      and all(grade in (0, 1) for grade in grades)
      and isinstance(row.get('tags', {}), dict))
  if not whole:
    raise ValueError(f'{where} is no transcript; mend or move the file')
