"""Sandboxes: what they stop, and that no program passes what it does not."""

from concurrent import futures
import contextlib
import ctypes
import functools
import json
import os
import signal
import socket
import subprocess
import sys
import time

import pytest

from score_jax.grading import pool
from score_jax.grading import programs
from score_jax.grading import sandbox
from tests.grading import hostile

_GOOD = 'def add(a, b):\n  return a + b\n'
_TESTS = {'tests': [
    'assert add(2, 3) == 5',
    'assert add(2.0, 0.5) == 2.5',
    'assert set(add([1], [2])) == {1, 2}',
    'assert sorted(add([3], [1])) == [1, 3]',
    'assert abs(add(0.5, 1) - 1.5) < 1e-9',
    'assert math.isclose(add(1.5, 2), 3.5)',
    'assert "b" in add("a", "b")',
    'assert not add(0, 0)',
]}
_CHECK = {
    'entry_point': 'add',
    'prefix': ('def twice(x):\n  return 2 * x\n\n'
               'def add(a, b):\n  """Adds."""\n'),
    'test': ('def check(candidate):\n'
             '  assert all(map(lambda x: candidate(x, x) == twice(x), '
             'range(1, 9)))\n'
             '  assert "b" in candidate("a", "b")\n'),
}
# Generous: the machine may do much else.
_LIMITS = {'cpu_s': 10.0, 'wall_s': 60.0, 'memory_bytes': 2**29}
_PR_SET_CHILD_SUBREAPER = 36


def _judge(text, spec=None, **changed):
  return programs.judge(json.dumps(spec or _TESTS), text,
                        **({'sandbox': 'auto'} | _LIMITS | changed))


def _working():
  found = []
  for name in sandbox.NAMES:
    with contextlib.suppress(ValueError):
      found.append(sandbox.choose(name).name)
  return found


def _children(pid=None):
  """Processes that one (this) has, or inherited from others that ended."""
  found = []
  for child in filter(str.isdigit, os.listdir('/proc')):
    try:
      with open(f'/proc/{child}/stat') as file:
        state, parent = file.read().rpartition(')')[2].split()[:2]
    except OSError:
      continue
    if int(parent) == (pid or os.getpid()) and state != 'Z':
      found.append(int(child))
  return set(found)


def _descendants(pid):
  found = _children(pid)
  return found.union(*map(_descendants, found))


def _wait_until(condition):
  deadline = time.monotonic() + 60
  while not condition():
    assert time.monotonic() < deadline
    time.sleep(0.05)


class _World:
  """What hostile programs could do harm to."""

  def __init__(self, folder):
    self.folder = folder
    folder.chmod(0o777)
    (folder / 'expected').write_text('5')
    (folder / 'expected').chmod(0o666)
    self._signals = []
    self._old = signal.signal(
        signal.SIGTERM, lambda number, _: self._signals.append(number))
    self._io = signal.signal(
        signal.SIGIO, lambda number, _: self._signals.append(number))
    self._stream = socket.create_server(('127.0.0.1', 0))
    self._port = self._stream.getsockname()[1]
    self._datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    self._datagrams.bind(('127.0.0.1', self._port))
    for listening in self._stream, self._datagrams:
      listening.setblocking(False)

  def close(self):
    signal.signal(signal.SIGTERM, self._old)
    signal.signal(signal.SIGIO, self._io)
    self._stream.close()
    self._datagrams.close()

  def text(self, program):
    for name, value in {'OUTSIDE': self.folder, 'PORT': self._port,
                        'PID': os.getpid()}.items():
      program = program.replace(name, str(value))
    return program

  def harm(self):
    """What was done."""
    found = [str(path) for path in self.folder.iterdir()
             if path.name != 'expected']
    found += [folder for folder in ('/', '/tmp', '/dev/shm', '/var/tmp')
              if os.path.exists(os.path.join(folder, 'hostile_was_here'))]
    try:
      if (self.folder / 'expected').read_text() != '5':
        found.append('changed')
    except OSError as error:
      found.append(f'lost: {error}')
    with contextlib.suppress(BlockingIOError):
      self._stream.accept()
      found.append('connection')
    with contextlib.suppress(BlockingIOError):
      self._datagrams.recv(9)
      found.append('datagram')
    return found + self._signals


@pytest.fixture(name='world')
def _world(tmp_path_factory):
  world = _World(tmp_path_factory.mktemp('outside'))
  yield world
  world.close()


def _passed(world, name, spec, chosen=hostile.PROGRAMS):
  """Names of hostile programs that passed."""

  def one(program):
    verdict = _judge(world.text(program[2]), spec, sandbox=name, cpu_s=1.0,
                     wall_s=4.0)
    return verdict == 'passed' and program[0]

  with futures.ThreadPoolExecutor(4) as threads:
    return list(filter(None, threads.map(one, chosen)))


