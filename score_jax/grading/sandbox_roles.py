"""The two processes of one program: its tests, and the program itself.

The tests are run as they stand. Names that they use and do not define stand
for objects of the program, in the other process, see `sandbox_remote`. Which
names those are hangs on the tests alone, see `names_in_tests`, nor can a
program replace a function that the tests, or what the model went on from,
bring along.
"""

from collections.abc import Callable
import contextlib
import copy
import importlib
import json
import os
import sys
import types
from typing import Any

from score_jax.grading import names_in_tests
from score_jax.grading import sandbox_remote
from score_jax.grading import sandbox_rewrite
from score_jax.grading import sandbox_streams
from score_jax.grading import sandbox_wire

PASSED = 7
"""Exit status of tests that all passed."""

_MODULE = 'program'  # Not __main__: what it does as a script is not tested.


def _operate(name, *operands):
  return sandbox_remote.FUNCTIONS[name](*operands)


def _exit(manager, error):
  return bool(manager.__exit__(
      error and type(error), error, None))  # No frames of the tests.


def _make_class(name, bases, members, **named):
  """A class statement of the tests on a class of the program."""
  space = {key: _MEMBERS[kind](value) for key, (kind, value) in members.items()}
  return types.new_class(name, bases, named, lambda held: held.update(space))


def _method(function):
  """A function of the tests, as one that binds to objects."""
  return lambda *arguments, **named: function(*arguments, **named)


_MEMBERS = {
    'value': lambda value: value, 'method': _method,
    'staticmethod': lambda value: staticmethod(_method(value)),
    'classmethod': lambda value: classmethod(_method(value)),
    'property': lambda value: property(
        *(part if part is None else _method(part) for part in value)),
}
_OPERATIONS: dict[str, Callable[..., Any]] = {
    'call': lambda function, /, *rest, **named: function(*rest, **named),
    'get': getattr, 'set': setattr, 'delattr': delattr, 'iter': iter,
    'next': next, 'len': len, 'bool': bool, 'repr': repr, 'str': str,
    'format': format, 'reversed': reversed, 'type': type,
    'item': lambda held, key: held[key],
    'setitem': lambda held, key, value: held.__setitem__(key, value),
    'delitem': lambda held, key: held.__delitem__(key),
    'contains': lambda held, value: value in held, 'operate': _operate,
    'isinstance': isinstance, 'issubclass': issubclass,
    'bases': lambda kind: kind.__bases__, 'copy': copy.copy,
    'deepcopy': copy.deepcopy, 'enter': lambda held: held.__enter__(),
    'exit': _exit, 'class': _make_class, 'super': super,
}


def run_program(fd: int):
  """Does what the tests ask for; ends with them."""
  module = types.ModuleType(_MODULE)
  sys.modules[_MODULE] = module

  def run(text):
    exec(compile(text, f'<{_MODULE}>', 'exec'), vars(module))

  peer = sandbox_wire.Peer(fd, _OPERATIONS | {
      'run': run, 'name': lambda name: getattr(module, name)}, is_program=True)
  sandbox_streams.connect_program(peer)
  peer.serve()


def run_tests(spec_fd: int, fd: int):
  """Runs tests against a program, and ends with `PASSED` if all passed.

  Args:
    spec_fd: a socket with JSON of [spec, text of the program], to its end.
    fd: the pipe to the program.
  """
  with open(spec_fd, 'rb') as file:
    spec, program = json.load(file)
  # All that the other side may ask for, of functions and iterators that it was
  # given. Not for their attributes: they lead to the tests.
  operations = {'call': _call_back, 'iter': iter, 'next': next, 'len': len}
  peer = sandbox_wire.Peer(fd, operations)
  operations |= sandbox_streams.connect_tests(peer)
  try:
    peer.ask('run', program)
    _test(spec, peer)
  except BaseException:  # pylint: disable=broad-except
    return
  os._exit(PASSED)


def _call_back(function, /, *arguments, **named):
  if not isinstance(function, types.FunctionType | types.BuiltinFunctionType):
    raise TypeError('no function of the tests')
  return function(*arguments, **named)


def _test(spec, peer):
  entry = spec.get('entry_point')
  setup = spec.get('setup') or ''
  tests = spec['test'] if 'test' in spec else '\n'.join(spec['tests'])
  space = {'__name__': 'tests'}
  with contextlib.suppress(SyntaxError):  # It does not stand by itself.
    exec(compile(spec.get('prefix') or '', '<prefix>', 'exec'), space)
  space.pop(entry, None)
  text = f'{setup}\n{tests}'
  modules, names = names_in_tests.free_names(text, set(space), entry)
  if not names:
    raise ValueError('what uses nothing of a program does not test it')
  space |= {name: importlib.import_module(name) for name in modules}
  space |= {name: peer.ask('name', name) for name in names}
  # One object with two names is trusted as far as the lesser one.
  shown, spelled = names_in_tests.classes(text, names)
  for name in names:
    sandbox_remote.grade(
        space[name], sandbox_remote.NAME if name in shown else
        sandbox_remote.WEAK_NAME if name in spelled else sandbox_remote.RESULT)
  space |= sandbox_rewrite.helpers()
  for part in setup, tests:
    exec(sandbox_rewrite.rewrite(part, '<tests>'), space)
  if 'test' in spec and entry and 'check' in space:
    space['check'](space[entry])
