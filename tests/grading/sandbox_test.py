"""Sandboxes: what they stop, and that no program passes what it does not."""

from concurrent import futures
import contextlib
import ctypes
import functools
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from score_jax.grading import pool
from score_jax.grading import programs
from score_jax.grading import sandbox
from tests.grading import hostile
from tests.grading import hostile_isolation

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
def test_nor_in_the_other_sandboxes(world, spec):
  for name in [*_working()[1:], 'seccomp']:
    _check_hostile(world, name, spec)


# Root hides the folders on the way to Python and to this checkout from others:
# in private mounts, each is replaced by a folder that everybody may search.
_AS_USER = """
set -e
kept=$(mktemp -d)
for inside in $INSIDE; do
  mkdir -p "$kept$inside"; mount --bind "$inside" "$kept$inside"
done
for cover in $COVER; do mount -t tmpfs -o mode=755 tmpfs "$cover"; done
for inside in $INSIDE; do
  mkdir -p "$inside"; mount --bind "$kept$inside" "$inside"
  umount "$kept$inside"
done
find "$kept" -depth -type d -exec rmdir {} +
exec setpriv --reuid 12345 --regid 12345 --clear-groups "$@"
"""


def _hidden(path):
  """The folders above a path that only their owner may search."""
  return [str(above) for above in reversed(pathlib.Path(path).parents)
          if not above.stat().st_mode & 0o001]


def _user_command(command):
  """The same as an ordinary user, which this process may be already."""
  if os.geteuid():
    return command
  needed = {os.path.realpath(sys.base_prefix), os.path.realpath(sys.prefix),
            str(pathlib.Path(__file__).resolve().parents[2])}
  inside = [path for path in sorted(needed) if _hidden(path) and
            not needed & set(map(str, pathlib.Path(path).parents))]
  covers = sorted({_hidden(path)[0] for path in inside})
  assert not any(' ' in path for path in inside)
  return ['env', f'INSIDE={" ".join(inside)}', f'COVER={" ".join(covers)}',
          'unshare', '--mount', 'sh', '-c', _AS_USER, 'sh', *command]


@pytest.mark.parametrize('who', ['caller', 'user'])
@pytest.mark.parametrize('name', [*sandbox.NAMES, 'seccomp'])
def test_nothing_gets_out_of_a_sandbox_or_is_left_for_the_next(
    name, who, tmp_path):
  if name == 'bubblewrap' and not shutil.which('bwrap'):
    pytest.skip('bwrap is not installed')
  command = [sys.executable, '-m', hostile_isolation.__name__, name]
  if who == 'user':
    command = _user_command(command)
  tmp_path.chmod(0o777)
  done = subprocess.run(
      command, capture_output=True, text=True, timeout=300, check=False,
      env=os.environ | {'PYTHONPATH': os.pathsep.join(sys.path),
                        'HOME': str(tmp_path), 'PYTHONDONTWRITEBYTECODE': '1'})
  assert done.returncode == 0, done.stderr[-2000:]
  found = json.loads(done.stdout)
  assert who == 'caller' or found['uid'] != 0
  verdicts = found['verdicts']
  assert verdicts.pop('works') == 'passed' and verdicts.pop('outside') == []
  assert len(verdicts) > 50
  assert {what for what, verdict in verdicts.items()
          if verdict == 'passed'} == set()


def _status(pid):
  with open(f'/proc/{pid}/status') as file:
    return dict(line.split(':\t', 1) for line in file.read().splitlines()
                if ':\t' in line)


@pytest.mark.parametrize('name', sandbox.NAMES)
def test_what_runs_has_no_root_and_no_rights(name):
  if name == 'bubblewrap' and not shutil.which('bwrap'):
    pytest.skip('bwrap is not installed')
  _judge(_GOOD, sandbox=name)
  server = vars(sandbox._mine)['servers'][name]._process.pid

  def leaves():
    return {pid for pid in _descendants(server) if not _children(pid)}

  thread = threading.Thread(target=sandbox._Server.run, args=(
      vars(sandbox._mine)['servers'][name], _TESTS, 'while True: pass',
      sandbox.Limits(2.0, 60.0, 2**29)))
  thread.start()
  try:
    _wait_until(lambda: [_status(pid)['Seccomp'] for pid in leaves()
                         ] == ['2', '2'])
    for status in map(_status, leaves()):
      assert '0' not in status['Uid'].split() + status['Gid'].split()
      assert status['NoNewPrivs'] == '1'
      # Root's Python may be where only root can read.
      rights = [int(status[kind], 16) for kind in
                ('CapInh', 'CapPrm', 'CapEff', 'CapAmb')]
      most = 0 if os.geteuid() else 1 << 2
      assert rights == [0, most, most, 0]
  finally:
    thread.join()


