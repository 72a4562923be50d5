r"""Read numbers out of prose and LaTeX, without what surrounds them.

A sign counts wherever it is written (`- 3`, `minus 3`, `-(3)`, an en dash). A
number that something works on, bounds or multiplies is not read: `5 dozen`,
`5k`, `at least 5`, `\pm 5`, `5^2`, `5\pi`, `5x`. Digits of units are no
numbers: `29 m^2`, `12 kg CO2`.
"""

import fractions
import re

MAX_DIGITS = 100
"""A longer number counts as none."""

CURRENCY = '(?:(?:US|CA?|AU?|NZ|HK|S|R)?\\\\?[$\xa2-\xa5\u20a0-\u20cf\ufdfc])'
# '1,234.5', '12', '.5'. `\d` takes the digits of every script, so that a number
# in mixed scripts is one odd number, and not its ASCII part. Quantifiers are
# possessive (++), so that time is linear in the text.
DIGITS = (r'(?:\d{1,3}+(?:,\d{3})++(?!\d)|\d++)(?:\.\d++)?+'
          r'|(?<![\w.])\.\d++')
# A number with its sign, currency, denominator, and what is glued to it.
_NUMBER = re.compile(
    r'(?<!\w)'
    rf'(?P<sign>(?<![\w)\]}}%])[-+])?+{CURRENCY}?+'
    rf'(?P<over>{DIGITS})(?:/(?P<under>\d++))?+(?P<glued>(?:\.?\w++)*+)')
_CODES = 'USD|EUR|GBP|JPY|CNY|INR|AUD|CAD|CHF'


def _compiled(*rewritings):
  return tuple((re.compile(pattern, re.IGNORECASE), to)
               for pattern, to in rewritings)


_LAYOUT = _compiled(
    (r'\{,\}|,\\!', ','),  # 1{,}000 and 1,\!000 in LaTeX.
    (r'(?<=\d)(?:\\[,;:! ]|[~\u00a0\u2007-\u200a\u202f])(?=\d{3}(?!\d))', ''),
    (r'\\(?:left|right|displaystyle|textstyle|large|Large|LARGE|huge|Huge|small|'
     r'bf|rm|it)(?![a-zA-Z])', ''),
    (r'\\(?:text[a-z]*|math[a-z]{2}|mbox|boldsymbol|bm|boxed|fbox|emph)'
     r'\s*+\{([^{}]*+)\}', r'\1'),
    (r'\\color\s*+\{[a-z]*+\}|\\(?:[,;:! ]|q?quad(?![a-zA-Z]))|~', ' '),
    (r'\\(?:times|cdot|ast)(?![a-zA-Z])', '*'), (r'\\div(?![a-zA-Z])', '/'),
)
_MEANING = _compiled(
    (r'(?<=\d)(?=\\[dtc]?frac\b)', ' '),  # 2\frac12 is not 21/2.
    (r'\\[dtc]?frac\s*+\{\s*(-?)(\d+)\s*\}\s*+\{\s*(\d+)\s*\}', r'\1\2/\3'),
    (r'\\[dtc]?frac\s*+\{\s*(\d+)\s*\}\s*+\{\s*-\s*(\d+)\s*\}', r'-\1/\2'),
    (r'-\s*(?=-\d+/)', '- '),
    # Powers and indices of units and names: m^2, m^{-1}, H_2O, CO_{2}.
    (r'(?<=[a-zA-Z})])\s*+(?:\^|\*\*)\s*+(?:\{\s*[-+]?\d+\s*\}|[-+]?\d+)', ''),
    (r'(?<=[a-zA-Z])_(?:\{\d+\}|\d)', ''),
    (r'(?<=\d)(mm|cm|dm|km|m|ft|in|yd|mi)[23](?!\w)', r'\1'),
    (rf'\b(?:{_CODES})\s*+(?=[-+]?\d)', ''),
    (rf'([-+])\s*+(?:{_CODES})\s*+(?=\d)', r'\1'),
    (r'\b(?:minus|negative|neg\.?)\s++(?=[$\\(]*+[\d.])', '-'),
    (rf'-\s*+[({{]\s*+({CURRENCY}?+(?:{DIGITS}))\s*+[)}}]', r'-\1'),
    (rf'-\s*+({CURRENCY})\s++(?=[\d.])', r'-\1'),
    (r'(?<=\s)\u2014(?=[\d.])', '-'),
)
_SPACED_SIGN = re.compile(r'(?<![\w)\]}%.+-])([-+])[ \t]+(?=[$\d.\\])')
# In prose a hyphen in spaces is a bullet or a dash, but not behind these.
_SPACED_SIGN_IN_PROSE = re.compile(
    r'((?:[=(:]|\b(?:is|equals|be|are|was))[ \t$]*+)([-+])[ \t]+(?=[$\d.\\])',
    re.IGNORECASE)
