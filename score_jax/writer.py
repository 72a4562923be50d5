"""The files of a run's folder; a kill leaves none of them torn.

    config.json       the record of the run, see `run_record`
    metrics.jsonl     a line for every step; the same in equal runs
    timings.jsonl     a line for every step; what depends on the clock
    tensorboard/      both, in one folder of event files for each stage
    transcripts.jsonl every evaluated problem with its attempts
    results.json      what the evaluations found
    evaluations/NAME/ the last three of an evaluation by `--mode=eval`
"""

from collections.abc import Callable
from collections.abc import Sequence
import copy
import datetime
import hashlib
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
from score_jax import logs
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
    results_in: the folder of transcripts and results; the workdir, or one of
      `evaluation`.
    say: prints a line, on process 0.
    guard: is called before anything is written.
  """

  def __init__(
      self,
      workdir: str | files.Path,
      say: Callable[[str], None] = print,
      guard: Callable[[], None] = lambda: None,
      allow_gaps: bool = False,
  ):
    """Opens a folder.

    Args:
      workdir: the folder.
      say: prints a line.
      guard: is called before anything is written; raises a ValueError if this
        process must not write there any more.
      allow_gaps: whether to continue where a log lacks rows.
    """
    self.workdir = self.results_in = files.folder(workdir)
    self.guard, self._allow_gaps = guard, allow_gaps
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
      files.make_folder(self.workdir)

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

  def _may_write(self) -> bool:
    """Whether this process writes; a ValueError if it must not any more."""
    if self._writes:
      self.guard()
    return self._writes

  def _log(self, name, stage, step, row):
    if not self._may_write():
      return
    row = {key: _number(stage, step, key, row[key]) for key in sorted(row)}
    line = files.to_json(name, {'stage': stage, 'step': step} | row)
    self._logs[name].append(f'{line}\n'.encode())
    self._boards[stage].scalars(step, row)

  def flush(self):
    """Returns when all that was logged is safe from a kill."""
    if self._may_write():
      for log in (*self._logs.values(), *self._boards.values()):
        log.flush()

  def rewind(self, stage: str, step: int, last: int | None = None):
    """Drop what a stage logged after a step, before it resumes there.

    These rows are logged again. Those of other stages stay.

    Args:
      stage: the stage that resumes.
      step: its last step that stays, that of its checkpoint; 0 where it starts.
      last: its last step.

    Raises:
      ValueError: a log lacks steps up to that one; see `check_logs`.
    """
    if not self._may_write():
      return
    at = config_lib.STAGES.index
    for name, log in self._logs.items():
      rows = self._agreeing(name, stage, step, last)
      kept = [(line, row) for line, row in rows
              if row['stage'] != stage or row['step'] <= step]
      if (self.workdir / name).exists():
        log.replace(
            [line for line, row in kept if at(row['stage']) <= at(stage)],
            [line for line, row in kept if at(row['stage']) > at(stage)])
    self._boards[stage].rewind(step)

  def check_logs(self, stage: str, step: int):
    """Compares the logs with a stage's last checkpoint.

    Raises:
      ValueError: a log does not have each of its steps, once and in order; the
        message names them. With `allow_gaps` this is printed; what cannot be
        read, or is there twice, is kept in a copy of the file.
    """
    if self._may_write():
      for name in self._logs:
        self._agreeing(name, stage, step, step)

  def _agreeing(self, name, stage, step, last):
    """The rows of a log, once they agree with a checkpoint."""
    path = self.workdir / name
    rows, damaged = logs.read(path)
    steps = [row['step'] for _, row in rows if row['stage'] == stage]
    faults = (damaged + logs.faults_of(stage, steps, step, last)
              + logs.block_faults(rows))
    if not faults:
      return rows
    self._gap(logs.refusal(
        path, faults, f'there is a checkpoint of {stage} step {step}' if step
        else f'{stage} is to be trained'))
    clean = [(line, row) for line, row in logs.in_order(rows) if not (
        last is not None and row['stage'] == stage and row['step'] > last)]
    if damaged or clean != rows:
      self._keep_copy(path)
      files.write_lines(path, [line for line, _ in clean])
    return clean

  def _gap(self, line):
    """Raise a ValueError, or print it with `allow_gaps`."""
    if not self._allow_gaps:
      raise ValueError(line)
    self.say(f'--allow_gaps: {line}')

  def _keep_copy(self, path):
    """Copies a file before lines of it are left out."""
    number = 1
    while (to := path.with_name(f'{path.name}.damaged-{number}')).exists():
      number += 1
    with files.named_errors(to):
      files.write_whole(to, files.read_whole(path))
    self.say(f'{path}: the file as it was is kept as {to.name}')

  def evaluation(self, name: str) -> 'Writer':
    """The same writer with transcripts and results in `evaluations/name`."""
    other = copy.copy(self)
    other.results_in = self.workdir / 'evaluations' / name
    if self._may_write():
      with files.named_errors(other.results_in):
        files.make_folder(other.results_in)
    return other

  def keep_results(self):
    """Copies transcripts and results to `evaluations/`, before new ones.

    The folder is `evaluations/earlier_1`, or with the next number that is free.
    """
    if not self._may_write():
      return
    number = 1
    while (self.workdir / 'evaluations' / f'earlier_{number}').exists():
      number += 1
    to = self.evaluation(f'earlier_{number}').results_in
    with files.named_errors(to):
      for name in ('transcripts.jsonl', 'config.json', 'results.json'):
        if (self.workdir / name).exists():
          files.write_whole(to / name, files.read_whole(self.workdir / name))
    self.say(f'results of another evaluation are kept in {to}')

  def transcripts(self, stage: str, rows: list[dict[str, Any]]):
    """Puts the transcripts of a stage in place of those it had."""
    if not self._may_write():
      return
    path = self.results_in / 'transcripts.jsonl'
    found, damaged = logs.read(path, have_steps=False)
    if damaged:
      self._gap(logs.refusal(path, damaged, f'{stage} is to be added'))
      self._keep_copy(path)
    lines = {name: [] for name in config_lib.STAGES}
    for line, row in found:
      lines[row['stage']].append(line)
    lines[stage] = [files.to_json(path, {'stage': stage} | row) for row in rows]
    files.write_lines(path, sum(lines.values(), []))

  def transcripts_digest(self, stage: str) -> str | None:
    """SHA-256 in hex of the lines of a stage; None on other processes."""
    if not self._writes:
      return None
    rows, _ = logs.read(self.results_in / 'transcripts.jsonl', have_steps=False)
    lines = ''.join(line + '\n' for line, row in rows if row['stage'] == stage)
    return hashlib.sha256(lines.encode()).hexdigest()

  def check_transcripts(
      self, stage: str, ids: Sequence[str], digest: str | None
  ):
    """Compares the transcripts of a stage with its evaluation.

    Args:
      stage: it is in `results.json`.
      ids: of the problems that were evaluated, in their order.
      digest: of its lines; None of an evaluation that has not recorded it.

    Raises:
      ValueError: transcripts are missing, there twice, out of order or changed;
        names the problems. With `allow_gaps` this is printed.
    """
    if not self._may_write():
      return
    path = self.results_in / 'transcripts.jsonl'
    rows, damaged = logs.read(path, have_steps=False)
    there = [row.get('id') for _, row in rows if row['stage'] == stage]
    faults = damaged + logs.id_faults(stage, there, ids)
    if not faults and digest not in (None, self.transcripts_digest(stage)):
      faults = [f'{stage}: a transcript was changed']
    if faults:
      self._gap(logs.refusal(
          path, faults, f'results.json has an evaluation of {stage}'))

  def results(self, results: dict[str, Any]):
    """Writes `results.json`."""
    if self._may_write():
      files.write_json(self.results_in / 'results.json', results)

  def read_results(self) -> dict[str, Any] | None:
    """Return what `results.json` holds, on every process; None without one.

    Raises:
      ValueError: it is not JSON, or not as a run writes it.
    """
    return hosts.from_first(
        lambda: results_file.read(self.results_in / 'results.json'))

  def config(self, record: dict[str, Any]):
    """Writes `config.json`; `record` as of `run_record`."""
    if self._may_write():
      files.write_json(self.results_in / 'config.json', record)

  def check_config(
      self, record: dict[str, Any],
      may_differ: Sequence[str] = ('stage', 'grading', 'profile'),
      way_out: str = 'take another --workdir',
  ):
    """Compares a record with that of the folder, if any; writes nothing.

    Args:
      record: of `run_record`.
      may_differ: fields, and groups of them, that need not be the same.
      way_out: what to do instead.

    Raises:
      ValueError: the folder is of a run with another config; which fields.
    """
    path = self.results_in / 'config.json'
    found = files.read_json(path)
    if found is None:
      return
    if not isinstance(found, dict) or 'config' not in found:
      raise ValueError(f'{path} is no record of a run; {way_out}')
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
          f'{more}; {way_out}, or the config of that run')
    base = record.get('base')
    if found.get('base', base) != base:
      raise ValueError(
          f'{path}: config.model.checkpoint holds other weights than when this '
          f'run began; bring them back, or {way_out}')


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
