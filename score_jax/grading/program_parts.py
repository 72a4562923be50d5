"""Statements of a program: which names they bind and read, which are needed.

Programs are read as trees of `ast`; nothing is run.
"""

import ast
import builtins
import symtable
import warnings

from score_jax.grading import blocks

BUILTINS = frozenset(dir(builtins))
DEFINITION = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)

_TRIES = 40  # Errors that one text is cut at,
_WORK = 200_000  # and characters that are parsed for it; three errors at least.


def is_prose(node: ast.stmt) -> bool:
  """Tell whether a statement is a word: `Thanks`, `Note: this`."""
  if isinstance(node, ast.AnnAssign):
    return node.value is None
  if isinstance(node, ast.Expr) and isinstance(node.value, ast.Tuple):
    return all(isinstance(x, ast.Name) for x in node.value.elts)
  return isinstance(node, ast.Expr) and (
      isinstance(node.value, ast.Name) or isinstance(
          getattr(node.value, 'op', None), ast.Invert))  # `~~~python`.


def needed(
    source: str, nodes: list[ast.stmt], names: set[str], is_first: bool = False
) -> list[ast.stmt]:
  """Return the statements that bind names, and what those need, in order.

  Args:
    source: of the statements.
    nodes: the statements.
    names: wanted ones.
    is_first: whether the first to bind a name is the only one kept.
  """
  kept, names = [], set(names)
  while True:
    bound = bound_names(kept)
    lacking = names - bound if is_first else names
    more = [node for node in nodes if node not in kept and (
        bound_names([node]) & lacking or _changed(node) & bound)]
    if not more and kept:  # Deeper recursion, once there is code that recurs.
      more = [node for node in nodes
              if node not in kept and _sets_a_limit(node)]
    if not more:
      return sorted(kept, key=lambda node: node.lineno)
    more = more[:1] if is_first else more
    kept += more
    for node in more:
      names |= free_names(lines_of(source, [node])) - BUILTINS


def _sets_a_limit(node):
  """Whether a statement allows a program deeper recursion."""
  return isinstance(node, ast.Expr) and 'setrecursionlimit' in ast.dump(node)


def _changed(node):
  """Names whose objects a statement changes: `x[0] = 1`, `x.add(1)`."""
  if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
    targets = [node.value.func] if isinstance(
        node.value.func, ast.Attribute) else []
  elif isinstance(node, ast.Assign):
    targets = node.targets
  else:
    targets = [node.target] if isinstance(node, ast.AugAssign) else []
  names = set()
  for target in targets:
    while isinstance(target, (ast.Attribute, ast.Subscript)):
      target = target.value
    if isinstance(target, ast.Name):
      names.add(target.id)
  return names


def longest(head: str, code: str) -> tuple[str, ast.Module | None]:
  """Cut code down to its longest part, in lines, that parses after a head.

  Returns:
    The part ('' if none) and the tree of both.
  """
  lines = code.rstrip().split('\n')
  offset = head.count('\n')
  for _ in range(min(_TRIES, max(3, _WORK // max(1, len(code))))):
    tree, error = blocks.parse(head + '\n'.join(lines))
    if tree:
      return '\n'.join(lines).rstrip(), tree
    keep = (error.lineno or 0) - 1 - offset
    if keep < 1 and error.filename != '<fstring>' or not error.lineno:
      break
    if not 0 < keep < len(lines):  # Of a part of a line: its statement goes.
      starts = [n for n, line in enumerate(lines)
                if line[:1] not in (' ', '\t', '')]
      keep = starts[-1] if starts else 0
    lines = lines[:keep]
    if not any(map(str.strip, lines)):
      break
  return '', None


def future_first(code: str) -> str:
  """Move imports of `__future__` to the front."""
  if '__future__' not in code:
    return code
  try:
    with warnings.catch_warnings():
      warnings.simplefilter('ignore')
      tree = ast.parse(code)
  except (SyntaxError, ValueError, RecursionError, MemoryError):
    return code
  nodes = [node for node in tree.body if isinstance(node, ast.ImportFrom)
           and node.module == '__future__']
  lines = code.split('\n')
  for node in nodes:
    lines[node.lineno - 1:node.end_lineno] = [''] * (
        node.end_lineno - node.lineno + 1)
  names = dict.fromkeys(alias.name for node in nodes for alias in node.names)
  head = f'from __future__ import {", ".join(names)}\n' if names else ''
  return head + '\n'.join(lines)


def lines_of(code: str, nodes: list[ast.stmt]) -> str:
  """Return the lines of statements."""
  lines = code.split('\n')
  spans = dict.fromkeys(
      (min([node.lineno, *(x.lineno for x in getattr(
          node, 'decorator_list', ()))]) - 1, node.end_lineno)
      for node in nodes)
  return '\n'.join('\n'.join(lines[start:end]) for start, end in spans)


def defines(tree: ast.Module) -> bool:
  """Tell whether code defines a function or class, by `def` or by `lambda`."""
  return any(isinstance(node, DEFINITION) or isinstance(
      getattr(node, 'value', None), ast.Lambda) for node in tree.body)


def bound_names(nodes: list[ast.stmt]) -> set[str]:
  """Return the names that statements bind at the top of a module."""
  found, todo = set(), list(nodes)
  while todo:
    node = todo.pop()
    if isinstance(node, DEFINITION):
      found.add(node.name)
      continue
    if isinstance(node, (ast.Lambda, ast.ListComp, ast.SetComp, ast.DictComp,
                         ast.GeneratorExp)):
      continue
    if isinstance(node, ast.AnnAssign) and node.value is None:
      continue
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
      found.add(node.id)
    if isinstance(node, (ast.Import, ast.ImportFrom)):
      found |= {(alias.asname or alias.name).partition('.')[0]
                for alias in node.names}
    todo.extend(ast.iter_child_nodes(node))
  return found


def names(node: ast.AST) -> set[str]:
  """Return all names in a statement."""
  return {x.id for x in ast.walk(node) if isinstance(x, ast.Name)}


def free_names(code: str) -> set[str]:
  """Return the global names that code reads, bound in it or not."""
  try:
    with warnings.catch_warnings():
      warnings.simplefilter('ignore')
      todo = [symtable.symtable(code, '<program>', 'exec')]
  except (SyntaxError, ValueError, RecursionError, MemoryError):
    return set()
  found = set()
  while todo:
    table = todo.pop()
    todo += table.get_children()
    found |= {x.get_name() for x in table.get_symbols() if x.is_referenced()
              and (x.is_global() or table.get_type() == 'module')}
  return found
