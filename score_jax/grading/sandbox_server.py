"""Starts the processes of one program after the other, from a warm Python.

Started by `sandbox` as `python -m score_jax.grading.sandbox_server NAME FD`, a
process for each thread that grades. For each request it forks two that are
confined in the same way: one for the tests and one for the program. It never
sees a text of either, so that none can be found in the memory of a later one.
"""

import fcntl
import importlib
import json
import os
import random
import resource
import select
import shutil
import signal
import socket
import sys
import tempfile
import time
from typing import NamedTuple

from score_jax.grading import sandbox_confine
from score_jax.grading import sandbox_roles
from score_jax.grading import sandbox_wire

MAX_FILES = 64
"""Of a program, in its scratch folder."""

MAX_THREADS = 64
"""Of a program."""

_MAX_OPEN = 256  # Files of this process; each of them is closed in each fork.
_UNCONFINED = 4  # Exit status of a process that could not be confined.
_LOOK_S = 0.02  # Between looks at what a program takes.
# What programs often import, ready before they ask.
_WARM = (
    'abc', 'array', 'bisect', 'calendar', 'cmath', 'collections', 'copy',
    'dataclasses', 'datetime', 'decimal', 'enum', 'fractions', 'functools',
    'hashlib', 'heapq', 'itertools', 'json', 'math', 'operator', 'random',
    're', 'statistics', 'string', 'threading', 'typing',
)


class _End(NamedTuple):
  """How a process ended: by a signal, or with a status; after how long."""

  signal: int
  status: int
  cpu_s: float

  def out_of_time(self, limits: sandbox_confine.Limits) -> bool:
    return self.signal == signal.SIGXCPU or (
        self.signal == signal.SIGKILL and self.cpu_s >= limits.cpu_s)


def main(name: str, fd: int):
  """Answers requests until the pipe closes."""
  pipe = socket.socket(fileno=os.dup(fd))  # The lowest that is free.
  os.close(fd)
  resource.setrlimit(resource.RLIMIT_NOFILE, (_MAX_OPEN, _MAX_OPEN))
  try:
    confine = sandbox_confine.prepare(name)
  except ValueError as error:
    pipe.sendall(json.dumps({'problem': str(error)}).encode())
    return
  for module in _WARM:
    importlib.import_module(module)
  pipe.sendall(json.dumps({'problem': None}).encode())
  root = tempfile.mkdtemp(prefix='score_jax_')
  os.chmod(root, 0o711)  # Nobody is let through.
  try:
    while True:
      message, fds, _, _ = socket.recv_fds(pipe, 4096, 1)
      if not message:
        return
      limits = sandbox_confine.Limits(**json.loads(message))
      verdict = _run(confine, limits, os.path.join(root, 'scratch'), fds[0],
                     pipe)
      pipe.sendall(json.dumps({'verdict': verdict}).encode())
  except OSError:  # The other side is gone.
    return
  finally:
    shutil.rmtree(root, ignore_errors=True)


def _run(confine, limits, scratch, spec_fd, pipe):
  """The verdict on one program; '' if it was not run for want of a sandbox."""
  os.mkdir(scratch, 0o700)
  if os.geteuid() == 0:
    os.chown(scratch, sandbox_confine.NOBODY, sandbox_confine.NOBODY)
  one, other = socket.socketpair()
  ended, alive = os.pipe()  # The end of the tests closes it.
  tests = _fork(lambda: confine(None, limits), '/',
                lambda spec, fd, alive: sandbox_roles.run_tests(spec, fd),
                spec_fd, one.fileno(), alive)
  program = _fork(lambda: confine(scratch, limits), scratch,
                  sandbox_roles.run_program, other.fileno())
  one.close()
  other.close()
  os.close(spec_fd)
  os.close(alive)
  try:
    stopped = _wait(ended, limits.wall_s, program, scratch, pipe)
  finally:
    os.close(ended)
    of_tests, of_program = _end(tests), _end(program)
    shutil.rmtree(scratch, ignore_errors=True)
  return stopped or _verdict(of_tests, of_program, limits)


def _verdict(tests, program, limits):
  if _UNCONFINED in (tests.status, program.status):
    return ''
  if tests.status == sandbox_roles.PASSED:
    return 'passed'
  if tests.out_of_time(limits) or program.out_of_time(limits):
    return 'timeout'
  is_crash = tests.signal or tests.status == sandbox_wire.GONE
  return 'crashed' if is_crash else 'failed'


def _fork(confine, folder, role, *fds):
  """A confined process in which no file is open but the given ones."""
  pid = os.fork()
  if pid:
    return pid
  status = _UNCONFINED
  try:
    # Above all that is dealt out below.
    null, *fds = [fcntl.fcntl(fd, fcntl.F_DUPFD, 16)
                  for fd in (os.open(os.devnull, os.O_RDWR), *fds)]
    for fd, old in enumerate([null] * 3 + fds):
      os.dup2(old, fd)
    os.closerange(3 + len(fds), os.sysconf('SC_OPEN_MAX'))
    os.chdir(folder)
    confine()
    random.seed(0)  # The same verdict each time.
    status = 1
    role(*range(3, 3 + len(fds)))
  finally:
    os._exit(status)


def _wait(ended, wall_s, program, scratch, pipe):
  """Waits for the end of the tests; a verdict if they are to be stopped."""
  deadline = time.monotonic() + wall_s
  poll = select.poll()
  poll.register(ended, 0)  # Not readable, but closed.
  poll.register(pipe, select.POLLIN)
  while True:
    ready = [fd for fd, _ in poll.poll(_LOOK_S * 1000)]
    if ended in ready:
      return ''
    if ready or time.monotonic() > deadline:  # Or nobody waits any more.
      return 'timeout'
    if (len(os.listdir(scratch)) > MAX_FILES
        or _threads(program) > MAX_THREADS):
      return 'crashed'


def _threads(pid):
  with open(f'/proc/{pid}/stat') as file:
    return int(file.read().rpartition(')')[2].split()[17])


def _end(pid):
  """How a process ended, which it is made to."""
  os.kill(pid, signal.SIGKILL)  # Nothing if it has ended, or begun to.
  _, status, usage = os.wait4(pid, 0)
  killed_by = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
  return _End(killed_by, -1 if killed_by else os.WEXITSTATUS(status),
              usage.ru_utime + usage.ru_stime)


if __name__ == '__main__':
  main(sys.argv[1], int(sys.argv[2]))
