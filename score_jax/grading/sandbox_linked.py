"""Values of a program's own subclasses of plain types, in the tests.

Such a value is one of the plain type here: its content is the plain content,
and compares by it. What the subclass adds (fields of a named tuple, `push` of a
list) is asked for. What it overrides counts where the tests made the value from
a class, see `sandbox_remote`: a function that returns a number which is close
to everything has returned that number.
"""

import collections
from collections.abc import Callable
from typing import Any

from score_jax.grading import sandbox_remote as remote

_QUESTIONS = {
    'len': 'len', 'bool': 'bool', 'iter': 'iter', 'next': 'next',
    'reversed': 'reversed', 'contains': 'contains', 'getitem': 'item',
    'setitem': 'setitem', 'delitem': 'delitem', 'call': 'call',
}
_BINARY = {f'{r}{name}' for name in remote.BINARY for r in ('', 'r', 'i')}
OVERRIDDEN = frozenset(
    f'__{name}__' for name in (
        *_QUESTIONS, *_BINARY, *remote.ORDER, *remote.UNARY, *remote.TO_PLAIN,
        'repr', 'str', 'format', 'eq', 'ne', 'missing'))
"""Methods with underscores that a subclass may override with effect here."""


def make_class(peer, name: str, base: type, overridden: list[str]) -> type:
  """Return the class of a program's subclass of a plain type.

  Args:
    peer: a `sandbox_wire.Peer`.
    name: of the class.
    base: the plain type.
    overridden: names of methods of `base` that the subclass has anew.
  """
  space = {
      '_is_linked': True, '_peer': peer, '_level': None,
      '__module__': 'program',
      '__getattr__': _get, '__setattr__': _set, '__delattr__': _delete,
      '__copy__': lambda self: _copy(self, 'copy'),
      '__deepcopy__': lambda self, memo: _copy(self, 'deepcopy'),
      '__reduce_ex__': remote.Remote.__reduce_ex__,
      '__hash__': base.__hash__}
  for method in overridden:
    if not isinstance(method, str):
      raise TypeError('no name of a method')
    if (wrapped := _method(method, base)) is not None:
      space[method] = wrapped
  return type(name, (base,), space)


def make(kind: type, base: type, number: int, arguments: list[Any]) -> Any:
  """Return a value of a class of `make_class`.

  Args:
    kind: the class.
    base: its plain type.
    number: of the value in the other process.
    arguments: of the plain type.
  """
  if base is complex:
    arguments = [arguments[0].real, arguments[0].imag]
  value = base.__new__(kind, *arguments)
  if base is collections.deque:
    collections.deque.__init__(value, *arguments)
  object.__setattr__(value, '_number', number)
  return value


def _get(self, name):
  if name.startswith('__'):
    raise AttributeError(name)
  return remote.attribute(self, name)


def _set(self, name, value):
  self._peer.ask('set', self, name, value)


def _delete(self, name):
  self._peer.ask('delattr', self, name)


def _copy(self, how):
  return remote.grade(
      self._peer.ask(how, self), remote.level(self), made=True)


def _method(name: str, base: type) -> Callable[..., Any] | None:
  """Return the local method of a subclass, by the trust in its value."""
  if not name.startswith('__'):
    def ask(self, *arguments, **named):
      return remote.attribute(self, name)(*arguments, **named)
  elif name not in OVERRIDDEN:
    return None
  elif name in ('__eq__', '__ne__'):
    return lambda self, other: _equal(self, other, base, name == '__ne__')
  elif name == '__missing__':
    return lambda self, key: self._peer.ask('item', self, key)
  elif name in ('__repr__', '__str__'):
    if issubclass(base, str) and name == '__str__':
      return None
    return lambda self: self._peer.ask(name.strip('_'), self)
  else:
    ask = _operator(name.strip('_'))
  own = getattr(base, name, None)

  def method(self, *arguments, **named):
    objects = [x for x in arguments if remote.is_object(x)]
    top = max(map(remote.level, (self, *objects)))
    if top == remote.MADE or top and objects:
      return ask(self, *arguments, **named)
    if top:
      raise TypeError(f'{name} of a class of the program, and no test shows '
                      'that it is one')
    return NotImplemented if own is None else own(self, *arguments, **named)

  return method


def _equal(self, other, base, is_negated):
  """Equality: the program's among its objects, else that of the content."""
  if not remote.is_object(other) or self._peer.is_decoding or not max(
      remote.level(self), remote.level(other)):
    equal = base.__eq__(self, other)
  else:
    equal = self._peer.ask('operate', 'eq', self, other) is True
  return equal if equal is NotImplemented else equal != is_negated


def _operator(name):
  if name in _QUESTIONS:
    return lambda self, *rest: remote.grade(
        self._peer.ask(_QUESTIONS[name], self, *rest), remote.RESULT, made=True)
  if name == 'format':
    return lambda self, spec: self._peer.ask('format', self, spec)
  if name in remote.UNARY or name in remote.TO_PLAIN:
    return lambda self, *rest: remote.convert(self, name, *rest)
  if name[0] == 'r' and name[1:] in remote.BINARY and (
      name not in remote.BINARY):
    return lambda self, other: remote.binary(name[1:], other, self)
  return lambda self, other: remote.binary(name, self, other)
