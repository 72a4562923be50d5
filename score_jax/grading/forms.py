r"""The form of a mathematical answer in LaTeX: a number, a list, a matrix, ...

What is between its commas, brackets and relations is put into one spelling, so
that most pairs of equal answers are equal texts. Nothing is computed here, and
time is linear in the text. See `latex` for what is done before.
"""

from collections.abc import Collection
import fractions
import functools
import re
from typing import NamedTuple

from score_jax.grading import latex as latex_lib
from score_jax.grading import numbers
from score_jax.grading import units

MAX_LENGTH = 1000
"""Characters; a longer text is nobody's answer."""

OPEN, CLOSE, ROW = latex_lib.OPEN, latex_lib.CLOSE, latex_lib.ROW
FUNCTION = (r'\\(?:sin|cos|tan|cot|sec|csc|arcsin|arccos|arctan|sinh|cosh|tanh)'
            r'(?![a-zA-Z])')
_WORDS = re.compile(f'{OPEN}([^{CLOSE}]*){CLOSE}')
# Units at the end, such as W/W^{2} or \frac{W}{W}, W being words.
_W = rf'{OPEN}[^{CLOSE}]*{CLOSE}(?:\^\{{-?[1-9]\}})?'
_TAIL = re.compile(
    rf'(.+?)((?:(?:/|\\cdot ?)?{_W}|\\frac\{{(?:{_W})+\}}\{{(?:{_W})+\}})'
    rf'(?:(?:/|\\cdot ?)?{_W})*+)')
_QUOTIENT = re.compile(rf'\\frac\{{((?:{_W})+)\}}\{{((?:{_W})+)\}}')
_DIVIDED = re.compile(rf'(-?)\\frac\{{([^{{}}{OPEN}]+)({_W})\}}\{{({_W})\}}')
_TOKEN = re.compile(rf'{OPEN}[^{CLOSE}]*{CLOSE}|\\[a-zA-Z]+|\\.|\S',
                    re.DOTALL)
_MATRIX = re.compile(
    r'\\begin\{([pb]?matrix|array)\}(?:\{[lcr|]*\})?(.*)\\end\{\1\}')
_OPENING = {'(': ')', '[': ']', '{': '}', r'\{': r'\}', r'\begin': r'\end',
            r'\langle': r'\rangle'}
_CLOSING = frozenset(_OPENING.values())
_ARGUMENTS = {r'\frac': 2, r'\binom': 2, r'\sqrt': 1, '^': 1, '_': 1}
_WITHOUT_ARGUMENTS = frozenset([
    r'\cdot', r'\div', r'\pi', r'\pm', r'\mp', r'\cup', r'\cap', r'\le',
    r'\ge', r'\ne', r'\in', r'\infty', r'\alpha', r'\beta', r'\theta',
    r'\over'])
_RELATIONS = frozenset(
    ['=', '<', '>', ':', r'\le', r'\ge', r'\ne', r'\approx', r'\in'])
_TURNED = {'>': '<', r'\ge': r'\le'}

_DECIMAL = re.compile(r'([-+]?)(\d+\.?\d*|\.\d+)', re.ASCII)
_FRACTION = re.compile(
    r'([-+]?)(\d*)(?:\\frac\{([-+]?\d+)\}\{(-?\d+)\}|(?<!\d)(\d+)/(\d+))',
    re.ASCII)
_LETTERS = re.compile(r'[A-Z]|[a-zA-Z]{4,}')
_PLAIN = re.compile(r'\s*+(-?\d{1,18}(?:\.\d{1,18})?)\s*+', re.ASCII)

Tokens = list[str]


class Form(NamedTuple):
  """An answer.

  Attributes:
    kind: 'number', 'numeral' (in another base), 'words', 'expression', 'list'
      (in any order), 'set' (one in a list or tuple), 'tuple' (or an interval),
      'union', 'matrix' or 'relation'.
    spelling: of what has no parts; else the brackets of a tuple, the signs of
      a relation, the number of columns of a matrix.
    parts: what it is made of.
    unit: '' if it has none, or one that is not known.
    label: the letter of the choice that is named before it, or ''.
  """

  kind: str
  spelling: str
  parts: tuple['Form', ...] = ()
  unit: str = ''
  label: str = ''


@functools.lru_cache(4096)
def read(latex: str) -> Form | None:
  """Return the form of an answer; None if it is empty, too long or has none."""
  if len(latex) > MAX_LENGTH:
    return None
  plain = _PLAIN.fullmatch(latex)
  if plain:
    return Form('number', str(fractions.Fraction(plain[1])))
  label, _, text = latex_lib.clean(latex).rpartition(latex_lib.LABEL)
  try:
    form = _as_list(_form(_braced(_TOKEN.findall(text))))
  except (_NoForm, IndexError, RecursionError):
    return None
  return form._replace(label=label) if label else form