# Between two numbers, what makes one expression or a choice of them.
_JOINER = re.compile(
    r'[ \t]*+(?:\*\*|[-+*/^×÷·,;]|and|\\(?:times|cdot|div))?+[ \t]*+|:')
_CHOICE = re.compile(r'\bor\b')
_HEDGE = re.compile(
    r"\b(?:or|not|no|never|isn't|maybe|perhaps|possibly|probably|unless|"
    r'except|either|neither|nor|impossible|wrong|incorrect)\b', re.IGNORECASE)
_MULTIPLES = (
    r'hundred|thousand|[mbtrz]illion|quadrillion|quintillion|dozen|score|gross|'
    r'grand|pair|couple|lakh|crore|myriad|'
    r'hal(?:f|ve)|third|fourth|fifth|sixth|seventh|eighth|ninth|tenth|eleventh|'
    r'twelfth|twentieth|hundredth|thousandth|[mb]illionth')
_WORKED_ON = re.compile(
    r'\s*+(?:\^|[\u2030\u2031]|\+(?=[\s.$}]*$)|!(?=[\s$}]*+[=+*/^-])|\\(?:pi|sqrt|infty|pm|mp|cdot|times|'
    r'[dt]?frac)(?![a-z])|[\u03c0\u221a\u00bc-\u00be\u2150-\u215e'
    r'\u00b2\u00b3\u00b9\u2070-\u207e]|'
    rf'[$}}\s-]*+(?:whole\s++)?(?:(?:{_MULTIPLES})(?:e?s)?(?![a-z])|'
    r'times\s++(?:as|more|less|the|that|[\d\\$]|one|two|three|four|five|six|'
    r'seven|eight|nine|ten|a\s++hundred)|'
    r'(?:mil|mio|bn|tn|k|squared|cubed|factorial|plus|minus|repeating|recurring|point|'
    r'fold|below|to\s++the\s++power|in\s++debt|per\s++mille|less|fewer|under|short|tuple|or)(?![a-z])|'
    r'and\s++(?:a|an|one|two|three)\s|(?:at\s++)?(?:least|most)(?![a-z])|'
    r'(?:more|greater|above|over|fewer)(?=[\s$})]*+$)|'
    r'(?:and|or|&)\s++(?:up|above|over|more|below|under|less|beyond)\b))',
    re.IGNORECASE)
_WORKS_ON = re.compile(
    r'(?:[\^_\u221a\u00b1\u2213<>\u2264\u2265\u2260]\s*+\{?|'
    r'\\(?:pm|mp|sqrt|le|leq|ge|geq|lt|gt|ne|neq|log|ln|sin|cos|tan)\s*+|'
    r'\b(?:at\s++least|at\s++most|(?:more|less|fewer|greater|higher|lower|'
    r'larger|smaller|bigger)\s++than|up\s++to|not|isn\'t|never|over|under|above|'
    r'below|nearly|almost|beyond|exceeds|between|multiples?\s++of|loss\s++of|'
    r'debt\s++of|deficit\s++of|twice|double|triple|thrice|half\s++of|'
    r'half|root\s++of|square\s++of|cube\s++of|sqrt|log|ln|sin|cos|tan|'
    r'inverse\s++of|reciprocal\s++of|opposite\s++of|pm)\s*+)[\s$({\[]*+$',
    re.IGNORECASE)
# What makes a signed number the second term of a sum, or its sign a second one.
_TERM = re.compile(r'(?:[-+\d)\]}]|(?<![a-zA-Z])[a-zA-Z])\s*+$')
_GLUED = re.compile(
    r'(?!(?:[kxyzneibtKMBTXYZNE]|st|nd|rd|th|ths|bn|mn|tn|mil|mio|pi|[MBT]n)$)'
    r'[a-zA-Z.]*')
_ARITHMETIC = re.compile(r'[\d\s.,+\-*/()$\xd7\xf7\xb7]*$')
_UNEVEN = re.compile(r'\d[a-zA-Z]\b|\b[a-zA-Z]\s*[*/+^-]|[+*/^(-]\s*$|\^')


