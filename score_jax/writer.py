"""The files of a run's folder; a kill leaves none of them torn.

    config.json       the record of the run, see `run_record`
    metrics.jsonl     a line for every step; the same in equal runs
    timings.jsonl     a line for every step; what depends on the clock
    tensorboard/      both, in one folder of event files for each stage
    transcripts.jsonl every evaluated problem with its attempts
    results.json      what the evaluations found
"""

from collections.abc import Callable
from collections.abc import Sequence
import datetime
import importlib.metadata
import math
import pathlib
import platform
import subprocess
from typing import Any

import jax
import numpy as np

from score_jax import board
from score_jax import config as config_lib
from score_jax import files
from score_jax import hosts
from score_jax import results_file

_METRICS, _TIMINGS = 'metrics.jsonl', 'timings.jsonl'
_PACKAGES = (
    'jax', 'jaxlib', 'flax', 'optax', 'orbax-checkpoint', 'score_jax')


class Writer:
  """Writes into one folder, from process 0; on others it does nothing.

  Every method raises a ValueError of one line that names the file, if it cannot
  be read or written or is not what it should be.

  Attributes:
    workdir: the folder; it is made.
    say: prints a line, on process 0.
  """

  def __init__(
      self,
      workdir: str | files.Path,
      say: Callable[[str], None] = print,
  ):
    self.workdir = files.folder(workdir)
    self._writes = hosts.is_first()
    self.say = say if self._writes else lambda line: None
    self._logs = {name: files.Log(self.workdir / name)
                  for name in (_METRICS, _TIMINGS)}
    self._boards = {
        stage: board.Board(self.workdir / 'tensorboard' / stage, stage)
        for stage in config_lib.STAGES
    }
    if not self._writes:
      return
    with files.named_errors(self.workdir):
      self.workdir.mkdir(parents=True, exist_ok=True)

  def metrics(self, stage: str, step: int, row: dict[str, Any]):
    """Logs what a step measured.

    Args:
      stage: one of `config.STAGES`.
      step: updates done in this stage, from 1.
      row: finite numbers by name, or None; none may depend on the clock.

    Raises:
      ValueError: a value is not a finite number.
    """
    self._log(_METRICS, stage, step, row)

  def timing(self, stage: str, step: int, row: dict[str, Any]):
    """Logs what depends on the clock, apart from the metrics."""
    self._log(_TIMINGS, stage, step, row)

  def _log(self, name, stage, step, row):
    if not self._writes:
      return
    row = {key: _number(stage, step, key, row[key]) for key in sorted(row)}
    line = files.to_json(name, {'stage': stage, 'step': step} | row)
    self._logs[name].append(f'{line}\n'.encode())
    self._boards[stage].scalars(step, row)

  def flush(self):
    """Returns when all that was logged is safe from a kill."""
    for log in (*self._logs.values(), *self._boards.values()):
      log.flush()

  def rewind(self, stage: str, step: int):
    """Forgets what was logged after a step, before the run goes on from there.

    Args:
      stage: the stage that goes on; later stages are forgotten altogether.
      step: the last step that stays; 0 where the stage starts.
    """
    if not self._writes:
      return
    later = config_lib.STAGES[config_lib.STAGES.index(stage) + 1 :]
    for name, log in self._logs.items():
      path = self.workdir / name
      if path.exists():
        log.replace([
            line for line, row in files.read_lines(path)
            if _stage(path, row) not in later
            and (row['stage'] != stage or row['step'] <= step)
        ])
    self._boards[stage].rewind(step)
    for name in later:
      self._boards[name].rewind(0)

  def transcripts(self, stage: str, rows: list[dict[str, Any]]):
    """Puts the transcripts of a stage in place of those it had."""
    if not self._writes:
      return
    path = self.workdir / 'transcripts.jsonl'
    lines = {name: [] for name in config_lib.STAGES}
    for line, row in files.read_lines(path):
      lines[_stage(path, row)].append(line)
    lines[stage] = [files.to_json(path, {'stage': stage} | row) for row in rows]
    files.write_lines(path, sum(lines.values(), []))

  def results(self, results: dict[str, Any]):
    """Writes `results.json`."""
    if self._writes:
      files.write_json(self.workdir / 'results.json', results)

  def read_results(self) -> dict[str, Any] | None:
    """What `results.json` holds, on every process; None if there is none."""
    return hosts.from_first(
        lambda: results_file.read(self.workdir / 'results.json'))

  def config(self, record: dict[str, Any]):
    """Writes `config.json`; `record` as of `run_record`."""
    if self._writes:
      files.write_json(self.workdir / 'config.json', record)

  def check_config(
      self, record: dict[str, Any],
      may_differ: Sequence[str] = ('stage', 'grading', 'profile'),
  ):
    """Compares a record with that of the folder, if any; writes nothing.

    Args:
      record: of `run_record`.
      may_differ: fields, and groups of them, that need not be the same.

    Raises:
      ValueError: the folder is of a run with another config; which fields.
    """
    path = self.workdir / 'config.json'
    found = files.read_json(path)
    if found is None:
      return
    if not isinstance(found, dict) or 'config' not in found:
      raise ValueError(f'{path} is no record of a run; take another --workdir')
    there, here = files.flat(found['config']), files.flat(record['config'])
    differ = [
        f'config.{name} is {there.get(name, "absent")} there and '
        f'{here.get(name, "absent")} here'
        for name in sorted(there | here) if there.get(name) != here.get(name)
        and not {name, name.partition('.')[0]} & set(may_differ)
    ]
    if differ:
      more = f' and {len(differ) - 6} more' if len(differ) > 6 else ''
      raise ValueError(
          f'{path} is of a run with another config: {"; ".join(differ[:6])}'
          f'{more}; take another --workdir, or the config of that run')
    base = record.get('base')
    if found.get('base', base) != base:
      raise ValueError(
          f'{path}: config.model.checkpoint holds other weights than when this '
          'run began; bring them back, or take another --workdir')


