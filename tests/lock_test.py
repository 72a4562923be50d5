"""One process writes into a workdir on a disk, and others are told which."""

import errno
import json
import os
import shutil
import signal
import socket
import time

import pytest

from score_jax import lock
from score_jax import owner
from tests import door


def _hold(folder, connection, forks):
  taken = lock.take(folder)
  if forks and not os.fork():
    time.sleep(30)
    os._exit(0)
  connection.send(os.getpid())
  while connection.recv() == 'check':
    try:
      taken.check()
      connection.send('')
    except ValueError as error:
      connection.send(str(error))


@pytest.fixture(name='hold')
def _holder():
  """Starts a process that holds a folder; returns it, and a pipe to it."""
  started = []

  def hold(folder, forks=False):
    ours, theirs = door._FORKS.Pipe()
    process = door._FORKS.Process(target=_hold, args=(folder, theirs, forks))
    process.start()
    started.append(process)
    assert ours.recv() == process.pid
    return process, ours

  yield hold
  for process in started:
    process.kill()
    process.join()


def _refusal(folder):
  with pytest.raises(ValueError) as error:
    lock.take(folder)
  assert '\n' not in str(error.value)
  return str(error.value)


def test_a_second_process_is_refused_with_host_and_process(hold, tmp_path):
  process, _ = hold(tmp_path)
  assert _refusal(tmp_path).startswith(
      f'{tmp_path}: process {process.pid} on {socket.gethostname()}, since 2')
  link = tmp_path.with_name('link')
  link.symlink_to(tmp_path)
  for other in (link, tmp_path / '.' / '..' / tmp_path.name):
    assert f'process {process.pid} on' in _refusal(other)


@pytest.mark.parametrize('forks', [False, True])
def test_a_killed_process_has_nothing_any_more(hold, tmp_path, forks):
  process, _ = hold(tmp_path, forks)  # What it has forked lives on.
  process.kill()
  process.join()
  assert process.exitcode == -signal.SIGKILL
  lock.take(tmp_path).release()


def test_a_process_that_lets_go_lets_others_in(hold, tmp_path):
  process, pipe = hold(tmp_path)
  pipe.send('end')
  process.join()
  taken = lock.take(tmp_path)
  taken.check()
  taken.release()
  hold(tmp_path)


def test_one_process_may_take_it_several_times(hold, tmp_path):
  first, second = lock.take(tmp_path), lock.take(tmp_path)
  first.release()
  first.release()
  second.check()
  assert (tmp_path / lock.NAME).read_bytes()
  second.release()
  assert (tmp_path / lock.NAME).read_bytes() == b''
  hold(tmp_path)


def test_a_moved_workdir_stays_taken_and_a_copy_is_free(hold, tmp_path):
  hold(tmp_path / 'a')
  shutil.copytree(tmp_path / 'a', tmp_path / 'copy')
  lock.take(tmp_path / 'copy').release()
  (tmp_path / 'a').rename(tmp_path / 'b')
  assert 'process' in _refusal(tmp_path / 'b')


@pytest.mark.parametrize('content', [
    b'', b'{', b'[]', b'{"pid": 1, "host": "elsewhere"}', b'\xff' * 5000])
def test_the_words_in_the_file_keep_nobody_out(tmp_path, content):
  (tmp_path / lock.NAME).write_bytes(content)
  taken = lock.take(tmp_path)
  record = json.loads((tmp_path / lock.NAME).read_text())
  assert (record['pid'], record['workdir']) == (os.getpid(), str(tmp_path))
  taken.release()


def test_a_lock_file_that_was_removed_is_made_again(hold, tmp_path):
  taken = lock.take(tmp_path)
  (tmp_path / lock.NAME).unlink()
  taken.check()
  assert (tmp_path / lock.NAME).exists()
  (tmp_path / lock.NAME).unlink()
  process, _ = hold(tmp_path)  # It was faster.
  with pytest.raises(ValueError, match=f'process {process.pid} on'):
    taken.check()
  taken.release()


@pytest.mark.parametrize('make', [
    os.mkfifo, os.mkdir, lambda path: os.symlink('/dev/null', path),
    lambda path: os.symlink('/no/such/folder', path)])
def test_what_is_no_file_is_refused(tmp_path, make):
  make(tmp_path / lock.NAME)
  assert str(tmp_path / lock.NAME) in _refusal(tmp_path)


@pytest.mark.parametrize('call, number', [
    ('open', errno.EROFS), ('open', errno.EACCES), ('open', errno.ENOSPC),
    ('pwrite', errno.ENOSPC), ('pwrite', errno.EDQUOT), ('pwrite', errno.EIO)])
def test_a_disk_that_refuses_is_one_line(tmp_path, monkeypatch, call, number):
  def fail(*args, **kwargs):
    raise OSError(number, os.strerror(number))

  monkeypatch.setattr(lock.os, call, fail)
  line = _refusal(tmp_path)
  assert line.startswith(f'{tmp_path / lock.NAME}: {os.strerror(number)}; see')
  monkeypatch.undo()
  lock.take(tmp_path).release()


@pytest.mark.parametrize('number', [errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_disk_without_locks_is_said(hold, tmp_path, monkeypatch, number):
  def fail(*unused):
    raise OSError(number, os.strerror(number))

  process, _ = hold(tmp_path)
  monkeypatch.setattr(lock.fcntl, 'flock', fail)
  assert f'process {process.pid} on' in _refusal(tmp_path)
  process.kill()
  process.join()
  said = []
  lock.take(tmp_path, said.append).release()
  assert len(said) == 1 and 'has no file locks' in said[0]


def test_an_owner_is_known_by_more_than_its_number(hold, tmp_path):
  mine = owner.of_this_process('x')
  assert owner.is_alive(mine) is True
  assert owner.is_alive(mine | {'started': '1'}) is False
  assert owner.is_alive(mine | {'pid': 2**22 + 1}) is False
  assert owner.is_alive(mine | {'pid': '1'}) is False
  assert owner.is_alive(mine | {'machine': 'another'}) is None
  assert owner.is_alive({}) is None
  process, _ = hold(tmp_path)
  theirs = json.loads((tmp_path / lock.NAME).read_text())
  assert owner.is_alive(theirs) is True
  os.kill(process.pid, signal.SIGSTOP)
  assert owner.is_alive(theirs) is True
  process.kill()
  process.join()
  assert owner.is_alive(theirs) is False


def test_a_process_that_ended_and_was_not_waited_for_is_gone():
  read, write = os.pipe()
  process = door._FORKS.Process(target=os.getpid)  # Starts the server of forks.
  process.start()
  process.join()
  pid = os.posix_spawn('/bin/sh', ['sh', '-c', 'read line'], {},
                       file_actions=[(os.POSIX_SPAWN_DUP2, read, 0),
                                     (os.POSIX_SPAWN_CLOSE, write)])
  started = owner._started(pid)
  assert started
  os.close(write)
  os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)  # It stays a zombie.
  assert owner._started(pid) is None
  os.waitpid(pid, 0)
  os.close(read)
