r"""The form of a mathematical answer in LaTeX: a number, a list, a matrix, ...

What is between its commas, brackets and relations is put into one spelling, so
that most pairs of equal answers are equal texts. Nothing is computed here, and
time is linear in the text.
"""

from collections.abc import Collection
import fractions
import re
from typing import NamedTuple

from score_jax.grading import answers

MAX_LENGTH = 1000
"""Characters; a longer text is nobody's answer."""

# Words are kept between these two, units among them.
_OPEN, _CLOSE = '\x01', '\x02'
_ROW = '\x03'  # Between the rows of a matrix.
_WORDS = re.compile(f'{_OPEN}([^{_CLOSE}]*){_CLOSE}')
_ENDS_IN_WORDS = re.compile(rf'(.+?)({_WORDS.pattern})(?:\^\{{([23])\}})?')

_THOUSANDS = r'\d{1,3}(?:,\d{3})+'
_UNITS = {
    name: spellings[0]
    for spellings in (
        ('degree', 'degrees', 'deg'), ('radian', 'radians', 'rad'),
        ('percent', 'per cent'), ('dollar', 'dollars', 'usd'),
        ('cent', 'cents'), ('euro', 'euros'), ('pound', 'pounds', 'lb', 'lbs'),
        ('millimeter', 'millimeters', 'mm'),
        ('centimeter', 'centimeters', 'centimetres', 'cm'),
        ('meter', 'meters', 'metres', 'm'),
        ('kilometer', 'kilometers', 'kilometres', 'km'),
        ('inch', 'inches', 'in'), ('foot', 'feet', 'ft'),
        ('yard', 'yards', 'yd'), ('mile', 'miles', 'mi'),
        ('mile per hour', 'miles per hour', 'mph'),
        ('second', 'seconds', 'sec', 's'), ('minute', 'minutes', 'min'),
        ('hour', 'hours', 'hr', 'h'), ('day', 'days'), ('week', 'weeks'),
        ('month', 'months'), ('year', 'years'),
        ('gram', 'grams', 'g', 'gm'), ('kilogram', 'kilograms', 'kg'),
        ('liter', 'liters', 'litres', 'l'), ('gallon', 'gallons'),
        ('acre', 'acres'), ('am', 'a.m.', 'a.m'), ('pm', 'p.m.', 'p.m'))
    for name in spellings}

# With one of these, the words behind a number are more than its unit: they
# work on it, hedge it or take it back. Nouns are too many to list.
_TELLING = frozenset((
    'not', 'no', 'never', 'nothing', 'none', 'neither', 'nor', 'is', 'are',
    'was', 'if', 'but', 'maybe', 'perhaps', 'possibly', 'probably',
    'unless', 'else', 'otherwise', 'either', 'except', 'without', 'with',
    'to', 'through', 'thru', 'versus', 'vs', 'than', 'more', 'less', 'over',
    'under', 'about', 'approximately', 'roughly', 'almost', 'nearly',
    'wrong', 'incorrect', 'false', 'impossible', 'guess', 'plus', 'minus',
    'times', 'divided', 'multiplied', 'by', 'mod', 'modulo', 'remainder',
    'power', 'inverse', 'reciprocal', 'opposite', 'negative', 'root', 'pi',
    'e', 'i', 'point', 'repeating', 'recurring', 'squared', 'cubed',
    'factorial', 'choose', 'base', 'binary', 'octal', 'hexadecimal', 'hex',
    'zero', 'one', 'two', 'three', 'four', 'five', 'six', 'seven', 'eight',
    'nine', 'ten', 'half', 'halves', 'third', 'thirds', 'quarter',
    'quarters', 'fourth', 'fourths', 'fifth', 'fifths', 'sixth', 'sixths',
    'eighth', 'eighths', 'tenth', 'tenths', 'hundredth', 'hundredths',
    'thousandth', 'thousandths', 'double', 'twice', 'thrice', 'triple',
    'score', 'dozen', 'gross', 'k', 'hundred', 'thousand', 'million',
    'billion', 'trillion', 'infinity'))
_PLAIN_UNITS = '|'.join(sorted(
    (re.escape(name) for name in _UNITS if len(name) > 1),
    key=len, reverse=True))
