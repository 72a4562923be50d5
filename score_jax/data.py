"""Problems as TFDS data sets, indexed by step through grain.

A task's rows are written once as array_record files and read back at random
access. Which of them a step takes is a pure function of seed, step and host:
there is no iterator, so there is no iterator to save. TensorFlow is not needed.
"""

from collections.abc import Iterator, Sequence
import contextlib
import functools
import io
import os
import pathlib

import grain
import numpy as np
import tensorflow_datasets as tfds

from score_jax import types
from score_jax.tasks import base

TRANSCRIPT_FIELDS = ('attempt_1', 'attempt_2')
_SPLIT = 'rows'  # TFDS's name; a task's split is a data set of its own.


class ProblemSet(tfds.core.GeneratorBasedBuilder):
  """One split of a task, rows in the task's order."""

  VERSION = tfds.core.Version('1.0.0')

  def __init__(self, *, task: base.Task, split: str, data_dir: pathlib.Path):
    self._task, self._split = task, split
    super().__init__(data_dir=data_dir, file_format='array_record')

  def _info(self) -> tfds.core.DatasetInfo:
    names = ('id', 'prompt', 'answer')
    if self._split == base.BASE:
      names += TRANSCRIPT_FIELDS
    text = tfds.features.Text()
    return tfds.core.DatasetInfo(
        builder=self, disable_shuffling=True,  # Keys keep the order.
        features=tfds.features.FeaturesDict(dict.fromkeys(names, text)))

  def _split_generators(self, dl_manager):
    del dl_manager  # Nothing is downloaded.
    return {_SPLIT: self._generate_examples()}

  def _generate_examples(self) -> Iterator[tuple[int, dict[str, str]]]:
    number = -1
    for number, row in enumerate(self._task.rows(self._split)):
      yield number, row
    if number < 0:
      raise ValueError(
          f'the split {self._split!r} of task {self._task.name!r} is empty')


class _Problems(Sequence):
  """A data source whose rows are made into something as they are read."""

  def __init__(self, source, make):
    self._source, self._make = source, make

  def __len__(self) -> int:
    return len(self._source)

  def __getitem__(self, index: int):
    if not -len(self) <= index < len(self):
      raise IndexError(f'row {index} of {len(self)}')
    row = self._source[index % len(self)]
    return self._make({name: text.decode() for name, text in row.items()})


def prepare(task: base.Task, directory: str | os.PathLike):
  """Writes the task's splits below a directory, unless they are there.

  Rows are kept under the task's name and fingerprint, so a task that has
  changed never reads old ones. TFDS writes into a folder of another name first,
  so an interrupted preparation leaves nothing that looks whole.

  Raises:
    ValueError: a split is empty.
  """
  for split in task.splits:
    _builder(task, split, directory)


def open_split(
    task: base.Task, split: str, directory: str | os.PathLike
) -> Sequence[types.Problem]:
  """A prepared split, at random access.

  Raises:
    ValueError: the task has no such split.
  """
  return _Problems(_source(task, split, directory), _problem)


def open_transcripts(
    task: base.Task, directory: str | os.PathLike
) -> Sequence[dict[str, str]]:
  """The prepared transcripts for a base model, at random access.

  Rows are dicts with `prompt`, `attempt_1`, `attempt_2` (and `id`, `answer`).
  """
  return _Problems(_source(task, base.BASE, directory), dict)


def indices_of_step(
    size: int,
    seed: int,
    step: int,
    batch: int,
    process_index: int = 0,
    process_count: int = 1,
) -> np.ndarray:
  """Rows that a step takes on one host, int64 [batch / process_count].

  Every epoch is a new permutation; a batch may run across epochs, and be
  larger than the set. Hosts take parts of the same global batch.

  Args:
    size: rows of the set.
    seed: of the permutations.
    step: from 0.
    batch: of all hosts together.
    process_index: this host.
    process_count: hosts; `batch` must be divisible by it.
  """
  if batch % process_count:
    raise ValueError(f'a batch of {batch} rows is not divisible by the '
                     f'{process_count} hosts')
  rows = _endless(size, seed)
  part = batch // process_count
  first = step * batch + process_index * part
  return np.array([rows[i] for i in range(first, first + part)])


@functools.lru_cache(maxsize=8)
def _endless(size, seed) -> grain.MapDataset:
  return grain.MapDataset.range(size).seed(seed).shuffle().repeat()


def _problem(row):
  return types.Problem(row['id'], row['prompt'], row['answer'])


def _source(task, split, directory):
  base.require_split(task.name, split, task.splits)
  return _builder(task, split, directory).as_data_source(split=_SPLIT)


def _builder(task, split, directory) -> ProblemSet:
  tfds.disable_progress_bar()
  folder = pathlib.Path(directory) / task.name / task.fingerprint / split
  builder = ProblemSet(task=task, split=split, data_dir=folder)
  with contextlib.redirect_stdout(io.StringIO()):  # It speaks of downloads.
    builder.download_and_prepare()
  return builder
