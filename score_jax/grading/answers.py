r"""Exact comparison of the final numbers of two texts.

Where a text states its answer, see `statements`, that binds: nothing else in
the text is looked at, and it has to hold one number. A text that states nothing
gives the last number in it. A choice: small models seldom keep to a form.

Nowhere can an answer be hedged or left to be worked out: the texts `3 or 4`,
`3, 4`, `3-4` and `7+5` state no number, and neither do `5 thousand`, `at least
5` or `\pm 5`.
"""

import re

from score_jax.grading import numbers
from score_jax.grading import statements

MAX_DIGITS = numbers.MAX_DIGITS
"""A longer number is nobody's answer, and slow to handle: it counts as none."""

_HASHES = re.compile(
    rf'^####[^\S\n]*+([*_$]*+(?:[-+][ \t]*+)?{numbers.CURRENCY}?+'
    rf'(?:{numbers.DIGITS})[*_$]*+)[ \t.]*+$', re.MULTILINE)
# A text that ends in one of these was cut off within its last sentence.
_UNFINISHED = re.compile(
    r'(?:=|\s[-+*/<>^\u00d7\u00f7]|\\(?:times|cdot|div)|'
    r'\b(?:a|an|the|of|and|or|to|in|on|at|by|for|from|with|than|is|are|was|'
    r'were|be|has|have|had|if|so|then|that|which|who|because|since|as|but|into|'
    r'per|each|every|half|twice|we|he|she|it|they|his|her|their|its|this|'
    r'these|add|adds|subtract|multiply|divide|plus|minus|equals|need|'
    r'needs|gives?|get|gets))\s*+\Z', re.IGNORECASE)
_FINISHED = re.compile(r'[.!?:)\]}$%"\u201d*_`|>\d][\s.]*+\Z')
_NEW_SENTENCE = re.compile(r'[.!?][*_)"$]*+\s++[A-Z]|\n')


def final_number(text: str) -> str | None:
  """Return the number that a text gives as its answer, in one spelling.

  Thousands separators, a leading `+`, zeros behind the decimal point, a final
  full stop, currency signs and units make no difference; neither does a percent
  sign, so 50% is 50 and never 0.5. Decimals and fractions are exact. Not read
  as numbers: words, powers of ten (`1e9`), digits other than 0 to 9, divisions
  that come out even (`10/2`), and numbers of more than `MAX_DIGITS` digits.

  Args:
    text: any text.

  Returns:
    '12', '-3', or a fraction in lowest terms such as '7/2'; None if the text
    gives no number, or several. Never raises; time is linear in the text.
  """
  text = statements.before_run_on(text, _HASHES)
  stated = statements.statement(text, _HASHES)
  if stated is not None:
    return numbers.only_number(stated)
  for at in statements.run_on_marks(text):
    if re.search(r'\d', text[:at]):
      text = text[:at]
      break
  return _last_number(text)


def equal_numbers(gold: str, text: str) -> int:
  """Return 1 if a text gives the gold number as its answer, else 0.

  Args:
    gold: the right answer, a number.
    text: the text of an attempt; nothing in it makes this raise.

  Raises:
    ValueError: `gold` is no number.
  """
  check_gold(gold)
  return int(final_number(text) == final_number(gold))


def check_gold(gold: str):
  """Raise ValueError if no text can give a gold answer."""
  if final_number(gold) is None:
    raise ValueError(f'the gold answer {gold[:80]!r} is not a number; mend the '
                     'data')


def is_stated(text: str) -> bool:
  """Tell whether the number of a truncated text is its answer.

  A text that ran out of tokens has reached its answer if it states one, and
  nothing that might follow changes it.
  """
  stated = statements.statement(text, _HASHES)
  return bool(stated) and final_number(text) == final_number(f'{text}7')


def _last_number(text) -> str | None:
  """The last number, unless what follows it was cut off."""
  number, behind = numbers.last_number(text)
  if number is None or _UNFINISHED.search(behind[-80:]):
    return None
  is_cut_off = (_NEW_SENTENCE.search(behind)
                and not _FINISHED.search(behind[-80:]))
  return None if is_cut_off else number
