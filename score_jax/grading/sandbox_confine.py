"""What a process that runs an untrusted program gives up first, for good.

Everything here is of the kernel and needs no privilege. The file reads in the
order in which `confine` goes:

limits: processor time, address space, size of a file, open files, processes.
user: root becomes nobody, who can still read all; others stay who they are.
Landlock: no file can be opened but those of Python (to read) and those in a
  scratch folder, in which no folder can be made, so that it is easily emptied.
seccomp: system calls that are not in a list do not exist. What is missing from
  it: sockets, new processes (threads there are), other programs, signals to
  anyone, tracing, shared memory, limits and priorities, namespaces, links.
"""

from collections.abc import Callable
import contextlib
import ctypes
import errno
import math
import os
import resource
import signal
import sys
import sysconfig
from typing import NamedTuple

NOBODY = 65534
MAX_FILE_BYTES = 2**20

_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_KEEPCAPS = 1, 4, 8
_PR_SET_NO_NEW_PRIVS = 38
_CAPABILITY_VERSION = 0x20080522
_CAP_DAC_READ_SEARCH = 1 << 2

# One number on every machine: landlock_create_ruleset, _add_rule and
# _restrict_self of <asm-generic/unistd.h>.
_CREATE, _ADD, _RESTRICT = 444, 445, 446
_PATH_BENEATH = 1
_ABI_FLAG = 1
# Rights to files, of <linux/landlock.h>, and how many each ABI knows.
_EXECUTE, _WRITE, _READ, _READ_DIR, _REMOVE, _MAKE = (
    1 << 0, 1 << 1, 1 << 2, 1 << 3, 1 << 5, 1 << 8)
_TRUNCATE = 1 << 14
_FILE_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15}
_NEWEST_FILE_RIGHTS = 16
_NETWORK, _SCOPES = 0b11, 0b11  # From ABI 4 and 6: TCP; signals, sockets.

_CLONE_THREAD = 0x10000
# Of a program that reads, computes and waits.
_CALLS = (
    'access', 'arch_prctl', 'brk', 'clock_getres', 'clock_gettime',
    'clock_nanosleep', 'close', 'close_range', 'dup', 'dup2', 'dup3',
    'epoll_create1', 'epoll_ctl', 'epoll_pwait', 'epoll_wait', 'eventfd2',
    'exit', 'exit_group', 'faccessat', 'faccessat2', 'fadvise64', 'fstat',
    'fstatfs', 'futex', 'futex_waitv', 'getcpu', 'getcwd', 'getdents',
    'getdents64', 'getegid', 'geteuid', 'getgid', 'getgroups', 'getpgrp',
    'getpid', 'getppid', 'getrandom', 'getresgid', 'getresuid', 'getrusage',
    'getsid', 'gettid', 'gettimeofday', 'getuid', 'lseek', 'lstat', 'madvise',
    'membarrier', 'mincore', 'mmap', 'mprotect', 'mremap', 'munmap',
    'nanosleep', 'newfstatat', 'pipe', 'pipe2', 'poll', 'ppoll', 'pread64',
    'preadv', 'pselect6', 'read', 'readlink', 'readlinkat', 'readv',
    'restart_syscall', 'rseq', 'rt_sigaction', 'rt_sigpending',
    'rt_sigprocmask', 'rt_sigreturn', 'rt_sigsuspend', 'rt_sigtimedwait',
    'sched_getaffinity', 'sched_getparam', 'sched_get_priority_max',
    'sched_get_priority_min', 'sched_getscheduler', 'sched_yield', 'select',
    'set_robust_list', 'set_tid_address', 'sigaltstack', 'stat', 'statfs',
    'statx', 'sysinfo', 'time', 'times', 'uname', 'write', 'writev', 'alarm',
    'getitimer', 'setitimer',
)
# And that writes files, where something else says which.
_FILE_CALLS = (
    'creat', 'fdatasync', 'fsync', 'ftruncate', 'pwrite64', 'pwritev', 'rename',
    'renameat', 'renameat2', 'unlink', 'unlinkat',
)
_FCNTL = (0, 1, 2, 3, 4, 1030)  # Copies of, and flags of, what is open.
_IOCTL = (0x5401, 0x5413, 0x5421, 0x5450, 0x5451)  # Is it a terminal; flags.
_OPENS = (('open', 1), ('openat', 2))  # And where their flags are.
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC

_libc = ctypes.CDLL(None, use_errno=True)


class Limits(NamedTuple):
  """What a program may take.

  Attributes:
    cpu_s: processor seconds, of all its threads; rounded up to whole ones.
    wall_s: seconds.
    memory_bytes: address space, Python included.
  """

  cpu_s: float
  wall_s: float
  memory_bytes: int


