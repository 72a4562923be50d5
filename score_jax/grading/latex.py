r"""Write an answer in LaTeX without its layout.

Commands of fonts, sizes, colours and spaces are dropped; spellings of one thing
(`\tfrac`, `\geq`, `1{,}000`, `0.\overline{3}`, `52_{\text{eight}}`) become one.
Words are kept between marks, so that they are not taken for variables.
"""

import fractions
import re

from score_jax.grading import characters
from score_jax.grading import units

# Words are kept between these two, units among them.
OPEN, CLOSE = '\x01', '\x02'
ROW = '\x03'  # Between the rows of a matrix.
LABEL = '\x04'  # Behind the letter of a choice.

_THOUSANDS = r'\d{1,3}(?:,\d{3})+'
_TEXT = r'\\(?:operatorname\*?|text[a-z]*|math(?:rm|bf|it|sf|tt)|mbox|hbox)'
_PLAIN_UNITS = '|'.join(sorted(
    (re.escape(name) for name in (*units.NAMES, *units.COMPOUNDS)
     if len(name) > 1 and name not in ('in', 'real', 'try', 'won', 'pt', 'ha',
                                       'am', 'pm', 'pa')),
    key=len, reverse=True)) + '|a\\.m\\.|p\\.m\\.|am|pm|in'
_FUNCTIONS = ('arcsin|arccos|arctan|sinh|cosh|tanh|sin|cos|tan|cot|sec|csc|ln|'
              'log|gcd|lcm|det|exp')
_BASES = {word: number for number, words in {
    2: 'two binary bin', 3: 'three ternary', 4: 'four', 5: 'five', 6: 'six',
    7: 'seven', 8: 'eight octal oct', 9: 'nine', 10: 'ten decimal dec',
    11: 'eleven', 12: 'twelve', 13: 'thirteen', 14: 'fourteen', 15: 'fifteen',
    16: 'sixteen hexadecimal hex', 20: 'twenty'}.items()
          for word in words.split()}
_NAMED = frozenset(['binary', 'ternary', 'octal', 'decimal', 'hexadecimal',
                    'hex'])
_BASE = rf'(?P<base>{"|".join(_BASES)}|\d{{1,2}})'
_GAP = r'(?:\s|~|\\[,;:!])*+'
_NUMERAL = re.compile(
    rf'(?P<sign>-?){_GAP}(?:(?P<wrapped>\\(?:text[a-z]*|math[a-z]{{2}}|overline)\s*\{{|'
    rf'[({{\[]){_GAP})?(?P<digits>(?:[0-9A-Za-z.,~\s]|\\[,!]){{1,120}}?){_GAP}[)}}\]]?{_GAP}'
    rf'(?:_|(?=[\\({{\s]*(?:{_TEXT}|in\b|base|octal|binary)))[\s({{~]*(?:{_TEXT}\s*\{{)?'
    rf'[\s(~]*(?:in\s+)?(?P<word>base)?[\s\-~]*(?:\}}[\s~]*)?[{{]?'
    rf'{_BASE}[\s)}}.~]*', re.IGNORECASE)
_BASE_WORD = re.compile(
    rf'_\s*(?:\{{\s*{_TEXT}\s*\{{[\s(]*(?:base[\s~]*)?(\w+)[\s)]*\}}\s*\}}|'
    rf'{_TEXT}\s*\{{[\s(]*(?:base[\s~]*)?(\w+)[\s)]*\}}|'
    r'\{[\s(]*(?:base[\s~]*)?(\w+)[\s)]*\})', re.IGNORECASE)
_DIGITS_AS_TEXT = re.compile(rf'{_TEXT}\s*\{{\s*([0-9A-Z]{{1,20}})\s*\}}')
_RECURRING = re.compile(
    r'(?<![\d.])(\d{0,30})\.(\d{0,30})(?:'
    r'\\(?:overline|bar|widebar|overbar)\s*(?:\{\s*(\d{1,30})\s*\}|(\d))|'
    r'\\dot\s*(?:\{(\d)\}|(\d))(?:(\d{0,30})\\dot\s*(?:\{(\d)\}|(\d)))?|'
    r'\((\d{1,30})\))(?!\.?\d)')
