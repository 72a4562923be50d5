"""Objects of the other process, as the tests see them.

Which operators of such an object the tests use depends on how they got it, as a
program sees the operands: to `f(x) - 5 == 0` it could answer 0 whatever f is.

- `RESULT`: what a function of the program returned. It equals itself and what
  the program says it equals among its own objects; never a plain value. No
  arithmetic, order or conversion to a number.
- `MADE`: what the tests made by calling a class of the program, by the evidence
  in `names_in_tests`, and what operators made of it. Its operators are the
  program's, except that it equals no plain value.
- `WEAK`: the same, where only the spelling of the name says that it is a class.
  An operator between it and a plain value has to give an `OPAQUE` object,
- `OPAQUE`, which can be compared with objects of the program and no more.

An object that a function returns, or that is in what it returns, is a `RESULT`
from then on, whatever it was.
"""

import math
import operator
from typing import Any

RESULT, OPAQUE, WEAK, MADE, WEAK_NAME, NAME = range(6)
_AFTER_CALL = {NAME: MADE, WEAK_NAME: WEAK}

BINARY = ('add', 'sub', 'mul', 'truediv', 'floordiv', 'mod', 'matmul', 'pow',
          'lshift', 'rshift', 'and', 'or', 'xor', 'divmod')
ORDER = ('lt', 'le', 'gt', 'ge')
UNARY = ('neg', 'pos', 'invert')
TO_PLAIN = ('abs', 'int', 'float', 'complex', 'index', 'round', 'trunc',
            'floor', 'ceil')
FUNCTIONS = {
    **{name: getattr(operator, f'{name}_' if name in ('and', 'or') else name)
       for name in BINARY if name != 'divmod'},
    **{f'i{name}': getattr(operator, f'i{name}')
       for name in BINARY if name != 'divmod'},
    **{name: getattr(operator, name) for name in (*ORDER, *UNARY, 'index')},
    'divmod': divmod, 'abs': abs, 'int': int, 'float': float,
    'complex': complex, 'round': round, 'trunc': math.trunc,
    'floor': math.floor, 'ceil': math.ceil, 'eq': operator.eq,
}
"""Functions of the operators, by name, in the process of the object."""

_HOOKS = frozenset(('__name__', '__qualname__', '__dict__', '__annotations__',
                    '__wrapped__'))
# Questions to a plain value, which a program must not answer for one.
_QUESTIONS = frozenset(
    name for kind in (str, set, float, int) for name in dir(kind)
    if name.startswith(('is', 'starts', 'ends')))


def is_object(value: Any) -> bool:
  """Tell whether a value is, or goes with, an object of the other process."""
  return isinstance(value, Remote) or hasattr(type(value), '_is_linked')


def level(value: Any) -> int:
  """Return how far operators of an object are trusted, see the module."""
  found = object.__getattribute__(value, '_level') or RESULT
  return WEAK if found > MADE else found


def grade(value: Any, new: int, made: bool = False) -> Any:
  """Give an object a level, or lower the one that it has.

  Args:
    value: of the other process; plain values stay as they are.
    new: the level.
    made: whether the object may be an operand, and keeps its level then.
  """
  if is_object(value):
    old = object.__getattribute__(value, '_level')
    if old is None or not made and new < old:
      object.__setattr__(value, '_level', new)
  return value


def binary(name: str, left: Any, right: Any) -> Any:
  """Ask for the result of an operator; NotImplemented where it may not be."""
  objects = [value for value in (left, right) if is_object(value)]
  top = max(map(level, objects))
  is_mixed = len(objects) == 1
  if top == RESULT or is_mixed and name in ORDER and top != MADE:
    return NotImplemented
  value = _ask(objects[0], 'operate', name, left, right)
  if (top == OPAQUE or is_mixed and top == WEAK) and name not in ORDER:
    if type(value) is not Remote:
      raise TypeError('an operator between an object of a program and a plain '
                      'value gives a plain value, and no test shows a class')
    return grade(value, OPAQUE)
  return grade(value, top, made=True)


def convert(value: Any, name: str, *arguments: Any) -> Any:
  """Ask for an operator of one object, such as `abs`."""
  if level(value) == MADE:
    return grade(_ask(value, 'operate', name, value, *arguments), MADE,
                 made=True)
  result = NotImplemented
  if level(value) in (WEAK, OPAQUE) and name in UNARY:
    result = _ask(value, 'operate', name, value)
  if type(result) is not Remote:
    raise TypeError(f'{name} of an object that a program returned')
  return grade(result, OPAQUE)


def attribute(value: Any, name: str) -> Any:
  """Ask for an attribute of an object."""
  is_name = object.__getattribute__(value, '_level') in (NAME, WEAK_NAME)
  if level(value) == OPAQUE or (
      name in _QUESTIONS and level(value) != MADE and not is_name):
    raise TypeError(f'{name} of an object that a program returned')
  return grade(_ask(value, 'get', value, name), WEAK if is_name else RESULT)


def _ask(value, /, *arguments, **named):
  return object.__getattribute__(value, '_peer').ask(*arguments, **named)


