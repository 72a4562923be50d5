r"""Whether the answer of a text equals the right one, for mathematics.

Where a text states its answer is looked for in this order: the paper's form
(SCoRe, arXiv 2409.12917), `Final Answer: The final answer is $answer$. I hope
it is correct.`; the last `\boxed{answer}` or `\fbox`; the last line `####
answer`. A statement binds. A text without one has no answer and scores 0:
`answers` then takes the last number, but where an expression begins in prose is
not known, and the last number of `the area is 12\pi` is another answer.

Two answers are equal if they have one form (see `forms`), down to their
numbers, which are compared exactly, and their expressions, which math-verify
compares. What it cannot be trusted with is refused before, or after:

- a gold number asks for a number: `7+5`, `\sqrt{16}` and `8/2` are left to be
  worked out, `6/8`, `0.75` and `1\frac12` are not;
- an expression that has more in it than the gold one, as has the problem it
  came from: `4\pi+8\pi` for `12\pi`, `\sqrt{50}+\sqrt{18}` for `8\sqrt{2}`;
- variables, functions, factorials and large exponents that the gold answer does
  not have; another number of factors, as the task may be to factor or expand;
- approximations: 0.33 is not 1/3, and no decimal is \pi.

A percent sign, a unit and `x =` may be there or not, but not differ: 50\% is 50
and never 0.5. An answer in another base keeps its base. Not read: powers of ten
as in 1e9, and inequalities in place of intervals.
"""

from collections.abc import Sequence
import functools
import logging
import re

from score_jax.grading import answers
from score_jax.grading import forms

_HASHES = re.compile(r'^####[ \t]*+(\S.*)$', re.MULTILINE)
_MAX_LENGTH = 300  # Of an expression for math-verify.
_MAX_EXPONENT = 50  # Unless the gold answer has it.
_MAX_PARTS = 100

_COMMAND = re.compile(r'\\[a-zA-Z]+|!|\||_|\^\{[^{}]*\^')
_HARMLESS = frozenset([r'\frac', r'\sqrt', r'\pi', r'\cdot', r'\infty'])
_LETTER = re.compile(r'(?<![a-zA-Z\\])[a-zA-Z]+')
_EXPONENT = re.compile(r'\^\{[^{}]*?(\d+)[^{}]*\}')
# What is in a group counts: powers, sums, roots, letters, products of numbers.
_STEP = re.compile(
    r'((?<=\d)\\cdot(?=\d))|\\(?:frac|cdot)|'
    r'(\\[a-zA-Z]+|\^|(?<=[^({])[-+]|(?<=[\d)])\((?=\d+\))|[a-zA-Z])')
_DECIMAL = re.compile(r'(\d*)\.(\d+)')
_MIXED = re.compile(r'(?<![\d.}])(\d+)(\\frac\{\d+\}\{\d+\})')


def answer(text: str) -> str | None:
  """The answer that a text states, in one spelling; None if it states none.

  Spellings of one number are equal; those of one expression need not be, since
  nothing is computed: time is linear in the text.
  """
  form = _stated(text)
  return None if form is None else forms.spell(form)


def grade(gold: str, text: str) -> int:
  """1 if the answer that a text states equals the gold answer, else 0.

  What math-verify is given can take it long, or much memory: run it in a
  `pool.Pool`.

  Args:
    gold: the right answer, in LaTeX without dollars.
    text: the text of an attempt; nothing in it makes this raise.
  """
  right, found = _gold(gold), _stated(text)
  return int(right is not None and found is not None and equal(right, found))


def equal(gold: forms.Form, found: forms.Form) -> bool:
  """Whether an answer is the gold one."""
  if gold.unit and found.unit and gold.unit != found.unit:
    return False
  if 'relation' in (gold.kind, found.kind):
    return _equal_relations(gold, found)
  if gold.kind != found.kind:
    return _equal_across(gold, found)
  if gold.kind == 'expression':
    return _equal_expressions(gold.spelling, found.spelling)
  if gold.spelling != found.spelling or len(gold.parts) != len(found.parts):
    return False
  if len(gold.parts) > _MAX_PARTS:
    return forms.spell(gold) == forms.spell(found)
  if gold.kind in ('list', 'union'):
    return _equal_in_some_order(gold.parts, found.parts)
  return all(map(equal, gold.parts, found.parts))


