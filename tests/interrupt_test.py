"""Runs that are stopped, killed or out of disk go on as if nothing had been."""

import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import sys
import time

import pytest

from tests import door
from tests import same_run

ROOT = pathlib.Path(__file__).parent.parent
FULL = 'No space left on device'


@pytest.fixture(name='finished')
def _finished(tmp_path_factory):
  return door.finished(tmp_path_factory.getbasetemp())[0]


@pytest.fixture(name='start')
def _start(finished, tmp_path):
  """Starts the command in a new workdir, where a fault may happen."""
  return lambda fault=None: door.call(
      [*door.TINY, f'--workdir={tmp_path}'], finished.parent, fault)


def _last_line(ended):
  """The one line that says why a run ended."""
  *lines, last = ended.err.splitlines()
  assert last.startswith('score_jax: ')
  assert not any(line.startswith('score_jax: ') for line in lines)
  return last


def test_sigterm_saves_and_the_same_command_goes_on(start, tmp_path, finished):
  # During the last step of the base: the evaluation after it is what stops.
  ended = start(door.Fault('timings.jsonl$', 4, signal.SIGTERM))
  assert ended.code == 143
  assert _last_line(ended) == (
      'score_jax: evaluate base: stopped after 8 of 20 problems; the same '
      'command begins this evaluation again')
  # During a step after which no checkpoint is due.
  ended = start(door.Fault('metrics.jsonl$', 1, signal.SIGTERM))
  assert ended.code == 143
  assert _last_line(ended) == (
      'score_jax: stage1: stopped after step 1 of 3, saved; the same command '
      'goes on from there')
  assert (tmp_path / 'checkpoints' / 'stage1' / '1').is_dir()
  ended = start()
  assert ended.code == 0, ended.err
  assert 'stage1: goes on from step 1\n' in ended.out
  assert ((tmp_path / 'metrics.jsonl').read_bytes()
          == (finished / 'metrics.jsonl').read_bytes())


@pytest.mark.slow
def test_killed_between_and_inside_of_writes(start, tmp_path, finished):
  for fault in (
      ('problem_set', 1), ('metrics.jsonl$', 3), (r'base/4\..*META', 1),
      ('stage1/2/SEAL', 1), ('transcripts.jsonl.partial', 1),
      ('results.json.partial', 1)):
    ended = start(door.Fault(*fault, signal.SIGKILL))
    assert ended.code == -signal.SIGKILL, (fault, ended)
  assert start().code == 0
  same_run.check(tmp_path, finished)


@pytest.mark.slow
def test_a_full_disk_is_one_line_and_loses_nothing(start, tmp_path, finished):
  ended = start(door.Fault('metrics.jsonl$', 6))  # Stage I, step 2.
  assert ended.code == 2
  assert f'{tmp_path}/metrics.jsonl: {FULL}' in _last_line(ended)
  ended = start(door.Fault(r'stage1/3\.'))
  assert ended.code == 2
  line = _last_line(ended)
  for words in ('the checkpoint of step 3 could not be saved',
                f'{tmp_path}/checkpoints/stage1', 'last whole one is of step 2',
                'free some space and start again with the same --workdir'):
    assert words in line
  ended = start()
  assert ended.code == 0, ended.err
  assert 'stage1: goes on from step 2\n' in ended.out
  same_run.check(tmp_path, finished)


def test_a_second_process_on_a_workdir_is_refused(start, tmp_path, finished):
  running = door.Running([*door.TINY, f'--workdir={tmp_path}'],
                         tmp_path / 'first', finished.parent.parent /
                         'compiled', door.Fault('metrics.jsonl$', 2,
                                                signal.SIGSTOP))
  path = tmp_path / 'metrics.jsonl'
  while not path.exists() or not path.read_bytes():
    time.sleep(0.01)
  try:
    for more in ((), ('--mode=eval',)):
      before = door.tree(tmp_path)
      ended = door.call([*door.TINY, f'--workdir={tmp_path}', *more],
                        finished.parent)
      assert ended.code == 2
      assert (f'{tmp_path}: process {running.pid} on {socket.gethostname()}, '
              'since 2') in _last_line(ended)
      assert {name for name, content in door.tree(tmp_path).items()
              if content != before.get(name)} <= {'writer.lock'}
  finally:
    running.kill(signal.SIGKILL)
    running.wait()
  ended = start()  # At once.
  assert ended.code == 0, ended.err
  shutil.rmtree(tmp_path / 'first')
  same_run.check(tmp_path, finished)


def _command(workdir, cache):
  """The command as a real process with the default flags of XLA."""
  environ = {k: v for k, v in os.environ.items() if k not in (
      'XLA_FLAGS', 'NPROC')}
  environ |= {'JAX_COMPILATION_CACHE_DIR': str(cache),
              'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS': '0'}
  with open(f'{workdir}.log', 'w') as log:
    return subprocess.Popen(
        [sys.executable, '-m', 'score_jax.main', *door.TINY,
         *(f'--config.{stage}.steps=8' for stage in door.STEPS),
         f'--workdir={workdir}'],
        cwd=ROOT, env=environ, stdout=log, stderr=subprocess.STDOUT)


def _unsealed(workdir, stage='*'):
  """Whether a save or a delete is under way, or was cut short."""
  return any(not (path / 'SEAL').exists()
             for path in workdir.glob(f'checkpoints/{stage}/*'))


@pytest.mark.slow
def test_killed_at_random_moments(tmp_path):
  whole, workdir, cache = (tmp_path / name for name in ('a', 'b', 'cache'))
  assert _command(whole, cache).wait() == 0
  log = pathlib.Path(f'{workdir}.log')
  logged = lambda words: lambda: words in log.read_text()
  half = lambda stage: lambda: _unsealed(workdir, stage)
  moments = [
      logged('workdir:'), logged('base 2/8'), half('base'),
      logged('evaluate base'), logged('stage1 1/8'), half('stage1'),
      logged('stage1 6/8'), logged('evaluate stage1'), half('stage2'),
      logged('stage2 3/8'), logged('evaluate stage2')]
  rng = random.Random(0)
  torn = kills = 0
  for moment in moments:
    process = _command(workdir, cache)
    while process.poll() is None and not moment():
      time.sleep(0.001)
    time.sleep(rng.choice((0.0, 0.0, rng.uniform(0, 0.5))))
    process.kill()
    kills += process.wait() == -signal.SIGKILL
    torn += _unsealed(workdir)
  assert kills > 6 and torn
  assert _command(workdir, cache).wait() == 0, log.read_text()
  same_run.check(workdir, whole)


@pytest.mark.slow
def test_sigterm_from_outside(tmp_path):
  cache = tmp_path / 'cache'
  whole, workdir = tmp_path / 'a', tmp_path / 'b'
  assert _command(whole, cache).wait() == 0
  log = pathlib.Path(f'{workdir}.log')
  codes = []
  for words in ('base 1/8', 'evaluate base', 'stage1 2/8', 'stage2 1/8'):
    process = _command(workdir, cache)
    while process.poll() is None and words not in log.read_text():
      time.sleep(0.001)
    process.terminate()
    codes.append(process.wait())
  assert set(codes) <= {0, 143} and 143 in codes
  assert _command(workdir, cache).wait() == 0, log.read_text()
  assert ((workdir / 'metrics.jsonl').read_bytes()
          == (whole / 'metrics.jsonl').read_bytes())
