"""Calls between two processes of which one is not to be trusted.

The tests of a program run in one process, the program in another. What goes
between them is JSON: plain values by content, of the types of `sandbox_values`,
and everything else as a number that stands for an object which stays where it
is, see `sandbox_remote`. So the program never sees what is expected of it, and
nothing that it sends can be more than data: not an object that equals
everything, nor code.

A message is [kind, its values, changes of shared values, shared values that are
dropped, what streams have to say], see `Shared` and `sandbox_streams`.
"""

import builtins
import collections
from collections.abc import Callable
from collections.abc import Mapping
import functools
import json
import os
import threading
from typing import Any

from score_jax.grading import sandbox_errors as errors
from score_jax.grading import sandbox_linked as linked
from score_jax.grading import sandbox_values as values
from score_jax.grading.sandbox_remote import RESULT
from score_jax.grading.sandbox_remote import Remote
from score_jax.grading.sandbox_remote import grade

GONE = 3
"""Exit status of a process whose other side ended or does not keep to this."""

_MAX_BYTES = 2**26  # Of a message.
_HEADER_BYTES = 4
_SMALL = 2**53  # Larger integers go as text.
_RESULTS = ('call', 'get', 'item', 'next')  # Operations that return anything.
_KINDS_OF_ERRORS = {
    name: kind for name, kind in vars(builtins).items()
    if isinstance(kind, type) and issubclass(kind, BaseException)}
_TYPES = values.NAMES | _KINDS_OF_ERRORS | {
    'object': object, 'type': type, 'NoneType': type(None)}


