"""What a data set is: its files, its rows by split, and its form in TFDS."""

import abc
from collections.abc import Iterable
from collections.abc import Sequence
import hashlib
import json
import pathlib
from typing import Any
from typing import NamedTuple
import unicodedata

import tensorflow_datasets as tfds

from score_jax.datasets import reading
from score_jax.datasets import storage

Row = dict[str, Any]
COPIES = 'held out as well'
TEXT = tfds.features.Text()
TEXTS = tfds.features.Sequence(tfds.features.Text())


class Part(NamedTuple):
  """Files whose rows belong together.

  Attributes:
    names: of the files, any of them in any case; `*` stands for anything.
    size: rows of all of them, if nothing is missing.
  """

  names: tuple[str, ...]
  size: int


class Contents(NamedTuple):
  """A data set that was read.

  Attributes:
    splits: rows by split, in the order of the files; none is empty.
    notes: lines that a user should see.
    fingerprint: changes whenever the rows do.
    checked: whether the files behind a split have a checksum that is known.
  """

  splits: dict[str, Sequence[Row]]
  notes: tuple[str, ...]
  fingerprint: str
  checked: dict[str, bool]


class DataSet(tfds.core.GeneratorBasedBuilder):
  """A data set as TFDS keeps it; the classes of this package say what is in it.

  Attributes:
    FOLDERS: names of the folder that may hold its files.
    PARTS: its files.
    SHA256: the part by the checksum of each file that is known.
    FIELDS: features of a row; one is `id`, unique in a split.
    PROBLEM: the field that tells problems apart.
    HELD_OUT: splits of which no problem may be in `train`.
    MARK: stands in its files, and not in those of others with the same names.
  """

  VERSION = tfds.core.Version('1.0.0')
  FOLDERS: tuple[str, ...]
  PARTS: dict[str, Part]
  SHA256: dict[str, str]
  FIELDS: dict[str, tfds.features.FeatureConnector]
  PROBLEM: str
  HELD_OUT = ('validation', 'test')
  MARK = b''

  def __init__(self, *, contents: Contents, **kwargs):
    self._contents = contents
    super().__init__(**kwargs)

  @classmethod
  @abc.abstractmethod
  def row(cls, raw: dict[str, Any], part: str, number: int) -> Row:
    """A row from what stands in a file of a part, on the line of a number.

    Raises:
      ValueError: it is bad.
    """

  @classmethod
  def splits_of(cls, row: Row, part: str) -> tuple[str, ...]:
    """The splits that a row of a part is in."""
    del row
    return (part,)

  @classmethod
  def left_out(cls, row: Row, split: str) -> str:
    """Why a row is left out of a split; '' if it is not."""
    del row, split
    return ''

  def _info(self) -> tfds.core.DatasetInfo:
    return tfds.core.DatasetInfo(
        builder=self, description=type(self).__doc__, disable_shuffling=True,
        features=tfds.features.FeaturesDict(self.FIELDS),
        metadata=tfds.core.MetadataDict(
            notes=self._contents.notes,
            fingerprint=self._contents.fingerprint,
            checked=self._contents.checked))

  def _split_generators(self, dl_manager):
    del dl_manager  # Nothing is downloaded.
    return {split: self._generate_examples(rows)
            for split, rows in self._contents.splits.items()}

  def _generate_examples(self, rows):
    yield from enumerate(rows)  # Integer keys keep the order.


def read_prepared(data_set: type[DataSet], folder: pathlib.Path) -> Contents:
  """What was prepared of a data set.

  Args:
    data_set: its class.
    folder: see `storage.version_folder`.

  Raises:
    ValueError: the files are damaged; maybe not before a row is asked for.
  """
  notes, rows_print, checked = storage.read_metadata(
      folder, 'notes', 'fingerprint', 'checked')
  splits = {split: storage.read(folder, split, _decoded) for split in checked}
  return Contents(splits, tuple(notes), rows_print, checked)


def fingerprint(
    data_set: type[DataSet], splits: dict[str, Iterable[Row]]
) -> str:
  """16 hexadecimal digits that change when the rows do."""
  digest = hashlib.sha256(str(data_set.VERSION).encode())
  for split, rows in sorted(splits.items()):
    digest.update(split.encode())
    for row in rows:
      digest.update(json.dumps(row, sort_keys=True).encode() + b'\n')
  return digest.hexdigest()[:16]


def without_copies(
    rows: Iterable[Row], field: str, held_out: Iterable[tuple[str, str]]
) -> tuple[list[Row], list[str]]:
  """Rows whose problem is no held-out one, and the others: `id = id`.

  Args:
    rows: to choose from.
    field: holds the text of a row's problem.
    held_out: ids and texts of problems that nothing may be trained on. Case,
      spaces, line ends and forms of one character make no difference.
  """
  seen = {normalised(text): id for id, text in held_out}
  kept, copies = [], []
  for row in rows:
    copy = seen.get(normalised(row[field]))
    if copy is None:
      kept.append(row)
    else:
      copies.append(f'{row["id"]} = {copy}')
  return kept, copies


def left_out_note(ids: list[str], split: str, reason: str) -> str:
  """A line on rows that are left out of a split."""
  return (f'{len(ids)} left out of {split}, {reason}: '
          f'{", ".join(reading.some(ids))}')


def normalised(text: str) -> str:
  """The text of a problem, without what makes no difference to it."""
  return ''.join(unicodedata.normalize('NFKC', text).casefold().split())


def _decoded(row: dict[str, Any]) -> Row:
  return {field: [item.decode() for item in value] if isinstance(value, list)
          else value.decode() for field, value in row.items()}
