"""Standard streams and the seed of `random`, between tests and program.

What the tests put into `sys.stdin` or `builtins.input` is what the program
reads. What it prints is handed to the tests' `sys.stdout` and `sys.stderr` if
they replaced them, and thrown away if not. `random.seed` in the tests seeds the
program too; what a program draws or seeds does not reach the tests.
"""

import builtins
from collections.abc import Callable
import io
import random
import sys
from typing import Any

MAX_CHARACTERS = 2**22
"""That a program may print for one answer, if the tests capture it."""

_NAMES = ('stdout', 'stderr')
_READS = ('read', 'readline')


def connect_tests(peer) -> dict[str, Callable[..., Any]]:
  """Connect a peer of the tests; return what a program may ask for.

  Args:
    peer: a `sandbox_wire.Peer`.
  """
  own = {name: getattr(sys, name) for name in _NAMES}
  seeded = []

  def wrap(function):
    def set_state(*arguments, **named):
      function(*arguments, **named)
      seeded.append(True)
    return set_state

  random.seed, random.setstate = wrap(random.seed), wrap(random.setstate)

  def outgoing():
    extra = {name: getattr(sys, name) is not own[name] for name in _NAMES}
    if seeded:
      seeded.clear()
      extra['state'] = random.getstate()
    return extra

  def incoming(extra):
    for name in _NAMES:
      stream = getattr(sys, name)
      if (text := str(extra.get(name, ''))) and stream is not own[name]:
        stream.write(text)

  def read(how, *size):
    if how not in _READS:
      raise ValueError('no way to read')
    return getattr(sys.stdin, how)(*size)

  peer.outgoing, peer.incoming = outgoing, incoming
  return {'input': lambda prompt: builtins.input(prompt), 'read': read}


def connect_program(peer):
  """Connect the peer of a program, whose streams are replaced."""
  streams = {name: _Output() for name in _NAMES}
  for name, stream in streams.items():
    setattr(sys, name, stream)
  stdin = sys.stdin = _Input(peer)
  ask_user = builtins.input

  def read_line(prompt='', /):
    return (peer.ask('input', str(prompt)) if sys.stdin is stdin
            else ask_user(prompt))

  builtins.input = read_line

  def incoming(extra):
    for name, stream in streams.items():
      stream.is_captured = extra[name]
    if 'state' in extra:
      version, state, gauss = extra['state']
      random.setstate((version, tuple(state), gauss))

  peer.incoming = incoming
  peer.outgoing = lambda: {
      name: text for name, stream in streams.items() if (text := stream.take())}


class _Output(io.TextIOBase):
  """Keeps what is written, if somebody wants it."""

  encoding = 'utf-8'
  errors = 'strict'

  def __init__(self):
    super().__init__()
    self.is_captured = False
    self.buffer = _Bytes(self)
    self._parts = []
    self._size = 0

  def write(self, text: str) -> int:
    """Keep a text; raise OSError if it is too much."""
    if not isinstance(text, str):
      raise TypeError('write() argument must be str')
    if self.is_captured:
      self._size += len(text)
      if self._size > MAX_CHARACTERS:
        raise OSError('more output than a test may capture')
      self._parts.append(text)
    return len(text)

  def take(self) -> str:
    """Return what was written since the last time."""
    text = ''.join(self._parts)
    self._parts, self._size = [], 0
    return text

  def writable(self) -> bool:
    """Tell that it can be written to."""
    return True


class _Bytes(io.RawIOBase):
  """The bytes under a text that is written."""

  def __init__(self, text):
    super().__init__()
    self._text = text

  def write(self, data) -> int:
    """Write bytes of UTF-8."""
    self._text.write(bytes(data).decode('utf-8', 'replace'))
    return len(data)

  def writable(self) -> bool:
    """Tell that it can be written to."""
    return True


class _Input(io.TextIOBase):
  """Reads what the tests have for it."""

  encoding = 'utf-8'
  errors = 'strict'

  def __init__(self, peer):
    super().__init__()
    self._peer = peer

  def readable(self) -> bool:
    """Tell that it can be read."""
    return True

  def read(self, size: int | None = -1, /) -> str:
    """Read characters, all by default."""
    return str(self._peer.ask('read', 'read', -1 if size is None else size))

  def readline(self, size: int = -1, /) -> str:
    """Read a line."""
    return str(self._peer.ask('read', 'readline', size))

  @property
  def buffer(self) -> io.BytesIO:
    """All that is left, as bytes."""
    if not hasattr(self, '_bytes'):
      self._bytes = io.BytesIO(self.read().encode())
    return self._bytes