@pytest.mark.parametrize('spec', [_TESTS, _CHECK], ids=['tests', 'check'])
def test_no_hostile_program_passes_or_does_harm(world, spec):
  _check_hostile(world, sandbox.choose('auto').name, spec)


@pytest.mark.slow
@pytest.mark.parametrize('spec', [_TESTS, _CHECK], ids=['tests', 'check'])
def test_nor_in_the_weaker_sandboxes(world, spec):
  for name in _working()[1:]:
    _check_hostile(world, name, spec)


def _check_hostile(world, name, spec):
  assert len(hostile.PROGRAMS) >= 60
  # What a program leaves behind becomes a child of this process.
  ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)
  before = _children()
  assert _judge(_GOOD, spec, sandbox=name) == 'passed'
  assert _passed(world, name, spec) == []
  assert world.harm() == []
  servers = {server._process.pid
             for server in vars(sandbox._mine)['servers'].values()}
  _wait_until(lambda: _children() <= before | servers)


@pytest.fixture(name='begin_servers_with')
def _begin_servers_with(tmp_path, monkeypatch):
  """A function of a text that each new server runs as it starts."""
  def begin(text):
    (tmp_path / 'sitecustomize.py').write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sandbox, '_mine', sandbox.threading.local())
  return begin


def test_a_python_without_pidfds_will_do(begin_servers_with):
  name = sandbox.choose('auto').name
  begin_servers_with(  # As uv and conda build it.
      'import os, signal\n'
      'del os.pidfd_open, signal.pidfd_send_signal')
  assert sandbox.choose('auto').name == name


def test_files_are_safe_with_the_oldest_landlock(world, begin_servers_with):
  begin_servers_with(  # It knows no right to empty a file.
      'from score_jax.grading import sandbox_confine\n'
      'sandbox_confine._landlock_abi = lambda: 1')
  assert sandbox.choose('landlock').name == 'landlock'
  chosen = [program for program in hostile.PROGRAMS if 'OUTSIDE' in program[2]]
  assert len(chosen) > 10
  assert _passed(world, 'landlock', _TESTS, chosen) == []
  assert world.harm() == []


def test_what_is_lent_to_a_program_does_not_lead_to_the_tests():
  lending = {'tests': ['assert add(lambda: 2, iter([3])) == 5']}
  assert _judge('def add(a, b): return a() + sum(b)', lending) == 'passed'
  for operation in ('get', 'name', 'item', 'set', 'repr', 'str', 'run'):
    for name in ('"__code__"', '"__globals__"', '"__self__"', '0'):
      asks = (f'def add(a, b):\n  for x in a, b:\n'
              f'    try:\n      a._peer.ask("{operation}", x, {name})\n'
              f'      return 5\n    except Exception: pass\n  return 0')
      assert _judge(asks, lending) == 'failed', (operation, name)


def test_without_a_sandbox_they_do_harm_and_still_none_passes(world):
  harmful = [program for program in hostile.PROGRAMS
             if program[0] in ('write', 'connect', 'remove')]
  assert _passed(world, 'none', _TESTS, harmful) == []
  found = world.harm()
  assert 'connection' in found and len(found) == 3


def test_the_strongest_that_works_is_chosen(monkeypatch):
  assert sandbox.NAMES == ('landlock', 'bubblewrap', 'seccomp')
  broken = set()
  monkeypatch.setattr(
      sandbox, '_problem', lambda name: 'is off' if name in broken else None)
  for name in sandbox.NAMES:
    box = sandbox.choose('auto')
    assert box.name == name
    assert box.describe().startswith(f'{name} (') and 'no network' in str(
        box.describe())
    broken.add(name)
  with pytest.raises(ValueError) as error:
    sandbox.choose('auto')
  text = str(error.value)
  assert 'landlock: is off; bubblewrap: is off; seccomp: is off' in text
  assert '--config.grading.sandbox=none' in text and '\n' not in text
  box = sandbox.choose('none')  # Only when asked for.
  assert box.name == 'none' and 'NO SANDBOX' in box.describe()


def test_a_name_that_is_none_is_refused():
  with pytest.raises(ValueError, match="sandbox is 'jail'; give 'auto'.*none"):
    sandbox.choose('jail')


def test_a_sandbox_that_lets_something_out_is_refused(monkeypatch):
  assert sandbox.choose('none').name == 'none'
  monkeypatch.setitem(sandbox._GETS_OUT, 'none', [])
  with pytest.raises(ValueError, match='none: a program in it failed'):
    sandbox.choose('none')


def test_one_that_cannot_be_started_is_named(monkeypatch):
  monkeypatch.setattr(sandbox.sys, 'executable', '/bin/false')
  monkeypatch.setattr(sandbox, '_mine', sandbox.threading.local())
  with pytest.raises(ValueError, match='its process ended.*bubblewrap: '):
    sandbox.choose('auto')


