r"""Exact comparison of the final numbers of two texts.

Where a text states its answer is looked for in this order:

1. the paper's form (SCoRe, arXiv 2409.12917, prompts for MATH), `Final Answer:
   The final answer is $answer$. I hope it is correct.`; the last one;
2. the last `\boxed{answer}`, or `\fbox`;
3. the last line `#### number`, as in the files of GSM8K;
4. the last number in the text. A choice: small models seldom keep to a form.

A statement (1 to 3) binds: nothing else in the text is looked at, and behind
its last `=` it has to hold one number. Nowhere can an answer be hedged or left
to be worked out: the texts `3 or 4`, `3, 4`, `3-4` and `7+5` state no number.
"""

import fractions
import re

MAX_DIGITS = 100
"""A longer number is nobody's answer, and slow to handle: it counts as none."""

_FORM = re.compile(r'final answer:\**+\s++the final answer is',
                   re.ASCII | re.IGNORECASE)
_FORM_END = re.compile('i hope it is correct', re.ASCII | re.IGNORECASE)
# The first line, or more if a formula in dollars goes on.
_LINE = re.compile(r'(?:[^$\\\n]|\\.|\$(?:[^$\\]|\\.)*+\$)*+')
_BOX = re.compile(r'\\(?:boxed|fbox)(?![a-zA-Z])\s*+(?P<brace>\{?+)')
_BRACE = re.compile(r'\\.|[{}]', re.DOTALL)

# '1,234.5', '12', '.5'. `\d` takes the digits of every script, so that a number
# in mixed scripts is one odd number, and not its ASCII part. Quantifiers are
# possessive (++), so that time is linear in the text.
_DIGITS = (r'(?:\d{1,3}+(?:,\d{3})++(?!\d)|\d++)(?:\.\d++)?+'
           r'|(?<![\w.])\.\d++')
# A number with its sign, currency, denominator, and what is glued behind it.
_NUMBER = re.compile(
    r'(?<!\w)(?<!√)(?<!\\sqrt\{)'
    r'(?P<sign>(?<![\w)\]}%])[-+])?+(?:\\?[$€£])?+'
    rf'(?P<over>{_DIGITS})(?:/(?P<under>\d++))?+(?P<glued>(?:\.?\w++)*+)')
HASHES = re.compile(rf'^####[ \t]*+([-+]?\\?[$€£]?(?:{_DIGITS}))[ \t.]*+$',
                    re.MULTILINE)
# Between two numbers, what makes one expression or a choice of them.
_JOINER = re.compile(
    r'[ \t]*+(?:\*\*|[-+*/^×÷·,;]|and|\\(?:times|cdot|div))?+[ \t]*+|:')
_CHOICE = re.compile(r'\bor\b')

_REWRITINGS = (
    (re.compile(r'\u2212'), '-'),  # The typographical minus sign.
    (re.compile(r'\{,\}|,\\!'), ','),  # 1{,}000 and 1,\!000 in LaTeX.
    (re.compile(r'(?<=\d)(?=\\[dt]?frac\b)'), ' '),  # 2\frac12 is not 21/2.
    (re.compile(r'\\[dt]?frac\s*+\{(\d+)\}\s*+\{(\d+)\}'), r'\1/\2'),
)


def final_number(text: str) -> str | None:
  """The number that a text gives as its answer, in one canonical spelling.

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
  for pattern, replacement in _REWRITINGS:
    text = pattern.sub(replacement, text)
  stated = statement(text)
  if stated is None:
    return _last_number(text)
  return _only_number(stated.rpartition('=')[2])


def equal_numbers(gold: str, text: str) -> int:
  """1 if a text gives the gold number as its answer, else 0.

  Args:
    gold: the right answer, a number.
    text: the text of an attempt; nothing in it makes this raise.

  Raises:
    ValueError: `gold` is no number.
  """
  number = final_number(gold)
  if number is None:
    raise ValueError(f'the gold answer {gold[:80]!r} is not a number; mend the '
                     'data')
  return int(final_number(text) == number)


def statement(text: str, hashes: re.Pattern[str] = HASHES) -> str | None:
  """What stands where a text states its answer; None if it does not.

  Args:
    text: any text.
    hashes: a line `#### answer`, the answer in its only group.
  """
  *_, form = [None, *_FORM.finditer(text)]
  if form:
    behind = _FORM_END.split(text[form.end():], maxsplit=1)[0].strip(': \n')
    line = _LINE.match(behind).group()
    return line if behind[len(line):][:1] != '$' else behind.partition('\n')[0]
  *_, box = [None, *_BOX.finditer(text)]
  if box:
    behind = text[box.end():]
    return _up_to_closing_brace(behind) if box['brace'] else re.match(
        r'[^$\s]*+', behind).group()
  found = hashes.findall(text)
  return found[-1] if found else None


def _up_to_closing_brace(text: str) -> str:
  depth = 1
  for brace in _BRACE.finditer(text):
    depth += (brace.group() == '{') - (brace.group() == '}')
    if not depth:
      return text[:brace.start()]
  return ''  # Cut off: what it would have said is not known.


def _only_number(text: str) -> str | None:
  """The number in a text that holds one number and no other."""
  found = list(_NUMBER.finditer(text))
  return _canonical(found[0]) if len(found) == 1 else None


def _last_number(text: str) -> str | None:
  """The last number in a text, unless it belongs to the one before it."""
  before = last = None
  for match in _NUMBER.finditer(text):
    before, last = last, match
  if last is None:
    return None
  if before is not None and _joined(text[before.end():last.start()]):
    return None
  return _canonical(last)


def _joined(between: str) -> bool:
  """Whether what stands between two numbers joins them, as in `3 or 4`."""
  bare = re.sub(r'\\?[$€£]', '', between)
  same_sentence = not re.search(r'[\n!?.]', bare)
  return bool(_JOINER.fullmatch(bare)
              or same_sentence and _CHOICE.search(bare.lower()))


def _canonical(number: re.Match[str]) -> str | None:
  """The spelling of a number that all its other spellings share, or None."""
  over, under = number['over'].replace(',', ''), number['under']
  digits = over + (under or '')
  glued = number['glued']
  if (len(digits) > MAX_DIGITS or not digits.isascii()
      or glued and not glued.replace('.', '').isalpha()):  # '1e9', '1_000'.
    return None
  value = fractions.Fraction(over)
  if under is not None:
    if not int(under) or (value / int(under)).denominator == 1:
      return None
    value /= int(under)
  return str(-value if number['sign'] == '-' else value)
