"""Read from the text of tests how they use names; nothing is executed.

Which names are the program's hangs on the tests alone, so that a program cannot
put its own `set`, `abs` or `math` into them.
"""

import ast
import builtins
import collections
import re
import sys

_CLASS_NAME = re.compile(r'_*[A-Z][A-Za-z0-9]*')
# What values of plain types have: an attribute of it shows no class.
_PLAIN = frozenset(
    name for kind in (str, int, float, complex, bytes, list, tuple, dict, set,
                      collections.deque, collections.Counter,
                      collections.OrderedDict) for name in dir(kind))
_LITERALS = (ast.Constant, ast.List, ast.Tuple, ast.Dict, ast.Set, ast.UnaryOp,
             ast.ListComp, ast.JoinedStr)


def uses_program(text: str, entry: str | None) -> bool:
  """Tell whether tests, with what runs before them, use a program.

  If not, every program fails them or, where `entry` names the function that is
  tested, every one passes that has it.
  """
  _, names = free_names(text, set(), None)
  return bool(names - (set(dir(builtins)) - {entry} if entry else set()))


def of_program(spec: dict) -> set[str]:
  """Return the names that tests take from a program, or else `entry_point`."""
  if entry := spec.get('entry_point'):
    return {entry}
  tests = '\n'.join(spec.get('tests') or ())
  try:
    return free_names(f'{spec.get("setup") or ""}\n{tests}', set(), None)[1]
  except (SyntaxError, ValueError, RecursionError, MemoryError):
    return set()


def read_names(text: str) -> set[str]:
  """Return all names that a text reads."""
  return {node.id for node in ast.walk(ast.parse(text))
          if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}


def out_of_reach(text: str) -> str | None:
  """Return what tests use that their sandbox does not have, None if nothing."""
  for node in ast.walk(ast.parse(text)):
    names = [alias.name for alias in getattr(node, 'names', ())
             if isinstance(alias, ast.alias)]
    if isinstance(node, ast.Import) and 'tempfile' in names or (
        isinstance(node, ast.ImportFrom) and node.module == 'tempfile'):
      return 'tempfile'
    if _called(node) == 'open' and any(
        isinstance(x, ast.Constant) and isinstance(x.value, str)
        and set(x.value) & set('wax+') and set(x.value) <= set('rwaxbt+')
        for x in (*node.args[1:2], *(k.value for k in node.keywords
                                     if k.arg == 'mode'))):
      return 'open() to write'
  return None


def free_names(
    text: str, known: set[str], entry: str | None
) -> tuple[set[str], set[str]]:
  """Return names that tests leave to others: modules, and of the program.

  A builtin is the program's only if it is the one thing that is tested.

  Args:
    text: of the tests.
    known: names that are there already.
    entry: the function that is tested, if it is named.
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


def classes(text: str, names: set[str]) -> tuple[set[str], set[str]]:
  """Return the names that tests treat as classes, and that are spelled so.

  Tests treat a name as a class by `isinstance`, by a class statement, by an
  attribute of what it returns that no plain value has, or by items that are set
  of what a name in capitals returns. The second set has the
  names in capitals whose results the tests do not compare with literals.

  Args:
    text: of the tests.
    names: of the program.
  """
  nodes = list(ast.walk(ast.parse(text)))
  shown, compared, made = set(), set(), {}
  for node in nodes:
    if isinstance(node, ast.Assign) and _called(node.value):
      made.update({target.id: _called(node.value) for target in node.targets
                   if isinstance(target, ast.Name)})
    elif isinstance(node, ast.withitem) and isinstance(
        node.optional_vars, ast.Name) and _called(node.context_expr):
      made[node.optional_vars.id] = _called(node.context_expr)
    elif isinstance(node, ast.NamedExpr) and _called(node.value):
      made[node.target.id] = _called(node.value)
  for node in nodes:
    if isinstance(node, ast.Attribute) and node.attr not in _PLAIN:
      held = node.value
      if isinstance(held, ast.Name) and _CLASS_NAME.fullmatch(held.id):
        shown.add(held.id)
      shown |= {_called(x) or made.get(getattr(x, 'id', None))
                for x in _operands(held)}
    elif isinstance(node, ast.Subscript) and not isinstance(
        node.ctx, ast.Load):  # A function in capitals returns no container.
      name = made.get(getattr(node.value, 'id', None)) or ''
      shown |= {name} if _CLASS_NAME.fullmatch(name) else set()
    elif isinstance(node, ast.ClassDef):
      shown |= {x.id for x in node.bases if isinstance(x, ast.Name)}
    elif _called(node) in ('isinstance', 'issubclass') and node.args:
      shown |= {x.id for x in ast.walk(node.args[-1])
                if isinstance(x, ast.Name)}
    elif isinstance(node, ast.Compare):
      sides = [node.left, *node.comparators]
      if any(isinstance(side, _LITERALS) for side in sides):
        compared |= {_called(side) for side in sides}
  spelled = {name for name in names if _CLASS_NAME.fullmatch(name)}
  return shown & names, spelled - compared - shown


def _operands(node):
  """The values that operators make a value of; itself if there is none."""
  if isinstance(node, ast.BinOp):
    return _operands(node.left) + _operands(node.right)
  return _operands(node.operand) if isinstance(node, ast.UnaryOp) else [node]


def _called(node):
  """The name that a call calls, if the node is one."""
  is_call = isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
  return node.func.id if is_call else None


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