_FILES = '''
def add(a, b):
  import colorsys, os, resource, sys
  with open('x', 'w') as file:
    file.write(str(a + b))
  assert os.listdir() == ['x'], os.listdir()
  assert sys.stdin.read() == ''
  assert not {*os.environ} - {'PYTHONPATH', 'PYTHONHASHSEED', 'LC_CTYPE',
                              'OPENBLAS_NUM_THREADS', 'PWD'}, os.environ
  try:
    with open('y', 'wb') as file:
      file.write(b'x' * (2**20 + 1))
    raise ValueError('a file of any size')
  except OSError:
    os.unlink('y')
  found = []
  import threading
  thread = threading.Thread(target=lambda: found.append(open('x').read()))
  thread.start()
  thread.join()
  return found[0]
'''


def test_a_program_has_a_folder_of_its_own_threads_and_python():
  for _ in range(2):  # Nothing is left for the second.
    assert _judge(_FILES, {'tests': ['assert add(2, 3) == "5"']}) == 'passed'


_THREADS = '''
import threading, time
threading.stack_size(2**18)
threads = [threading.Thread(target=time.sleep, args=[{1}]) for _ in range({0})]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
'''


@pytest.mark.parametrize('program, limits, verdict', [
    ('x = bytearray(2**28)', {'memory_bytes': 2**29}, 'passed'),
    ('x = bytearray(2**28)', {'memory_bytes': 2**28}, 'failed'),
    ('import time\ntime.sleep(0.5)', {}, 'passed'),
    ('import time\ntime.sleep(99)', {'wall_s': 0.1}, 'timeout'),
    ('while True: pass', {'cpu_s': 1.0}, 'timeout'),
    ('import os\nos._exit(0)', {}, 'crashed'),
    ('import time\nfor n in range(200): open(str(n), "w")\ntime.sleep(99)', {},
     'crashed'),
    (_THREADS.format(48, 0.1), {}, 'passed'),
    (_THREADS.format(99, 99), {}, 'crashed'),
    ('import ctypes\nctypes.string_at(0)', {}, 'crashed'),
    ('1 / 0', {}, 'failed'),
])
def test_limits_and_verdicts(program, limits, verdict):
  assert _judge(f'{_GOOD}\n{program}\n', **limits) == verdict


def test_the_tests_have_limits_too():
  endless = {'tests': ['assert add(1, 2) == 3', 'while True: pass']}
  assert _judge(_GOOD, endless, cpu_s=1.0) == 'timeout'
  memory = {'tests': ['assert len(bytearray(2**31)) + add(1, 2)']}
  assert _judge(_GOOD, memory) == 'failed'


def test_in_a_pool_time_outs_are_counted():
  limits = _LIMITS | {'cpu_s': 1.0}
  grade = functools.partial(
      programs.grade, sandbox=sandbox.choose('auto').name, **limits)
  spec = json.dumps(_TESTS)
  with_pool = pool.Pool(grade, 2, pool.Limits(10.0, 90.0, 2**30))
  try:
    done = with_pool.submit([
        (spec, _GOOD), (spec, hostile.WRONG), (spec, 'while True: pass'),
        (spec, 'import os\nos._exit(0)'), (spec, _GOOD)]).result()
  finally:
    with_pool.close()
  assert done.grades == [1, 0, 0, 0, 1]
  assert (done.timeouts, done.crashes) == (1, 0)


def test_a_sandbox_that_dies_is_started_anew():
  name = sandbox.choose('auto').name
  assert _judge(_GOOD, sandbox=name) == 'passed'
  vars(sandbox._mine)['servers'][name]._process.kill()
  with pytest.raises((RuntimeError, OSError)):
    _judge(_GOOD, sandbox=name)
  assert _judge(_GOOD, sandbox=name) == 'passed'


def test_what_runs_is_ended_when_nobody_waits_any_more(tmp_path):
  name = sandbox.choose('auto').name
  ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)
  before = _children()
  script = tmp_path / 'grades.py'
  script.write_text(
      'from score_jax.grading import programs\n'
      'print("begins", flush=True)\n'
      f'programs.judge({json.dumps(_TESTS)!r}, "while True: pass", '
      f'sandbox={name!r}, cpu_s=600, wall_s=600)')
  with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE,
                        env=os.environ | {'PYTHONPATH': os.pathsep.join(
                            sys.path)}) as process:
    assert process.stdout.readline() == b'begins\n'
    _wait_until(lambda: any(  # Its server has the tests and the program.
        len(_children(pid)) == 2 for pid in _descendants(process.pid)))
    process.kill()
  _wait_until(lambda: _children() <= before)
