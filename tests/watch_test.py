"""Who fell silent or failed ends all; who is late is named."""

import itertools

import pytest

from score_jax import hosts
from score_jax import watch
from tests.hosts_test import Store


class Left(Exception):
  """In place of the end of the process."""


@pytest.fixture(name='store')
def _store(monkeypatch):
  """The store as process 0 of three sees it; time stands still."""
  store = Store(1)
  state = hosts.distributed.global_state
  monkeypatch.setattr(state, 'client', store)
  monkeypatch.setattr(state, 'num_processes', 3)
  monkeypatch.setattr(hosts, 'present', hosts.Present())
  monkeypatch.setattr(watch.time, 'sleep', lambda seconds: None)

  def leave(line, code):
    raise Left(line, code)

  monkeypatch.setattr(watch, '_leave', leave)
  return store


@pytest.fixture(name='clock')
def _clock(monkeypatch):
  now = [100.0]
  monkeypatch.setattr(watch.time, 'monotonic', lambda: now[0])
  return now


def _alive(number, beat, at='stage1 step 7', waits=True):
  return {f'{number:06d}': {
      'beat': beat, 'host': f'host-{number}', 'at': at, 'waits': waits}}


def test_a_process_that_is_silent_ends_all(store, clock):
  guard, beats = watch.Watch(), itertools.count()
  for _ in range(30):  # A minute; process 1 was last heard at its start.
    guard._look_after(_alive(1, 0, 'stage1 step 7') | _alive(2, next(beats)))
    clock[0] += 1.3
  with pytest.raises(Left) as left:
    clock[0] += 2
    guard._look_after(_alive(1, 0, 'stage1 step 7') | _alive(2, next(beats)))
  line, code = left.value.args
  assert code == watch.LOST and line == (
      'process 1 on host-1, last seen at stage1 step 7, has been silent for '
      '40 s')
  assert hosts.get_all('failed') == {'000000': {'code': code, 'line': line}}


def test_the_reason_of_one_that_failed_is_told_with_its_code(store):
  guard = watch.Watch()
  hosts.put('failed/000002', {'code': 2, 'line': 'no such file'})
  guard._stopped.wait = lambda seconds: False
  with pytest.raises(Left) as left:
    guard._watch()
  assert left.value.args == ('process 2 ended: no such file', 2)


def test_a_store_that_is_gone_ends_the_process(store):
  guard = watch.Watch()

  def gone(*unused):
    raise RuntimeError('UNAVAILABLE: connection refused\nmore')

  store.key_value_dir_get = gone
  guard._stopped.wait = lambda seconds: False
  with pytest.raises(Left) as left:
    guard._watch()
  assert left.value.args == (
      'process 0 cannot be reached any more: UNAVAILABLE: connection refused',
      watch.LOST)


def test_who_keeps_the_others_waiting_is_named_once(store, clock, capsys):
  guard, beats = watch.Watch(), itertools.count()
  hosts.present.at, hosts.present.waits_since = 'stage1 step 8', 100.0
  for _ in range(60):
    beat = next(beats)
    guard._look_after(_alive(0, beat, 'stage1 step 8')
                      | _alive(1, beat, 'stage1 step 8', waits=False)
                      | _alive(2, beat, 'stage1 step 8'))
    clock[0] += 1
  assert capsys.readouterr().err == (
      'stage1 step 8: waited 30 s so far for process 1 on host-1 (at stage1 '
      'step 8)\n')


def test_the_beat_tells_what_a_process_is_at(store):
  hosts.present.at, hosts.present.waits_since = 'stage2 step 3', 1.0
  watch.Watch()._beat(5)
  alive, = hosts.get_all('alive').values()
  assert alive.pop('host') and alive == {
      'beat': 5, 'at': 'stage2 step 3', 'waits': True}
