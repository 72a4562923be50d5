"""The program in a model's answer.

An answer may hold prose, drafts, usage examples and made-up further tasks. The
choice follows the text and the names that are asked for, and nothing is run: a
choice by the tests would pay for guesses. In this order:

1. A body that continues the prefix (a signature and docstring), when the
   text opens with it.
2. The last block that defines a name that is asked for, or is a body for the
   prefix; blocks that name Python before those that name nothing. Unfenced code
   at the start is a block too.
3. Unfenced code behind prose that defines such a name.
4. The last block that defines a function or class, or else anything.

The chosen block is kept whole. Of the others come the definitions that it
lacks; their examples, prints and assertions do not. Of code that prose or a
further task follows, the longest part that parses is kept.
"""

import ast
from collections.abc import Iterable
import itertools
import re
import textwrap
from typing import NamedTuple

from score_jax.grading import blocks as blocks_lib
from score_jax.grading import program_parts as parts

_STARTS = re.compile(
    r'^[ \t]*(?:def |class |async def |import \w|from [\w.]+ import|@\w'
    r'|[A-Za-z_]\w* = )',
    re.MULTILINE)
_PROSE_WORK = 100_000  # Characters that are read in search of code in prose.
_MAX_BLOCKS = 50  # Of one text that are tried, the last ones.
_ENDS_BODY = re.compile(r'(?:return|yield|raise)\b')
_RESULTS = frozenset(('Return', 'Yield', 'YieldFrom', 'Raise'))
_WORKS = _RESULTS | {'Call', 'Assign', 'AugAssign', 'Delete', 'Pass', 'Import'}
_FUNCTION = (ast.FunctionDef, ast.AsyncFunctionDef)


class _Code(NamedTuple):
  """A candidate: code, its tree (None: no Python), whether it is fenced."""

  code: str
  tree: ast.Module | None
  is_python: bool


def find(text: str, prefix: str = '', wanted: Iterable[str] = ()) -> str:
  """Return the program in a text, after the prefix that it may continue.

  Args:
    text: the answer of a model.
    prefix: code that the answer may continue or repeat; '' for none.
    wanted: names that the program has to define, as far as they are known.

  Returns:
    The program; text that is no Python if there is none.
  """
  text = blocks_lib.answer_part(text)
  wanted = frozenset(wanted)
  if prefix and (body := _as_body(prefix, text, wanted)):
    return body
  leading, rest = _leading(text, wanted)
  found = [_code(block, wanted) for block in blocks_lib.fenced(rest)]
  found = ([leading] if leading else []) + [x for x in found if x.code.strip()]
  chosen, body = _defining(found, wanted, prefix)
  if body:
    return body
  chosen = chosen or _in_prose(rest, wanted) or _any(found)
  program = _with_helpers(chosen, found, wanted) if chosen else text
  if not prefix:
    return parts.future_first(program)
  function = _last_function(f'{prefix}\n')
  if function and _is_filled(function):  # A signature alone.
    prefix = f'{prefix.rstrip()}\n{" " * function.body[0].col_offset}pass'
  return parts.future_first(f'{prefix}\n{program}')


def _code(block, wanted):
  code = block.code.strip('\n') if block.code.strip() else ''
  tree, _ = blocks_lib.parse(code)
  if not tree:  # Indented in a list, or as a whole.
    dedented = textwrap.dedent(code)
    tree, _ = blocks_lib.parse(dedented)
    code = dedented if tree else code
  if not tree and not block.is_closed:  # Cut off.
    kept, part = parts.longest('', code)
    if part and (parts.defines(part) or wanted & parts.bound_names(part.body)):
      code, tree = kept, part
  return _Code(code, tree, block.is_python)


def _defining(found, wanted, prefix):
  """The last that defines what is asked for, or else is a body: one of two."""
  for is_python in True, False:
    for code in reversed(found[-_MAX_BLOCKS:]):
      if code.is_python != is_python:
        continue
      if _gives(code, wanted):
        return code, None
      if prefix and (body := _as_body(prefix, code.code, wanted, True)):
        return None, body
  return None, None


