"""Calls between two processes of which one is not to be trusted.

The tests of a program run in one process, the program in another. What goes
between them is JSON: plain values by content, of a list of types that is fixed
here, and everything else as a number that stands for an object which stays
where it is. So the program never sees what is expected of it, and nothing that
it sends can be more than data: not an object that equals everything, nor code.
"""

import builtins
import collections
from collections.abc import Callable
from collections.abc import Mapping
import contextlib
import datetime
import decimal
import fractions
import json
import os
from typing import Any

GONE = 3
"""Exit status of a process whose other side ended or does not keep to this."""

_MAX_BYTES = 2**26  # Of a message.
_HEADER_BYTES = 4
_SMALL = 2**53  # Larger integers go as text, whose length Python does limit.

# (type, value -> its parts, parts -> value). A value of a subclass goes as the
# first type here that it is an instance of.
_KINDS: tuple[tuple[type, Callable, Callable], ...] = (
    (str, lambda x: [str.__str__(x)], lambda x: x[0]),
    (bool, lambda x: [bool(x)], lambda x: x[0] is True),
    (int, lambda x: [hex(x)], lambda x: int(x[0], 16)),
    (float, lambda x: [float(x)], lambda x: float(x[0])),
    (complex, lambda x: [x.real, x.imag], lambda x: complex(*x)),
    (list, list, list),
    (tuple, tuple, tuple),
    (set, list, set),
    (frozenset, list, frozenset),
    (collections.OrderedDict, lambda x: list(x.items()),
     collections.OrderedDict),
    (collections.Counter, lambda x: list(x.items()),
     lambda x: collections.Counter(dict(x))),
    (dict, lambda x: list(x.items()), dict),
    (collections.deque, list, collections.deque),
    (bytes, list, bytes),
    (bytearray, list, bytearray),
    (range, lambda x: [x.start, x.stop, x.step], lambda x: range(*x)),
    (fractions.Fraction, lambda x: [x.numerator, x.denominator],
     lambda x: fractions.Fraction(*x)),
    (decimal.Decimal, lambda x: [str(x)], lambda x: decimal.Decimal(x[0])),
    (datetime.datetime, lambda x: [x.isoformat()],
     lambda x: datetime.datetime.fromisoformat(x[0])),
    (datetime.date, lambda x: [x.isoformat()],
     lambda x: datetime.date.fromisoformat(x[0])),
    (datetime.time, lambda x: [x.isoformat()],
     lambda x: datetime.time.fromisoformat(x[0])),
    (datetime.timedelta, lambda x: [x.days, x.seconds, x.microseconds],
     lambda x: datetime.timedelta(*x)),
)
_PARTS = {kind: (kind.__name__, parts) for kind, parts, _ in _KINDS}
_MAKE = {kind.__name__: make for kind, _, make in _KINDS}
_TYPES = {kind.__name__: kind for kind, _, _ in _KINDS}


class Remote:
  """An object of the other process.

  It equals itself and nothing else, whatever the other process says; what is in
  it is found by going through it.
  """

  __slots__ = ('_peer', '_number')

  def __init__(self, peer: 'Peer', number: int):
    object.__setattr__(self, '_peer', peer)
    object.__setattr__(self, '_number', number)

  def __call__(self, /, *arguments, **named):
    return self._peer.ask('call', self, *arguments, **named)

  def __getattr__(self, name):
    if name.startswith('__'):  # Hooks, for which `copy` and others look.
      raise AttributeError(name)
    return self._peer.ask('get', self, name)

  def __setattr__(self, name, value):
    self._peer.ask('set', self, name, value)

  def __iter__(self):
    return self._peer.ask('iter', self)

  def __next__(self):
    return self._peer.ask('next', self)

  def __len__(self):
    return self._peer.ask('len', self)

  def __bool__(self):
    return self._peer.ask('bool', self)

  def __getitem__(self, key):
    return self._peer.ask('item', self, key)

  def __repr__(self):
    return self._peer.ask('repr', self)

  def __str__(self):
    return self._peer.ask('str', self)

  def __eq__(self, other):
    return type(other) is Remote and self._number == other._number

  def __hash__(self):
    return hash(self._number)


