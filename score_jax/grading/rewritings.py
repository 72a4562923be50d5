r"""Other ways to write an answer in LaTeX, by rule.

They are right by construction, and show how often a grader refuses what is
right.
"""

from collections.abc import Callable
import fractions
import re

_SCALAR = re.compile(r'(?!.*\\(?:text|mbox|cup|begin|approx|le))[^,=<>:&]*')
_WHOLE = re.compile(r'\d{4,}')
_FRACTION = re.compile(r'(-?)\\[dt]?frac\{(\d+)\}\{(\d+)\}')
_MIXED = re.compile(r'(\d+)\s*\\[dt]?frac\{(\d+)\}\{(\d+)\}')
_DECIMAL = re.compile(r'(\d*)\.(\d+)')
_LIST = re.compile(r'(?!.*\\[,!]|\D*\d+,\d{3}$)'
                   r'[^()\[\]{},=]+(?:,[^()\[\]{},=]+)+')
_SUM = re.compile(r'([^-+(){},=^\\]+|\d*\\sqrt\{\d+\}) ?\+ ?(\d*\\sqrt\{\d+\})')
_UNIT = re.compile(r'\\(?:text|mbox)\s*\{([a-z. ]+)\}')


def _replaced(pattern: str, to) -> Callable[[str], str]:
  return lambda gold: re.sub(pattern, to, gold)


def _whole(pattern: re.Pattern[str], to) -> Callable[[str], str]:
  """A rule for answers that match as a whole."""
  def rule(gold):
    found = pattern.fullmatch(gold)
    return to(found) if found else gold
  return rule


def _grouped(separator):
  return _whole(_WHOLE, lambda found: f'{int(found[0]):,}'.replace(
      ',', separator))


def _as_decimal(found) -> str:
  value = fractions.Fraction(int(found[2]), int(found[3]))
  places = 6 if 10**6 % value.denominator == 0 else 0
  return f'{found[1]}{float(value):.{places}f}' if places else found[0]


def _as_fraction(found) -> str:
  if not int(found[2]):
    return found[0]
  return rf'\frac{{{int(found[1] + found[2])}}}{{{10 ** len(found[2])}}}'


def _improper(found) -> str:
  over = int(found[1]) * int(found[3]) + int(found[2])
  return rf'\frac{{{over}}}{{{found[3]}}}'


def _listed(last: str) -> Callable[[str], str]:
  """A list with something before the last of it."""
  def to(found):
    *parts, end = [part.strip() for part in found[0].split(',')]
    return f'{", ".join(parts)}{last}{end}'
  return _whole(_LIST, to)


