"""The two processes of one program: its tests, and the program itself.

The tests are run as they stand. Names that they use and do not define stand
for objects of the program, in the other process, see `sandbox_wire.Remote`.
Which names those are hangs on the tests alone, so that a program cannot put
its own `set`, `abs` or `math` into them, nor a function that the tests, or what
the model went on from, bring along.
"""

import ast
import builtins
import contextlib
import importlib
import json
import os
import sys
import types

from score_jax.grading import sandbox_wire

PASSED = 7
"""Exit status of tests that all passed."""

_MODULE = 'program'  # Not __main__: what it does as a script is not tested.
_OPERATIONS = {
    'call': lambda function, /, *rest, **named: function(*rest, **named),
    'get': getattr, 'set': setattr, 'iter': iter, 'next': next, 'len': len,
    'bool': bool, 'item': lambda held, key: held[key], 'repr': repr,
    'str': str,
}


def run_program(fd: int):
  """Does what the tests ask for; ends with them."""
  module = types.ModuleType(_MODULE)
  sys.modules[_MODULE] = module

  def run(text):
    exec(compile(text, f'<{_MODULE}>', 'exec'), vars(module))

  sandbox_wire.Peer(fd, _OPERATIONS | {
      'run': run, 'name': lambda name: getattr(module, name)}).serve()


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
  peer = sandbox_wire.Peer(
      fd, {'call': _call_back, 'iter': iter, 'next': next, 'len': len})
  peer.ask('run', program)
  try:
    _test(spec, peer)
  except BaseException:  # pylint: disable=broad-except
    return
  os._exit(PASSED)


def _call_back(function, /, *arguments):
  if not isinstance(function, types.FunctionType | types.BuiltinFunctionType):
    raise TypeError('no function of the tests')
  return function(*arguments)


def _test(spec, peer):
  entry = spec.get('entry_point')
  setup = spec.get('setup') or ''
  tests = spec['test'] if 'test' in spec else '\n'.join(spec['tests'])
  space = {'__name__': 'tests'}
  with contextlib.suppress(SyntaxError):  # It does not stand by itself.
    exec(compile(spec.get('prefix') or '', '<prefix>', 'exec'), space)
  space.pop(entry, None)
  modules, names = _free_names(f'{setup}\n{tests}', set(space), entry)
  if not names:
    raise ValueError('what uses nothing of a program does not test it')
  space |= {name: importlib.import_module(name) for name in modules}
  space |= {name: peer.ask('name', name) for name in names}
  for text in setup, tests:
    exec(compile(text, '<tests>', 'exec'), space)
  if 'test' in spec and entry and 'check' in space:
    space['check'](space[entry])


def uses_program(text: str, entry: str | None) -> bool:
  """Whether tests, with what runs before them, use anything of a program.

  If not, every program fails them or, where `entry` names the function that is
  tested, every one passes that has it.
  """
  _, names = _free_names(text, set(), None)
  return bool(names - (set(dir(builtins)) - {entry} if entry else set()))


def _free_names(
    text: str, known: set[str], entry: str | None
) -> tuple[set[str], set[str]]:
  """Names that tests use and leave to others: modules, and of the program.

  A builtin is the program's only if it is the one thing that is tested.
  """
  nodes = list(ast.walk(ast.parse(text)))
  used = {node.id for node in nodes if isinstance(node, ast.Name)
          and isinstance(node.ctx, ast.Load)}
  called = {node.func.id for node in nodes if isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)}
  holders = {node.value.id for node in nodes if isinstance(node, ast.Attribute)
             and isinstance(node.value, ast.Name)}
  free = used - known - set().union(*map(_bound, nodes))
  modules = (free & holders & sys.stdlib_module_names) - called - {entry}
  builtin = free & set(dir(builtins))
  wanted = free - modules - builtin | ({entry} if entry else set())
  return modules, wanted or builtin & called


def _bound(node: ast.AST) -> list[str]:
  """Names that a piece of code defines."""
  match node:
    case ast.Name(id=name, ctx=ast.Store()) | ast.arg(arg=name):
      return [name]
    case (ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name)
          | ast.ClassDef(name=name) | ast.ExceptHandler(name=str(name))):
      return [name]
    case ast.Import(names=names) | ast.ImportFrom(names=names):
      return [(alias.asname or alias.name).partition('.')[0]
              for alias in names]
  return []
