"""What a data set is: rows by split, from a folder of its original files.

The whole sets and parts of them are taken alike; what is not there, what the
checksums say and which rows are left out is told in notes. The same rows may
come from a folder that `score_jax.prepare_data` made of the files.
"""

import abc
import collections
from collections.abc import Iterable
from collections.abc import Sequence
import fnmatch
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


def files(
    data_set: type[DataSet], folder: pathlib.Path
) -> dict[str, list[pathlib.Path]]:
  """The files of each part that a folder has, in the order of their names.

  Raises:
    BadData: the folder cannot be read.
  """
  try:
    there = sorted(folder.iterdir()) if folder.is_dir() else []
  except OSError as error:
    raise reading.BadData([f'{folder}: {error.strerror}']) from error
  unpacked = {path.name + '.gz' for path in there}
  return {
      part: [path for name in names for path in there
             if fnmatch.fnmatch(path.name.lower(), name.lower())
             and path.name not in unpacked]
      for part, (names, _) in data_set.PARTS.items()}


def read(
    data_set: type[DataSet], folder: pathlib.Path, strict: bool = False
) -> Contents:
  """Reads and checks the original files of a data set.

  Args:
    data_set: its class.
    folder: holds the files.
    strict: refuse files whose checksum is not known.

  Raises:
    BadData: a file is missing or not the right one, or rows are bad.
  """
  reader = _Reader(data_set, strict)
  for part, paths in files(data_set, folder).items():
    reader.add(part, folder, paths)
  if reader.bad:
    raise reading.BadData(reader.bad)
  return reader.contents()


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


class _Reader:
  """Gathers the rows of a data set, and everything there is to say of them."""

  def __init__(self, data_set: type[DataSet], strict: bool):
    self.bad = []
    self._data_set = data_set
    self._strict = strict
    self._notes = []
    self._splits = collections.defaultdict(dict)  # Rows by id, by split.
    self._places = {}
    self._checked = {}

  def add(self, part: str, folder: pathlib.Path, paths: list[pathlib.Path]):
    """Reads the files of a part."""
    names, size = self._data_set.PARTS[part]
    if not paths:
      self.bad.append(f'{folder / " or ".join(names)}: No such file')
      return
    count = 0
    for path in paths:
      content = reading.read_bytes(path)
      is_known = self._is_known(path, content, part)
      rows, bad = reading.read_rows(
          path, content, lambda raw, line: self._data_set.row(raw, part, line))
      self.bad += bad
      count += len(rows) + len(bad)
      for place, row in rows.items():
        self._put(row, place, part, is_known)
    what = ' + '.join(path.name for path in paths)
    whole = 'split' if len(self._data_set.PARTS) > 1 else 'set'
    if count > size:
      self.bad.append(f'{folder}: {what} has {count} rows, and the {whole} has '
                      f'{size}; is it another file?')
    elif count < size:
      self._notes.append(f'{what}: {count} of the {size} rows of the {whole}')

  def contents(self) -> Contents:
    """What was read, without the rows that are to be left out."""
    data_set = self._data_set
    splits = {split: self._without_left_out(split, list(rows.values()))
              for split, rows in self._splits.items()}
    held_out = [(row['id'], row[data_set.PROBLEM])
                for split in data_set.HELD_OUT for row in splits.get(split, ())]
    if 'train' in splits:
      splits['train'], copies = without_copies(
          splits['train'], data_set.PROBLEM, held_out)
      if copies:
        self._notes.append(left_out_note(copies, 'train', COPIES))
    splits = {split: rows for split, rows in splits.items() if rows}
    notes = tuple(f'{data_set.name}: {note}' for note in self._notes)
    return Contents(splits, notes, fingerprint(data_set, splits),
                    {split: self._checked[split] for split in splits})

  def _is_known(self, path, content, part):
    """Whether the checksum of a file is known; it may be that of another."""
    known = self._data_set.SHA256.get(hashlib.sha256(content).hexdigest())
    if known not in (None, part):
      self.bad.append(f'{path} is a file of {known}, not of {part}')
    if known is None:
      line = f'{path.name}: its sha256 is not a known one'
      (self.bad if self._strict else self._notes).append(line)
    return known is not None

  def _put(self, row, place, part, is_known):
    for split in self._data_set.splits_of(row, part):
      self._checked[split] = self._checked.get(split, True) and is_known
      if row['id'] in self._splits[split]:
        first = self._places[split, row['id']]
        self.bad.append(f'{place}: the id {row["id"]!r} is also in {first}')
      self._splits[split][row['id']] = row
      self._places[split, row['id']] = place

  def _without_left_out(self, split, rows):
    reasons = {row['id']: self._data_set.left_out(row, split) for row in rows}
    for reason in sorted(set(reasons.values()) - {''}):
      ids = [id for id, why in reasons.items() if why == reason]
      self._notes.append(left_out_note(ids, split, reason))
    return [row for row in rows if not reasons[row['id']]]


def _decoded(row: dict[str, Any]) -> Row:
  return {field: [item.decode() for item in value] if isinstance(value, list)
          else value.decode() for field, value in row.items()}
