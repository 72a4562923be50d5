"""Files that are whole at all times, on a disk or in a bucket.

On a disk a file is written to one side and renamed. A log grows by whole lines;
a kill can tear its last one, which `read_lines` leaves out. In a bucket
(`gs://...`, see `score_jax.buckets`) whatever is written replaces an object.
"""

from collections.abc import Iterator
import contextlib
import errno
import hashlib
import io
import json
import os
import pathlib
import re
import shutil
import stat
import tempfile
import time
from typing import Any
from typing import BinaryIO
import zipfile
import zlib

from etils import epath
import numpy as np

from score_jax import buckets

Path = pathlib.Path | epath.Path
"""On a disk, or in a bucket; the methods have the same names."""

_FLUSH_S = 30
_LFS = b'version https://git-lfs.github.com/spec/'
_COPY = 'gcloud storage cp --recursive'


def folder(name: Path | str) -> Path:
  """The folder that a flag names; nothing is asked of it.

  Raises:
    ValueError: the name is of neither a disk nor a bucket.
  """
  if buckets.is_in(name):
    return buckets.folder(name)
  if re.match(r'\w+:/', str(name)):
    raise ValueError(f'{name}: name a folder, or gs://BUCKET/RUN')
  return pathlib.Path(os.path.abspath(name))


def opened(name: Path | str, writes: bool = False) -> Path:
  """Likewise, once it is known that a bucket lets us read, or write, too.

  Raises:
    ValueError: it does not; or as `folder`.
  """
  path = folder(name)
  if buckets.is_in(path):
    buckets.check(path, buckets.WRITE if writes else buckets.READ)
  return path


def make_folder(path: Path):
  """Makes a folder, unless it is there; a bucket has objects alone.

  To make one there, gcsfs asks for the bucket, which not all may.
  """
  if not buckets.is_in(path):
    path.mkdir(parents=True, exist_ok=True)


@contextlib.contextmanager
def made_on_disk(path: Path) -> Iterator[pathlib.Path]:
  """A folder for files that a library makes on a disk, and are for `path`.

  Raises:
    ValueError: they cannot be written there.
  """
  if not buckets.is_in(path):
    yield path
    return
  with tempfile.TemporaryDirectory() as made:
    try:
      yield pathlib.Path(made)
    finally:
      with named_errors(path):
        for name in digests(pathlib.Path(made)):
          write_whole(path / name, pathlib.Path(made, name).read_bytes())


def check_on_disk(what: str, name: str, new: bool = False):
  """ValueError for what is named in a bucket and must be files.

  Args:
    what: the flag or field.
    name: its value.
    new: whether it is still to be made.
  """
  if buckets.is_in(name):
    way_out = f'copy it: {_COPY} {name} DIR, and name DIR'
    if new:
      way_out = f'name DIR, and copy what is made: {_COPY} DIR {name}'
    raise ValueError(
        f'{what} {name} is in a bucket, and only runs may be there; {way_out}')


def on_disk(path: Path) -> pathlib.Path:
  """A folder; of one in a bucket, where this host keeps what must be files.

  What is put there must have a name that says what is in it: all runs share it.
  """
  if not buckets.is_in(path):
    return path
  cache = os.environ.get('XDG_CACHE_HOME') or pathlib.Path.home() / '.cache'
  return pathlib.Path(cache) / 'score_jax'


def write_json(path: Path, value: Any):
  """Puts a value in place of a file, indented.

  Raises:
    ValueError: it cannot be written, or holds a number that is not finite.
  """
  write_lines(path, [to_json(path, value, indent=2)])


def write_lines(path: Path, lines: list[str]):
  """Puts lines (without their ends) in place of a file, all at once.

  Raises:
    ValueError: it cannot be written.
  """
  with named_errors(path):
    write_whole(path, _joined(lines))


def write_whole(path: Path, content: bytes):
  """Puts bytes in place of a file; what is raised is the system's."""
  if buckets.is_in(path):
    buckets.write(path, content)
    return
  aside = path.with_name(path.name + '.partial')
  try:
    with open(aside, 'wb') as file:
      file.write(content)
      file.flush()
      os.fsync(file.fileno())
    os.replace(aside, path)
  except OSError:
    with contextlib.suppress(OSError):
      aside.unlink()
    raise


