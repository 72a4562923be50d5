"""Parts of a model's answer: thinking, marks around a program, fenced blocks.

Everything here reads the text alone and runs nothing. Fences follow CommonMark
(https://spec.commonmark.org/0.31.2/#fenced-code-blocks) and the spellings that
models use beyond it.
"""

import ast
import itertools
import re
import textwrap
from typing import NamedTuple
import warnings

_THINKING = 'think|thinking|thought|thoughts|reasoning|scratchpad|reflection'
_THOUGHT = re.compile(
    rf'<(?P<close>/?)(?:{_THINKING})>'
    r'|\[(?P<close_2>/?)THINK\]'
    r'|<\|(?:begin|(?P<close_3>end))_of_thought\|>', re.IGNORECASE)
# Tokens that end a text, spelled out, as a model may do that has no such token.
_END = re.compile(
    r'<\|[\w ]{2,30}\|>|<｜[^｜\n]{2,30}｜>|</?s>|<(?:eos|pad)>'
    r'|<(?:end|start)_of_(?:turn|text)>|</?(?:code|answer|solution)>'
    r'|\[(?:DONE|EOS|END|/INST|/PYTHON)\]')
_BEGIN = re.compile(
    r'^[ \t]*(?:\[(?:BEGIN|PYTHON)\]|<(?:code|answer|solution)>)[ \t]*',
    re.MULTILINE)
_CODE = re.compile(
    r'^[ \t]*(?:(?:```|~~~).*\n\s*\S'
    r'|(?:def|class|return|import|from|if|for|while) |@\w'
    r'|[\w., \[\]]+=[^=])', re.MULTILINE)
_FENCE = re.compile(r'^(?P<lead>.*?)(?P<fence>`{3,}|~{3,})(?P<info>[^`]*)$')
_INLINE = re.compile(r'(?<!`)(`{3,})[ \t]*(?:python3?|py)?[ \t]+(.+?)\1(?!`)',
                     re.IGNORECASE)
_PYTHON = re.compile(
    r'\s*\{?\s*(?:code-cell\s*\}?\s*)?\.?(?:i?python|py)[\d.]*(?![\w+-])',
    re.IGNORECASE)
_PYTHON_FILE = re.compile(r'\s*[\w./-]+\.py\b')
_CODE_AFTER_TAG = re.compile(
    r'\s+((?:def|class|import|from|return|async|if|for|while|@\w).*)')
_OTHER = frozenset((
    *('text', 'txt', 'plaintext', 'plain', 'output', 'stdout', 'console'),
    *('terminal', 'result', 'log', 'bash', 'sh', 'shell', 'zsh', 'cmd'),
    *('powershell', 'json', 'yaml', 'toml', 'xml', 'html', 'css', 'javascript'),
    *('js', 'ts', 'typescript', 'jsx', 'java', 'c', 'cpp', 'c++', 'csharp'),
    *('cs', 'go', 'rust', 'ruby', 'sql', 'diff', 'latex', 'tex', 'r', 'julia'),
    *('php', 'kotlin', 'swift', 'scala', 'perl', 'lua', 'haskell', 'mermaid'),
    *('pycon', 'python-repl', 'doctest', 'ini', 'makefile', 'dockerfile'),
    *('pseudocode', 'pseudo', 'none', 'error'),
))
_NESTED = frozenset(('markdown', 'md'))
_APOSTROPHE = re.compile(r"(?<=\w)'(?=(?:s|t|re|ve|ll|d|m)\b)")


# Bounds on the work for texts that are made to take long.
_MAX_LINE = 2000  # Of a line with a fence, or before a mark, in characters.
_MAX_MARKS = 200
_MAX_ENDS = 20
_MAX_EXTENDED = 30


class Block(NamedTuple):
  """A fenced block.

  Attributes:
    code: its content, less the indentation of its fence.
    is_python: whether its fence names Python, and not nothing.
    is_closed: whether a fence ends it, and not the text.
  """

  code: str
  is_python: bool
  is_closed: bool


