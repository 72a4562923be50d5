r"""Unicode characters of mathematics, written in ASCII and LaTeX.

Models write `½`, `x²`, `√3`, `−5` or fullwidth digits for what a gold answer
writes in LaTeX. Digits of other scripts stay as they are: nothing reads them.
"""

import re
import unicodedata

_SPACE = '~'
"""A space that is no ASCII one; between groups of digits it is no gap."""

# Zero-width spaces, joiners, marks of direction, soft hyphens, byte order marks
# and variation selectors show nothing.
_INVISIBLE = dict.fromkeys([
    0xad, 0x34f, 0x61c, 0x115f, 0x1160, 0x180e, *range(0x200b, 0x2010),
    *range(0x202a, 0x202f), *range(0x2060, 0x2070), 0x3164,
    *range(0xfe00, 0xfe10), 0xfeff, *range(0xfff9, 0xfffc)])
_MINUS = dict.fromkeys(map(
    ord, '\u2010\u2011\u2012\u2013\u2212\ufe63\uff0d\u02d7\u2796'),
    '-')
_SUPERSCRIPTS = dict(zip('⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁽⁾ⁿⁱ', '0123456789+-()ni'))
_SUBSCRIPTS = dict(zip('₀₁₂₃₄₅₆₇₈₉₊₋₍₎ₐₑᵢₙₓ', '0123456789+-()aeinx'))
_COMMANDS = {
    '×': 'cdot', '·': 'cdot', '⋅': 'cdot', '∙': 'cdot', '✕': 'cdot',
    '✖': 'cdot', '÷': 'div', '±': 'pm', '∓': 'mp', '∞': 'infty', '∪': 'cup',
    '∩': 'cap', '∈': 'in', '∉': 'notin', '∅': 'emptyset', '⌀': 'emptyset',
    '≤': 'le', '⩽': 'le', '≦': 'le', '≥': 'ge', '⩾': 'ge', '≧': 'ge',
    '≠': 'ne', '≈': 'approx', '≅': 'cong', '≡': 'equiv', '→': 'to',
    '∠': 'angle', '△': 'triangle', '∆': 'Delta', '⟨': 'langle', '⟩': 'rangle',
    '〈': 'langle', '〉': 'rangle', 'ϕ': 'phi', 'φ': 'varphi', 'ϵ': 'epsilon',
    'ε': 'varepsilon', 'ϑ': 'vartheta', 'ℝ': 'mathbb{R}', 'ℤ': 'mathbb{Z}',
    'ℕ': 'mathbb{N}', 'ℚ': 'mathbb{Q}', 'ℂ': 'mathbb{C}', '⌊': 'lfloor',
    '⌋': 'rfloor', '⌈': 'lceil', '⌉': 'rceil', '∑': 'sum', '∏': 'prod',
    '∫': 'int'}
_GREEK = ('alpha beta gamma delta zeta eta theta iota kappa lambda mu nu xi pi '
          'rho sigma tau upsilon chi psi omega')
_COMMANDS |= {
    unicodedata.lookup(f'GREEK {case} LETTER {name.replace("lambda", "lamda")}'
                       .upper()): name if case == 'small' else name.title()
    for name in _GREEK.split() for case in ('small', 'capital')
    if case == 'small' or name in (
        'gamma', 'delta', 'theta', 'lambda', 'xi', 'pi', 'sigma', 'upsilon',
        'psi', 'omega')}
_OTHERS = {
    'º': '°', '˚': '°', '∶': ':', '⁄': '/', '∕': '/', '∣': '|', '、': ',',
    '，': ',', '’': "'", '′': "'", '“': '"', '”': '"', '∗': '*', '﹩': '$',
    '…': r'\ldots ', '⋯': r'\cdots ', '℃': '°C', '℉': '°F', '˙': '·'}
_TO_LATEX = _INVISIBLE | _MINUS | {
    ord(sign): rf'\{name} ' for sign, name in _COMMANDS.items()} | {
        ord(sign): other for sign, other in _OTHERS.items()}
_TO_LATEX |= dict.fromkeys(
    [0xa0, 0x1680, *range(0x2000, 0x200b), 0x202f, 0x205f, 0x3000], _SPACE)
# Forms for a font or a width: fullwidth characters, bold digits, ...
_FONTS = re.compile('[\uff01-\uff5e\uffe0-\uffe6\U0001d400-\U0001d7ff\u210e]')
_FRACTION = re.compile('[\u00bc-\u00be\u2150-\u215e\u2189]')
_SUPER = re.compile(f'[{"".join(_SUPERSCRIPTS)}]+')
_SUB = re.compile(f'[{"".join(_SUBSCRIPTS)}]+')
_ROOT = re.compile(
    r'([√∛∜])\s*+(?:\(([^()]*+)\)|\{([^{}]*+)\}|([0-9.]++|[a-zA-Z]|\\pi|π)?)')
_DEGREES = {'√': '', '∛': '[3]', '∜': '[4]'}
_OVERLINED = re.compile('((?:[0-9][\u0305\u0304])+)|([0-9])\u0307')


def visible(text: str) -> str:
  """Drop what shows nothing, and write each minus sign as a hyphen."""
  return text if text.isascii() else text.translate(_INVISIBLE | _MINUS)


def to_latex(text: str) -> str:
  """Write the Unicode characters of an answer in ASCII and LaTeX.

  Args:
    text: an answer. A space that is no ASCII one becomes `~`.

  Returns:
    The answer; characters without a counterpart stay. Time is linear.
  """
  if text.isascii():
    return text
  text = _FONTS.sub(lambda found: unicodedata.normalize('NFKC', found[0]), text)
  text = _FRACTION.sub(_fraction, text)
  text = _SUPER.sub(lambda found: _raised('^', found[0], _SUPERSCRIPTS), text)
  text = _SUB.sub(lambda found: _raised('_', found[0], _SUBSCRIPTS), text)
  text = _ROOT.sub(_root, text)
  text = _OVERLINED.sub(
      lambda found: rf'\overline{{{re.sub("[^0-9]", "", found[1])}}}'
      if found[1] else rf'\dot{{{found[2]}}}', text)
  return text.translate(_TO_LATEX)


def _fraction(found) -> str:
  over, _, under = unicodedata.normalize('NFKC', found[0]).partition('\u2044')
  return rf'\frac{{{over}}}{{{under}}}'


def _raised(sign, characters, table) -> str:
  return f'{sign}{{{"".join(table[character] for character in characters)}}}'


def _root(found) -> str:
  inside = next(filter(None, found.groups()[1:]), '')
  # Without an argument the command takes the next group, or fails.
  return (rf'\sqrt{_DEGREES[found[1]]}' + (f'{{{inside}}}' if inside else ' '))
