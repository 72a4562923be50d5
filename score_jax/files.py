"""JSON and JSONL files that are whole at all times, and errors that name them.

A file is written to one side and renamed. A log grows by whole lines; a kill
can tear its last one, which `read_lines` leaves out.
"""

from collections.abc import Iterator
import contextlib
import json
import os
import pathlib
from typing import Any
import zipfile
import zlib

import numpy as np


def write_json(path: pathlib.Path, value: Any):
  """Puts a value in place of a file, indented.

  Raises:
    ValueError: it cannot be written, or holds a number that is not finite.
  """
  write_lines(path, [to_json(path, value, indent=2)])


def write_lines(path: pathlib.Path, lines: list[str]):
  """Puts lines (without their ends) in place of a file, all at once.

  Raises:
    ValueError: it cannot be written.
  """
  aside = path.with_name(path.name + '.partial')
  with named_errors(path):
    with open(aside, 'w', encoding='utf-8') as file:
      file.writelines(line + '\n' for line in lines)
      file.flush()
      os.fsync(file.fileno())
    os.replace(aside, path)


def append_line(path: pathlib.Path, line: str):
  """Adds a line to a log; it is with the system when this returns.

  Raises:
    ValueError: it cannot be written.
  """
  with named_errors(path), open(path, 'a', encoding='utf-8') as file:
    file.write(line + '\n')


def read_json(path: pathlib.Path) -> Any:
  """The value in a file; None if there is no file.

  Raises:
    ValueError: it cannot be read, or is not JSON.
  """
  if not path.exists():
    return None
  with named_errors(path):
    return _parse(str(path), path.read_bytes())


def read_lines(path: pathlib.Path) -> list[tuple[str, dict[str, Any]]]:
  """The lines of a log, raw and parsed, without a torn last one.

  Raises:
    ValueError: it cannot be read, or a line is not a JSON object.
  """
  if not path.exists():
    return []
  with named_errors(path):
    *lines, _ = path.read_bytes().split(b'\n')  # Each line has an end.
  rows = []
  for number, line in enumerate(lines, 1):
    where = f'{path} line {number}'
    row = _parse(where, line)
    if not isinstance(row, dict):
      raise ValueError(f'{where} is no JSON object; mend or move the file')
    rows.append((line.decode(), row))
  return rows


def write_arrays(path: pathlib.Path, arrays: dict[str, np.ndarray]):
  """Puts arrays in place of a file, whose folder is made if need be.

  Raises:
    ValueError: it cannot be written.
  """
  aside = path.with_name(path.name + '.partial')
  with named_errors(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(aside, 'wb') as file:
      np.savez_compressed(file, **arrays)
      file.flush()
      os.fsync(file.fileno())
    os.replace(aside, path)


def read_arrays(path: pathlib.Path) -> dict[str, np.ndarray] | None:
  """The arrays in a file, by name; None if there is no file.

  Raises:
    ValueError: it cannot be read, or is damaged.
  """
  if not path.exists():
    return None
  try:
    with named_errors(path), np.load(path) as found:
      return dict(found)
  except (zipfile.BadZipFile, zlib.error, EOFError, ValueError) as error:
    raise ValueError(f'{path} holds no arrays ({error}); mend or move the file'
                     ) from error


def to_json(where: pathlib.Path | str, value: Any, **options) -> str:
  """JSON of plain values; floats read back bit for bit.

  Raises:
    ValueError: a number in it is not finite.
  """
  try:
    return json.dumps(value, allow_nan=False, **options)
  except ValueError as error:
    raise ValueError(f'{where} cannot hold this: {error}') from error


def flat(tree: Any, path: tuple[str, ...] = ()) -> dict[str, str]:
  """{'model.width': '96', ...}: leaves, in JSON, by their dotted path."""
  if not isinstance(tree, dict):
    return {'.'.join(path): to_json('the config', tree)}
  leaves = {}
  for name, value in tree.items():
    leaves |= flat(value, (*path, name))
  return leaves


def _parse(where, text):
  try:
    return json.loads(text)
  # Of JSON, or of UTF-8; or lists in lists without end.
  except (ValueError, RecursionError) as error:
    raise ValueError(
        f'{where} is not JSON ({error}); mend or move the file') from error


@contextlib.contextmanager
def named_errors(path: pathlib.Path) -> Iterator[None]:
  """Turns an OSError into a ValueError of one line that names the path."""
  try:
    yield
  except OSError as error:
    raise ValueError(
        f'{path}: {error.strerror}; see to the disk, and start again with the '
        'same --workdir') from error