_NO_MOUNTS = ('from score_jax.grading import sandbox_mounts\n'
              'sandbox_mounts._works = lambda place: False')


def test_without_private_mounts_no_file_can_be_written(
    world, begin_servers_with):
  begin_servers_with(_NO_MOUNTS)
  box = sandbox.choose('landlock')
  assert not box.writes and 'no writes, as this machine' in box.describe()
  for text in ('open("x", "w")', 'import os\nos.mkdir("x")',
               'import tempfile\ntempfile.TemporaryFile()',
               'open("/dev/shm/x", "wb")', 'open("/tmp/x", "a")'):
    assert _judge(f'{_GOOD}\n{text}\n', sandbox='landlock') == 'failed', text
  assert _judge(f'{_GOOD}\nopen("/dev/null", "w").write("x")\nimport json',
                sandbox='landlock') == 'passed'
  assert world.harm() == []


@pytest.mark.parametrize('weakness', [
    'sandbox_mounts.MAX_BYTES = 2**30',
    'sandbox_confine._CALLS += ("shmget",)',
    'sandbox_confine._CALLS += ("memfd_create",)',
    'sandbox_confine._CALLS += ("unshare",)',
    'sandbox_confine._CALLS += ("socket",)',
    'sandbox_confine._rules = lambda scratch: None',
])
def test_the_self_test_notices_a_rule_that_is_missing(
    begin_servers_with, weakness):
  begin_servers_with('from score_jax.grading import sandbox_confine, '
                     f'sandbox_mounts\n{weakness}')
  with pytest.raises(ValueError, match='landlock: a program in it failed'):
    sandbox.choose('landlock')


def test_a_server_that_is_killed_leaves_no_folder():
  name = sandbox.choose('auto').name
  folders = ('/tmp', '/dev/shm', '/var/tmp', '/mnt')
  before = {folder: set(os.listdir(folder)) for folder in folders}
  assert _judge(f'{_GOOD}\nopen("left_by_it", "w")', sandbox=name) == 'passed'
  vars(sandbox._mine)['servers'][name]._process.kill()
  with pytest.raises((RuntimeError, OSError)):
    _judge(_GOOD, sandbox=name)
  for folder in folders:
    new = set(os.listdir(folder)) - before[folder]
    assert not [n for n in new if n.startswith(('score_jax', 'left_by'))]


def test_the_limit_on_bytes_is_of_all_files_and_anew_for_each_program():
  fill = ('import os\nfull = ""\ntry:\n  for n in range(99):\n'
          '    with open(str(n), "wb", buffering=0) as f:\n'
          '      if f.write(bytes(2**20)) < 2**20: raise OSError\n'
          'except OSError: full = n\n'
          'for name in os.listdir(): os.unlink(name)\n'
          'def add(a, b): return full\n')
  for _ in range(2):
    assert _judge(fill, {'tests': ['assert add(0, 0) == 64']}) == 'passed'


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
  assert sandbox.NAMES == ('landlock', 'bubblewrap')  # No weak one.
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
  assert 'landlock: is off; bubblewrap: is off)' in text
  assert '--config.grading.sandbox=seccomp' in text
  assert '--config.grading.sandbox=none' in text and '\n' not in text
  for name, lacks in (('none', 'NO SANDBOX. WARNING: protects neither files'),
                      ('seccomp', 'WARNING: does not protect files from')):
    broken.clear()  # Only when asked for.
    box = sandbox.choose(name)
    assert box.name == name and lacks in box.describe()
    assert '\n' not in box.describe()


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