_IN_BRACES = re.compile(r'\{(\\(?:overline|bar|dot)\s*(?:\{\d+\}|\d))\}')
_CHOICE = re.compile(
    rf'(?:{_TEXT}\s*\{{\s*(?:\(([A-J])\)|([A-J])[.:)])[\s~]*\}}[.:]?|'
    rf'\(\s*{_TEXT}\s*\{{\s*([A-J])\s*\}}\s*\)|'
    r'\(([A-J])\)(?=[\s~]|\d|\\\$|\\frac|\\sqrt)[.:]?|([A-J])[.:)](?=[\s~]))'
    r'(?:[\s~]|\\[,;:!])*+(?![+*/=^_,;~\s]|-[^\d\\]|\\(?:cup|cap|cdot|times|le|ge)\b|$)'
    r'(?=.*[0-9A-Za-z])', re.DOTALL)
_CHOICE_IN_TEXT = re.compile(
    rf'{_TEXT}\s*\{{\s*(?:\(([A-J])\)|([A-J])[.:)])[\s~]+([^{{}}]+)\}}')
_MONEY = ''.join(units.SIGNS).replace('$', '')


def _currency(found) -> str:
  sign = found[2].lstrip('\\')
  name = units.SIGNS[sign]
  if not found[1]:
    return f'{OPEN}{name}{CLOSE}'
  return (f'{OPEN}{units.PREFIXES[found[1]]}{CLOSE}' if sign == '$' else
          f'{found[1]}{OPEN}{name}{CLOSE}')


def _recurring(found) -> str:
  whole, fixed = found[1] or '0', found[2]
  period = (found[3] or found[4] or found[10]
            or ''.join(filter(None, found.groups()[4:9])))
  value = fractions.Fraction(f'{whole}.{fixed or 0}') + fractions.Fraction(
      int(period), (10 ** len(period) - 1) * 10 ** len(fixed))
  return (str(value) if value.denominator == 1 else
          rf'\frac{{{value.numerator}}}{{{value.denominator}}}')


_COMPOUND = re.compile(r'/?[a-zA-Z][a-zA-Z. \d^/*·-]*')
_QUOTIENT = re.compile(r'/?[a-zA-Z]{2,}+(?: [a-zA-Z]{2,}+)*+ ?/ ?[a-zA-Z]{2,}+'
                       r'(?: [a-zA-Z]{2,}+)*+')


def _quoted(words: str) -> str:
  """Words between marks; mathematics that was set as text is left as it is."""
  bare = ' '.join(words.replace('~', ' ').split())
  if bare.strip(', ') in ('and', 'or'):
    return ','
  if re.fullmatch(_FUNCTIONS, bare):
    return rf'\{bare} '
  if re.search(r'\b(?:and|or)\b', bare):
    return words
  if re.fullmatch(r'\(?([a-zA-Z][a-zA-Z. ]*)\)?', bare):
    return f'{OPEN}{bare.strip("()")}{CLOSE}'
  # A compound unit, such as km/h or m/s^2.
  if _COMPOUND.fullmatch(bare) and (
      units.unit(bare)
      or _QUOTIENT.fullmatch(bare) and units.unit(bare) is not None):
    return f'{OPEN}{bare}{CLOSE}'
  return words


def _roman_units(found) -> str:
  """Units in `\\mathrm`, if all of them are known, between marks."""
  if not all(map(units.unit, re.findall(_MATHRM, found[1]))):
    return found[0]
  words = re.sub(_MATHRM, rf'{OPEN}\1{CLOSE}', found[1])
  return re.sub(r'~|\\,|\s', '', words)


def _plain_unit(found) -> str:
  return f'{OPEN}{found[1]}{CLOSE}'