class Remote:
  """An object of the other process. See the module for its operators."""

  __slots__ = ('_peer', '_number', '_level', '_hash')

  def __init__(self, peer, number: int, hashed: int | None):
    """Stand for an object.

    Args:
      peer: a `sandbox_wire.Peer`.
      number: of the object there.
      hashed: its hash, None if it has none.
    """
    for name, value in (('_peer', peer), ('_number', number),
                        ('_level', None), ('_hash', hashed)):
      object.__setattr__(self, name, value)

  def __call__(self, /, *arguments, **named):
    new = _AFTER_CALL.get(self._level, RESULT)
    return grade(_ask(self, 'call', self, *arguments, **named), new)

  def __getattr__(self, name):
    if name.startswith('__') and name not in _HOOKS:
      raise AttributeError(name)  # `copy` and others look for hooks.
    return attribute(self, name)

  def __setattr__(self, name, value):
    _ask(self, 'set', self, name, value)

  def __delattr__(self, name):
    _ask(self, 'delattr', self, name)

  @property
  def __class__(self):
    found = _ask(self, 'type', self)
    return found if type(found) is Remote else Remote

  @property
  def __bases__(self):
    return tuple(_ask(self, 'bases', self))

  @property
  def __doc__(self):
    return attribute(self, '__doc__')

  def __iter__(self):
    self._needs_more_than_opaque()
    return grade(_ask(self, 'iter', self), RESULT, made=True)

  def __next__(self):
    return grade(_ask(self, 'next', self), RESULT)

  def __reversed__(self):
    self._needs_more_than_opaque()
    return _ask(self, 'reversed', self)

  def __len__(self):
    self._needs_more_than_opaque()
    return _ask(self, 'len', self)

  def __bool__(self):
    self._needs_more_than_opaque()
    return _ask(self, 'bool', self)

  def __contains__(self, value):
    if level(self) == MADE or level(self) and is_object(value):
      return _ask(self, 'contains', self, value) is True
    return any(value is other or value == other for other in self)

  def __getitem__(self, key):
    self._needs_more_than_opaque()
    return grade(_ask(self, 'item', self, key), RESULT)

  def __setitem__(self, key, value):
    _ask(self, 'setitem', self, key, value)

  def __delitem__(self, key):
    _ask(self, 'delitem', self, key)

  def __repr__(self):
    self._needs_more_than_opaque()
    return _ask(self, 'repr', self)

  def __str__(self):
    self._needs_more_than_opaque()
    return _ask(self, 'str', self)

  def __format__(self, spec):
    self._needs_more_than_opaque()
    return _ask(self, 'format', self, spec)

  def __eq__(self, other):
    if not is_object(other):
      return NotImplemented
    if self is other or self._peer.is_decoding:
      return self is other
    return _ask(self, 'operate', 'eq', self, other) is True

  def __ne__(self, other):
    equal = self.__eq__(other)
    return equal if equal is NotImplemented else not equal

  def __hash__(self):
    if self._hash is None:
      raise TypeError('an object of a program that has no hash')
    return self._hash

  def __instancecheck__(self, value):
    return is_object(value) and _ask(self, 'isinstance', value, self) is True

  def __subclasscheck__(self, value):
    return is_object(value) and _ask(self, 'issubclass', value, self) is True

  def __mro_entries__(self, bases):
    return (type.__new__(_ClassMaker, 'Base', (), {'_peer': self._peer}),)

  def __copy__(self):
    return grade(_ask(self, 'copy', self), level(self), made=True)

  def __deepcopy__(self, memo):
    return grade(_ask(self, 'deepcopy', self), level(self), made=True)

  def __reduce_ex__(self, protocol):
    raise TypeError('an object of a program cannot be pickled')

  def __round__(self, *digits):
    return convert(self, 'round', *digits)

  def _needs_more_than_opaque(self):
    if self._level == OPAQUE:
      raise TypeError('an operator between an object of a program and a plain '
                      'value, and no test shows a class')


class _ClassMaker(type):
  """Makes a class statement on a class of the program one of the program."""

  def __new__(mcs, name, bases, space, **named):
    for hidden in ('__module__', '__qualname__', '__classcell__'):
      space.pop(hidden, None)
    originals = space.pop('__orig_bases__')
    members = {key: _member(value) for key, value in space.items()}
    made = bases[0]._peer.ask('class', name, originals, members, **named)
    return grade(made, NAME)


def _member(value):
  if isinstance(value, (staticmethod, classmethod)):
    return type(value).__name__, value.__func__
  if isinstance(value, property):
    return 'property', (value.fget, value.fset)
  return ('method' if callable(value) else 'value'), value


def _add_operators():
  def define(name, function):
    function.__name__ = f'__{name}__'
    setattr(Remote, f'__{name}__', function)

  for name in BINARY:
    define(name, lambda self, other, *, name=name: binary(name, self, other))
    define(f'r{name}',
           lambda self, other, *, name=name: binary(name, other, self))
    if name != 'divmod':
      define(f'i{name}', lambda self, other, *, name=name: binary(
          f'i{name}', self, other))
  for name in ORDER:
    define(name, lambda self, other, *, name=name: binary(name, self, other))
  for name in (*UNARY, *TO_PLAIN):
    if name != 'round':
      define(name, lambda self, *, name=name: convert(self, name))


_add_operators()
