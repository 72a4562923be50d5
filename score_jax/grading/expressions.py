r"""Whether two expressions in LaTeX are equal, as math-verify and sympy see it.

What they cannot be trusted with is refused before, or after; see `maths`. They
are imported when they are first needed, which takes seconds and memory.
"""

import functools
import logging
import re

from score_jax.grading import forms
from score_jax.grading import numbers

_MAX_LENGTH = 300  # Of an expression for math-verify.
_MAX_EXPONENT = 50  # Unless the gold answer has it.

_COMMAND = re.compile(r'\\[a-zA-Z]+|!|\||_|\^\{[^{}]*\^')
_HARMLESS = frozenset([r'\frac', r'\sqrt', r'\pi', r'\cdot', r'\infty'])
_LETTER = re.compile(r'(?<![a-zA-Z\\])[a-zA-Z]+')
_EXPONENT = re.compile(r'\^\{[^{}]*?(\d+)[^{}]*\}')
# What is in a group counts: powers, sums, roots, letters, products of numbers.
_STEP = re.compile(
    r'((?<=\d)\\cdot(?=\d))|\\(?:frac|cdot)|'
    r'(\\[a-zA-Z]+|\^|(?<=[^({])[-+]|(?<=[\d)])\((?=\d+\))|[a-zA-Z])')
# One over something is a fraction, however it is written.
_INVERSE = re.compile(r'\^\{-1\}')
_DECIMAL = re.compile(r'(\d*)\.(\d+)')
_MIXED = re.compile(r'(?<![\d.}])(\d+)(\\frac\{\d+\}\{\d+\})')
_DEGREES = re.compile(
    r'(\d+(?:\.\d+)?|\\frac\{\d+\}\{\d+\}|\([^()]*\))\\degree ?')
_ARITHMETIC = re.compile(
    r'(?:\d{1,9}(?!\d)|[-+.(){}/! ]|\\(?:frac|cdot|sqrt|binom|log|ln|degree|pi|'
    rf'div)(?![a-zA-Z])|{forms.FUNCTION}|\^\{{\d\}}|_\{{\d\}})*')


@functools.lru_cache(4096)
def equal(gold: str, found: str) -> bool:
  """Tell whether an expression is the gold one.

  Raises:
    MemoryError: there was not enough for it.
    TimeoutError: it took too long.
  """
  if gold == found:
    return True
  if not _is_harmless(gold, found) or _steps(found) > _steps(gold):
    return False
  return _are_equal(gold, found)


@functools.lru_cache(4096)
def comes_to(arithmetic: str, number: str) -> bool:
  """Tell whether arithmetic without letters, such as 7+5, has a value."""
  if len(arithmetic) > 100 or not _ARITHMETIC.fullmatch(arithmetic):
    return False
  if max(map(int, re.findall(r'\d+(?=!)', arithmetic)), default=0) > 100:
    return False
  value = numbers.value_of(arithmetic.replace(r'\cdot', '*'))
  if value is not None:
    return str(value) == number
  return _are_equal(number, arithmetic)


@functools.lru_cache(4096)
def same_equations(sides: tuple[str, str, str, str]) -> bool:
  """Tell whether left - right of one equation is a multiple of the other's."""
  if not _is_harmless(sides[0] + sides[1], sides[2] + sides[3]):
    return False
  try:
    import sympy
    left, right, found_left, found_right = map(_expression, sides)
    ratio = sympy.cancel((left - right) / (found_left - found_right))
    return bool((left - right).free_symbols and ratio.is_number
                and ratio.is_finite and ratio != 0)
  except (MemoryError, TimeoutError):
    raise
  except Exception:
    return False


def letters(latex: str) -> set[str]:
  """Return the letters that are no part of a command."""
  return set(''.join(_LETTER.findall(latex)))


def _are_equal(gold, found) -> bool:
  try:
    return _equal_values(_expression(gold), _expression(found))
  except (MemoryError, TimeoutError):
    raise
  except Exception:  # Of whatever it makes of untrusted text.
    return False


def _is_harmless(gold: str, found: str) -> bool:
  """Whether an expression has nothing that the gold one does not call for."""
  if len(found) > _MAX_LENGTH or not found.isascii() or '\x01' in found:
    return False
  if letters(found) != letters(gold):
    return False
  if set(_COMMAND.findall(found)) - set(_COMMAND.findall(gold)) - _HARMLESS:
    return False
  digits = max(map(len, re.findall(r'\d+', found)), default=0)
  exponents = set(_EXPONENT.findall(found)) - set(_EXPONENT.findall(gold))
  return digits <= numbers.MAX_DIGITS and all(
      len(exponent) < 4 and int(exponent) <= _MAX_EXPONENT
      for exponent in exponents)


def _steps(latex) -> int:
  """How much there is in an expression that could be worked out."""
  return sum(found.lastindex is not None
             for found in _STEP.finditer(_INVERSE.sub('', latex)))


def _expression(latex: str):
  """Return what math-verify reads in it; IndexError if nothing."""
  import math_verify
  import sympy
  logging.getLogger('math_verify').setLevel(logging.ERROR)
  latex = _MIXED.sub(r'(\1+\2)', _DECIMAL.sub(_exact, latex))
  latex = _DEGREES.sub(r'(\\frac{\1\\pi}{180})', latex)
  parsed = math_verify.parse(
      f'${latex}$', [math_verify.LatexExtractionConfig()],
      fallback_mode='no_fallback', parsing_timeout=None)[0]
  # It takes i for a variable, with different assumptions in different places.
  return parsed.subs({
      symbol: sympy.I if symbol.name == 'i' else sympy.Symbol(symbol.name)
      for symbol in parsed.free_symbols})


def _exact(decimal) -> str:
  digits = decimal[1] + decimal[2]
  return rf'\frac{{{digits}}}{{1{"0" * len(decimal[2])}}}'


def _equal_values(gold, found) -> bool:
  """Both as math-verify has it, which is lenient, and as sympy has it."""
  import math_verify
  return (
      gold.free_symbols == found.free_symbols
      and _factors(gold) == _factors(found)
      and math_verify.verify(gold, found, timeout_seconds=None)
      and (gold - found).equals(0) is not False)


def _factors(expression) -> int:
  """How many factors a polynomial is written as; 0 for other expressions."""
  symbols = expression.free_symbols
  if not symbols or not expression.is_polynomial(*symbols):
    return 0
  powers = [factor.as_base_exp() for factor in expression.as_ordered_factors()]
  return sum(int(exponent) for base, exponent in powers if base.free_symbols)
