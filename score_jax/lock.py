"""Folders that one process at a time works in."""

from collections.abc import Iterator
import contextlib
import fcntl
import os
import pathlib


@contextlib.contextmanager
def held(folder: pathlib.Path, wait: bool = False) -> Iterator[bool]:
  """Whether this process alone has the folder, until the end of the block.

  The system lets go of it when the process dies. A disk without locks lets
  everybody in.

  Args:
    folder: is there.
    wait: for the process that has it.
  """
  opened = os.open(folder, os.O_RDONLY)
  try:
    yield _lock(opened, folder, 0 if wait else fcntl.LOCK_NB)
  finally:
    os.close(opened)


def _lock(opened, folder, how):
  try:
    fcntl.flock(opened, fcntl.LOCK_EX | how)
    # Another one may have been put in its place.
    return folder.exists() and os.path.samestat(os.fstat(opened), folder.stat())
  except BlockingIOError:
    return False
  except OSError:  # A disk without locks.
    return True