def parse(code: str) -> tuple[ast.Module | None, SyntaxError | None]:
  """Parse and compile Python without running it.

  Returns:
    The tree and None, or None and the error; its line is 0 if none is known.
  """
  try:
    with warnings.catch_warnings():
      warnings.simplefilter('ignore')
      tree = ast.parse(code)
      compile(tree, '<program>', 'exec', dont_inherit=True)
    return tree, None
  except SyntaxError as error:
    return None, error
  # Null characters, surrogates; too many brackets in brackets.
  except (ValueError, RecursionError, MemoryError) as error:
    return None, SyntaxError(str(error))


def answer_part(text: str) -> str:
  """Drop the thinking from a text, and what follows the end of its program.

  A thought that never ends takes the rest of the text with it. Marks inside
  a string of Python count as text.
  """
  text = _without_thinking(text.replace('\r\n', '\n').replace('\r', '\n'))
  first = 0
  for mark in itertools.islice(_END.finditer(text), _MAX_MARKS):
    if _is_quoted(text, mark) or not _is_end(text, mark):
      continue
    part = _begun(text[first:mark.start()])
    if part.strip('`~ \n'):
      return part
    first = mark.end()
  return _begun(text[first:])


def _begun(text):
  """Return what follows a start mark; a second one begins another task."""
  parts = _BEGIN.split(text)
  with_code = [part for part in parts if _CODE.search(part)]
  return (with_code or parts[-1:])[0].strip('\n')


def opens_fence(text: str) -> bool:
  """Return whether the first line that is not blank opens a block."""
  first = next((line for line in text.split('\n') if line.strip()), '')
  return bool(_opening(first))


def fenced(text: str) -> list[Block]:
  """Return the fenced blocks of a text that may be Python, in their order."""
  lines = text.split('\n')
  found, at = [], 0
  while at < len(lines):
    is_short = len(lines[at]) <= _MAX_LINE
    inline = _INLINE.search(lines[at]) if is_short else None
    fence = _opening(lines[at])
    if inline and not (fence and fence['info'].strip() == ''):
      found.append(Block(inline[2].strip(), True, True))
    elif fence:
      at = _read(lines, at, fence, found)
      continue
    at += 1
  return found


def is_lone_fence(line: str) -> bool:
  """Whether a line is a fence that names nothing, with nothing before it."""
  return bool(re.fullmatch(r'[ \t]*(`{3,}|~{3,})[ \t]*', line))


def _without_thinking(text):
  kept, part, is_open = [], 0, False
  for mark in itertools.islice(_THOUGHT.finditer(text), _MAX_MARKS):
    if _is_quoted(text, mark):
      continue
    if mark['close'] or mark['close_2'] or mark['close_3']:
      if not is_open:  # Opened by the prompt, or closed twice.
        kept = kept[:-1] if kept and part else []
      part, is_open = mark.end(), False
      kept.append('')
    elif not is_open:
      kept.append(text[part:mark.start()])
      is_open = True
  if not is_open:
    kept.append(text[part:])
  return '\n'.join(kept) if len(kept) > 1 else ''.join(kept)


def _is_quoted(text, mark):
  """Whether a mark is inside a string or a span of code of its line."""
  start = max(text.rfind('\n', 0, mark.start()) + 1,
              mark.start() - _MAX_LINE)
  end = text.find('\n', mark.end())
  before = _APOSTROPHE.sub('', text[start:mark.start()])
  after = text[mark.end():end if end >= 0 else len(text)]
  if before.count('`') % 2 and '`' in after and '```' not in before:
    return True
  quote = ''
  for character in before.replace('\\\\', '').replace("\\'", '').replace(
      '\\"', ''):
    if quote == character:
      quote = ''
    elif not quote and character in '\'"':
      quote = character
  return bool(quote) and quote in after


