"""Plain values as lists of parts, and the changes of those that can change.

A value travels as the name of its type and its parts, which are values again.
All parts are read and set by the methods of the plain type, so that those of a
subclass in a program take no part.
"""

import array
import collections
from collections.abc import Callable
import datetime
import decimal
import fractions
import io
import itertools
import pathlib
import sys
from typing import Any
import uuid

_BASE = 3  # References to an object that only a table and two frames hold.


def _pairs(items):
  return list(itertools.chain.from_iterable(items))


def _unpaired(parts):
  return zip(parts[::2], parts[1::2], strict=True)


def _replace_dict(held, parts):
  dict.clear(held)
  for key, value in _unpaired(parts):
    dict.__setitem__(held, key, value)


def _replace_ordered(held, parts):
  collections.OrderedDict.clear(held)
  for key, value in _unpaired(parts):
    collections.OrderedDict.__setitem__(held, key, value)


def _replace_default(held, parts):
  collections.defaultdict.default_factory.__set__(held, parts[0])
  _replace_dict(held, parts[1:])


def _replace_set(held, parts):
  set.clear(held)
  set.update(held, parts)


def _replace_deque(held, parts):
  collections.deque.clear(held)
  collections.deque.extend(held, parts[1:])


def _replace_file(held, parts):
  held.seek(0)
  held.truncate()
  held.write(parts[0])
  held.seek(parts[1])


def _replace_array(held, parts):
  del held[:]
  held.frombytes(parts[1])


# Values that do not change: type -> (its parts, the value of parts).
FIXED: dict[type, tuple[Callable, Callable]] = {
    str: (lambda x: [str.__str__(x)], lambda x: x[0]),
    bool: (lambda x: [bool(x)], lambda x: x[0] is True),
    # As text, whose length Python does limit in base 10 alone.
    int: (lambda x: [hex(int.__index__(x))], lambda x: int(x[0], 16)),
    float: (lambda x: [float.__pos__(x)], lambda x: float(x[0])),
    complex: (lambda x: [x.real, x.imag], lambda x: complex(*x)),
    tuple: (lambda x: list(tuple.__iter__(x)), tuple),
    frozenset: (lambda x: list(frozenset.__iter__(x)), frozenset),
    bytes: (lambda x: [bytes.decode(x, 'latin-1')],
            lambda x: x[0].encode('latin-1')),
    range: (lambda x: [x.start, x.stop, x.step], lambda x: range(*x)),
    slice: (lambda x: [x.start, x.stop, x.step], lambda x: slice(*x)),
    type(...): (lambda x: [], lambda x: ...),
    type(NotImplemented): (lambda x: [], lambda x: NotImplemented),
    fractions.Fraction: (lambda x: [x.numerator, x.denominator],
                         lambda x: fractions.Fraction(*x)),
    decimal.Decimal: (lambda x: [str(x)], lambda x: decimal.Decimal(x[0])),
    datetime.datetime: (lambda x: [x.isoformat(), x.fold],
                        lambda x: datetime.datetime.fromisoformat(
                            x[0]).replace(fold=x[1])),
    datetime.date: (lambda x: [x.isoformat()],
                    lambda x: datetime.date.fromisoformat(x[0])),
    datetime.time: (lambda x: [x.isoformat()],
                    lambda x: datetime.time.fromisoformat(x[0])),
    datetime.timedelta: (lambda x: [x.days, x.seconds, x.microseconds],
                         lambda x: datetime.timedelta(*x)),
    datetime.timezone: (lambda x: [x.utcoffset(None)],
                        lambda x: datetime.timezone(x[0])),
    uuid.UUID: (lambda x: [x.hex], lambda x: uuid.UUID(x[0])),
    pathlib.PosixPath: (lambda x: [str(x)], lambda x: pathlib.PosixPath(x[0])),
    pathlib.PurePosixPath: (lambda x: [str(x)],
                            lambda x: pathlib.PurePosixPath(x[0])),
    pathlib.PureWindowsPath: (lambda x: [str(x)],
                              lambda x: pathlib.PureWindowsPath(x[0])),
}

