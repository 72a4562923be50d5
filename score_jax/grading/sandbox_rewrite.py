"""Tests rewritten where Python asks an object of this process alone.

`type(x)` of an object of the program is its class there, `super()` in a class
that derives from one of the program is that one's, and a `with` on one may
swallow no failed test.
"""

import ast
import builtins
from typing import Any

from score_jax.grading import sandbox_remote as remote

_TYPE, _SUPER, _CONTEXT = '_type_of', '_super_of', '_context_of'


def rewrite(text: str, name: str):
  """Return the code object of tests.

  Args:
    text: of the tests.
    name: of their file, in messages.
  """
  tree = _Rewriter().visit(ast.parse(text, name))
  return compile(ast.fix_missing_locations(tree), name, 'exec')


def helpers() -> dict[str, Any]:
  """Return what rewritten tests need."""
  return {_TYPE: _type_of, _SUPER: _super_of, _CONTEXT: _context_of}


class _Rewriter(ast.NodeTransformer):

  def __init__(self):
    self._class = None

  def visit_ClassDef(self, node):  # pylint: disable=invalid-name
    outer, self._class = self._class, node.name
    self.generic_visit(node)
    self._class = outer
    return node

  def visit_FunctionDef(self, node):  # pylint: disable=invalid-name
    self.generic_visit(node)
    first = [*node.args.posonlyargs, *node.args.args][:1]
    if self._class and first:
      for call in ast.walk(node):
        if _is_call(call, 'super', 0):
          call.func.id = _SUPER
          call.args = [ast.Name(self._class, ast.Load()),
                       ast.Name(first[0].arg, ast.Load())]
    return node

  def visit_Call(self, node):  # pylint: disable=invalid-name
    self.generic_visit(node)
    if _is_call(node, 'type', 1):
      node.func.id = _TYPE
    return node

  def visit_With(self, node):  # pylint: disable=invalid-name
    self.generic_visit(node)
    # What neither fails as a test nor gets at anything of the program.
    is_harmless = all(
        not isinstance(x, (ast.Assert, ast.Name)) or isinstance(x, ast.Name)
        and isinstance(getattr(builtins, x.id, None), type)
        for part in node.body for x in ast.walk(part))
    for item in node.items:
      item.context_expr = ast.Call(
          ast.Name(_CONTEXT, ast.Load()),
          [item.context_expr, ast.Constant(is_harmless)], [])
    return node


def _is_call(node, name, count):
  return (isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
          and node.func.id == name and len(node.args) == count
          and not node.keywords)


def _type_of(value):
  return value.__class__ if type(value) is remote.Remote else (
      value._peer.ask('type', value) if remote.is_object(value)
      else type(value))


def _super_of(kind, value):
  if remote.is_object(kind):
    return _Super(kind._peer.ask('super', kind, value))
  return super(kind, value)


def _context_of(value, is_harmless):
  return _Context(value, is_harmless) if remote.is_object(value) else value


class _Super:
  """`super()` of an object of the program; all names are the program's."""

  __slots__ = ('_value',)

  def __init__(self, value):
    object.__setattr__(self, '_value', value)

  def __getattribute__(self, name):
    value = object.__getattribute__(self, '_value')
    return value._peer.ask('get', value, name)


class _Context:
  """A context manager of the program."""

  def __init__(self, value, may_swallow):
    self._value = value
    self._may_swallow = may_swallow

  def __enter__(self):
    peer = self._value._peer
    entered = peer.ask('enter', self._value)
    return remote.grade(entered, remote.RESULT, made=entered is self._value)

  def __exit__(self, kind, error, frames):
    swallows = self._value._peer.ask('exit', self._value, error)
    return bool(swallows) and self._may_swallow and not isinstance(
        error, AssertionError)
