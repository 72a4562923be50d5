"""A task's rows on disk (TFDS, ArrayRecord) and which of them a step takes.

A split is prepared once into a folder named after the task and its fingerprint,
so that a changed task never reads stale rows. Which problems a step takes is a
pure function of seed and step (grain), so the position in the data is the step
number and there is nothing else to save.
"""

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Sequence
import contextlib
import io
import os
import pathlib

import grain
import numpy as np
import tensorflow_datasets as tfds

from score_jax import types
from score_jax.tasks import base as tasks_base

_PROBLEM = ('id', 'prompt', 'answer')
_TRANSCRIPT = (*_PROBLEM, 'attempt_1', 'attempt_2')
_CHUNK = 1000  # Rows read at a time: many at once are read in parallel.


class ProblemSet(tfds.core.GeneratorBasedBuilder):
  """One split of a task, in the order of its rows.

  TFDS writes to one side and renames, so what was interrupted does not exist.
  """

  VERSION = tfds.core.Version('1.0.0')

  def __init__(self, *, split: str, rows: Sequence[dict[str, str]], **kwargs):
    self._split = split
    self._rows = rows
    super().__init__(file_format='array_record', **kwargs)

  def _info(self) -> tfds.core.DatasetInfo:
    return tfds.core.DatasetInfo(
        builder=self, disable_shuffling=True,
        features=tfds.features.FeaturesDict(
            {field: tfds.features.Text() for field in _fields(self._split)}))

  def _split_generators(self, dl_manager):
    del dl_manager  # Nothing is downloaded.
    return {self._split: self._generate_examples()}

  def _generate_examples(self):
    yield from enumerate(self._rows)  # Integer keys keep the order.


def prepare(task: tasks_base.Task, directory: str | os.PathLike,
            splits: Iterable[str]):
  """Writes splits of a task under a directory, those that are not there yet.

  Several processes may prepare the same directory at a time.

  Raises:
    ValueError: a split has no rows, or the directory cannot be written.
  """
  tfds.disable_progress_bar()
  for split in splits:
    tasks_base.require_split(task.name, split, task.splits)
    folder = _folder(task, split, directory)
    if not _version_folder(folder).exists():
      _write(task, split, folder)


def open_split(
    task: tasks_base.Task, split: str, directory: str | os.PathLike
) -> Sequence[types.Problem]:
  """The problems of a prepared split, read when they are asked for.

  Raises:
    ValueError: the split is not prepared, or its files are damaged.
  """
  return _open(task, split, directory, lambda row: types.Problem(
      **{field: row[field].decode() for field in _PROBLEM}))


def open_transcripts(
    task: tasks_base.Task, directory: str | os.PathLike
) -> Sequence[dict[str, str]]:
  """The prepared corpus: dicts of `id`, `prompt`, `answer`, `attempt_1`
  and `attempt_2`.

  Raises:
    ValueError: the split 'base' is not prepared, or its files are damaged.
  """
  return _open(task, tasks_base.BASE, directory, lambda row: {
      field: row[field].decode() for field in _TRANSCRIPT})


def indices_of_step(
    size: int,
    seed: int,
    step: int,
    batch: int,
    process_index: int = 0,
    process_count: int = 1,
) -> np.ndarray:
  """Which of `size` problems a process takes at a step.

  Every epoch holds each problem once, in an order of its own. A batch goes on
  into the next epoch where one ends, and may be larger than the set. The
  processes' parts, put one behind the other, are the batch of a single process.

  Args:
    size: problems in the set.
    seed: of the order; 0 to 2**32 - 1.
    step: from 0.
    batch: problems a step, of all processes together.
    process_index: of this process.
    process_count: divides `batch`.

  Returns:
    int64 [batch / process_count], a function of the arguments alone.

  Raises:
    ValueError: an argument is out of its range.
  """
  _require(size >= 1, f'size is {size}; the set needs a problem')
  _require(0 <= seed < 2**32, f'seed is {seed}; it must be in [0, 2**32)')
  _require(step >= 0, f'step is {step}; steps count from 0')
  _require(batch >= 1, f'batch is {batch}; it must be at least 1')
  _require(0 <= process_index < process_count,
           f'process_index {process_index} is not in [0, {process_count})')
  _require(batch % process_count == 0,
           f'a batch of {batch} rows is not divisible by the {process_count} '
           f'hosts; use a multiple of {process_count}')
  order = grain.MapDataset.range(size).seed(seed).shuffle().repeat()
  parts = order.batch(batch // process_count)
  return np.asarray(parts[step * process_count + process_index], np.int64)


class _Rows(Sequence):
  """Rows of a random-access source, decoded when they are asked for."""

  def __init__(self, source, folder: pathlib.Path,
               decode: Callable[[dict[str, bytes]], object]):
    self._source = source
    self._folder = folder
    self._decode = decode

  def __len__(self):
    return len(self._source)

  def __getitem__(self, index):
    wanted = range(len(self))[index]
    if isinstance(index, slice):
      return self._read(wanted)
    return self._read([wanted])[0]

  def __iter__(self):
    for start in range(0, len(self), _CHUNK):
      yield from self[start : start + _CHUNK]

  def _read(self, indices):
    if not indices:
      return []
    with _damage(self._folder, RuntimeError):
      rows = self._source.__getitems__(indices)
      if any(None in row.values() for row in rows):  # The end was cut off.
        raise RuntimeError('rows are missing')
    return [self._decode(row) for row in rows]


def _require(ok, message):
  if not ok:
    raise ValueError(message)


def _fields(split):
  return _TRANSCRIPT if split == tasks_base.BASE else _PROBLEM


def _folder(task, split, directory) -> pathlib.Path:
  return pathlib.Path(directory) / f'{task.name}-{task.fingerprint}' / split


def _version_folder(folder) -> pathlib.Path:
  return folder / ProblemSet.name / str(ProblemSet.VERSION)


def _write(task, split, folder):
  rows = list(task.rows(split))
  _require(rows, f'the split {split!r} of task {task.name!r} is empty')
  try:
    builder = ProblemSet(split=split, rows=rows, data_dir=folder)
    with contextlib.redirect_stdout(io.StringIO()):  # TFDS prints its progress.
      builder.download_and_prepare()
  except (OSError, RuntimeError) as error:  # ArrayRecord raises the latter.
    if not _version_folder(folder).exists():  # Nor by another process.
      reason = ' '.join(str(error).split())
      raise ValueError(f'{folder} cannot be written: {reason}; see to the '
                       'disk, or name another folder') from error


def _open(task, split, directory, decode):
  tasks_base.require_split(task.name, split, task.splits)
  folder = _version_folder(_folder(task, split, directory))
  _require(folder.exists(), f'{folder} does not exist: the split {split!r} of '
           f'task {task.name!r} is not prepared')
  with _damage(folder, Exception):  # TFDS raises whatever its parsers do.
    source = tfds.builder_from_directory(folder).as_data_source(split)
  return _Rows(source, folder, decode)


@contextlib.contextmanager
def _damage(folder, kind: type[Exception]):
  """Turns what a damaged file raises into a ValueError of one line."""
  try:
    yield
  except kind as error:
    reason = ' '.join(str(error).split())
    raise ValueError(f'{folder} is damaged ({reason}); delete this folder, and '
                     'the next run prepares it again') from error