class Log:
  """A file that grows.

  On a disk, what was appended is with the system. An object cannot grow, so in
  a bucket it is written anew: by `flush`, and by what is appended half a minute
  after the last time. Lines that have to come after all that is appended can be
  given to `replace`; then a file on a disk is written anew, too.
  """

  def __init__(self, path: Path):
    self._path = path
    self._head = None  # What is there, where it has to be written anew.
    self._tail = b''
    self._grown = False
    self._flushed_at = time.monotonic()

  def append(self, piece: bytes):
    """Adds to the end, or before the last lines of `replace`.

    Raises:
      ValueError: it cannot be written.
    """
    in_bucket = buckets.is_in(self._path)
    if not in_bucket and not self._tail:
      with named_errors(self._path), open(self._path, 'ab') as file:
        file.write(piece)
      self._grown = True
      return
    if self._head is None:
      self._head = _read(self._path) or b''
    self._head += piece
    self._grown = True
    if not in_bucket or time.monotonic() > self._flushed_at + _FLUSH_S:
      self._write()

  def flush(self):
    """Returns when all that was appended is safe from a kill.

    On a disk it is also safe from a power cut, as a checkpoint is.
    """
    if not self._grown:
      return
    if buckets.is_in(self._path):
      self._write()
      return
    with named_errors(self._path):
      opened = os.open(self._path, os.O_RDONLY)
      try:
        os.fsync(opened)
      finally:
        os.close(opened)
    self._grown = False

  def replace(self, lines: list[str], last: list[str] = ()):
    """Replace all that was appended by lines.

    Args:
      lines: what comes before all that will be appended.
      last: what comes after it.
    """
    write_lines(self._path, [*lines, *last])
    self._tail = _joined(last)
    self._head = _joined(lines) if last else None
    self._grown = False

  def _write(self):
    with named_errors(self._path):
      write_whole(self._path, self._head + self._tail)
    self._flushed_at, self._grown = time.monotonic(), False


def _joined(lines) -> bytes:
  return ''.join(line + '\n' for line in lines).encode()


def read_whole(path: Path) -> bytes:
  """Return the contents of a file.

  Raises:
    OSError: as the system raises it.
    ValueError: as `open_regular`.
  """
  if buckets.is_in(path):
    return buckets.read(path)
  with open_regular(path) as file:
    return file.read()


def open_regular(path: str | os.PathLike) -> BinaryIO:
  """Open a regular file of a disk for reading, in binary mode.

  A pipe or a device is never waited for.

  Raises:
    OSError: as `open`.
    ValueError: the path is a pipe, device or socket, a link whose target is
      missing, or a Git LFS pointer instead of the file.
  """
  name = os.fspath(path)
  opener = lambda name, flags: os.open(name, flags | os.O_NONBLOCK)
  try:
    file = open(name, 'rb', opener=opener)  # noqa: SIM115
  except FileNotFoundError:
    check_link(name)
    raise
  except OSError as error:
    if error.errno == errno.ENXIO:  # A socket, or a device without a driver.
      raise _not_regular(name) from error
    raise
  try:
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
      raise _not_regular(name)
    check_lfs(name, os.pread(file.fileno(), len(_LFS), 0))
  except BaseException:
    file.close()
    raise
  return file


def _not_regular(name):
  return ValueError(f'{name} is not a regular file; name a file on a disk')


def check_link(path: str | os.PathLike):
  """Raise a ValueError for a symbolic link whose target is missing."""
  if os.path.islink(path) and not os.path.exists(path):
    raise ValueError(
        f'{path} is a link to {os.readlink(path)}, which is not there; '
        'download the file again')


def check_lfs(path: str | os.PathLike, start: bytes):
  """Raise a ValueError if a file that starts so is a Git LFS pointer."""
  if start.startswith(_LFS):
    raise ValueError(f'{path} is a Git LFS pointer, not the file itself; run '
                     '`git lfs pull` in its repository')