def spell(form: Form) -> str:
  """Return a form in one spelling, without its unit; lists are sorted."""
  parts = [spell(part) for part in form.parts]
  if form.kind in ('list', 'set', 'union'):
    parts.sort()
  return (f'{form.kind}{form.spelling}({"; ".join(parts)})' if parts
          else form.spelling)


class _NoForm(Exception):
  """Brackets that do not match, or nothing where something has to be."""


def _braced(tokens: Tokens) -> Tokens:
  r"""With braces around all that \frac, \sqrt, ^ and _ apply to, no more."""
  at, done = 0, []
  while at < len(tokens):
    piece, at = _piece(tokens, at)
    done += piece
  return _over(done)


def _over(tokens) -> Tokens:
  r"""With `\frac` for an `\over`."""
  if r'\over' not in tokens:
    return tokens
  sides, _ = _split(tokens, [r'\over'])
  if len(sides) != 2:
    raise _NoForm
  return [r'\frac', '{', *sides[0], '}', '{', *sides[1], '}']


def _piece(tokens, at) -> tuple[Tokens, int]:
  """What begins at a token, and where it ends."""
  token, at = tokens[at], at + 1
  if token == '{':
    end = _end(tokens, at - 1)
    inner = _braced(tokens[at:end])
    # Only a list, or what a power applies to, needs the braces.
    is_base = len(inner) > 1 and tokens[end + 1:end + 2] in (['^'], ['_'])
    return ([token, *inner, '}'] if {',', ';'} & {*inner} or is_base
            else inner), end + 1
  done = [token]
  if token == r'\sqrt' and tokens[at] == '[':
    end = _end(tokens, at)
    done, at = done + tokens[at:end + 1], end + 1
  if token in _ARGUMENTS:
    for _ in range(_ARGUMENTS[token]):
      piece, at = _argument(tokens, at)
      done += piece
  elif token[0] == '\\' and token[-1].isalpha():
    while tokens[at:at + 1] == ['{'] and token not in _WITHOUT_ARGUMENTS:
      piece, at = _argument(tokens, at)
      done += piece
  return done, at


def _argument(tokens, at) -> tuple[Tokens, int]:
  if tokens[at] == '{':
    end = _end(tokens, at)
    return ['{', *_braced(tokens[at + 1:end]), '}'], end + 1
  piece, at = _piece(tokens, at)
  return ['{', *piece, '}'], at


def _end(tokens, at) -> int:
  """Where the bracket that opens at a token is closed."""
  depth = 0
  for index in range(at, len(tokens)):
    depth += _step(tokens[index])
    if not depth:
      return index
  raise _NoForm


def _step(token) -> int:
  return (token in _OPENING) - (token in _CLOSING)


def _split(tokens, at: Collection[str]) -> tuple[list[Tokens], Tokens]:
  """The pieces between some tokens outside all brackets, and those tokens."""
  pieces, found, depth = [[]], [], 0
  for token in tokens:
    depth += _step(token)
    if token in at and not depth:
      pieces.append([])
      found.append(token)
    else:
      pieces[-1].append(token)
  if depth:
    raise _NoForm
  return pieces, found


def _form(tokens: Tokens) -> Form:
  while tokens[-1] in '.,;:':  # IndexError if nothing is left.
    tokens = tokens[:-1]
  if tokens[0] == r'\approx':
    tokens = tokens[1:]
  pieces, found = _split(tokens, [r'\cup'])
  if found:
    return _many('union', map(_form, pieces))
  pieces, found = _split(tokens, ',;')
  if found:
    return _listed(tokens, pieces, found)
  pieces, signs = _split(tokens, _RELATIONS)
  if signs:
    if _TURNED.keys() >= {*signs}:  # 3 > x is x < 3.
      pieces, signs = pieces[::-1], [_TURNED[sign] for sign in signs[::-1]]
    return Form('relation', ' '.join(signs),
                tuple(_as_list(_form(piece)) for piece in pieces))
  if tokens[0] in _OPENING and _end(tokens, 0) == len(tokens) - 1:
    return _bracketed(tokens)
  matrix = _MATRIX.fullmatch(_join(tokens))
  return _matrix(matrix[2]) if matrix else _single(_join(tokens))


def _listed(tokens, pieces, found) -> Form:
  """A list; of lists, where semicolons are between them."""
  if {*found} == {',', ';'}:
    pieces, _ = _split(tokens, ';')
    return Form('list', '', tuple(
        form._replace(kind='set') if form.kind == 'list' else form
        for form in map(_form, pieces)))
  return _many('list', map(_form, pieces))


def _as_list(form) -> Form:
  """A set that is no part of a list is a list."""
  return form._replace(kind='list') if form.kind == 'set' else form


