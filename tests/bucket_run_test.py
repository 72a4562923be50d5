"""A run in a bucket: killed anywhere, it ends like one on a disk."""

import functools
import json
import os
import random
import re
import shutil
import signal
import socket
import threading

import pytest

from score_jax import lease
from score_jax import seal
from tests import door
from tests import gcs
from tests import same_run


@pytest.fixture(name='server')
def _server():
  server = gcs.Server('bucket')
  yield server
  server.close()


@pytest.fixture(name='finished')
def _finished(tmp_path_factory):
  return door.finished(tmp_path_factory.getbasetemp())[0]


def _goes_there(server, tmp_path):
  """What each process does before the command."""
  cache = {'XDG_CACHE_HOME': str(tmp_path / 'cache')}
  return functools.partial(_set_environ, server.environ | cache)


def _set_environ(variables):
  os.environ.update(variables)


@pytest.fixture(name='start')
def _start(server, finished, tmp_path):
  """Runs the command in the bucket, to its end or until it is killed."""
  goes_there = _goes_there(server, tmp_path)

  def start(pattern=None, time=1):
    folder = finished.parent
    running = door.Running(
        [*door.TINY, '--workdir=gs://bucket/runs/a'], folder,
        folder.parent / 'compiled', None, 1, goes_there)
    writes = 0

    def kill(name):  # Before the TIME-th write of what fits the pattern.
      nonlocal writes
      writes += pattern is not None and re.search(pattern, name) is not None
      if writes >= time:
        running.kill(signal.SIGKILL)
        raise OSError('its writer is gone')

    server.before_write = kill
    return running.wait()

  return start


@pytest.fixture(name='check')
def _check(server, finished, tmp_path):
  """That the run in the bucket is the same as one on a disk."""

  def check():
    workdir = tmp_path / 'fetched'
    for name, content in server.files('bucket', 'runs/a').items():
      (workdir / name).parent.mkdir(parents=True, exist_ok=True)
      (workdir / name).write_bytes(content)
    shutil.copytree(finished / 'data', workdir / 'data')  # Not in the bucket.
    same_run.check(workdir, finished)
    for folder in workdir.glob('checkpoints/*/*'):
      seal.read(folder)

  return check


@pytest.mark.slow
def test_killed_at_writes_of_all_kinds(start, check):
  for fault in (
      ('base/4/SEAL',), ('stage1/2/commit_success',), ('metrics.jsonl', 2),
      ('transcripts.jsonl',)):
    ended = start(*fault)
    assert ended.code == -signal.SIGKILL, (fault, ended)
  ended = start()
  assert ended.code == 0, ended.err
  check()


@pytest.mark.slow
def test_killed_at_random_writes(start, check):
  rng = random.Random(0)
  kills = 0
  for _ in range(12):
    kills += start('', rng.randint(1, 25)).code == -signal.SIGKILL
  assert kills > 6
  ended = start()
  assert ended.code == 0, ended.err
  check()


@pytest.mark.slow
@pytest.mark.parametrize('fault', [503, 429, gcs.RESET, gcs.LOST])
def test_faults_of_the_network_change_nothing(server, start, check, fault):
  server.fault = gcs.every(60, fault)
  ended = start()
  assert ended.code == 0, ended.err
  server.calm()
  check()


@pytest.mark.slow
def test_a_second_process_is_refused_and_one_after_a_kill_is_not(
    server, finished, tmp_path, start, check):
  args = [*door.TINY, '--workdir=gs://bucket/runs/a']
  goes_there = _goes_there(server, tmp_path)
  began = threading.Event()
  server.before_write = lambda name: name.endswith('base/2/SEAL') and (
      began.set())
  running = door.Running(args, tmp_path / 'first', tmp_path / 'compiled',
                         None, 1, goes_there)
  assert began.wait(120)
  second = door.Running(
      args, tmp_path / 'second', tmp_path / 'compiled', None, 1, goes_there
  ).wait()
  assert second.code == 2
  *_, line = second.err.splitlines()
  assert f'process {running.pid} on {socket.gethostname()}' in line
  running.kill(signal.SIGKILL)
  running.wait()
  ended = start()
  assert ended.code == 0, ended.err
  assert 'waiting up to' not in ended.out
  check()


@pytest.mark.slow
def test_a_run_that_was_taken_over_ends_and_writes_nothing(
    server, tmp_path):
  theirs = json.dumps({'workdir': 'gs://bucket/runs/a', 'pid': 7, 'host': 'h',
                       'machine': 'another', 'token': 'x'}).encode()
  taken = []

  def take_over(name):
    if name.endswith('base/2/SEAL') and not taken:
      server.put('bucket', 'runs/a/writer.lock', theirs)
      taken.append(name)

  server.before_write = take_over
  ended = door.Running(
      [*door.TINY, '--workdir=gs://bucket/runs/a'], tmp_path / 'first', None,
      None, 1, functools.partial(_impatient, _goes_there(server, tmp_path))
  ).wait()
  assert ended.code == 2
  *_, line = ended.err.splitlines()
  assert 'process 7 on h' in line and 'has taken over this workdir' in line
  assert server.read('bucket', 'runs/a/writer.lock') == theirs
  assert not server.names('bucket', 'runs/a/checkpoints/stage1')


def _impatient(goes_there):
  goes_there()
  lease._FENCE_S = 0.0


@pytest.mark.slow
def test_two_processes_keep_one_run_in_a_bucket(server, tmp_path):
  for number, (where, prepare) in enumerate((
      (tmp_path / 'disk', None),
      ('gs://bucket/runs/a', _goes_there(server, tmp_path)))):
    ended = door.call_several(
        [*door.TINY, f'--workdir={where}'], tmp_path / str(number), 2, 1,
        prepare=prepare)
    assert [one.code for one in ended] == [0, 0], ended
  there = server.files('bucket', 'runs/a')
  for name in ('metrics.jsonl', 'transcripts.jsonl'):
    assert there[name] == (tmp_path / 'disk' / name).read_bytes()
  assert {name for name in there if name.endswith('/SEAL')} == {
      str(path.relative_to(tmp_path / 'disk'))
      for path in tmp_path.glob('disk/checkpoints/*/*/SEAL')}