RULES = {
    'spaces around': lambda gold: f' {gold} ',
    'full stop': lambda gold: f'{gold}.',
    'dollars': lambda gold: f'${gold}$',
    'parentheses in LaTeX': lambda gold: rf'\({gold}\)',
    'display style': lambda gold: rf'\displaystyle {gold}',
    'box in it': lambda gold: rf'\boxed{{{gold}}}',
    'is x': _whole(_SCALAR, lambda found: f'x = {found[0]}'),
    'without x': _replaced(r'^[a-z] ?= ?(?=\S+$)', ''),
    'dfrac': _replaced(r'\\[tc]?frac', r'\\dfrac'),
    'tfrac': _replaced(r'\\[dc]?frac', r'\\tfrac'),
    'slash': _replaced(r'(?<![\d}\w])\\[dt]?frac\{(\d+)\}\{(\d+)\}'
                       r'(?=\s*(?:[,)\]&]|\\\\|\\right|\\end|$))', r'\1/\2'),
    'fraction without braces': _replaced(
        r'frac\{(\d)\}\{(\d)\}', r'frac\1\2'),
    'fraction with braces': _replaced(
        r'frac\s*(\d)\s*(\d)', r'frac{\1}{\2}'),
    'minus in the fraction': _whole(
        re.compile(r'-\\[dt]?frac\{(\d+)\}\{(\d+)\}'),
        lambda found: rf'\frac{{-{found[1]}}}{{{found[2]}}}'),
    'decimal': _whole(_FRACTION, _as_decimal),
    'twice both': _whole(_FRACTION, lambda found: (
        rf'{found[1]}\frac{{{2 * int(found[2])}}}{{{2 * int(found[3])}}}')),
    'fraction': _whole(_DECIMAL, _as_fraction),
    'improper': _whole(_MIXED, _improper),
    'no zero': _replaced(r'^0\.', '.'), 'zero': _replaced(r'^\.', '0.'),
    'zeros behind': _whole(_DECIMAL, lambda found: f'{found[0]}00'),
    'point zero': _replaced(r'^(-?\d+)$', r'\1.0'),
    'commas': _grouped(','), 'commas in braces': _grouped('{,}'),
    'commas in LaTeX': _grouped(r',\!'), 'thin spaces': _grouped(r'\,'),
    'no commas': _replaced(r'(?<=\d)(?:,\\!|\{,\})(?=\d)', ''),
    'degree in braces': _replaced(r'\^\\circ', r'^{\\circ}'),
    'degree sign': _replaced(r'\^\{?\\circ\}?', '\u00b0'),
    'no degree': _replaced(r'^([^a-z]*)\^\{?\\circ\}?$', r'\1'),
    'degree in words': _replaced(r'^(\d+)\^\{?\\circ\}?$', r'\1 degrees'),
    'no percent': _replaced(r'\\%', ''), 'percent': _replaced(r'\\%', '%'),
    'percent in words': _replaced(r'\\%', r'\\text{ percent}'),
    'no currency': _replaced(r'\\\$', ''),
    'currency': _replaced(r'^(-?\d+)$', r'\\$\1'),
    'unit': _replaced(r'^(-?\d+)$', r'\1\\text{ cm}'),
    'plain unit': _replaced(r'^(-?\d+)$', r'\1 apples'),
    'no unit': _replaced(rf'(?<=[\d}}]){_UNIT.pattern}(\^\d)?$', ''),
    'unit in mathrm': _replaced(_UNIT.pattern, r'\\mbox{\1}'),
    'left and right': lambda gold: re.sub(
        r'(?<!\\left)([(\[])(?=[^()\[\]]*[)\]])', r'\\left\1', re.sub(
            r'(?<!\\right)([)\]])', r'\\right\1', gold)) if (
                re.fullmatch(r'[(\[][^()\[\]]*[)\]]', gold)) else gold,
    'no left and right': _replaced(r'\\(?:left|right)(?=[()\[\]])', ''),
    'no spaces behind commas': _replaced(', ', ','),
    'spaces behind commas': _replaced(r',(?=[^\d\\ }])|(?<=[^\d]\d),(?=\d\D)',
                                      ', '),
    'set': _whole(_LIST, lambda found: rf'\{{{found[0]}\}}'),
    'backwards': _whole(_LIST, lambda found: ', '.join(
        part.strip() for part in found[0].split(',')[::-1])),
    'and': _listed(' and '), 'or': _listed(r'\text{ or }'),
    'comma and': _listed(r', \text{ and } '),
    'bmatrix': _replaced('pmatrix', 'bmatrix'),
    'matrix without spaces': _replaced(r' *(&|\\\\) *', r'\1'),
    'matrix on lines': _replaced(r'\\\\', '\\\\\\\\\n'),
    'plus infinity': _replaced(r', ?\\infty', r', +\\infty'),
    'union backwards': _whole(
        re.compile(r'([^=]+?) ?\\cup ?([^=]+)'),
        lambda found: rf'{found[2]}\cup {found[1]}'),
    'words': _whole(_UNIT, lambda found: found[1]),
    'words in bold': _replaced(r'\\text\{', r'\\textbf{'),
    'letter': _replaced(r'^\\text\{\(?([A-Z])\)?\}$', r'\1'),
    'letter in parentheses': _replaced(r'^\\text\{\(?([A-Z])\)?\}$',
                                       r'\\textbf{(\1)}'),
    'base in braces': _replaced(r'_(\d+)$', r'_{\1}'),
    'power in braces': _replaced(r'\^(\d)(?!\d)', r'^{\1}'),
    'root without braces': _replaced(r'\\sqrt\{(\d)\}', r'\\sqrt\1'),
    'root with braces': _replaced(r'\\sqrt ?(\d)', r'\\sqrt{\1}'),
    'product sign': _replaced(r'(?<=\d)(?=\\sqrt|\\pi)', r' \\cdot '),
    'spaces before commands': _replaced(r'(?<=\d)(?=\\sqrt|\\pi)', ' '),
    'spaces around signs': _replaced(r'(?<=[\w})])\s*([-+])\s*(?=\w|\\[fs])',
                                     r' \1 '),
    'terms backwards': _whole(_SUM, lambda found: f'{found[2]} + {found[1]}'),
    'factors backwards': _replaced(
        r'^(\([^()]+\))(\([^()]+\))$', r'\2\1'),
    'equation backwards': _replaced(r'^([^=,<>]{2,}?) ?= ?([^=,<>]+)$',
                                    r'\2 = \1'),
}
"""Rules by name; a rule gives back an answer for which it does not hold."""


def rewritings(gold: str) -> dict[str, str]:
  """The other ways to write an answer, by the name of a rule."""
  rewritten = {name: rule(gold) for name, rule in RULES.items()}
  return {name: other for name, other in rewritten.items() if other != gold}
