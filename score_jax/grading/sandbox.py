"""Where untrusted programs run, the strongest that works on this machine.

`auto` takes the first of these that works:

1. `landlock`: Landlock (Linux 5.13) and seccomp. Needs no privilege and nothing
   but pyseccomp: a program sees the files of Python and its scratch folder.
2. `bubblewrap`: namespaces and seccomp, where the kernel has no Landlock but
   has user namespaces, and `bwrap` is installed. The same, seen by mounts.

In each, a program has no network, no other process, no signals and limits, and
loses root. Two more are never chosen unless asked for, with a warning of what
they do not protect: `seccomp`, seccomp alone, and `none`, the limits alone.
See `sandbox_confine` for what is given up, `sandbox_mounts` for the scratch
folder, `sandbox_roles` for how a verdict is reached.
"""

import contextlib
import dataclasses
import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import threading

from score_jax.grading import sandbox_confine
from score_jax.grading import sandbox_mounts
from score_jax.grading import sandbox_probe
from score_jax.grading import sandbox_server

Limits = sandbox_confine.Limits

NAMES = ('landlock', 'bubblewrap')
"""Those that `auto` chooses from, the strongest first."""

WEAK = ('seccomp', 'none')
"""Those that have to be asked for by name."""

_EACH = ('no network, no other process, no signals; limits on time, memory, '
         'files, threads')
_STOPS = {
    'landlock': f'reads of Python alone; {_EACH}',
    'bubblewrap': f'reads of Python alone; {_EACH}',
    'seccomp': ('WARNING: does not protect files from being read: a program '
                'reads each file of this user, keys and tests too, and, where '
                'no mount namespace can be made, the memory of processes of '
                f'this user; no writes; {_EACH}'),
    'none': ('NO SANDBOX. WARNING: protects neither files, processes, memory, '
             'network nor the disk, nor the next program: limits on time and '
             'memory alone'),
}
_SCRATCH = {
    True: f'writes in {sandbox_mounts.MAX_BYTES >> 20} MiB of memory',
    False: 'no writes, as this machine permits no mount namespace',
}
_WAY_OUT = ('install pyseccomp and libseccomp2 (and bubblewrap, if the kernel '
            'has no Landlock), or accept less with --config.grading.sandbox='
            'seccomp (a program reads all files of this user) or, for programs '
            'that you trust, --config.grading.sandbox=none')
_START_S = 120.0  # For imports, on a machine that does much else.
_LAST_S = 5.0  # Beyond the limit of a program, for its end.

# What a program can do in it, of what `sandbox_probe` tries; None: anything.
_GETS_OUT = {'landlock': [], 'bubblewrap': [], 'seccomp': ['read', 'memory'],
             'none': None}
_PROBE_LIMITS = Limits(10.0, 60.0, 2**30)

_mine = threading.local()  # One server of each kind for a thread.


@dataclasses.dataclass(frozen=True)
class Sandbox:
  """One that works here.

  Attributes:
    name: one of `NAMES` or `WEAK`.
    writes: a program has a scratch folder.
  """

  name: str
  writes: bool = True

  def describe(self) -> str:
    """Which it is and what it stops, or does not protect, in a line."""
    scratch = f'{_SCRATCH[self.writes]}; ' if self.name in NAMES else ''
    return f'{self.name} ({scratch}{_STOPS[self.name]})'


def choose(name: str) -> Sandbox:
  """The sandbox of a name, after programs that try to get out of it.

  Args:
    name: 'auto' for the strongest of `NAMES` that works; one of `NAMES` or
      `WEAK`.

  Raises:
    ValueError: there is none of the name, or it does not work here.
  """
  if name not in ('auto', *NAMES, *WEAK):
    raise ValueError(f"config.grading.sandbox is {name!r}; give 'auto', "
                     f'{", ".join(map(repr, NAMES))} or, with less protection, '
                     f'{" or ".join(map(repr, WEAK))}')
  problems = []
  for candidate in NAMES if name == 'auto' else (name,):
    problem = _problem(candidate)
    if problem is None:
      server = vars(_mine).get('servers', {}).get(candidate)
      return Sandbox(candidate, server is None or server.writes)
    problems.append(f'{candidate}: {problem}')
  raise ValueError(
      f'no sandbox works here ({"; ".join(problems)}); {_WAY_OUT}')


def run(name: str, spec: dict, program: str, limits: Limits) -> str:
  """What becomes of a program in a sandbox.

  Args:
    name: of a sandbox that works here.
    spec: see `programs.judge`.
    program: its text.
    limits: of the program, and of its tests.

  Returns:
    'passed'; 'failed': it was wrong, or raised; 'timeout': too slow; 'crashed':
    its process ended before the tests did, or had too many files or threads.

  Raises:
    RuntimeError: the sandbox does not work any more.
  """
  servers = vars(_mine).setdefault('servers', {})
  if name not in servers:
    servers[name] = _Server(name)
  try:
    return servers[name].run(spec, program, limits)
  except BaseException:
    servers.pop(name).close()
    raise


