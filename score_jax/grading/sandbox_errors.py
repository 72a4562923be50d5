"""Exceptions between two processes: by class, arguments and text.

An exception of a builtin class is one of that class on the other side. A class
of the program is a class with the same name and bases in the tests, so that
`except ValueError` catches a `MyError(ValueError)`, and `except MyError` too.
"""

import builtins
import contextlib
import sys
from typing import Any


def describe_class(kind: type, number_of, depth: int = 0) -> list[Any]:
  """Describe a class of exceptions: how it is found, name, bases.

  Args:
    kind: the class.
    number_of: gives a number to a class that the other side has to make; None
      where classes stay here.
    depth: of classes that have this one as a base.
  """
  name = kind.__name__
  if getattr(builtins, name, None) is kind:
    return ['builtin', name]
  bases = [base for base in kind.__bases__ if issubclass(base, BaseException)
           ] if depth < 20 else [Exception]
  described = [describe_class(base, number_of, depth + 1) for base in bases]
  if _of_library(kind.__module__, kind.__qualname__) is kind:
    return ['library', kind.__module__, name, described]
  if number_of is None:  # Of the tests: what it derives from will do.
    return described[0]
  return ['own', number_of(kind), name, described]


def find_class(peer, described: list[Any]) -> type:
  """Return the class of a description, made if it is the program's own.

  Args:
    peer: a `sandbox_wire.Peer`.
    described: see `describe_class`.
  """
  how, *rest = described
  if how == 'builtin':
    kind = getattr(builtins, rest[0])
    if not (isinstance(kind, type) and issubclass(kind, BaseException)):
      raise TypeError('no class of exceptions')
    return kind
  bases = [find_class(peer, base) for base in rest[2]] or [Exception]
  if how == 'library':
    return _of_library(rest[0], rest[1]) or bases[0]
  number, name = int(rest[0]), str(rest[1])
  made = peer.error_classes
  if number not in made:
    with contextlib.suppress(TypeError):  # Bases that do not go together.
      made[number] = _make(peer, number, name, bases)
    if number not in made:
      made[number] = _make(peer, number, name, bases[:1])
  return made[number]


def make(peer, kind: type, number: int | None, arguments: tuple, text: str
         ) -> BaseException:
  """Return an exception without running what its class does to make one.

  Args:
    peer: a `sandbox_wire.Peer`.
    kind: its class.
    number: of the exception in the other process, if that has it.
    arguments: its `args`.
    text: its `str`.
  """
  if number is None:
    # Those that want more than their `args` are made without.
    with contextlib.suppress(Exception):
      error = kind(*arguments)
      if str(error) == text:
        return error
  try:
    shown = kind if isinstance(kind, _ErrorClass) else type(
        kind.__name__, (kind,), {
            '__str__': _text, '__module__': kind.__module__, '_peer': peer,
            '__getattr__': _get})
    error = shown.__new__(shown, *arguments)
  except Exception:  # pylint: disable=broad-except
    return RuntimeError(f'{kind.__name__}: {text}')
  error.args = arguments
  vars(error).update(_text=text, _number=-1 if number is None else number)
  return error


def of_call(operation: str, error: BaseException) -> BaseException:
  """Return what an operation raises: only `next` may end an iteration.

  A function that raised StopIteration would end the loops of the tests.
  """
  if isinstance(error, (StopAsyncIteration, GeneratorExit)) or (
      isinstance(error, StopIteration) and operation != 'next'):
    return RuntimeError(f'{type(error).__name__}: {error}')
  return error


class _ErrorClass(type):
  """The class of exceptions of a program's own classes."""

  def __call__(cls, *arguments, **named):
    if '_class_number' in vars(cls):  # Made by the program.
      return cls._peer.ask('call', cls, *arguments, **named)
    return super().__call__(*arguments, **named)

  def __getattr__(cls, name):
    if name.startswith('_'):
      raise AttributeError(name)
    return cls._peer.ask('get', cls, name)


def _make(peer, number, name, bases):
  return _ErrorClass(name, tuple(bases), {
      '_peer': peer, '_class_number': number, '__module__': 'program',
      '__str__': _text, '__getattr__': _get})


def _text(self):
  return vars(self)['_text'] if '_text' in vars(self) else ', '.join(
      map(str, self.args))


def _get(self, name):
  if name.startswith('_') or vars(self).get('_number', -1) < 0:
    raise AttributeError(name)
  return self._peer.ask('get', self, name)


def _of_library(module, name):
  """A class of exceptions of Python's library, if it is loaded here."""
  if str(module).partition('.')[0] not in sys.stdlib_module_names:
    return None
  found = getattr(sys.modules.get(str(module)), str(name), None)
  is_error = isinstance(found, type) and issubclass(found, BaseException)
  return found if is_error else None