def _gives(code, wanted):
  if code.tree:
    return bool(wanted & parts.bound_names(code.tree.body))
  return _defined(code.code, wanted, r'\s*')


def _defined(code, wanted, indent):
  """Whether a text has a definition of a name, whether it parses or not."""
  names = '|'.join(map(re.escape, wanted)) or '$^'
  return bool(re.search(
      rf'^{indent}(?:async\s+)?(?:def|class)\s+(?:{names})\b', code,
      re.MULTILINE))


def _any(found):
  """The last that defines, else binds, else is Python, else is there."""
  def rank(code):
    tree = code.tree
    return (bool(tree and parts.defines(tree)),
            bool(tree and parts.bound_names(tree.body)), code.is_python)
  return max(reversed(found), key=rank, default=None)


def _leading(text, wanted):
  """Unfenced code at the start, if any, and the text behind it."""
  if blocks_lib.opens_fence(text):
    return None, text
  source = text
  first = next((line for line in text.split('\n') if line.strip()), '')
  if first[:1] in ' \t':
    source = textwrap.dedent(text)
    if not _starts_as_code(source):
      source = _dedent_by(text, len(first) - len(first.lstrip()))
  kept, tree = parts.longest('', source)
  tidy, tree = _without_prose(kept, tree, wanted, len(kept) < len(source))
  if not tree or not (parts.defines(tree) or parts.bound_names(tree.body)):
    return None, text
  lines = text.split('\n')[len(kept.split('\n')):]
  while lines and not lines[0].strip():
    lines.pop(0)
  if lines and blocks_lib.is_lone_fence(lines[0]):
    lines.pop(0)
  return _Code(tidy, tree, True), '\n'.join(lines)


def _starts_as_code(text):
  return bool(text.strip()) and text.lstrip('\n')[:1] not in ' \t'


def _dedent_by(text, width):
  return '\n'.join(re.sub(rf'^[ \t]{{0,{width}}}', '', line)
                   for line in text.split('\n'))