_REWRITINGS = [(re.compile(pattern), to) for pattern, to in (
    ('[\x00-\x08\x0b\x0c\x0e-\x1f]', ''),
    (r'\\\\(?:\[\d+[a-z]{2}\])?', _ROW),
    (r'\\\$|[€£]', f'{_OPEN}dollar{_CLOSE}'),
    (r'\$|\\[()\[\]]', ''),
    ('[\u2212\u2013]', '-'),
    ('\u00d7|\u00b7|\\\\times(?![a-zA-Z])', r'\\cdot '),
    ('\u03c0', r'\\pi '), ('\u221e', r'\\infty '), ('\u222a', r'\\cup '),
    ('\u2264', r'\\le '), ('\u2265', r'\\ge '),
    (r'\\varnothing(?![a-zA-Z])', r'\\emptyset'),
    (r'\\[lg]eq(?![a-zA-Z])', lambda found: found.group()[:-1]),
    (r'\\(?:[dt]|dis)?frac(?![a-zA-Z])|\\cfrac(?![a-zA-Z])', r'\\frac'),
    (r'\\frac\s*+(\d)\s*+(\d)', r'\\frac{\1}{\2}'),
    # Thousands, told from lists by what is glued to the comma.
    (r'(?<=\d)(?:,\s*+\\!\s*+|\{,\}|\\,)(?=\d{3}(?!\d))', ''),
    (rf'\{{({_THOUSANDS})\}}', lambda found: found.group().replace(',', '')),
    (rf'^([^\d,(\[{{]*+)({_THOUSANDS})(?![\d,])(?=[^,]*+$)',
     lambda found: found[1] + found[2].replace(',', '')),
    (r'\\mathrm\s*+\{(?:\\[,; ]|[~ ])*+([a-zA-Z. ]{2,}+)\}',
     lambda found: _quoted(found[1])),
    # How it looks, and not what it says.
    (r'\\(?:left|right|[bB]igg?[lr]?|displaystyle|textstyle|limits|boldsymbol|'
     r'math(?:rm|bf|bb|sf|it)|boxed|fbox|rm|bf)(?![a-zA-Z])\.?', ''),
    (r'\\?%', f'{_OPEN}percent{_CLOSE}'),
    (r'\^\s*+(?:\{\s*+\\circ\s*+\}|\\circ(?![a-zA-Z]))|\u00b0|'
     r'\\degrees?(?![a-zA-Z])', f'{_OPEN}degree{_CLOSE}'),
    (r'\\(?:operatorname|text[a-z]*|mbox|hbox)\s*+\{([^{}]*+)\}',
     lambda found: _quoted(found[1])),
    (r'\\[,!;: ]|~|\\q?quad(?![a-zA-Z])', ' '),
    ('<=', r'\\le '), ('>=', r'\\ge '), (r'\*', r'\\cdot '),
    (r'(?<![\\a-zA-Z])(pi|infty|sqrt)(?![a-zA-Z])', r'\\\1 '),
    (r'\\sqrt\s*+\(([^()]*+)\)', r'\\sqrt{\1}'),
    (rf'(?<=\d)\s*+((?i:{_PLAIN_UNITS}))(\^\{{?[23]\}}?)?[\s.]*+$',
     rf'{_OPEN}\1{_CLOSE}\2'),
    (r'(?<=[\d})])\s++([a-z]{3,}(?: [a-z]+)*+)[\s.]*+$',
     lambda found: _quoted(found[1])),
    (r'^[a-zA-Z]{2,}(?: [a-zA-Z]{2,})+\.?$', lambda found: _quoted(found[0])),
    (r'(?<![a-zA-Z\\])(?:and|or)(?![a-zA-Z])', ','), (r',\s*+,', ','),
    (r'(?<![\d}])(\d++)\s++(\d++)\s*+/\s*+(\d++)', r'\1\\frac{\2}{\3}'),
    (r'(?<=\d)\s++(?=\d)', '?'),  # `3 4` is not 34, nor anything else.
)]
_TOKEN = re.compile(rf'{_OPEN}[^{_CLOSE}]*{_CLOSE}|\\[a-zA-Z]+|\\.|\S',
                    re.DOTALL)
_MATRIX = re.compile(
    r'\\begin\{([pb]?matrix|array)\}(?:\{[lcr|]*\})?(.*)\\end\{\1\}')
_OPENING = {'(': ')', '[': ']', '{': '}', r'\{': r'\}', r'\begin': r'\end'}
_CLOSING = frozenset(_OPENING.values())
_RELATIONS = frozenset(
    ['=', '<', '>', ':', r'\le', r'\ge', r'\ne', r'\neq', r'\approx', r'\in'])
_TURNED = {'>': '<', r'\ge': r'\le'}

_DECIMAL = re.compile(r'([-+]?)(\d+\.?\d*|\.\d+)', re.ASCII)
_FRACTION = re.compile(
    r'([-+]?)(\d*)(?:\\frac\{([-+]?\d+)\}\{(-?\d+)\}|(?<!\d)(\d+)/(\d+))',
    re.ASCII)
_BASED = re.compile(r'(-?[0-9A-Z.]+)_\{([0-9]+)\}')
_LETTERS = re.compile(r'[A-Z]|[a-zA-Z]{4,}')

Tokens = list[str]


class Form(NamedTuple):
  """An answer.

  Attributes:
    kind: 'number', 'numeral' (in another base), 'words', 'expression', 'list'
      (in any order; a set), 'tuple' (or an interval), 'union', 'matrix' or
      'relation'.
    spelling: of what has no parts; else the brackets of a tuple, the signs of
      a relation, the number of columns of a matrix.
    parts: what it is made of.
    unit: '' if it has none, or one that is not known.
  """

  kind: str
  spelling: str
  parts: tuple['Form', ...] = ()
  unit: str = ''


