"""One process writes into a workdir in a bucket, and others are told which."""

import contextlib
import json
import os
import threading

import pytest

from score_jax import files
from score_jax import lease
from score_jax import lock
from score_jax import owner
from tests import gcs


@pytest.fixture(name='server', scope='module')
def _server():
  server = gcs.Server('bucket')
  with contextlib.closing(server), pytest.MonkeyPatch.context() as patch:
    for name, value in server.environ.items():
      patch.setenv(name, value)
    yield server


class Clock:
  """A clock that moves when somebody sleeps.

  Attributes:
    now: seconds.
    while_asleep: is called by each sleep.
  """

  def __init__(self):
    self.now = 1000.0
    self.while_asleep = lambda: None

  def sleep(self, seconds):
    self.now += seconds
    self.while_asleep()


@pytest.fixture(name='clock')
def _clock(monkeypatch):
  """Time that passes only where the lease waits; nothing beats by itself."""
  clock = Clock()
  monkeypatch.setattr(lease, '_now', lambda: clock.now)
  monkeypatch.setattr(lease.time, 'sleep', clock.sleep)
  monkeypatch.setattr(lease, '_BEAT_S', 3600.0)
  return clock


@pytest.fixture(name='folder')
def _folder(server, clock, request):
  """A new workdir in the bucket."""
  server.calm()
  server.permissions = gcs.PERMISSIONS
  name = ''.join(c if c.isalnum() else '_' for c in request.node.name)
  yield files.folder(f'gs://bucket/{name}')
  server.calm()
  server.permissions = gcs.PERMISSIONS


def _put(server, folder, record):
  content = record if isinstance(record, bytes) else json.dumps(record).encode()
  server.put('bucket', f'{folder.name}/{lock.NAME}', content)


def _there(server, folder):
  return json.loads(server.read('bucket', f'{folder.name}/{lock.NAME}'))


def _other(folder, **changes):
  """The lease of another process: of this machine by default, and alive."""
  return owner.of_this_process(str(folder)) | {'pid': os.getppid(), 'started': (
      owner._started(os.getppid()))} | changes


def _refusal(folder, said=None):
  with pytest.raises(ValueError) as error:
    lease.Lease(folder, (said if said is not None else []).append)
  assert '\n' not in str(error.value)
  return str(error.value)


def test_it_is_taken_renewed_and_released(server, clock, folder):
  taken = lock.take(folder)
  record = _there(server, folder)
  assert (record['pid'], record['workdir'], record['beats']) == (
      os.getpid(), str(folder), 1)
  clock.now += lease._FENCE_S - 1
  taken.check()
  assert _there(server, folder)['beats'] == 1
  clock.now += 1
  taken.check()
  assert _there(server, folder)['beats'] == 2
  lock.take(folder).release()
  assert 'released' not in _there(server, folder)
  taken.release()
  assert _there(server, folder) == {'released': True}
  lock.take(folder).release()


def test_a_process_of_this_machine_is_refused_at_once(server, clock, folder):
  _put(server, folder, _other(folder, host='h', since='noon'))
  assert _refusal(folder) == (
      f'{folder}: process {os.getppid()} on h, since noon, writes into this '
      'workdir; wait until it ends, or stop it, or name another --workdir')
  assert clock.now == 1000.0


FREE = {
    'dead': {'pid': 2**22 + 1}, 'the number is used again': {'started': '1'},
    'of another workdir': {'workdir': 'gs://bucket/original'},
    'a copy from a disk': {'workdir': '/home/me/run'},
}


@pytest.mark.parametrize('changes', FREE.values(), ids=FREE)
def test_what_nobody_can_have_is_taken_at_once(server, clock, folder, changes):
  _put(server, folder, _other(folder, **changes))
  taken = lease.Lease(folder, pytest.fail)
  assert _there(server, folder)['pid'] == os.getpid() and clock.now == 1000.0
  taken.release()


@pytest.mark.parametrize('record', [
    {'machine': 'another'}, {'machine': None}, b'{}', b'{"pid', b'[]', b''])
def test_a_silent_one_elsewhere_is_taken_over_after_a_minute(
    server, clock, folder, record):
  if isinstance(record, dict):
    record = _other(folder, **record)
  _put(server, folder, record)
  said = []
  taken = lease.Lease(folder, said.append)
  assert 60 <= clock.now - 1000 <= 62
  assert len(said) == 1 and 'waiting up to 60 s' in said[0]
  assert _there(server, folder)['pid'] == os.getpid()
  taken.release()


