"""Reads the files of a tokenizer: whole, regular files or one-line errors.

A pipe would be waited for without end, a link of a hub cache may point to
nothing, and a clone without Git LFS has pointers instead of large files.
"""

import os
from pathlib import Path
import stat

_LFS = b'version https://git-lfs.github.com/spec/'


def exists(path: str | os.PathLike) -> bool:
  """Return whether there is a file, or anything else of this name.

  A link to nothing is there, and `read_bytes` refuses it.
  """
  return os.path.lexists(path)


def read_bytes(path: str | os.PathLike, size: int = -1) -> bytes:
  """Return the first `size` bytes of a file (-1: all of it).

  Raises:
    ValueError: it is missing, no regular file, a link to nothing, a pointer of
      Git LFS, or cannot be read.
  """
  check(path)
  try:
    with open(path, 'rb') as file:
      return file.read(size)
  except OSError as error:
    raise ValueError(
        f'cannot read {path}: {error.strerror}'
    ) from error


def check(path: str | os.PathLike):
  """Check that `path` is a regular file with contents; as `read_bytes`."""
  path = Path(path)
  try:
    if path.is_symlink() and not path.exists():
      raise ValueError(
          f'{path} is a link to {os.readlink(path)}, which is not there; '
          'download the tokenizer again')
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode):
      what = 'folder' if stat.S_ISDIR(mode) else 'pipe or device'
      raise ValueError(f'{path} is a {what}; a tokenizer is in regular files')
    with open(path, 'rb') as file:
      is_pointer = file.read(len(_LFS)) == _LFS
  except OSError as error:
    raise ValueError(
        f'cannot read {path}: {error.strerror}'
    ) from error
  if is_pointer:
    raise ValueError(
        f'{path} is a pointer of Git LFS, not the file itself; run `git lfs '
        'pull` in its folder')