def read(latex: str) -> Form | None:
  """The form of an answer; None if it is empty, too long or has no form."""
  if len(latex) > MAX_LENGTH:
    return None
  for pattern, to in _REWRITINGS:
    latex = pattern.sub(to, latex.strip())
  try:
    return _form(_braced(_TOKEN.findall(latex)))
  except (_NoForm, IndexError, RecursionError):
    return None


def spell(form: Form) -> str:
  """One spelling of a form, without its unit; that of a list is sorted."""
  parts = [spell(part) for part in form.parts]
  if form.kind in ('list', 'union'):
    parts.sort()
  return (f'{form.kind}{form.spelling}({"; ".join(parts)})' if parts
          else form.spelling)


class _NoForm(Exception):
  """Brackets that do not match, or nothing where something has to be."""


def _quoted(words: str) -> str:
  """Words between marks; mathematics that was set as text is left as it is."""
  bare = ' '.join(words.split())
  if bare.strip(', ') in ('and', 'or'):
    return ','
  found = re.fullmatch(r'\(?([a-zA-Z][a-zA-Z. ]*)\)?', bare)
  if not found or re.search(r'\b(?:and|or)\b', bare):
    return words
  return f'{_OPEN}{found[1]}{_CLOSE}'


def _braced(tokens: Tokens) -> Tokens:
  r"""With braces around all that \frac, \sqrt, ^ and _ apply to."""
  at, done = 0, []
  while at < len(tokens):
    piece, at = _piece(tokens, at)
    done += piece
  return done


def _piece(tokens, at) -> tuple[Tokens, int]:
  """What begins at a token, and where it ends."""
  token, at = tokens[at], at + 1
  if token == '{':
    end = _end(tokens, at - 1)
    return ['{', *_braced(tokens[at:end]), '}'], end + 1
  done = [token]
  if token == r'\sqrt' and tokens[at] == '[':
    end = _end(tokens, at)
    done, at = done + tokens[at:end + 1], end + 1
  for _ in range({r'\frac': 2, r'\sqrt': 1, '^': 1, '_': 1}.get(token, 0)):
    piece, at = _piece(tokens, at)
    done += piece if piece[0] == '{' else ['{', *piece, '}']
  return done, at


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
  for kind, at in (('union', [r'\cup']), ('list', ',;')):
    pieces, found = _split(tokens, at)
    if found:
      return _many(kind, map(_form, pieces))
  pieces, signs = _split(tokens, _RELATIONS)
  if signs:
    if _TURNED.keys() >= {*signs}:  # 3 > x is x < 3.
      pieces, signs = pieces[::-1], [_TURNED[sign] for sign in signs[::-1]]
    return Form('relation', ' '.join(signs), tuple(map(_form, pieces)))
  if tokens[0] in _OPENING and _end(tokens, 0) == len(tokens) - 1:
    return _bracketed(tokens)
  matrix = _MATRIX.fullmatch(_join(tokens))
  return _matrix(matrix[2]) if matrix else _single(_join(tokens))


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
    return _many('list', map(_form, pieces))
  if commas and first != '{':
    return Form('tuple', first + last, tuple(map(_form, pieces)))
  form = _form(inner)
  if first == '[' and form.kind != 'matrix':
    return Form('tuple', first + last, (form,))
  return form


def _matrix(latex) -> Form:
  rows = [row.split('&') for row in latex.removesuffix(_ROW).split(_ROW)]
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
  text, unit = _apart(text)
  text = text.removeprefix('+')
  numeral = _BASED.fullmatch(text)
  if numeral:
    return Form('numeral', f'{numeral[1]}_{numeral[2]}', (), unit)
  number = _number(text)
  return Form('expression' if number is None else 'number', number or text, (),
              unit)


def _apart(text) -> tuple[str, str]:
  """What there is of a unit, and its name, '' if it is not known."""
  money = re.fullmatch(rf'([-+]?){_OPEN}dollar{_CLOSE}(.+)', text)
  if money:
    return money[1] + money[2], 'dollar'
  found = _ENDS_IN_WORDS.fullmatch(text)
  if found and _TELLING.isdisjoint(re.findall('[a-z]+', found[3].lower())):
    return found[1], _unit(found[3], found[4])
  return text, ''


def _unit(words, power) -> str:
  """The name of a unit that is known, else ''."""
  words = words.lower().strip(' .')
  for prefix, exponent in (('square ', '2'), ('sq. ', '2'), ('sq ', '2'),
                           ('cubic ', '3')):
    if words.startswith(prefix):
      words, power = words.removeprefix(prefix), exponent
  return _UNITS[words] + (power or '') if words in _UNITS else ''


def _number(text) -> str | None:
  """A decimal, fraction or mixed number in lowest terms; None if it is none."""
  if sum(map(str.isdigit, text)) > answers.MAX_DIGITS:
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