# Values that can change: type -> (its parts, parts -> an empty value of their
# kind, set a value to parts).
CHANGING: dict[type, tuple[Callable, Callable, Callable]] = {
    list: (lambda x: list(list.__iter__(x)), lambda parts: [],
           lambda x, parts: list.__setitem__(x, slice(None), parts)),
    collections.OrderedDict: (
        lambda x: _pairs(collections.OrderedDict.items(x)),
        lambda parts: collections.OrderedDict(), _replace_ordered),
    collections.Counter: (
        lambda x: _pairs(dict.items(x)), lambda parts: collections.Counter(),
        _replace_dict),
    collections.defaultdict: (
        lambda x: [collections.defaultdict.default_factory.__get__(x),
                   *_pairs(dict.items(x))],
        lambda parts: collections.defaultdict(), _replace_default),
    dict: (lambda x: _pairs(dict.items(x)), lambda parts: {}, _replace_dict),
    set: (lambda x: list(set.__iter__(x)), lambda parts: set(), _replace_set),
    collections.deque: (
        lambda x: [x.maxlen, *collections.deque.__iter__(x)],
        lambda parts: collections.deque(maxlen=parts[0]), _replace_deque),
    bytearray: (
        lambda x: [bytes(memoryview(x))], lambda parts: bytearray(),
        lambda x, parts: bytearray.__setitem__(x, slice(None), parts[0])),
    array.array: (
        lambda x: [x.typecode, x.tobytes()],
        lambda parts: array.array(parts[0]), _replace_array),
    io.StringIO: (lambda x: [x.getvalue(), x.tell()],
                  lambda parts: io.StringIO(), _replace_file),
    io.BytesIO: (lambda x: [x.getvalue(), x.tell()],
                 lambda parts: io.BytesIO(), _replace_file),
}
NAMES: dict[str, type] = {
    kind.__name__: kind for kind in (*FIXED, *CHANGING)}

# Those whose subclasses in a program keep their own methods.
LINKED = (int, float, complex, str, bytes, tuple, frozenset, list, dict, set,
          collections.OrderedDict, collections.Counter, collections.defaultdict,
          collections.deque, bytearray)


def kind_of(value: Any) -> type | None:
  """Return the plain type that a value is sent as, None if there is none."""
  if issubclass(type(value), (io.StringIO, io.BytesIO)) and (
      type(value) not in CHANGING or value.closed):
    return None
  return next((base for base in type(value).__mro__
               if base in FIXED or base in CHANGING), None)


def plain(value: Any) -> Any:
  """Return a number of numpy as one of Python, anything else as it is."""
  is_scalar = type(value).__module__ == 'numpy' and not getattr(
      value, 'shape', True)
  return value.item() if is_scalar else value


class Shared:
  """Values that can change and that both processes have, each its own copy.

  Each message carries the changes since the last one. So a list that a program
  sorts in place is sorted in the tests as well, and one object stays one.
  """

  def __init__(self, first: int):
    """Start with no values; numbers are `first`, `first + 2` and so on."""
    self._next = first
    self._held = {}  # Number -> [value, its kind, its parts when last sent].
    self._numbers = {}  # id of a value -> its number.
    self._fresh = set()  # Numbers in the message that is being made.

  def number(self, value: Any) -> int | None:
    """Return the number of a value, None if it is not shared."""
    return self._numbers.get(id(value))

  def add(self, value: Any, kind: type, number: int | None = None) -> int:
    """Share a value, with the number that the other side gave it, if it did."""
    if number is None:
      number, self._next = self._next, self._next + 2
      self._fresh.add(number)
    elif number in self._held:
      raise ValueError('a number is given twice')
    self._held[number] = [value, kind, CHANGING[kind][0](value)]
    self._numbers[id(value)] = number
    return number

  def value(self, number: int) -> Any:
    """Return the value of a number."""
    return self._held[number][0]

  def update(self, number: int, parts: list[Any]):
    """Set a value to what the other side has."""
    held = self._held[number]
    CHANGING[held[1]][2](held[0], parts)
    held[2] = CHANGING[held[1]][0](held[0])

  def changes(self) -> list[tuple[int, list[Any]]]:
    """Return the numbers and parts of values that changed here."""
    found = []
    for number, held in list(self._held.items()):
      if number in self._fresh:
        self._fresh.discard(number)
        continue
      value, kind, old = held
      if isinstance(value, (io.StringIO, io.BytesIO)) and value.closed:
        continue
      parts = CHANGING[kind][0](value)
      if not _is_same(parts, old):
        held[2] = parts
        found.append((number, parts))
    return found

  def unused(self) -> list[int]:
    """Forget values that nothing here has any more; return their numbers."""
    dropped = []
    while True:
      found = [number for number, held in self._held.items()
               if number not in self._fresh and _is_alone(held)]
      if not found:
        return dropped
      for number in found:
        self.drop(number)
      dropped += found

  def drop(self, number: int):
    """Forget a value."""
    held = self._held.pop(number)
    del self._numbers[id(held[0])]


def _is_alone(held):
  value = held[0]
  return sys.getrefcount(value) <= _BASE


def _is_same(parts, old):
  return len(parts) == len(old) and all(
      a is b or type(a) is type(b) and type(a) in (str, bytes, int) and a == b
      for a, b in zip(parts, old))
