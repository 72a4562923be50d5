r"""Whether the answer of a text equals the right one, for mathematics.

Where a text states its answer, see `statements`, that binds. A text without a
statement has no answer and scores 0: `answers` then takes the last number, but
where an expression begins in prose is not known, and the last number of `the
area is 12\pi` is another answer.

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

from score_jax.grading import expressions
from score_jax.grading import forms
from score_jax.grading import names
from score_jax.grading import statements
from score_jax.grading import units

_MAX_PARTS = 100


def answer(text: str) -> str | None:
  """Return the answer that a text states, in one spelling, or None.

  Spellings of one number are equal; those of one expression need not be, since
  nothing is computed: time is linear in the text.
  """
  form = _stated(text, usual=False)
  return None if form is None else forms.spell(form)


def answer_usual(text: str) -> str | None:
  """Return the same as `answer`, where usual phrases state an answer too."""
  form = _stated(text, usual=True)
  return None if form is None else forms.spell(form)


def grade(gold: str, text: str) -> int:
  """Return 1 if the answer that a text states equals the gold answer, else 0.

  What math-verify is given can take it long, or much memory: run it in a
  `pool.Pool`.

  Args:
    gold: the right answer, in LaTeX without dollars.
    text: the text of an attempt; nothing in it makes this raise.
  """
  return _grade(gold, _stated(text, usual=False))


def grade_usual(gold: str, text: str) -> int:
  """Return the same as `grade`, where usual phrases state an answer too.

  `The answer is 5.`, `Answer: 5` and `<answer>5</answer>`, see `statements`:
  for prompts that do not ask for the paper's form.
  """
  return _grade(gold, _stated(text, usual=True))


def check_gold(gold: str):
  r"""Raise ValueError if no text can give a gold answer.

  Such as `\frac{` or `(1,2`: what cannot be read equals nothing.
  """
  if not grade(gold, rf'\boxed{{{gold}}}'):
    raise ValueError(
        f"the field 'answer' is {gold[:80]!r}, which the grader cannot read as "
        'mathematics: no attempt could be right')


def is_stated(text: str) -> bool:
  """Tell whether nothing that follows a truncated text changes its answer."""
  stated = answer_usual(text)
  return stated is not None and stated == answer_usual(f'{text}7')


def equal(gold: forms.Form, found: forms.Form) -> bool:
  """Tell whether an answer is the gold one."""
  if not units.agree(gold.unit, found.unit):
    return False
  if found.label and gold.kind == 'words' and len(gold.spelling) == 1:
    return found.label == gold.spelling  # The choice is asked for.
  if 'relation' in (gold.kind, found.kind):
    return _equal_relations(gold, found)
  if gold.kind != found.kind:
    return _equal_across(gold, found)
  if gold.kind == 'expression':
    return expressions.equal(gold.spelling, found.spelling)
  if gold.spelling != found.spelling or len(gold.parts) != len(found.parts):
    return False
  if len(gold.parts) > _MAX_PARTS:
    return forms.spell(gold) == forms.spell(found)
  if gold.kind in ('list', 'set', 'union') and not _is_grouped(gold):
    return _equal_in_some_order(gold.parts, found.parts)
  return all(map(equal, gold.parts, found.parts))


@functools.lru_cache(1024)
def _gold(gold):
  return forms.read(gold)


def _grade(gold, found) -> int:
  right = _gold(gold)
  return int(right is not None and found is not None and equal(right, found))


def _stated(text, usual) -> forms.Form | None:
  stated = statements.statement(text, usual=usual)
  return None if stated is None else forms.read(stated)


def _equal_across(gold, found) -> bool:
  kinds = {gold.kind, found.kind}
  if kinds == {'words', 'expression'}:  # \text{odd}, or without the command.
    return len(gold.spelling) > 1 and (  # x is not X.
        gold.spelling.casefold() == found.spelling.casefold())
  return (gold.kind, found.kind) == ('expression', 'number') and (
      expressions.equal(gold.spelling, found.spelling))


def _equal_in_some_order(gold: Sequence, found: Sequence) -> bool:
  left = list(found)
  for part in gold:
    same = [other for other in left if other == part] or [
        other for other in left if equal(part, other)]
    if not same:
      return False
    left.remove(same[0])
  return True


def _is_grouped(form) -> bool:
  """Whether a list is one of solutions: x=1, y=2 or x=2, y=1."""
  named = [part.parts[0] for part in form.parts
           if part.kind == 'relation' and names.is_name(part.parts[0])]
  return len(named) == len(form.parts) and 1 < len({*named}) < len(named)


def _equal_relations(gold, found) -> bool:
  """`x = 5` is also 5; other relations have the same sides."""
  if gold.kind == found.kind:
    if gold.spelling != found.spelling:
      return False
    is_equation = gold.spelling == '='
    if all(map(equal, gold.parts, found.parts)) or is_equation and (
        all(map(equal, gold.parts, found.parts[::-1]))):
      return True
    return is_equation and not _is_solution(gold) and _equal_equations(
        *gold.parts, *found.parts)
  relation, other = (gold, found) if gold.kind == 'relation' else (found, gold)
  parts = relation.parts
  signs = {*relation.spelling.split()}
  if signs == {'='} and len(parts) == 2 and names.is_name(parts[1]) and (
      not names.is_name(parts[0])):
    parts = parts[::-1]  # 5 = x.
  *left, value = parts
  if signs != {'='} and (relation.spelling != r'\in' or value.kind == 'number'):
    return False
  if relation is gold and not names.is_name(left[0]):
    return False
  if not all(names.is_name(side) or _is_worked_out(side, value)
             for side in left):
    return False
  return equal(value, other) if relation is gold else equal(other, value)


def _is_worked_out(side, value) -> bool:
  """Whether the left side of an equation is its right one: 7 + 5 = 12."""
  if value.kind != 'number' or not units.agree(side.unit, value.unit):
    return False
  if side.kind == 'number':
    return side.spelling == value.spelling
  return side.kind == 'expression' and expressions.comes_to(
      side.spelling, value.spelling)


def _is_solution(equation) -> bool:
  """Whether an equation says what a name is: x = 5."""
  kinds = sorted(part.kind for part in equation.parts)
  return 'number' in kinds and any(map(names.is_name, equation.parts))


def _equal_equations(*sides) -> bool:
  """Whether left - right of one equation is a multiple of the other's."""
  return all(side.kind in ('expression', 'number') for side in sides) and (
      expressions.same_equations(tuple(side.spelling for side in sides)))
