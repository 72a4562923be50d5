"""Where untrusted programs run, the strongest that works on this machine.

In this order, the strongest first:

1. `landlock`: Landlock (Linux 5.13) and seccomp. Needs no privilege and nothing
   but pyseccomp: a program sees the files of Python and its scratch folder.
2. `bubblewrap`: namespaces and seccomp, where the kernel has no Landlock but
   has user namespaces, and `bwrap` is installed. The same, seen by mounts.
3. `seccomp`: seccomp alone. No file can be written or made at all, but any that
   the user can read can be read, the tests too, if they lie on the disk.

In each, a program has no network, no other process, no signals and limits, and
loses root. `none` is the limits alone: it is never chosen unless asked for.
See `sandbox_confine` for what is given up, `sandbox_roles` for how a verdict is
reached.
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
from score_jax.grading import sandbox_server

Limits = sandbox_confine.Limits

NAMES = ('landlock', 'bubblewrap', 'seccomp')
"""The strongest first."""

_EACH = ('no network, no other process, no signals; limits on time, memory, '
         'files, threads')
_STOPS = {
    'landlock': f'reads of Python alone, writes in a scratch folder; {_EACH}',
    'bubblewrap': f'reads of Python alone, writes in a scratch folder; {_EACH}',
    'seccomp': f'no writes, but READS OF ALL FILES of this user; {_EACH}',
    'none': ('NO SANDBOX: limits on time, memory, files and processes alone; '
             'network and files are open'),
}
_WAY_OUT = ("install pyseccomp and libseccomp2 (and bubblewrap, if the kernel "
            "has no Landlock), or run programs that you trust with "
            "--config.grading.sandbox=none")
_START_S = 120.0  # For imports, on a machine that does much else.
_LAST_S = 5.0  # Beyond the limit of a program, for its end.

# What a program can do in it, of what `_PROBE` tries; None: it may do anything.
_GETS_OUT = {'landlock': [], 'bubblewrap': [], 'seccomp': ['read'],
             'none': None}
_PROBE = '''
import os, socket

def out(outside, secret):
  found = []
  def tries(what, function):
    try:
      function()
      found.append(what)
    except OSError:
      pass
  tries('network', socket.socket)
  tries('write', lambda: open(outside, 'w'))
  tries('empty', lambda: os.truncate(secret, 0))
  tries('empty', lambda: os.open('/dev/null', os.O_RDONLY | os.O_TRUNC))
  tries('read', lambda: open(secret).read())
  tries('process', lambda: os.fork() or os._exit(0))
  tries('signal', lambda: os.kill(os.getppid(), 0))
  import colorsys  # Python's own files can be read.
  return found
'''
_PROBE_LIMITS = Limits(10.0, 60.0, 2**30)

_mine = threading.local()  # One server of each kind for a thread.


@dataclasses.dataclass(frozen=True)
class Sandbox:
  """One that works here.

  Attributes:
    name: one of `NAMES`, or 'none'.
  """

  name: str

  def describe(self) -> str:
    """Which it is and what it stops, in a line."""
    return f'{self.name} ({_STOPS[self.name]})'


def choose(name: str) -> Sandbox:
  """The sandbox of a name, after programs that try to get out of it.

  Args:
    name: 'auto' for the strongest that works; one of `NAMES`; 'none'.

  Raises:
    ValueError: there is none of the name, or it does not work here.
  """
  if name not in ('auto', 'none', *NAMES):
    raise ValueError(f"config.grading.sandbox is {name!r}; give 'auto', 'none' "
                     f'or one of {", ".join(map(repr, NAMES))}')
  problems = []
  for candidate in NAMES if name == 'auto' else (name,):
    problem = _problem(candidate)
    if problem is None:
      return Sandbox(candidate)
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
    call = f'out({os.path.join(folder, "new")!r}, {str(secret)!r})'
    test = f'found = {call}\nassert {_GETS_OUT[name]} in (None, found)'
    try:
      verdict = run(name, {'tests': [test]}, _PROBE, _PROBE_LIMITS)
    except RuntimeError as error:
      return str(error)
  return None if verdict == 'passed' else f'a program in it {verdict}'


class _Server:
  """A process of `sandbox_server`."""

  def __init__(self, name):
    self._name = name
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
      problem = self._receive(_START_S)['problem']
      if problem is not None:
        raise RuntimeError(problem)
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
  binds = [word for path in dict.fromkeys(paths)
           for word in ('--ro-bind', path, path)]
  return ['bwrap', '--unshare-all', '--die-with-parent', '--uid',
          str(sandbox_confine.NOBODY), '--gid', str(sandbox_confine.NOBODY),
          '--tmpfs', '/tmp', '--proc', '/proc', *binds, '--dev', '/dev',
          '--chdir', '/']