def read_json(path: Path) -> Any:
  """The value in a file; None if there is no file.

  Raises:
    ValueError: it cannot be read, or is not JSON.
  """
  content = _read(path)
  return None if content is None else _parse(str(path), content)


def read_lines(path: Path) -> list[tuple[str, dict[str, Any]]]:
  """The lines of a log, raw and parsed, without a torn last one.

  Raises:
    ValueError: it cannot be read, or a line is not a JSON object.
  """
  lines, faults = read_whole_lines(path)
  if faults:
    raise ValueError(faults[0])
  return lines


def read_whole_lines(
    path: Path
) -> tuple[list[tuple[str, dict[str, Any]]], list[str]]:
  """Return the lines of a log that are whole, and what is wrong with others.

  A last line without an end was torn by a kill and is left out of both.

  Raises:
    ValueError: it cannot be read.
  """
  *lines, _ = (_read(path) or b'').split(b'\n')  # Each line has an end.
  rows, faults = [], []
  for number, line in enumerate(lines, 1):
    where = f'{path} line {number}'
    try:
      row = _parse(where, line)
    except ValueError as error:
      faults.append(str(error))
      continue
    if isinstance(row, dict):
      rows.append((line.decode(), row))
    else:
      faults.append(f'{where} is no JSON object; repair or move the file')
  return rows, faults


def write_arrays(path: Path, arrays: dict[str, np.ndarray]):
  """Puts arrays in place of a file, whose folder is made if need be.

  Raises:
    ValueError: it cannot be written.
  """
  content = io.BytesIO()
  np.savez_compressed(content, **arrays)
  with named_errors(path):
    make_folder(path.parent)
    write_whole(path, content.getvalue())


def read_arrays(path: Path) -> dict[str, np.ndarray] | None:
  """The arrays in a file, by name; None if there is no file.

  Raises:
    ValueError: it cannot be read, or is damaged.
  """
  content = _read(path)
  if content is None:
    return None
  try:
    return dict(np.load(io.BytesIO(content)))
  except (zipfile.BadZipFile, zlib.error, EOFError, ValueError) as error:
    raise ValueError(f'{path} holds no arrays ({error}); mend or move the file'
                     ) from error


def to_json(where: Path | str, value: Any, **options) -> str:
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


def _read(path) -> bytes | None:
  with named_errors(path):
    try:
      return read_whole(path)
    except FileNotFoundError:
      return None


def _parse(where, text):
  try:
    return json.loads(text)
  # Of JSON, or of UTF-8; or lists in lists without end.
  except (ValueError, RecursionError) as error:
    raise ValueError(
        f'{where} is not JSON ({error}); mend or move the file') from error


def remove_tree(path: Path):
  """Deletes a folder; what resists stays."""
  if buckets.is_in(path):
    with contextlib.suppress(Exception):  # Of many kinds.
      path.rmtree()
  else:
    shutil.rmtree(path, ignore_errors=True)


def digests(path: Path) -> dict[str, str]:
  """MD5 in hex of every file in a folder, by its path there."""
  if buckets.is_in(path):
    return buckets.digests(path)
  return {str(file.relative_to(path)): _digest(file)
          for file in sorted(path.rglob('*')) if file.is_file()}


def _digest(path):
  with open(path, 'rb') as file:
    return hashlib.file_digest(file, 'md5').hexdigest()


@contextlib.contextmanager
def named_errors(
    path: Path, way_out: str = 'start again with the same --workdir'
) -> Iterator[None]:
  """Turns what a system or a bucket raises into a ValueError of one line."""
  try:
    yield
  except ValueError:
    raise
  except Exception as error:
    if buckets.is_in(path):  # Of many kinds.
      what, place = buckets.reason(error), 'bucket'
    elif isinstance(error, OSError):
      what, place = error.strerror, 'disk'
    else:
      raise
    raise ValueError(
        f'{path}: {what}; see to the {place}, and {way_out}') from error
