"""Data sets from folders of their original files.

The whole sets and parts of them are taken alike; what is not there, what the
checksums say and which rows are left out is told in notes.
"""

import collections
import fnmatch
import hashlib
import pathlib

from score_jax.datasets import base
from score_jax.datasets import reading


def files(
    data_set: type[base.DataSet], folder: pathlib.Path
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
    data_set: type[base.DataSet], folder: pathlib.Path, strict: bool = False
) -> base.Contents:
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


class _Reader:
  """Gathers the rows of a data set, and everything there is to say of them."""

  def __init__(self, data_set: type[base.DataSet], strict: bool):
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

  def contents(self) -> base.Contents:
    """What was read, without the rows that are to be left out."""
    data_set = self._data_set
    splits = {split: self._without_left_out(split, list(rows.values()))
              for split, rows in self._splits.items()}
    held_out = [(row['id'], row[data_set.PROBLEM])
                for split in data_set.HELD_OUT for row in splits.get(split, ())]
    if 'train' in splits:
      splits['train'], copies = base.without_copies(
          splits['train'], data_set.PROBLEM, held_out)
      if copies:
        self._notes.append(base.left_out_note(copies, 'train', base.COPIES))
    splits = {split: rows for split, rows in splits.items() if rows}
    notes = tuple(f'{data_set.name}: {note}' for note in self._notes)
    return base.Contents(splits, notes, base.fingerprint(data_set, splits),
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
      self._notes.append(base.left_out_note(ids, split, reason))
    return [row for row in rows if not reasons[row['id']]]
