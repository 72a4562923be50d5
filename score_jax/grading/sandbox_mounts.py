"""A scratch folder with limits of the kernel, in private mounts.

A file that is opened, mapped and unlinked has no name, so no count of names
bounds the disk that it takes. A tmpfs of fixed size does: pages and inodes are
counted by the kernel, whatever happens to the names. It is mounted in a mount
namespace of the server, so it ends with the server, however that ends.

Root needs CAP_SYS_ADMIN, others a user namespace. Where there is neither, no
program gets a file that it can write: see `Private.scratch`.
"""

import ctypes
import os
import sys
from typing import NamedTuple

from score_jax.grading import sandbox_confine

MAX_BYTES = 2**26
"""Of all files of a program, unlinked ones included."""

MAX_INODES = 256
"""Of all files of a program, unlinked ones included."""

_CLONE_NEWNS, _CLONE_NEWUSER = 0x20000, 0x10000000
_RDONLY, _NOSUID, _NODEV, _NOEXEC = 1, 2, 4, 8  # Of <sys/mount.h>.
_REC, _PRIVATE = 1 << 14, 1 << 18
# Exist everywhere. The mount hides them from the server and its programs alone.
_PLACES = ('/dev/shm', '/mnt', '/media', '/srv')

_libc = ctypes.CDLL(None, use_errno=True)


class Private(NamedTuple):
  """The mounts of a server.

  Attributes:
    scratch: a folder for the files of one program, on a tmpfs of `MAX_BYTES`
      and `MAX_INODES`; None if this machine permits no mounts.
    proc: an open folder, /proc; the path /proc is empty if `scratch` is there.
  """

  scratch: str | None
  proc: int


def make() -> Private:
  """Mount the scratch folder and hide /proc, if the machine permits both.

  The calling process must have one thread. A child tries first: a failure
  halfway would leave this process in a user namespace without a user.
  """
  proc = os.open('/proc', os.O_PATH | os.O_DIRECTORY)
  place = _place()
  if place is None or not _works(place):
    return Private(None, proc)
  _mount(place)
  return Private(place, proc)


def _place() -> str | None:
  needed = [os.path.realpath(path) + '/' for path in (
      *sandbox_confine.readable(), sys.prefix, sys.base_prefix, *sys.path)]
  for place in _PLACES:
    real = os.path.realpath(place)
    if os.path.isdir(real) and not any(
        path.startswith(real + '/') for path in needed):
      return real
  return None


def _works(place: str) -> bool:
  pid = os.fork()
  if not pid:
    status = 1
    try:
      _mount(place)
      with open(os.path.join(place, 'x'), 'wb') as file:
        file.write(b'x')
      status = 0
    finally:
      os._exit(status)
  return os.waitpid(pid, 0)[1] == 0


def _mount(place: str):
  uid, gid = os.geteuid(), os.getegid()
  if _libc.unshare(_CLONE_NEWNS) < 0:  # It needs CAP_SYS_ADMIN.
    sandbox_confine.call(_libc.unshare, _CLONE_NEWNS | _CLONE_NEWUSER)
    for name, text in (('setgroups', 'deny'), ('gid_map', f'{gid} {gid} 1'),
                       ('uid_map', f'{uid} {uid} 1')):
      with open(f'/proc/self/{name}', 'w') as file:
        file.write(text)
  if uid == 0:
    uid = gid = sandbox_confine.NOBODY
  _one('none', '/', None, _REC | _PRIVATE, None)
  flags = _NOSUID | _NODEV | _NOEXEC
  _one('tmpfs', place, 'tmpfs', flags,
       f'size={MAX_BYTES},nr_inodes={MAX_INODES + 1},mode=0700,uid={uid},'
       f'gid={gid}')
  _one('tmpfs', '/proc', 'tmpfs', flags | _RDONLY, 'size=4k,nr_inodes=1')


def _one(source, target, kind, flags, options):
  texts = [text and text.encode() for text in (source, target, kind)]
  sandbox_confine.call(_libc.mount, *texts, ctypes.c_ulong(flags),
                       options and options.encode())
