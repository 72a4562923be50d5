"""Folders that one process at a time works in.

`held` is for any folder on a disk. `take` is for workdirs, on a disk or in a
bucket: it keeps a second process out and names the first. On a disk the file
`WORKDIR/writer.lock` has the lock of flock(2), which ends with its process
however that ends; in a bucket the object of that name is a lease, see
`score_jax.lease`.
"""

from collections.abc import Callable
from collections.abc import Iterator
import contextlib
import errno
import fcntl
import json
import os
import pathlib
import stat
import time
from typing import Any

from score_jax import buckets
from score_jax import files
from score_jax import lease
from score_jax import owner

NAME = lease.NAME
"""The file in a workdir that names the process that writes there."""

_NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)
_WAIT_S = 1.0  # For the name of a process that has just begun.


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


class _OnDisk:
  """The lock of a workdir on a disk; see `take`."""

  def __init__(self, folder, say):
    self._folder = folder
    self._path = folder / NAME
    self._opened = self._open(say)

  def check(self):
    """Raise a ValueError if another process may write into the workdir.

    A lock file that was removed is made again; if another process was faster,
    that process has the workdir.
    """
    with contextlib.suppress(FileNotFoundError):
      if os.path.samestat(os.fstat(self._opened), self._path.stat()):
        return
    self.close()
    self._opened = self._open(lambda line: None)

  def release(self):
    """Let other processes in."""
    with contextlib.suppress(OSError):
      os.ftruncate(self._opened, 0)
    self.close()

  def close(self):
    """Close the file, which unlocks it unless a parent process has it open."""
    with contextlib.suppress(OSError):
      os.close(self._opened)

  def _open(self, say) -> int:
    with files.named_errors(self._path):
      while True:
        opened = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NONBLOCK,
                         0o644)
        try:
          self._lock(opened, say)
          with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(opened), self._path.stat()):
              text = json.dumps(owner.of_this_process(str(self._folder)))
              os.ftruncate(opened, 0)
              os.pwrite(opened, text.encode(), 0)
              return opened
        except BaseException:
          os.close(opened)
          raise
        os.close(opened)  # Another file was put in its place.

  def _lock(self, opened, say):
    if not stat.S_ISREG(os.fstat(opened).st_mode):
      raise ValueError(f'{self._path} is not a file; remove it')
    try:
      fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
      raise _in_use(self._folder, self._record(opened)) from None
    except OSError as error:
      if error.errno not in _NO_LOCKS:
        raise
      record = _parsed(opened)
      if record.get('pid') != os.getpid() and owner.is_alive(record):
        raise _in_use(self._folder, record) from None
      say(f'{self._folder}: this disk has no file locks, so a process on '
          'another host that writes here is not noticed')

  def _record(self, opened) -> dict[str, Any]:
    """The process that has the lock, which may not have written it yet."""
    until = time.monotonic() + _WAIT_S
    while True:
      record = _parsed(opened)
      if owner.is_alive(record) or time.monotonic() > until:
        return record
      time.sleep(0.05)


def _parsed(opened) -> dict[str, Any]:
  try:
    record = json.loads(os.pread(opened, 4096, 0))
  except ValueError:
    record = {}
  return record if isinstance(record, dict) else {}


def _in_use(folder, record):
  return ValueError(lease.IN_USE.format(folder, owner.described(record)))


_taken: dict[str, tuple[Any, int]] = {}
"""Locks of this process by workdir, and by how many they are held."""


class WriterLock:
  """A workdir that this process alone writes into, until `release`."""

  def __init__(self, key: str):
    """See `take`."""
    self._key = key

  def check(self):
    """Raise a ValueError if another process has the workdir now."""
    if self._key in _taken:
      _taken[self._key][0].check()

  def release(self):
    """Let other processes in, once nothing in this one has the workdir."""
    if self._key is None or self._key not in _taken:
      return
    lock, count = _taken.pop(self._key)
    if count > 1:
      _taken[self._key] = lock, count - 1
    else:
      lock.release()
    self._key = None


def take(folder: files.Path, say: Callable[[str], None] = print) -> WriterLock:
  """Take a workdir for this process, which may do so several times.

  Args:
    folder: the workdir; it is made.
    say: prints a line, where it takes time or the disk has no locks.

  Raises:
    ValueError: another process has it, which the message names; or the file
      cannot be written.
  """
  key = os.path.realpath(folder) if not buckets.is_in(folder) else str(folder)
  if key in _taken:
    lock, count = _taken[key]
    lock.check()
  else:
    with files.named_errors(folder):
      files.make_folder(folder)
    make = lease.Lease if buckets.is_in(folder) else _OnDisk
    lock, count = make(folder, say), 0
  _taken[key] = lock, count + 1
  return WriterLock(key)


def _forget():
  """A forked process has none of the locks, though it has the files open."""
  for lock, _ in _taken.values():
    lock.close()
  _taken.clear()


os.register_at_fork(after_in_child=_forget)