class Peer:
  """One end of the pipe."""

  def __init__(self, fd: int, operations: Mapping[str, Callable]):
    """Takes the end.

    Args:
      fd: an open stream socket.
      operations: what the other side may ask for.
    """
    self._fd = fd
    self._operations = operations
    self._lent = []  # Objects that the other side knows by number.
    self._numbers = {}  # Of their ids: one object has one number.

  def ask(self, operation: str, /, *arguments, **named) -> Any:
    """What the other side answers; raises what it raised, by name."""
    self._send([operation, self._encode(arguments), self._encode(named)])
    while True:
      kind, *rest = self._receive()
      if kind == 'is':
        return rest[0]
      if kind == 'raise':
        raise _exception(operation, *rest)
      self._answer(kind, *rest)

  def serve(self):
    """Answers until the other side ends; then so does this process."""
    while True:
      self._answer(*self._receive())

  def _answer(self, operation, arguments, named):
    try:
      value = self._operations[operation](*arguments, **named)
      answer = ['is', self._encode(value)]
    except Exception as error:  # pylint: disable=broad-except
      answer = ['raise', type(error).__name__, str(error)]
    self._send(answer)

  def _encode(self, value):
    if value is None or type(value) in (str, bool, float):
      return value
    if type(value) is int and -_SMALL < value < _SMALL:
      return value
    if isinstance(value, Remote):
      return ['yours', value._number]
    if isinstance(value, type) and _TYPES.get(value.__name__) is value:
      return ['type', value.__name__]
    value = _plain(value)
    for base in type(value).__mro__:
      if base in _PARTS:
        name, parts = _PARTS[base]
        return [name, [self._encode(part) for part in parts(value)]]
    number = self._numbers.setdefault(id(value), len(self._lent))
    if number == len(self._lent):
      self._lent.append(value)
    return ['mine', number]

  def _decode(self, message):
    if not isinstance(message, list):
      return message
    kind, content = message
    if kind == 'yours':
      return self._lent[content]
    if kind == 'mine':
      return Remote(self, int(content))
    if kind == 'type':
      return _TYPES[content]
    return _MAKE[kind]([self._decode(part) for part in content])

  def _send(self, message):
    data = json.dumps(message).encode()
    data = len(data).to_bytes(_HEADER_BYTES, 'big') + data
    try:
      while data:
        data = data[os.write(self._fd, data):]
    except OSError:
      os._exit(GONE)

  def _receive(self):
    """A message with its values decoded; anything amiss ends this process."""
    try:
      size = int.from_bytes(self._read(_HEADER_BYTES), 'big')
      if size > _MAX_BYTES:
        os._exit(GONE)
      kind, *rest = json.loads(self._read(size))
      if kind == 'raise':
        return kind, *map(str, rest)
      return kind, *map(self._decode, rest)
    except Exception:  # pylint: disable=broad-except
      os._exit(GONE)

  def _read(self, size):
    data = bytearray()
    while len(data) < size:
      part = os.read(self._fd, size - len(data))
      if not part:
        raise EOFError
      data += part
    return data


def _plain(value):
  """A number of numpy as one of Python."""
  is_scalar = type(value).__module__ == 'numpy' and not getattr(
      value, 'shape', True)
  return value.item() if is_scalar else value


def _exception(operation, name='', text='', *_):
  """The exception of a name; only `next` may end an iteration."""
  kind = getattr(builtins, name, None)
  if (isinstance(kind, type) and issubclass(kind, Exception)
      and (operation == 'next' or not issubclass(kind, StopIteration))):
    with contextlib.suppress(TypeError):  # Of those that want more than text.
      return kind(text)
  return RuntimeError(f'{name}: {text}')