def _is_end(text, mark):
  """Whether a mark ends a text, and is not prose about it or a subscript."""
  if not mark[0].startswith('['):
    return True
  end = text.find('\n', mark.end())
  before = text[text.rfind('\n', 0, mark.start()) + 1:mark.start()]
  after = text[mark.end():end if end >= 0 else len(text)].strip()
  return not before.strip() or before[-1].isspace() and not after


def _opening(line):
  fence = _FENCE.match(line) if len(line) <= _MAX_LINE else None
  if not fence:
    return None
  lead, info = fence['lead'], fence['info'].strip()
  if re.fullmatch(r'[ \t]*(?:(?:[-*+>]|\d+[.)])[ \t]+|>)*', lead):
    return fence
  # Behind text on its line; not the end of a string or of code.
  is_named = bool(_PYTHON.match(info) or not info)
  if fence['fence'][0] == '`' and is_named and (
      re.search(r'[:.!\s)*]$', lead)) and '#' not in lead and not re.search(
          r'[\'"]\s*$', lead):
    return fence
  return None


def _read(lines, at, fence, found):
  """Read the block that opens at a line; return the line behind it."""
  info = fence['info'].strip()
  tag = re.split(r'[\s{:,]', info.lower().lstrip('{. '))[0]
  is_python = bool(_PYTHON.match(info) or _PYTHON_FILE.match(info))
  first = []
  if is_python and (more := _CODE_AFTER_TAG.match(
      info[_PYTHON.match(info).end():] if _PYTHON.match(info) else '')):
    first = [more[1]]
  quoted = fence['lead'].strip().startswith('>')
  ends = list(itertools.islice(
      _ends(lines, at + 1, fence['fence'], tag in _NESTED),
      _MAX_ENDS if len(found) < _MAX_EXTENDED else 1))
  best = None
  for end, rest, is_closed in ends:
    body = first + lines[at + 1:end] + ([rest] if rest else [])
    code = _dedented(body, fence['lead'], quoted)
    best = best or (code, end, is_closed)
    if not _is_cut_in_a_string(code):
      best = code, end, is_closed
      break
  code, end, is_closed = best
  if tag in _NESTED:
    found.extend(fenced(code))
  elif is_python or tag not in _OTHER:
    found.append(Block(code, is_python, is_closed))
  return end + (end < len(lines) and is_closed)


def _ends(lines, start, fence, is_nested):
  """Lines at which a block may end: (line, code on it, whether closed)."""
  mark = re.escape(fence[0])
  closing = re.compile(
      rf'^(?P<code>.*?){mark}{{{len(fence)},}}[ \t]*$')
  for at in range(start, len(lines)):
    line = lines[at]
    closed = closing.match(line) if len(line) <= _MAX_LINE else None
    if closed and (not closed['code'].strip(' \t>')
                   or _may_close(closed['code'])):
      yield at, closed['code'].strip(' \t>') and closed['code'], True
    elif not is_nested and (opened := _opening(line)) and (
        _PYTHON.match(opened['info']) and not opened['lead'].strip()):
      yield at, '', False  # The block before was never closed.
  yield len(lines), '', False


def _may_close(code):
  """Whether a fence right behind code of its line ends the block."""
  return '#' not in code and not (code.count('"') % 2 or code.count("'") % 2)


def _dedented(lines, lead, quoted):
  if quoted:
    lines = [re.sub(r'^[ \t]*> ?', '', line) for line in lines]
  width = len(lead) - len(lead.lstrip()) if lead.strip() else len(lead)
  width = len(lead) if re.match(r'[ \t]*(?:[-*+]|\d+[.)])[ \t]', lead) and (
      not quoted) else width
  inside = [line for line in lines if line.strip()]
  if width and all(not line[:width].strip() for line in inside):
    lines = [line[width:] for line in lines]
  return '\n'.join(lines)


def _is_cut_in_a_string(code):
  try:
    with warnings.catch_warnings():
      warnings.simplefilter('ignore')
      ast.parse(textwrap.dedent(code))
  except SyntaxError as error:
    return str(error.msg).startswith('unterminated triple-quoted')
  except (ValueError, RecursionError, MemoryError):
    return False
  return False
