"""Wait for all processes of a run before jax connects them.

jax's distributed runtime waits in silence, and aborts with a C++ stack trace
when a process does not come. Here process 0 listens on the coordinator's port
until every other process has connected, and all of them print which ones are
missing. The port is free again when the function returns.

Each message is one line of JSON. A process sends who it is; process 0 answers
with the missing processes, with an error, or with the word to start.
"""

import contextlib
import dataclasses
import json
import selectors
import socket
import sys
import time
from typing import NoReturn

_REPORT_S = 10.0
_RETRY_S = 0.5
_LINE_BYTES = 4096


def meet(address: str, count: int, index: int, limit_s: float):
  """Return when all processes of the run have called this function.

  Args:
    address: HOST:PORT of process 0, which must be free on its machine.
    count: number of processes.
    index: number of this process, 0 to `count - 1`.
    limit_s: seconds after which missing processes are an error.

  Raises:
    ValueError: processes are missing at the end, two processes have one number,
      or they disagree about `count`.
  """
  if count == 1:
    return
  deadline = time.monotonic() + limit_s
  if index == 0:
    _Host(address, count, limit_s, deadline).wait()
  else:
    _join(address, count, index, limit_s, deadline)


@dataclasses.dataclass
class _Peer:
  """A connection to process 0.

  Attributes:
    connection: non-blocking.
    received: bytes of a line that is not complete yet.
    index: number of the process; None until it has said it.
    host: name of its machine.
  """

  connection: socket.socket
  received: bytes = b''
  index: int | None = None
  host: str = ''


class _Host:
  """Process 0, which counts the others."""

  def __init__(self, address: str, count: int, limit_s: float, deadline: float):
    self._address, self._count = address, count
    self._limit_s, self._deadline = limit_s, deadline
    self._selector = selectors.DefaultSelector()

  def wait(self):
    """Return when all processes are connected and have been told to start."""
    with self._selector, _listen(self._address) as server:
      server.setblocking(False)
      self._selector.register(server, selectors.EVENT_READ, None)
      try:
        self._wait(server)
      finally:
        for peer in self._peers():
          peer.connection.close()

  def _wait(self, server):
    report = time.monotonic() + _REPORT_S
    while missing := self._missing():
      now = time.monotonic()
      if now > self._deadline:
        self._fail(_late(missing, self._count, self._limit_s))
      if now > report:
        report = now + _REPORT_S
        _print_missing(missing, self._count)
        self._tell_all({'missing': missing})
      for key, _ in self._selector.select(_RETRY_S):
        if key.fileobj is server:
          connection, _ = server.accept()
          connection.setblocking(False)
          self._selector.register(
              connection, selectors.EVENT_READ, _Peer(connection))
        else:
          self._read(key.data)
    self._tell_all({'start': True})

  def _peers(self) -> list[_Peer]:
    return [key.data for key in self._selector.get_map().values() if key.data]

  def _missing(self) -> list[int]:
    arrived = {peer.index for peer in self._peers()}
    return [n for n in range(1, self._count) if n not in arrived]

  def _read(self, peer):
    try:
      received = peer.connection.recv(_LINE_BYTES)
    except OSError:
      received = b''
    if not received:  # The process ended; it may be started again.
      self._drop(peer)
      return
    peer.received += received
    if b'\n' not in peer.received:
      if len(peer.received) > _LINE_BYTES:
        self._drop(peer)
      return
    message = _parsed(peer.received)
    if message is None or not isinstance(message.get('index'), int):
      self._drop(peer)  # Something else knocks at this port.
      return
    self._admit(peer, message)

  def _admit(self, peer, message):
    index, host = message['index'], str(message.get('host'))
    if message.get('count') != self._count:
      self._fail(
          f'--num_processes is {message.get("count")} for process {index} on '
          f'{host} and {self._count} for process 0; give all the same')
    for other in self._peers():
      if other is not peer and other.index == index:
        _tell(peer, {'error': f'--process_id={index} is already taken by a '
                              f'process on {other.host}; give each its own'})
        self._drop(peer)
        return
    peer.index, peer.host = index, host

  def _drop(self, peer):
    self._selector.unregister(peer.connection)
    peer.connection.close()

  def _tell_all(self, message):
    for peer in self._peers():
      _tell(peer, message)

  def _fail(self, line) -> NoReturn:
    self._tell_all({'error': line})
    raise ValueError(line)


def _listen(address) -> socket.socket:
  """Listen on the port of an address, on every interface of this machine."""
  port = int(address.rpartition(':')[2])
  try:
    if socket.has_dualstack_ipv6():
      return socket.create_server(
          ('', port), family=socket.AF_INET6, dualstack_ipv6=True)
    return socket.create_server(('', port))
  except OSError as error:
    raise ValueError(
        f'--coordinator_address={address}: process 0 cannot listen on the port '
        f'({error.strerror}); end what uses it, or name another port') from (
            error)


def _join(address, count, index, limit_s, deadline):
  """Connect to process 0 and wait for its word, reporting who is missing."""
  hello = {'index': index, 'count': count, 'host': socket.gethostname()}
  report = time.monotonic() + _REPORT_S
  while True:
    connection = _connect(address)
    if connection is not None:
      with connection:
        if _started(connection, hello, count, deadline):
          return
    now = time.monotonic()
    if now > deadline:
      raise ValueError(_late([0], count, limit_s, f' at {address}'))
    if now > report:
      report = now + _REPORT_S
      _print_missing([0], count, f' at {address}')
    time.sleep(_RETRY_S)


def _connect(address) -> socket.socket | None:
  host, _, port = address.rpartition(':')
  try:
    return socket.create_connection((host.strip('[]'), int(port)), _REPORT_S)
  except OSError:  # Also a name that is not known yet.
    return None


def _started(connection, hello, count, deadline) -> bool:
  """Whether the word to start came; False when the connection ended first."""
  try:
    connection.sendall(json.dumps(hello).encode() + b'\n')
    # Process 0 has the same limit and says at its end who is missing.
    left = max(_RETRY_S, deadline - time.monotonic())
    connection.settimeout(left + _REPORT_S)
    with connection.makefile('rb') as lines:
      for line in lines:
        message = _parsed(line) or {}
        if 'error' in message:
          raise ValueError(message['error'])
        if 'start' in message:
          return True
        if 'missing' in message:
          _print_missing(message['missing'], count)
  except OSError:
    pass
  return False


def _tell(peer, message):
  with contextlib.suppress(OSError):  # It has ended, as the next read shows.
    peer.connection.sendall(json.dumps(message).encode() + b'\n')


def _parsed(line) -> dict | None:
  try:
    message = json.loads(line)
  except ValueError:
    return None
  return message if isinstance(message, dict) else None


def _names(missing) -> str:
  shown = ', '.join(map(str, missing[:10]))
  more = f' and {len(missing) - 10} more' if len(missing) > 10 else ''
  return f'{shown}{more}'


def _late(missing, count, limit_s, where='') -> str:
  return (f'process {_names(missing)} of {count}{where} is missing after '
          f'{limit_s:.0f} s; start it with the same --coordinator_address and '
          '--num_processes, or raise --join_timeout_s')


def _print_missing(missing, count, where=''):
  print(f'waiting for process {_names(missing)} of {count}{where}',
        file=sys.stderr, flush=True)