def _in_prose(text, wanted):
  """Unfenced code behind prose."""
  starts = min(20, max(2, _PROSE_WORK // max(1, len(text))))
  for start in itertools.islice(_STARTS.finditer(text), starts):
    part = textwrap.dedent(text[start.start():])
    leading, _ = _leading(part, wanted)
    if leading and (wanted & parts.bound_names(leading.tree.body)
                    or not wanted and parts.defines(leading.tree)):
      return leading
  return None


def _without_prose(code, tree, wanted, is_cut):
  """Drop statements that are prose and, in text that runs on, examples."""
  if not tree:
    return '', None
  wanted = wanted & parts.bound_names(tree.body) or frozenset(
      node.name for node in tree.body if isinstance(node, parts.DEFINITION))
  kept, is_behind = [], False
  for node in tree.body:
    is_example = isinstance(node, ast.Assert) or isinstance(
        node, ast.Expr) and parts.names(node) & (wanted | {'print'})
    is_prose = parts.is_prose(node)
    is_cut |= is_prose
    if not (is_prose or is_cut and is_behind and is_example):
      kept.append(node)
    is_behind |= bool(wanted & parts.bound_names([node]))
  if len(kept) == len(tree.body):
    return code, tree
  code = parts.lines_of(code, kept)
  return code, blocks_lib.parse(code)[0]


def _as_body(prefix, code, wanted, is_block=False):
  """The prefix with a body for its last function, or None.

  The body is taken in the indentation that keeps most of it: its own, that of
  all lines but the first, or none.
  """
  head = prefix if prefix.endswith('\n') else f'{prefix}\n'
  function = _last_function(head)
  code = code.strip('\n')
  first = code.split('\n')[0]
  if not function or not code.strip() or blocks_lib.opens_fence(code):
    return None
  own = first[:len(first) - len(first.lstrip())]
  block = itertools.takewhile(  # Until a line with less indentation.
      lambda line: not line.strip() or line.startswith(own), code.split('\n'))
  if not _ENDS_BODY.match(code) and _defined('\n'.join(block), wanted, own):
    return None  # A whole program.
  indent = ' ' * function.body[0].col_offset or '    '
  if first[:1] in ' \t':
    forms = [code, textwrap.indent(textwrap.dedent(code), indent)]
  elif is_block or _ENDS_BODY.match(code) or (
      re.search(r'^[ \t]+\S', code, re.MULTILINE)):
    forms = [indent + code, textwrap.indent(code, indent)]
  else:
    forms = []
  best = None
  for form in forms:
    kept, tree = parts.longest(head, form)
    size = _size(tree, function)
    if size and (not best or kept.count('\n') > best[0].count('\n')):
      best = kept, tree, size
  if not best or (first[:1] not in ' \t' and not best[2] & _RESULTS):
    return None
  return _body_alone(head, *best[:2], function)


def _size(tree, function):
  """Kinds of nodes that a body adds to a function; none if only prose."""
  if not tree:
    return set()
  node = next((x for x in tree.body if isinstance(x, _FUNCTION)
               and x.lineno == function.lineno), None)
  added = node.body[len(function.body) - _is_filled(function):] if node else []
  kinds = _kinds([x for x in added if not parts.is_prose(x)])
  return kinds & _WORKS and kinds


def _kinds(nodes):
  """Types of nodes outside functions that are defined in them."""
  found, todo = set(), list(nodes)
  while todo:
    node = todo.pop()
    found.add(type(node).__name__)
    if not isinstance(node, (*parts.DEFINITION, ast.Lambda)):
      todo.extend(ast.iter_child_nodes(node))
  return found


def _is_filled(function):
  return getattr(function, 'is_filled', False)


def _last_function(head):
  """The function at the end of a prefix, with or without a body so far."""
  tree, _ = blocks_lib.parse(head)
  is_filled = tree is None
  if is_filled:
    last = head.rstrip().split('\n')[-1]
    width = len(last) - len(last.lstrip()) + 4
    tree, _ = blocks_lib.parse(f'{head}{" " * width}pass\n')
  if not tree or not tree.body or not isinstance(tree.body[-1], _FUNCTION):
    return None
  tree.body[-1].is_filled = is_filled
  return tree.body[-1]


def _body_alone(head, kept, tree, function):
  """A function's body without what follows it and it does not need."""
  at = next(n for n, x in enumerate(tree.body) if x.lineno == function.lineno
            and isinstance(x, _FUNCTION))
  source = head + kept
  lines = source.split('\n')
  own = '\n'.join(lines[:tree.body[at].end_lineno])
  known = parts.bound_names(tree.body[:at + 1])
  tail = tree.body[at + 1:]
  helpers = parts.needed(source, tail, parts.free_names(own) - known,
                         is_first=True)
  program = '\n\n'.join(
      [own, *(parts.lines_of(source, [x]) for x in helpers)])
  return parts.future_first(program)


def _with_helpers(chosen, found, wanted):
  """A block with the definitions of others that it lacks."""
  if not chosen.tree:
    return chosen.code
  at = next((n for n, x in enumerate(found) if x is chosen), len(found))
  own = parts.bound_names(chosen.tree.body)
  lacking = (parts.free_names(chosen.code) | wanted) - own
  before, after = [], []
  for is_before, others in (True, reversed(found[:at])), (
      False, found[at + 1:]):
    for other in others:
      if not other.tree or not lacking - parts.BUILTINS | (wanted & lacking):
        continue
      taken = parts.needed(other.code, other.tree.body,
                           lacking - (parts.BUILTINS - wanted))
      if taken:
        code = parts.lines_of(other.code, taken)
        lacking |= parts.free_names(code)
        lacking -= parts.bound_names(taken) | own
        if is_before:
          before.insert(0, code)
        else:
          after.append(code)
  return '\n\n'.join([*before, chosen.code, *after])