class Peer:
  """One end of the pipe."""

  def __init__(self, fd: int, operations: Mapping[str, Callable],
               is_program: bool = False):
    """Take the end.

    Args:
      fd: an open stream socket.
      operations: what the other side may ask for.
      is_program: whether this is the process of the program.
    """
    self.error_classes = {}  # Of the program, by number.
    self.is_decoding = False
    self.outgoing = dict  # What is sent with each message,
    self.incoming = lambda extra: None  # and what is done with it.
    self._fd = fd
    self._operations = operations
    self._is_program = is_program
    self._lent = []  # Objects that the other side knows by number.
    self._numbers = {}  # Of their ids: one object has one number.
    self._objects = {}  # Of the other side, by number.
    self._mentioned = []  # Objects of the other side in the last message.
    self._linked = {}  # Classes of the other side, by number.
    self._shared = values.Shared(int(is_program))
    self._thread = threading.get_ident()

  def ask(self, operation: str, /, *arguments, **named) -> Any:
    """Return what the other side answers; raise what it raised.

    Raises:
      RuntimeError: in another thread than the first.
    """
    if threading.get_ident() != self._thread:
      raise RuntimeError('only the main thread may ask the other process')
    self._send(['ask', operation, self._encode(arguments), self._encode(named)])
    while True:
      message = self._receive()
      if message[0] == 'is':
        if operation in _RESULTS:
          for value in self._mentioned:
            if value is not message[1]:
              grade(value, RESULT)
        return message[1]
      if message[0] == 'raise':
        raise errors.of_call(operation, message[1])
      self._answer(message)

  def serve(self):
    """Answer until the other side ends; then end this process."""
    while True:
      message = self._receive()
      if message[0] != 'ask':
        os._exit(GONE)
      self._answer(message)

  def _answer(self, message):
    _, operation, arguments, named = message
    message.clear()  # Shared values that nothing has any more are dropped.
    try:
      value = self._operations[operation](*arguments, **named)
      answer = ['is', self._encode(value)]
    except BaseException as error:  # pylint: disable=broad-except
      answer = ['raise', self._encode_error(_without_frames(error))]
    value = arguments = named = None
    self._send(answer)

  def _encode(self, value):
    if value is None or type(value) in (str, bool, float):
      return value
    if type(value) is int and -_SMALL < value < _SMALL:
      return value
    if type(value) is Remote or hasattr(type(value), '_is_linked'):
      return ['yours', object.__getattribute__(value, '_number')]
    if issubclass(type(value), type):
      return self._encode_class(value)
    if issubclass(type(value), BaseException):
      return self._encode_error(value)
    value = values.plain(value)
    kind = values.kind_of(value)
    if kind is None or type(value) is not kind and not self._is_plain(kind):
      return ['mine', self._lend(value), _hash(value)]
    if type(value) is not kind and kind in values.LINKED:
      if self._is_program:
        return ['linked', self._lend(value), self._describe(type(value), kind),
                self._encode_plain(value, kind)]
      if hasattr(value, '_fields'):
        return ['named tuple', type(value).__name__, list(value._fields),
                self._encode_plain(value, kind)]
    return self._encode_plain(value, kind)

  def _is_plain(self, kind):
    """Whether subclasses of a type go by content."""
    return kind in values.FIXED or kind in values.LINKED

  def _encode_plain(self, value, kind):
    if kind in values.FIXED:
      return [kind.__name__, *map(self._encode, values.FIXED[kind][0](value))]
    number = self._shared.number(value)
    if number is not None:
      return ['shared', number]
    number = self._shared.add(value, kind)
    parts = values.CHANGING[kind][0](value)
    return [kind.__name__, number, [self._encode(part) for part in parts]]

  def _encode_class(self, value):
    if _TYPES.get(value.__name__) is value:
      return ['type', value.__name__]
    if issubclass(value, BaseException):
      number = vars(value).get('_class_number')
      if number is not None:
        return ['yours', number]
      return ['error class', errors.describe_class(
          value, self._lend if self._is_program else None)]
    return ['mine', self._lend(value), _hash(value)]

  def _encode_error(self, error):
    number = vars(error).get('_number', -1)
    if isinstance(number, int) and number >= 0 and not self._is_program:
      return ['yours', number]
    described = errors.describe_class(
        type(error), self._lend if self._is_program else None)
    is_own = self._is_program and described[0] != 'builtin'
    try:
      arguments, text = tuple(error.args), str(error)
    except Exception:  # pylint: disable=broad-except
      arguments, text = (), ''
    return ['error', described, self._encode(arguments), text,
            self._lend(error) if is_own else None]

  def _lend(self, value):
    number = self._numbers.setdefault(id(value), len(self._lent))
    if number == len(self._lent):
      self._lent.append(value)
    return number

  def _describe(self, kind, base):
    """A subclass of a plain type: number, name, what it overrides."""
    changed = sorted(
        name for name in dir(kind)
        if getattr(kind, name, None) is not getattr(base, name, None)
        and (name in linked.OVERRIDDEN or not name.startswith('__')
             and hasattr(base, name)))
    return [self._lend(kind), kind.__name__, base.__name__, changed]

  def _decode(self, message):
    if not isinstance(message, list):
      return message
    kind, *rest = message
    if kind == 'yours':
      return self._lent[rest[0]]
    if kind == 'mine':
      found = self._object(
          int(rest[0]), lambda number: Remote(self, number, None))
      if type(found) is Remote:
        object.__setattr__(found, '_hash', rest[1])
      return found
    if kind == 'type':
      return _TYPES[rest[0]]
    if kind == 'shared':
      return self._shared.value(rest[0])
    if kind == 'error class':
      return errors.find_class(self, rest[0])
    if kind == 'error':
      return self._decode_error(*rest)
    if kind == 'linked':
      return self._decode_linked(*rest)
    if kind == 'named tuple':
      return _named_tuple(str(rest[0]), tuple(map(str, rest[1])))._make(
          self._decode(rest[2]))
    return self._decode_plain(_TYPES[kind], rest)

  def _object(self, number, make):
    if number not in self._objects:
      self._objects[number] = make(number)
    self._mentioned.append(self._objects[number])
    return self._objects[number]

  def _decode_plain(self, kind, rest, make=None):
    if kind in values.FIXED:
      return values.FIXED[kind][1]([self._decode(part) for part in rest])
    number, parts = rest
    value = (make or values.CHANGING[kind][1])(parts)
    self._shared.add(value, kind, number)  # First: it may be in itself.
    self._shared.update(number, [self._decode(part) for part in parts])
    return value

  def _decode_linked(self, number, described, content):
    class_number, name, base, overridden = described
    base = values.NAMES[base]
    if base not in values.LINKED or self._is_program:
      raise TypeError('no type that has subclasses here')
    if class_number not in self._linked:
      self._linked[class_number] = linked.make_class(
          self, str(name), base, overridden)
    kind = self._linked[class_number]
    if content[0] == 'shared':
      self._mentioned.append(self._shared.value(content[1]))
      return self._mentioned[-1]
    if base in values.FIXED:
      return self._object(number, lambda number: linked.make(
          kind, base, number, [self._decode_plain(base, content[1:])]))
    known = self._objects.get(number)  # Shared anew, if it was dropped.
    value = self._decode_plain(
        base, content[1:], lambda parts: known if known is not None else
        linked.make(kind, base, number, [(), parts[0]]
                    if base is collections.deque else []))
    return self._object(number, lambda number: value)

  def _decode_error(self, described, arguments, text, number):
    def make(number=None):
      return errors.make(self, errors.find_class(self, described), number,
                         self._decode(arguments), str(text))
    return make() if number is None else self._object(int(number), make)

  def _send(self, message):
    changes = self._changes()
    message = [message, changes, self._shared.unused(), self.outgoing()]
    data = json.dumps(message).encode()
    data = len(data).to_bytes(_HEADER_BYTES, 'big') + data
    try:
      while data:
        data = data[os.write(self._fd, data):]
    except OSError:
      os._exit(GONE)

  def _changes(self):
    """Changes of shared values; what is new in them is shared on the way."""
    found = []
    while changed := self._shared.changes():
      found += [[number, [self._encode(part) for part in parts]]
                for number, parts in changed]
    return found

  def _receive(self):
    """A message with its values decoded; anything amiss ends this process."""
    try:
      size = int.from_bytes(self._read(_HEADER_BYTES), 'big')
      if size > _MAX_BYTES:
        os._exit(GONE)
      message, changes, dropped, extra = json.loads(self._read(size))
      self.is_decoding = True
      self._mentioned = []
      kind, *rest = message
      if kind == 'ask':
        operation, *rest = rest
        found = [kind, str(operation), *map(self._decode, rest)]
      else:
        found = [kind, *map(self._decode, rest)]
        if kind not in ('is', 'raise') or len(found) != 2 or (
            kind == 'raise' and not isinstance(found[1], BaseException)):
          raise ValueError('no message')
      for number, parts in changes:
        self._shared.update(number, list(map(self._decode, parts)))
      for number in dropped:
        self._shared.drop(number)
      self.is_decoding = False
      self.incoming(extra)
      return found
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


def _hash(value):
  try:
    return hash(value)
  except Exception:  # pylint: disable=broad-except
    return None


def _without_frames(error):
  """An exception without its frames, which hold arguments of calls."""
  part = error
  for _ in range(10):
    part.__traceback__ = None
    part = part.__context__
    if part is None:
      break
  return error


@functools.lru_cache
def _named_tuple(name, fields):
  return collections.namedtuple(name, fields)