def only_number(text: str) -> str | None:
  """Return the number in a statement that holds one number and no other.

  Behind an `=` the number counts, if what is before it is a name or comes out
  as that number.
  """
  left, _, text = _rewritten(text, _LAYOUT).rpartition('=')
  text = _SPACED_SIGN.sub(r'\1', _rewritten(text, _MEANING))
  found = list(_NUMBER.finditer(text))
  if len(found) != 1 or _HEDGE.search(text):
    return None
  behind = text[found[0].end():].lstrip()
  if behind[:1] == '!' or re.match(r'[*/+-]|/\s*[a-z(]\s*$', behind):
    return None
  number = _canonical(found[0], text)
  return number if number and _comes_to(left, number) else None


def last_number(text: str) -> tuple[str | None, str]:
  """Return the last number in prose, and what is behind it.

  It is None if it belongs to the number before it, as in `3 or 4`.
  """
  text = _rewritten(_rewritten(text, _LAYOUT), _MEANING)
  text = _SPACED_SIGN_IN_PROSE.sub(r'\1\2', text)
  before = last = None
  for match in _NUMBER.finditer(text):
    before, last = last, match
  if last is None:
    return None, ''
  behind = text[last.end():]
  if before is not None and _joined(text[before.end():last.start()]):
    return None, behind
  return _canonical(last, text), behind


def _rewritten(text, rewritings) -> str:
  for pattern, replacement in rewritings:
    text = pattern.sub(replacement, text)
  return text


def _joined(between: str) -> bool:
  """Whether what is between two numbers joins them, as in `3 or 4`."""
  bare = re.sub(CURRENCY, '', between)
  same_sentence = not re.search(r'[\n!?.]', bare)
  return bool(_JOINER.fullmatch(bare)
              or same_sentence and _CHOICE.search(bare.lower()))


def _canonical(number: re.Match[str], text: str) -> str | None:
  """The spelling of a number that all its other spellings share, or None."""
  over, under = number['over'].replace(',', ''), number['under']
  digits = over + (under or '')
  before = text[max(number.start() - 60, 0):number.start()]
  if (len(digits) > MAX_DIGITS or not digits.isascii()
      or not _GLUED.fullmatch(number['glued'])  # '1e9', '1_000', '5k'.
      or _WORKED_ON.match(text[number.end():number.end() + 60])
      or _WORKS_ON.search(before) or number['sign'] and _TERM.search(before)):
    return None
  value = fractions.Fraction(over)
  if under is not None:
    if not int(under) or (value / int(under)).denominator == 1:
      return None
    value /= int(under)
  return str(-value if number['sign'] == '-' else value)


def _comes_to(left: str, number: str) -> bool:
  """Whether the left side of `left = number` is a name, or has this value."""
  if not left.strip():
    return True
  left = left.rpartition('=')[2]
  arithmetic = _ARITHMETIC.search(left).group()
  rest = left[:len(left) - len(arithmetic)]
  if _UNEVEN.search(rest) or _UNEVEN.search(left):
    return False
  if not re.search(r'\d', arithmetic):
    return not arithmetic.strip(' \t\n$()')
  if rest.strip() and not re.search(r'[-+*/\xd7\xf7]', arithmetic):
    return True  # `Day 3 = 5`.
  return value_of(arithmetic) == fractions.Fraction(number)


def value_of(arithmetic: str) -> fractions.Fraction | None:
  """Return the value of a short sum of products in parentheses, or None."""
  tokens = re.findall(r'\d+(?:\.\d+)?|\.\d+|\S', arithmetic.replace(
      ',', '').replace('$', '').translate(_OPERATORS))
  if len(tokens) > 60 or max(map(len, tokens), default=0) > 20:
    return None
  try:
    value, rest = _sum(tokens)
  except (IndexError, ValueError, ZeroDivisionError):
    return None
  return None if rest else value


_OPERATORS = {0xd7: '*', 0xf7: '/', 0xb7: '*'}


def _sum(tokens):
  value, tokens = _product(tokens)
  while tokens and tokens[0] in '+-':
    sign = 1 if tokens[0] == '+' else -1
    other, tokens = _product(tokens[1:])
    value += sign * other
  return value, tokens


def _product(tokens):
  value, tokens = _factor(tokens)
  while tokens and tokens[0] in '*/':
    is_quotient = tokens[0] == '/'
    other, tokens = _factor(tokens[1:])
    value = value / other if is_quotient else value * other
  return value, tokens


def _factor(tokens):
  first, tokens = tokens[0], tokens[1:]
  if first == '-':
    value, tokens = _factor(tokens)
    return -value, tokens
  if first == '(':
    value, tokens = _sum(tokens)
    if tokens[0] != ')':
      raise ValueError
    return value, tokens[1:]
  return fractions.Fraction(first), tokens