def run_record(
    config: dict[str, Any], base: str | None = None
) -> dict[str, Any]:
  """What one must know to repeat a run: config, code, versions, devices.

  Args:
    config: every field of the config, as nested dicts.
    base: `weights.fingerprint` of `config.model.checkpoint`.

  Returns:
    JSON. `commit` is that of the source checkout, with '-dirty' if a file
    differs from it, and None outside of one. The version of a package that is
    not installed is None.
  """
  now = datetime.datetime.now(datetime.timezone.utc)
  return {
      'config': config,
      'base': base,
      'commit': _commit(pathlib.Path(__file__).resolve().parent.parent),
      'versions': {
          'python': platform.python_version(),
          **{name: _version(name) for name in _PACKAGES},
      },
      'device': jax.devices()[0].device_kind,
      'devices': jax.device_count(),
      'date': now.isoformat(timespec='seconds'),
  }


def _commit(root):
  if not (root / '.git').exists():  # A package, maybe in a foreign checkout.
    return None
  command = ['git', '-C', str(root), 'describe', '--always', '--dirty',
             '--abbrev=40', '--exclude=*']
  try:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
  except FileNotFoundError:  # Git is not installed.
    return None
  return done.stdout.strip() or None  # Empty before the first commit.


def _version(package):
  try:
    return importlib.metadata.version(package)
  except importlib.metadata.PackageNotFoundError:
    return None


def _stage(path, row):
  if row.get('stage') not in config_lib.STAGES:
    raise ValueError(f'{path} holds a line of no stage; mend or move the file')
  return row['stage']


def _number(stage, step, name, value):
  """The Python number in a scalar of Python, NumPy or JAX; None stays."""
  if value is None:
    return None
  value = np.asarray(jax.device_get(value))
  if value.ndim or value.dtype.kind not in 'biuf' or not math.isfinite(value):
    raise ValueError(
        f'{stage} step {step}: {name} is {value.tolist()!r}; only finite '
        'numbers can be logged')
  return value.item()