def prepare(name: str) -> Callable[[str | None, Limits], None]:
  """A function (scratch folder, limits) that confines the process calling it.

  Args:
    name: of a sandbox, see `sandbox.NAMES`, or 'none' for limits alone.

  Raises:
    ValueError: the machine lacks what it needs.
  """
  if name == 'landlock' and _landlock_abi() < 1:
    raise ValueError('the kernel has no Landlock, or not switched on')
  calls = None if name == 'none' else _filter(may_write=name != 'seccomp')
  parent = os.getpid()
  # Its memory is nobody's business, nor is that of its children.
  _call(_libc.prctl, _PR_SET_DUMPABLE, 0)

  def confine(scratch, limits):
    os.setsid()
    _limit(limits, 0 if name == 'none' else None)
    rules = _rules(scratch) if name == 'landlock' else None
    if os.geteuid() == 0:
      _become_nobody()
    _call(_libc.prctl, _PR_SET_DUMPABLE, 0)
    _call(_libc.prctl, _PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # It died before that.
      os._exit(1)
    _call(_libc.prctl, _PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if rules is not None:
      _call(_libc.syscall, _RESTRICT, rules, 0)
      os.close(rules)
    if calls is not None:
      calls.load()

  return confine


def _become_nobody():
  """Gives up root, but not to read: its Python may lie where only it can."""
  _call(_libc.prctl, _PR_SET_KEEPCAPS, 1)
  os.setgroups([])
  os.setresgid(NOBODY, NOBODY, NOBODY)
  os.setresuid(NOBODY, NOBODY, NOBODY)
  # Twice (effective, permitted, inheritable): for capabilities 0 to 31 and on.
  header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION, 0)
  sets = (ctypes.c_uint32 * 6)(_CAP_DAC_READ_SEARCH, _CAP_DAC_READ_SEARCH)
  _call(_libc.capset, header, sets)


def readable() -> list[str]:
  """Files and folders that Python needs for its imports."""
  paths = sysconfig.get_paths()
  wanted = [paths['stdlib'], paths['platstdlib'], paths['purelib'],
            paths['platlib']]
  wanted += [os.path.join(sys.base_prefix, 'lib'), '/lib', '/lib64', '/usr/lib',
             '/usr/lib64', '/usr/share/zoneinfo', '/etc/ld.so.cache',
             '/dev/null', '/dev/urandom']
  return [path for path in dict.fromkeys(wanted) if os.path.exists(path)]


def _limit(limits, processes):
  cpu_s = math.ceil(limits.cpu_s)
  wanted = {
      resource.RLIMIT_CPU: (cpu_s, cpu_s + 1),  # SIGXCPU, then SIGKILL.
      resource.RLIMIT_AS: (limits.memory_bytes,) * 2,
      resource.RLIMIT_FSIZE: (MAX_FILE_BYTES,) * 2,
      resource.RLIMIT_NOFILE: (64, 64),
      resource.RLIMIT_CORE: (0, 0),
  }
  if processes is not None:
    wanted[resource.RLIMIT_NPROC] = (processes, processes)
  for which, (soft, hard) in wanted.items():
    most = resource.getrlimit(which)[1]
    if most != resource.RLIM_INFINITY:
      soft, hard = min(soft, most), min(hard, most)
    resource.setrlimit(which, (soft, hard))


def _landlock_abi():
  """The version of Landlock; less than 1 if there is none."""
  return _libc.syscall(_CREATE, None, 0, _ABI_FLAG)


def _rules(scratch):
  """A set of Landlock rules, as an open file."""
  abi = _landlock_abi()
  handled = (1 << _FILE_RIGHTS.get(abi, _NEWEST_FILE_RIGHTS)) - 1
  words = [handled] + [_NETWORK] * (abi >= 4) + [_SCOPES] * (abi >= 6)
  attributes = (ctypes.c_uint64 * len(words))(*words)
  rules = _call(_libc.syscall, _CREATE, attributes,
                ctypes.sizeof(attributes), 0)
  for path in readable():
    _allow(rules, path, _READ | _READ_DIR)
  _allow(rules, '/dev/null', _READ | _WRITE)
  if scratch is not None:
    _allow(rules, scratch, handled & (
        _READ | _READ_DIR | _WRITE | _REMOVE | _MAKE | _TRUNCATE))
  return rules


def _allow(rules, path, rights):
  if not os.path.isdir(path):
    rights &= _READ | _WRITE | _EXECUTE | _TRUNCATE
  file = os.open(path, os.O_PATH)
  try:
    # struct landlock_path_beneath_attr, which is packed: 8 and 4 bytes.
    beneath = rights.to_bytes(8, sys.byteorder) + file.to_bytes(
        4, sys.byteorder)
    _call(_libc.syscall, _ADD, rules, _PATH_BENEATH, beneath, 0)
  finally:
    os.close(file)


def _filter(may_write):
  try:
    import pyseccomp as seccomp
  except (ImportError, RuntimeError, OSError) as error:
    raise ValueError(f'pyseccomp does not load ({error}): pip install '
                     'pyseccomp; apt-get install libseccomp2') from error
  rules = seccomp.SyscallFilter(seccomp.ERRNO(errno.ENOSYS))

  def allow(call, *conditions):
    # Some are not of this machine, or too new for its libseccomp.
    with contextlib.suppress(OSError):
      rules.add_rule(seccomp.ALLOW, call, *conditions)

  for call in (*_CALLS, *(_FILE_CALLS if may_write else ())):
    allow(call)
  # Landlock before ABI 3 (Linux 6.2) lets files be emptied that it lets nobody
  # write to: by `truncate`, and by being opened to be read.
  flags = ((os.O_TRUNC, 0), (os.O_ACCMODE, os.O_WRONLY),
           (os.O_ACCMODE, os.O_RDWR)) if may_write else ((_WRITES, 0),)
  for call, where in _OPENS:
    for mask, value in flags:
      allow(call, seccomp.Arg(where, seccomp.MASKED_EQ, mask, value))
  allow('clone',
        seccomp.Arg(0, seccomp.MASKED_EQ, _CLONE_THREAD, _CLONE_THREAD))
  for call, values in (('fcntl', _FCNTL), ('ioctl', _IOCTL)):
    for value in values:
      allow(call, seccomp.Arg(1, seccomp.EQ, value))
  # The limits of this process can be read, and of no other one touched.
  allow('prlimit64', seccomp.Arg(0, seccomp.EQ, 0),
        seccomp.Arg(2, seccomp.EQ, 0))
  allow('getrlimit')
  return rules


def _call(function, *arguments):
  """Calls the system; an error becomes an OSError."""
  result = function(*arguments)
  if result < 0:
    number = ctypes.get_errno()
    raise OSError(number, os.strerror(number))
  return result