_MATHRM = r'\\mathrm\s*\{\s*([a-zA-Z]+)\s*\}'
_NOT_LETTER = '(?![a-zA-Z])'
_LAYOUT = [(re.compile(pattern), to) for pattern, to in (
    ('[\x00-\x08\x0b\x0c\x0e-\x1f]', ''),
    (r'\\\\(?:\[\d+[a-z]{2}\])?', ROW),
    (rf'\\(?:[;:> ]|(?:q?quad|enspace|enskip|thinspace|medspace|thickspace|'
     rf'nobreakspace|space|hfill?){_NOT_LETTER}\s*+)|'
     r'\\text[a-z]*\{[\s~]*\}', '~'),
    (r'^[\s$~]*\\text[a-z]*\s*\{\s*(?:The )?(?:final )?[aA]nswer(?: is)?:?'
     r'[\s~]*\}(?!\s*=)', ''),
    (r'\\[hv](?:space|skip)\*?\s*+(?:\{[^{}]*+\}|-?[\d.]+\s*[a-z]{2})|'
     r'\\(?:mskip|mkern|kern|hskip)\s*-?[\d.]+\s*[a-z]{2}|\\mspace\s*\{[^{}]*+\}',
     '~'),
    (r'\\[hv]?phantom\s*+(?:\{[^{}]*+\}|.)', ''),
    (r'\\(?:tag|label)\*?\s*+\{[^{}]*+\}', ''),
    (r'\\(?:begin|end)\s*+\{(?:aligned|align|equation|gather|gathered|split|'
     r'displaymath|math|center|flalign|multline)\*?\}', ''),
    (r'\\(?:text)?color\s*+(?:\[[^\[\]]*+\]\s*+)?\{[^{}]*+\}|'
     r'\\color(?:red|blue|green|black)(?![a-zA-Z])|'
     r'\\fcolorbox\s*+\{[^{}]*+\}\s*+\{[^{}]*+\}|\\colorbox\s*+\{[^{}]*+\}|'
     r'\\bbox\s*+\[[^\[\]]*+\]', ''),
    (r'\\(?:left|right)\s*+\.', ''),
    (rf'\\(?:left|right|middle|[bB]igg?[lrm]?|displaystyle|textstyle|limits|'
     rf'nolimits|scriptstyle|scriptscriptstyle|tiny|scriptsize|footnotesize|'
     rf'small|normalsize|large|Large|LARGE|huge|Huge|bfseries|itshape|mdseries|'
     rf'normalfont|boldmath|strut|mathstrut|noindent|centering|nobreak|'
     rf'allowbreak|nonumber|notag|relax|null|rm|bf|it|sf|tt|sl|em){_NOT_LETTER}',
     ''),
    (rf'\\(?:boldsymbol|bm|pmb|math(?:bb|cal|scr|frak|normal|op|ord|rel|bin|open|'
     rf'close|inner)|boxed|fbox|framebox|underline|uline|ensuremath|smash|emph)'
     rf'{_NOT_LETTER}', ''),
    (rf'\\(?:lvert|rvert|vert|mid|lvert){_NOT_LETTER}', '|'),
    (rf'\\(?:lVert|rVert|Vert){_NOT_LETTER}', r'\\|'),
    (rf'\\lbrace{_NOT_LETTER}', r'\\{'), (rf'\\rbrace{_NOT_LETTER}', r'\\}'),
    (rf'\\lbrack{_NOT_LETTER}', '['), (rf'\\rbrack{_NOT_LETTER}', ']'),
    (rf'\\lparen{_NOT_LETTER}', '('), (rf'\\rparen{_NOT_LETTER}', ')'),
    (rf'^[\s~$]*\\(?:therefore|implies|Rightarrow|Longrightarrow){_NOT_LETTER}',
     ''),
    (rf'\\(?:lt){_NOT_LETTER}', '<'), (rf'\\(?:gt){_NOT_LETTER}', '>'),
    (rf'\\colon{_NOT_LETTER}', ':'), (rf'\\percent{_NOT_LETTER}', r'\\%'),
    (r"\^\s*+(?:\{\s*\\prime\s*\}|\\prime(?![a-zA-Z]))", "'"),
)]
_ENDS = re.compile(r'(?:[\s~]|\\[,!]|\$|\\[()\[\]]|\\$)+')
_GROUPS = re.compile(r'(?<![\d.,])\d{1,3}(?:(?:~|\\,)+\d{3})+(?![\d])')
_MEANING = [(re.compile(pattern), to) for pattern, to in (
    (rf'\\textdollar{_NOT_LETTER}', r'\\$'),
    (rf'\\(?:text)?euro{_NOT_LETTER}', '€'),
    (rf'\\(?:pounds|textsterling){_NOT_LETTER}', '£'),
    (rf'\\(?:text)?yen{_NOT_LETTER}', '¥'),
    (rf'\\(?:text)?cent{_NOT_LETTER}', '¢'),
    (rf'{_TEXT}\s*+\{{\s*((?:[A-Z]{{1,2}})?(?:\\?\$|[{_MONEY}]))\s*\}}', r'\1'),
    (rf'(?:(?<![a-zA-Z\\])({"|".join(units.PREFIXES)}))?(\\\$|[{_MONEY}])',
     _currency),
    (rf'^(\s*[-+]?)\s*({units.CODES})[\s~]*(?=[-+]?[\d.])',
     rf'\1{OPEN}\2{CLOSE}'),
    (rf'(?<=[\d}}])\s*~*({units.CODES})(?![a-zA-Z])', rf'{OPEN}\1{CLOSE}'),
    (r'\$|\\[()\[\]]', ''),
    ('\u00d7|\u00b7|\\\\(?:times|cdotp|ast|star|bullet)(?![a-zA-Z])',
     r'\\cdot '),
    (rf'\\varnothing{_NOT_LETTER}', r'\\emptyset'),
    (rf'\\(?:leqslant|leqq|leq){_NOT_LETTER}', r'\\le'),
    (rf'\\(?:geqslant|geqq|geq){_NOT_LETTER}', r'\\ge'),
    (rf'\\neq{_NOT_LETTER}', r'\\ne'),
    (rf'\\(?:dots|cdots|dotsc|dotsb){_NOT_LETTER}', r'\\ldots'),
    (rf'\\(?:[dtcs]|dis|nice)?frac{_NOT_LETTER}', r'\\frac'),
    (rf'\\[dt]binom{_NOT_LETTER}', r'\\binom'),
    (r'\\frac\s*+(\d)\s*+(\d)', r'\\frac{\1}{\2}'),
    # Thousands, told from lists by what is glued to the comma.
    (r'(?<=\d)(?:,\s*+\\!\s*+|\{,\}|\\text\{,\}|\\,)(?=\d{3}(?!\d))', ''),
    (rf'\{{({_THOUSANDS})\}}', lambda found: found.group().replace(',', '')),
    (rf'^([^\d,(\[{{]*+)({_THOUSANDS})(?![\d,])(?=[^,]*+$)',
     lambda found: found[1] + found[2].replace(',', '')),
    (r'\\mathrm\s*+\{(?:\\[,; ]|[~ ])*+([a-zA-Z. ]{2,}+)\}',
     lambda found: _quoted(found[1])),
    (rf'(?<=[\d}}]){_GAP}((?:(?:/|\\cdot)?\s*{_MATHRM}(?:\^\{{?-?\d\}}?)?(?:~|\\,|\s)*)+|'
     rf'\\frac\s*\{{{_MATHRM}\}}\s*\{{{_MATHRM}\}})[\s.]*$', _roman_units),
    (r'\\math(?:rm|bf|it|sf|tt)\s*+\{\s*+([a-zA-Z])\s*+\}', r'{\1}'),
    (r'\\?%', f'{OPEN}percent{CLOSE}'),
    (r'\^\s*+(?:\{\s*+\\circ\s*+\}|\\circ(?![a-zA-Z]))|\u00b0|'
     r'\\degrees?(?![a-zA-Z])|\\textdegree(?![a-zA-Z])',
     f'{OPEN}degree{CLOSE}'),
    (r'\\(?:operatorname\*?|text[a-z]*|mbox|hbox|math(?:rm|bf|it|sf|tt))'
     r'\s*+\{([^{}]*+)\}', lambda found: _quoted(found[1])),
    (r'\\math(?:rm|bf|it|sf|tt)(?![a-zA-Z])', ''),
    (r'\\[,!]|~', ' '),
    ('<=', r'\\le '), ('>=', r'\\ge '), (r'\*', r'\\cdot '),
    (rf'(?<![\\a-zA-Z])(pi|infty|sqrt|{_FUNCTIONS})(?![a-zA-Z])', r'\\\1 '),
    (r'\\sqrt\s*+\(([^()]*+)\)', r'\\sqrt{\1}'),
    (rf'(?<=[\d}}])\s++((?i:{_PLAIN_UNITS}|m|g|l|h|s)(?:\^?\{{?[23]\}}?)?\s*+'
     rf'(?:(?:/|\bper\b)\s*+(?i:{_PLAIN_UNITS}|m|s|h|g|l)(?:\^?\{{?[23]\}}?)?)+)'
     r'[\s.]*+$', lambda found: _plain_unit(found)),
    (rf'(?<=\d)\s*+((?i:{_PLAIN_UNITS}))(\^\{{?[23]\}}?)?[\s.]*+$',
     rf'{OPEN}\1{CLOSE}\2'),
    (r'(?<=[\d})])\s++([A-Z]?[a-z]{2,}(?: [a-z]+)*+)[\s.]*+$',
     lambda found: _quoted(found[1])),
    (r'^[a-zA-Z]{2,}(?: [a-zA-Z]{2,})+\.?$', lambda found: _quoted(found[0])),
    (r'(?<![a-zA-Z\\])(?:and|or)(?![a-zA-Z])', ','), (r',\s*+,', ','),
    (r'(?<![\d}])(\d++)\s++(\d++)\s*+/\s*+(\d++)', r'\1\\frac{\2}{\3}'),
    (r'(?<=\d)\s++(?=\d)', '?'),  # `3 4` is not 34, nor anything else.
)]


