"""A task's rows on disk (TFDS, ArrayRecord) and which of them a step takes.

A split is prepared once into a folder named after the task and its fingerprint,
so that a changed task never reads stale rows. Which problems a step takes is a
pure function of seed and step (grain), so the position in the data is the step
number and there is nothing else to save.
"""

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Sequence
import json
import os
import pathlib
from typing import Any

import grain
import numpy as np
import tensorflow_datasets as tfds

from score_jax import types
from score_jax.datasets import storage
from score_jax.tasks import base as tasks_base

_OPTIONAL = {'tags': '', 'given': ''}
_PROBLEM = ('id', 'prompt', 'answer', *_OPTIONAL)
_TRANSCRIPT = ('id', 'prompt', 'answer', 'attempt_1', 'attempt_2')


class ProblemSet(tfds.core.GeneratorBasedBuilder):
  """One split of a task, in the order of its rows."""

  VERSION = tfds.core.Version('2.0.0')

  def __init__(self, *, split: str, rows: Sequence[dict[str, str]], **kwargs):
    self._split = split
    self._rows = [{field: (_OPTIONAL | row)[field] for field in _fields(split)}
                  for row in rows]
    super().__init__(**kwargs)

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
  for split in splits:
    tasks_base.require_split(task.name, split, task.splits)
    folder = _folder(task, split, directory)
    if not storage.version_folder(ProblemSet, folder).exists():
      rows = list(task.rows(split))
      _require(rows, f'the split {split!r} of task {task.name!r} is empty')
      storage.write(ProblemSet, folder, split=split, rows=rows)


def open_split(
    task: tasks_base.Task, split: str, directory: str | os.PathLike
) -> Sequence[types.Problem]:
  """The problems of a prepared split, read when they are asked for.

  Raises:
    ValueError: the split is not prepared, or its files are damaged.
  """
  return _open(task, split, directory, _problem)


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


def _require(ok, message):
  if not ok:
    raise ValueError(message)


def _fields(split):
  return _TRANSCRIPT if split == tasks_base.BASE else _PROBLEM


def _folder(task, split, directory) -> pathlib.Path:
  return pathlib.Path(directory) / f'{task.name}-{task.fingerprint}' / split


def _problem(row: dict[str, bytes]) -> types.Problem:
  texts = {field: row[field].decode() for field in _PROBLEM}
  return types.Problem(**texts | {'tags': json.loads(texts['tags'] or '{}')})


def _open(task, split, directory, decode: Callable[[dict[str, bytes]], Any]):
  tasks_base.require_split(task.name, split, task.splits)
  folder = storage.version_folder(
      ProblemSet, _folder(task, split, directory))
  _require(folder.exists(), f'{folder} does not exist: the split {split!r} of '
           f'task {task.name!r} is not prepared')
  return storage.read(folder, split, decode)