def _many(kind, forms) -> Form:
  """A list or a union; one in it is a part of it."""
  parts = []
  for form in forms:
    parts += form.parts if form.kind == kind else [form]
  return Form(kind, '', tuple(parts))


def _bracketed(tokens) -> Form:
  first, *inner, last = tokens
  pieces, commas = _split(inner, ',;')
  if first == r'\{':
    return _listed(inner, pieces, commas)._replace(kind='set')
  if commas and first != '{':
    if {*commas} == {',', ';'}:
      return Form('tuple', first + last, (_listed(inner, pieces, commas),))
    return Form('tuple', first + last, tuple(map(_form, pieces)))
  form = _form(inner)
  if first in ('[', r'\langle') and form.kind != 'matrix':
    return Form('tuple', first + last, (form,))
  return form


def _matrix(latex) -> Form:
  rows = [row.split('&') for row in latex.removesuffix(ROW).split(ROW)]
  if len({len(row) for row in rows}) > 1:
    raise _NoForm
  cells = [_form(_TOKEN.findall(cell)) for row in rows for cell in row]
  return Form('matrix', str(len(rows[0])), tuple(cells))


def _single(text) -> Form:
  if text.count(r'\pm') == 1:
    return _many('list', [_single(text.replace(r'\pm', sign).replace('+-', '-'))
                          for sign in '+-'])
  words = _WORDS.fullmatch(text)
  if words or _LETTERS.fullmatch(text):
    words = words[1] if words else text
    return Form('words', words.replace('.', '').upper())
  text, unit = _apart(_in_degrees(text))
  text = text.removeprefix('+')
  numeral = latex_lib.numeral(text)
  if numeral:
    digits, _, base = numeral.partition('_')
    if base == '{10}':  # The usual base is not written.
      return Form('number', _number(digits) or digits, (), unit)
    return Form('numeral', f'{digits}_{base[1:-1]}', (), unit)
  number = _number(text)
  return Form('expression' if number is None else 'number', number or text, (),
              unit)


def _in_degrees(text) -> str:
  r"""With the degrees in a function as `\degree`: they are no unit of it."""
  degree = f'{OPEN}degree{CLOSE}'
  text = re.sub(f'{OPEN}(?:degrees?|deg){CLOSE}', degree, text)
  if degree not in text or not re.search(FUNCTION, text):
    return text
  text = text.replace(degree, r'\degree ')
  return re.sub(rf'({FUNCTION}(?:\^\{{-?\d\}})?) ?'
                r'[({]([^(){}]+\\degree )[)}]', r'\1\2', text)


def _apart(text) -> tuple[str, str]:
  """Return the part that is a unit, and its name, '' if it is not known.

  Words that say more than a unit stay in the text: it equals no other then.
  """
  divided = _DIVIDED.fullmatch(text)
  if divided:
    text = f'{divided[1]}{divided[2]}{divided[3]}/{divided[4]}'
  money, bare = _money(text)
  found = _TAIL.fullmatch(bare)
  if not found:
    return bare, money
  words = _WORDS.sub(r' \1 ', _QUOTIENT.sub(r'\1/\2', found[2])).strip()
  name = units.unit(words)
  if money and name is not None and re.match('/|per |an? ', words):
    name = units.unit(f'{money} {words}')
  elif money and name and name != money:
    name = None  # Two currencies.
  return (text, '') if name is None else (found[1], name)


def _money(text) -> tuple[str, str]:
  """The currency before a number, '' if there is none, and the rest."""
  found = re.match(rf'([-+]?){OPEN}([^{CLOSE}]*){CLOSE}(?=.)', text)
  name = found and units.unit(found[2])
  if not name or not units.money(name):
    return '', text
  return name, found[1] + text[found.end():]


def _number(text) -> str | None:
  """A decimal, fraction or mixed number in lowest terms; None if it is none."""
  if sum(map(str.isdigit, text)) > numbers.MAX_DIGITS:
    return None
  decimal = _DECIMAL.fullmatch(text)
  if decimal:
    return str(fractions.Fraction(decimal[1] + decimal[2].rstrip('.')))
  found = _FRACTION.fullmatch(text)
  if not found:
    return None
  over, under = int(found[3] or found[5]), int(found[4] or found[6])
  if not under or over % under == 0 or (found[2] and not 0 < over < under):
    return None  # Left to be worked out.
  value = int(found[2] or 0) + fractions.Fraction(over, under)
  return str(-value if found[1] == '-' else value)


def _join(tokens) -> str:
  """Text of tokens; a space ends a command where a letter follows."""
  return ''.join(
      token + ' ' * (token[:1] == '\\' and token[-1].isalpha()
                     and following[:1].isalpha())
      for token, following in zip(tokens, tokens[1:] + ['']))