def clean(latex: str) -> str:
  r"""Return an answer without layout, in one spelling of its commands.

  Args:
    latex: an answer.

  Returns:
    LaTeX, with words between `OPEN` and `CLOSE`, and `X` + `LABEL` in front if
    the answer names the choice X before its value. Time is linear.
  """
  latex = characters.to_latex(latex)
  for pattern, to in _LAYOUT if '\\' in latex else _LAYOUT[:1]:
    latex = pattern.sub(to, latex)
  latex = _ungrouped(_stripped(latex))
  label = ''
  choice = _CHOICE.match(latex)
  if choice:
    label, latex = choice[choice.lastindex], latex[choice.end():]
  else:
    choice = _CHOICE_IN_TEXT.fullmatch(latex)
    if choice:
      label, latex = choice[1] or choice[2], choice[3]
  latex = _GROUPS.sub(lambda found: re.sub(r'[^\d]', '', found[0]), latex)
  latex = _RECURRING.sub(_recurring, _IN_BRACES.sub(r'\1', latex))
  latex = _based(latex)
  for pattern, to in _MEANING:
    latex = pattern.sub(to, latex.strip())
  return f'{label}{LABEL}{latex}' if label else latex


def _stripped(latex) -> str:
  """Without spaces, dollars and brackets of formulas at both ends."""
  start = _ENDS.match(latex)
  if start and latex[start.end():]:
    latex = latex[start.end():]
  return re.sub(r'(?:[\s~]|\\[,!]|(?<!\\)\$|\\(?=$))+$', '', latex)


