"""Rows in folders of TFDS (ArrayRecord): whole or absent, read at random."""

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
import contextlib
import io
import os
import pathlib
import tempfile
from typing import Any

import tensorflow_datasets as tfds

_CHUNK = 1000  # Rows read at a time: many at once are read in parallel.


def version_folder(
    builder: type[tfds.core.GeneratorBasedBuilder], folder: str | os.PathLike
) -> pathlib.Path:
  """Where a builder keeps its files under a folder."""
  return pathlib.Path(folder) / builder.name / str(builder.VERSION)


def write(
    builder: type[tfds.core.GeneratorBasedBuilder],
    folder: str | os.PathLike,
    **content,
):
  """Has a builder write what it is given; nothing if that is there already.

  TFDS writes to one side and renames, so what was interrupted does not exist.
  Several processes may write the same folder at a time.

  Args:
    builder: its class.
    folder: see `version_folder`.
    **content: what the class is made with.

  Raises:
    ValueError: the folder cannot be written.
  """
  tfds.disable_progress_bar()
  try:
    made = builder(data_dir=folder, file_format='array_record', **content)
    with (contextlib.redirect_stdout(io.StringIO()),  # TFDS prints.
          tempfile.TemporaryDirectory() as downloads):  # There are none.
      made.download_and_prepare(download_dir=downloads)
  except (OSError, RuntimeError) as error:  # ArrayRecord raises the latter.
    if not version_folder(builder, folder).exists():  # Nor by another process.
      raise ValueError(f'{folder} cannot be written: {_in_a_line(error)}; see '
                       'to the disk, or name another folder') from error


def read(
    folder: pathlib.Path, split: str, decode: Callable[[dict[str, Any]], Any]
) -> Sequence:
  """The rows of a split, read and decoded when they are asked for.

  Args:
    folder: see `version_folder`.
    split: its name.
    decode: makes something of a row, whose texts are bytes.

  Raises:
    ValueError: the files are damaged; maybe not before a row is asked for.
  """
  with _damage(folder, Exception):  # TFDS raises whatever its parsers do.
    source = tfds.builder_from_directory(folder).as_data_source(split)
  return _Rows(source, folder, decode)


def read_metadata(folder: pathlib.Path, *fields: str) -> list[Any]:
  """What a builder said of its data, in JSON, by field.

  Raises:
    ValueError: the files are damaged.
  """
  with _damage(folder, Exception):
    said = tfds.builder_from_directory(folder).info.metadata
    return [said[field] for field in fields]


class _Rows(Sequence):
  """Rows of a random-access source."""

  def __init__(self, source, folder: pathlib.Path, decode):
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


@contextlib.contextmanager
def _damage(folder, kind: type[Exception]) -> Iterator[None]:
  """Turns what a damaged file raises into a ValueError of one line."""
  try:
    yield
  except kind as error:
    raise ValueError(f'{folder} is damaged ({_in_a_line(error)}); delete this '
                     'folder, and it is prepared again') from error


def _in_a_line(error):
  return ' '.join(str(error).split())