def _problem(name):
  """Why a sandbox does not work here; None if it does."""
  if name == 'bubblewrap' and not shutil.which('bwrap'):
    return 'bwrap is not installed'
  with tempfile.TemporaryDirectory() as folder:
    os.chmod(folder, 0o777)
    secret = pathlib.Path(folder, 'secret')
    secret.write_text('')
    secret.chmod(0o666)
    arguments = (f'{os.path.join(folder, "new")!r}, {str(secret)!r}, '
                 f'{name != "none"}')
    allowed = _GETS_OUT[name]
    test = f'found = list(out({arguments}))\n' + (
        f'assert {{*found}} <= {{*{allowed}}}' if allowed is not None else '')
    try:
      verdict = run(name, {'tests': [test]}, sandbox_probe.PROGRAM,
                    _PROBE_LIMITS)
    except RuntimeError as error:
      return str(error)
  return None if verdict == 'passed' else f'a program in it {verdict}'


class _Server:
  """A process of `sandbox_server`."""

  def __init__(self, name):
    self._name = name
    self.writes = True
    if name == 'seccomp':  # Programs open what is in /proc.
      sandbox_confine.hide_memory()
    self._pipe, theirs = socket.socketpair()
    with theirs:
      self._process = subprocess.Popen(
          [*_wrap(name), sys.executable, '-P', '-s', '-B', '-m',
           sandbox_server.__name__, name, str(theirs.fileno())],
          stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
          stderr=subprocess.DEVNULL, pass_fds=[theirs.fileno()],
          start_new_session=True, cwd='/', env={
              'PYTHONPATH': os.pathsep.join(
                  os.path.abspath(path) for path in sys.path),
              'PYTHONHASHSEED': '0', 'OPENBLAS_NUM_THREADS': '1'})
    try:
      ready = self._receive(_START_S)
      if ready['problem'] is not None:
        raise RuntimeError(ready['problem'])
      self.writes = ready['writes']
    except BaseException:
      self.close()
      raise

  def run(self, spec, program, limits):
    ours, theirs = socket.socketpair()
    with ours:
      with theirs:
        socket.send_fds(self._pipe, [json.dumps(limits._asdict()).encode()],
                        [theirs.fileno()])
      ours.settimeout(limits.wall_s + _LAST_S)
      with contextlib.suppress(OSError):  # Its process has ended already.
        ours.sendall(json.dumps([spec, program]).encode())
        ours.shutdown(socket.SHUT_WR)
      verdict = self._receive(limits.wall_s + _LAST_S)['verdict']
    if not verdict:
      raise RuntimeError(f'the sandbox {self._name!r} worked and works no more')
    return verdict

  def close(self):
    """Ends the process, which ends what it has started."""
    self._pipe.close()
    try:
      self._process.wait(_LAST_S)
    except subprocess.TimeoutExpired:
      self._process.kill()
      self._process.wait()

  def _receive(self, limit_s):
    self._pipe.settimeout(limit_s)
    try:
      message = self._pipe.recv(4096)
    except TimeoutError:
      message = b''
    if not message:
      raise RuntimeError('its process ended or hangs')
    return json.loads(message)


def _wrap(name):
  """What goes before the command of a server."""
  if name != 'bubblewrap':
    return []
  package = pathlib.Path(sandbox_server.__file__).parents[2]
  paths = [*sandbox_confine.readable(), sys.prefix, sys.base_prefix,
           '/sbin/ldconfig',  # With which pyseccomp finds its library.
           str(package / 'score_jax')]
  binds = [word for path in dict.fromkeys(paths) if not path.startswith('/dev/')
           for word in ('--ro-bind', path, path)]
  # Not /dev/urandom, which everybody may write to: Python asks the kernel.
  binds += ['--dev-bind', '/dev/null', '/dev/null']
  # Root would be root still under another number in a user namespace: it is
  # given up after the mounts, by `sandbox_confine`. The server alone has these.
  user = ['--uid', str(sandbox_confine.NOBODY), '--gid',
          str(sandbox_confine.NOBODY), '--unshare-user']
  rights = ['SYS_ADMIN']
  if os.geteuid() == 0:
    user, rights = [], [*rights, 'SETUID', 'SETGID', 'CHOWN', 'KILL',
                        'DAC_OVERRIDE', 'DAC_READ_SEARCH']
  return ['bwrap', '--die-with-parent', '--unshare-ipc', '--unshare-pid',
          '--unshare-net', '--unshare-uts', '--unshare-cgroup-try', *user,
          '--cap-drop', 'ALL',
          *(word for right in rights for word in ('--cap-add', f'CAP_{right}')),
          '--proc', '/proc', '--dir', '/dev/shm', '--dir', '/tmp', *binds,
          '--remount-ro', '/', '--chdir', '/']