def _ungrouped(latex) -> str:
  """Without braces around all of it."""
  if not latex.startswith('{') or not latex.endswith('}'):
    return latex
  depth = 0
  for brace in re.finditer(r'\\.|[{}]', latex):
    depth += (brace[0] == '{') - (brace[0] == '}')
    if not depth and brace.end() < len(latex):
      return latex
  return latex if depth else latex[1:-1].strip()


def _based(latex) -> str:
  """With each base of a number as `_{8}`, and its digits together."""
  found = _NUMERAL.fullmatch(_DIGITS_AS_TEXT.sub(r'\1', latex.rstrip('. ')))
  if found and (found['word'] or '_' in found[0]
                or found['base'].lower() in _NAMED):
    digits = ''.join(re.findall(r'[0-9A-Za-z.]', found['digits']))
    base = found['base'].lower()
    return f'{found["sign"]}{digits}_{{{_BASES.get(base, base)}}}'
  def to(found):
    word = next(filter(None, found.groups())).lower()
    return f'_{{{_BASES[word]}}}' if word in _BASES else found[0]
  return _BASE_WORD.sub(to, latex)


def numeral(text: str) -> str | None:
  """Return `digits_{base}` in one spelling; None for anything else."""
  found = re.fullmatch(
      r'(-?)([0-9A-Za-z]*)(\.[0-9A-Za-z]+)?_\{(\d{1,2})\}', text)
  if not found or not (found[2] or found[3]):
    return None
  base = int(found[4])
  whole, places = found[2].upper(), (found[3] or '').upper()
  if not 2 <= base <= 36 or any(
      int(digit, 36) >= base for digit in whole + places[1:]):
    return None
  return f'{found[1]}{whole.lstrip("0") or "0"}{places}_{{{base}}}'
