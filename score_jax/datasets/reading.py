"""Files of rows, JSON lines or a JSON list, read with every complaint at once.

A bad row is named by file and line. What is wrong with a row is said by the
function that makes something of it, in a ValueError.
"""

from collections.abc import Callable
from collections.abc import Iterator
import gzip
import json
import pathlib
import re
from typing import Any
from typing import TypeVar
import zlib

_T = TypeVar('_T')
_Found = tuple[int, str, Callable[[], Any]]  # Number, place, what parses it.
_SHOWN = 5  # Complaints in one message.
_BETWEEN = re.compile(r'\s*[\[,]\s*')


class BadData(ValueError):
  """Everything that is wrong with files, one complaint a line.

  Its text is a single line with the first few of them.
  """

  def __init__(self, lines: list[str]):
    self.lines = lines
    super().__init__('; '.join(some(lines)))


def some(things: list[str], most: int = _SHOWN) -> list[str]:
  """The first few of them, and how many more there are."""
  rest = len(things) - most
  return things[:most] + ([f'and {rest} more'] if rest > 0 else [])


def read_bytes(path: pathlib.Path) -> bytes:
  """The content of a file.

  Raises:
    BadData: it cannot be read.
  """
  try:
    return path.read_bytes()
  except OSError as error:
    raise BadData([f'{path}: {error.strerror}']) from error


def read_rows(
    path: pathlib.Path, content: bytes, make: Callable[[dict, int], _T]
) -> tuple[dict[str, _T], list[str]]:
  """What is made of the rows of a file, and complaints about the bad ones.

  Args:
    path: ends in .jsonl, .jsonl.gz or .json (a list).
    content: of the file.
    make: takes the object of a row and the number of its line (of its item, in
      a list); raises ValueError if the row is bad.

  Returns:
    What was made by where it stands, such as `PATH, line 3`; and complaints.
  """
  try:
    if path.suffix == '.gz':
      content = gzip.decompress(content)
    read = _items if path.suffix == '.json' else _lines
    found = list(read(content))
  except (ValueError, RecursionError, OSError, EOFError, zlib.error) as error:
    return {}, [f'{path}: cannot be read ({error})']
  if not found:
    return {}, [f'{path} is empty']
  rows, bad = {}, []
  for number, where, parse in found:
    try:
      rows[f'{path}, {where}'] = make(_object(parse()), number)
    except (ValueError, RecursionError) as error:  # Deep nesting.
      bad.append(f'{path}, {where}: {error}')
  return rows, bad


def text(row: dict[str, Any], field: str, may_be_empty: bool = False) -> str:
  """A field of a row that has to be a text, with something in it.

  Raises:
    ValueError: it is not, or has half a character (a lone surrogate).
  """
  value = row.get(field)
  if not isinstance(value, str) or not (may_be_empty or value.strip()):
    raise ValueError(f'the field {field!r} is not a text')
  value.encode()
  return value


def texts(
    row: dict[str, Any], field: str, may_be_empty: bool = False
) -> list[str]:
  """A field of a row that has to be a list of texts.

  Raises:
    ValueError: it is not.
  """
  value = row.get(field)
  if not isinstance(value, list) or not (may_be_empty or value):
    raise ValueError(f'the field {field!r} is not a list of texts')
  return [text({field: item}, field) for item in value]


def _lines(content: bytes) -> Iterator[_Found]:
  for number, line in enumerate(content.split(b'\n'), 1):
    if line.strip():
      yield number, f'line {number}', lambda line=line: _loads(line)


def _items(content: bytes) -> Iterator[_Found]:
  """The items of a JSON list, by the lines on which they begin."""
  whole = content.decode()
  items = json.loads(whole)
  if not isinstance(items, list):
    raise ValueError('not a JSON list')
  decoder = json.JSONDecoder()
  line, at = 1, 0
  for number, item in enumerate(items, 1):
    start = _BETWEEN.match(whole, at).end()
    line += whole.count('\n', at, start)
    yield number, f'line {line} (item {number})', lambda item=item: item
    _, at = decoder.raw_decode(whole, start)
    line += whole.count('\n', start, at)


def _loads(line: bytes):
  try:
    return json.loads(line)
  except ValueError as error:  # Of JSON, or of UTF-8.
    raise ValueError(f'not JSON ({error})') from error


def _object(value) -> dict[str, Any]:
  if not isinstance(value, dict):
    raise ValueError('not a JSON object')
  return value