@pytest.mark.parametrize('after', [1, 5, 59])
def test_one_that_renews_elsewhere_is_refused_as_soon_as_it_does(
    server, clock, folder, after):
  theirs = _other(folder, machine='another', host='h', beats=7)
  _put(server, folder, theirs)

  def renew():
    if clock.now >= 1000 + after:
      _put(server, folder, theirs | {'beats': 8})

  clock.while_asleep = renew
  assert 'process' in _refusal(folder)
  assert clock.now - 1000 <= after + 1
  assert _there(server, folder)['beats'] == 8


def test_one_that_lets_go_while_we_wait_lets_us_in(server, clock, folder):
  _put(server, folder, _other(folder, machine='another'))
  clock.while_asleep = lambda: _put(server, folder, {'released': True})
  lease.Lease(folder, lambda line: None).release()
  assert clock.now - 1000 <= 2


def test_of_two_that_take_it_over_one_wins(server, clock, folder):
  _put(server, folder, _other(folder, pid=2**22 + 1))
  faster = _other(folder, host='faster')

  def take_first(name):
    server.before_write = lambda name: None
    _put(server, folder, faster)

  server.before_write = take_first
  assert 'on faster' in _refusal(folder)
  assert _there(server, folder) == faster


@pytest.mark.parametrize('fault', [gcs.LOST, gcs.RESET, 503, 429])
def test_faults_of_the_network_lose_nothing(server, folder, fault):
  left = [fault, fault]
  server.fault = lambda method, name: (
      left.pop() if left and method == 'POST' else None)
  taken = lease.Lease(folder, pytest.fail)
  assert not left
  left += [fault]
  with taken._mutex:
    taken._renew(60)
  assert not left and _there(server, folder)['pid'] == os.getpid()
  left += [fault]
  taken.release()
  assert _there(server, folder) == {'released': True}


def test_one_that_was_taken_over_writes_nothing(server, clock, folder):
  taken = lease.Lease(folder, pytest.fail)
  theirs = _other(folder, host='theirs')
  _put(server, folder, theirs)
  clock.now += lease._FENCE_S
  for _ in range(2):
    with pytest.raises(ValueError, match='process .* on theirs.* has taken '
                       'over this workdir, as this process did not renew'):
      taken.check()
  taken.release()
  assert _there(server, folder) == theirs


def test_one_that_was_deleted_is_written_again(server, clock, folder):
  taken = lease.Lease(folder, pytest.fail)
  server.delete('bucket', f'{folder.name}/{lock.NAME}')
  clock.now += lease._FENCE_S
  taken.check()
  assert _there(server, folder)['pid'] == os.getpid()
  taken.release()


@pytest.mark.parametrize('when', ['taken', 'renewed'])
def test_a_bucket_that_refuses_is_one_line(server, clock, folder, when):
  taken = lease.Lease(folder, pytest.fail) if when == 'renewed' else None
  server.permissions = ('storage.objects.list', 'storage.objects.get')
  clock.now += lease._FENCE_S
  with pytest.raises(ValueError) as error:
    taken.check() if taken else lease.Lease(folder, pytest.fail)
  line = str(error.value)
  assert '\n' not in line and f'{folder}/{lock.NAME}: the bucket cannot' in line
  server.permissions = gcs.PERMISSIONS
  if taken:  # It ends, whatever comes later.
    with pytest.raises(ValueError, match='cannot be reached'):
      taken.check()
    taken.release()


def test_a_thread_renews_it_until_it_is_closed(server, folder, monkeypatch):
  monkeypatch.setattr(lease, '_BEAT_S', 0.01)
  beaten = threading.Semaphore(0)
  server.before_write = lambda name: beaten.release()
  taken = lease.Lease(folder, pytest.fail)
  for _ in range(4):
    assert beaten.acquire(timeout=60)
  taken.release()
  taken._thread.join(60)
  assert not taken._thread.is_alive()
  assert _there(server, folder) == {'released': True}


def test_the_thread_survives_what_the_bucket_does(
    server, folder, monkeypatch):
  monkeypatch.setattr(lease, '_BEAT_S', 0.01)
  taken = lease.Lease(folder, pytest.fail)
  refused, beaten = threading.Event(), threading.Event()
  server.before_write = lambda name: beaten.set()
  server.permissions = ()
  server.fault = lambda method, name: refused.set()
  assert refused.wait(60)
  server.permissions = gcs.PERMISSIONS
  beaten.clear()
  assert beaten.wait(60)
  taken.check()
  taken.release()
