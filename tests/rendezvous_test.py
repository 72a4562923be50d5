"""Processes wait for each other, and each missing one is named."""

import concurrent.futures
import socket
import threading

import pytest

from score_jax import rendezvous


@pytest.fixture(autouse=True)
def _reports_often(monkeypatch):
  monkeypatch.setattr(rendezvous, '_REPORT_S', 0.2)
  monkeypatch.setattr(rendezvous, '_RETRY_S', 0.05)


@pytest.fixture
def address():
  with socket.socket() as free:
    free.bind(('localhost', 0))
    return f'localhost:{free.getsockname()[1]}'


def _meet(address, count, indices, limit_s=20.0, delays=None):
  """Call `meet` in a thread for each index; returns what each one raised."""
  def call(index):
    if delays and index in delays:
      threading.Event().wait(delays[index])
    try:
      rendezvous.meet(address, count, index, limit_s)
    except ValueError as error:
      return str(error)
    return None

  with concurrent.futures.ThreadPoolExecutor(len(indices)) as pool:
    return list(pool.map(call, indices))


def _send(address, content):
  """Open a connection as something that is no process, and leave it open."""
  host, _, port = address.rpartition(':')
  while True:
    try:
      connection = socket.create_connection((host, int(port)), 5)
      break
    except OSError:
      threading.Event().wait(0.02)
  connection.sendall(content)
  return connection


def test_one_process_waits_for_nobody(address):
  rendezvous.meet(address, 1, 0, 0.1)


@pytest.mark.parametrize('delays', [
    {}, {0: 0.5}, {2: 0.5}, {0: 0.3, 3: 0.9}, {1: 0.7, 2: 0.1}])
def test_all_return_when_the_last_has_come(address, delays, capfd):
  assert _meet(address, 4, range(4), delays=delays) == [None] * 4
  late = [n for n, delay in delays.items() if delay > 0.6]
  err = capfd.readouterr().err
  for number in late:
    assert f'waiting for process {number} of 4\n' in err
  # jax takes the port next.
  with socket.create_server(('', int(address.rpartition(':')[2]))):
    pass


@pytest.mark.parametrize('count,come,missing', [
    (2, (0,), '1'), (2, (1,), '0'), (3, (0, 1), '2'), (4, (0, 2), '1, 3'),
    (4, (1, 2, 3), '0'), (20, (0,), '1, 2, 3, 4, 5, 6, 7, 8, 9, 10 and 9 more'),
])
def test_missing_processes_are_named_soon_and_at_the_end(
    address, count, come, missing, capfd):
  where = f' at {address}' if 0 not in come else ''
  for line in _meet(address, count, come, limit_s=0.7):
    assert line.startswith(
        f'process {missing} of {count}{where} is missing after 1 s; start it ')
    assert '--join_timeout_s' in line and '\n' not in line
  err = capfd.readouterr().err
  assert err.count(f'waiting for process {missing} of {count}{where}\n') >= len(
      come)


def test_a_number_that_is_taken_is_refused(address):
  found = _meet(address, 3, (0, 1, 1, 2), delays={2: 0.4})
  wrong = [line for line in found if line]
  assert len(wrong) == 1 and found[0] is None and found[3] is None
  assert wrong[0].startswith('--process_id=1 is already taken by a process on ')


def test_processes_agree_on_their_number(address):
  with concurrent.futures.ThreadPoolExecutor() as pool:
    first = pool.submit(_meet, address, 2, (0,))
    other = pool.submit(_meet, address, 3, (1,))
  for line in first.result() + other.result():
    assert line.startswith('--num_processes is 3 for process 1 on ')
    assert '2 for process 0' in line


@pytest.mark.parametrize('content', [
    b'GET / HTTP/1.1\r\n\r\n', b'\xff\xfe\x00\n', b'{"index": "1"}\n', b'[1]\n',
    b'x' * 10_000, b'{}\n', b'', b'{"index": null, "count": 2}\n'])
def test_what_else_connects_is_no_process(address, content):
  with concurrent.futures.ThreadPoolExecutor() as pool:
    first = pool.submit(_meet, address, 2, (0,))
    with _send(address, content):
      assert _meet(address, 2, (1,)) == [None]
      assert first.result() == [None]


def test_a_process_that_ended_is_missing_until_it_is_started_again(
    address, capfd):
  with concurrent.futures.ThreadPoolExecutor() as pool:
    first = pool.submit(_meet, address, 3, (0,))
    _send(address, b'{"index": 2, "count": 3, "host": "a"}\n').close()
    second = pool.submit(_meet, address, 3, (1,))
    threading.Event().wait(0.6)
    assert not first.done()
    assert _meet(address, 3, (2,)) == [None]
    assert first.result() == second.result() == [None]
  assert 'waiting for process 2 of 3\n' in capfd.readouterr().err


def test_a_port_in_use_is_named(address):
  with socket.create_server(('', int(address.rpartition(':')[2]))):
    [line] = _meet(address, 2, (0,))
  assert line.startswith(f'--coordinator_address={address}: process 0 cannot ')
  assert '\n' not in line


def test_a_stream_without_an_end_is_cut_off(address):
  with concurrent.futures.ThreadPoolExecutor() as pool:
    first = pool.submit(_meet, address, 2, (0,))
    with _send(address, b'') as stream:
      stream.settimeout(10)
      with pytest.raises(ConnectionError):
        while True:  # Process 0 closes what sends no line.
          stream.sendall(b'x' * 4096)
    assert _meet(address, 2, (1,)) == first.result() == [None]