@functools.lru_cache(1024)
def _gold(gold):
  return forms.read(gold)


def _stated(text) -> forms.Form | None:
  stated = answers.statement(text, _HASHES)
  return None if stated is None else forms.read(stated)


def _equal_across(gold, found) -> bool:
  kinds = {gold.kind, found.kind}
  if kinds == {'words', 'expression'}:  # \text{odd}, or without the command.
    return len(gold.spelling) > 1 and (  # x is not X.
        gold.spelling.casefold() == found.spelling.casefold())
  return (gold.kind, found.kind) == ('expression', 'number') and (
      _equal_expressions(gold.spelling, found.spelling))


def _equal_in_some_order(gold: Sequence, found: Sequence) -> bool:
  left = list(found)
  for part in gold:
    same = [other for other in left if other == part] or [
        other for other in left if equal(part, other)]
    if not same:
      return False
    left.remove(same[0])
  return True


def _equal_relations(gold, found) -> bool:
  """`x = 5` is also 5; other relations have the same sides."""
  if gold.kind == found.kind:
    if gold.spelling != found.spelling:
      return False
    is_equation = gold.spelling == '='
    if all(map(equal, gold.parts, found.parts)) or is_equation and (
        all(map(equal, gold.parts, found.parts[::-1]))):
      return True
    return is_equation and _equal_equations(*gold.parts, *found.parts)
  relation, other = (gold, found) if gold.kind == 'relation' else (found, gold)
  *names, value = relation.parts
  signs = {*relation.spelling.split()}
  if signs != {'='} and (relation.spelling != r'\in' or value.kind == 'number'):
    return False
  if any(name.kind == 'number' and name != value for name in names):
    return False  # 6 = 5.
  if relation is gold and not _is_name(relation.parts[0]):
    return False
  return equal(value, other) if relation is gold else equal(other, value)


def _is_name(form) -> bool:
  return form.kind in ('expression', 'words') and bool(
      re.fullmatch(r'\\?[a-zA-Z]+(_\{\w+\})?(\([a-zA-Z]\))?', form.spelling))


def _equal_equations(*sides) -> bool:
  """Whether left - right of one equation is a multiple of the other's."""
  if any(side.kind not in ('expression', 'number') for side in sides):
    return False
  spelled = [side.spelling for side in sides]
  if not _is_harmless(spelled[0] + spelled[1], spelled[2] + spelled[3]):
    return False
  try:
    import sympy
    left, right, found_left, found_right = map(_expression, spelled)
    ratio = sympy.cancel((left - right) / (found_left - found_right))
    return bool((left - right).free_symbols and ratio.is_number
                and ratio.is_finite and ratio != 0)
  except (MemoryError, TimeoutError):
    raise
  except Exception:
    return False


def _equal_expressions(gold: str, found: str) -> bool:
  if gold == found:
    return True
  if not _is_harmless(gold, found) or _steps(found) > _steps(gold):
    return False
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
  if _letters(found) != _letters(gold):
    return False
  if set(_COMMAND.findall(found)) - set(_COMMAND.findall(gold)) - _HARMLESS:
    return False
  digits = max(map(len, re.findall(r'\d+', found)), default=0)
  exponents = set(_EXPONENT.findall(found)) - set(_EXPONENT.findall(gold))
  return digits <= answers.MAX_DIGITS and all(
      len(exponent) < 4 and int(exponent) <= _MAX_EXPONENT
      for exponent in exponents)


def _steps(latex) -> int:
  """How much there is in an expression that could be worked out."""
  return sum(found.lastindex is not None for found in _STEP.finditer(latex))


def _letters(latex) -> set[str]:
  return set(''.join(_LETTER.findall(latex)))


def _expression(latex: str):
  """What math-verify reads in it; IndexError if it is nothing."""
  import math_verify
  import sympy
  logging.getLogger('math_verify').setLevel(logging.ERROR)
  latex = _MIXED.sub(r'(\1+\2)', _DECIMAL.sub(_exact, latex))
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
