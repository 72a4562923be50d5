"""Sums in words, for a small instruction-tuned language model.

    Ida has 9 coins and loses 4 coins. How many coins are left?

One or two steps with numbers up to ten: hard enough that SmolLM2-135M-Instruct
fails at about every second one, and easy enough that it does not fail at all,
so that rewards differ within a group. It answers in a sentence of some 30
tokens, and 48 are enough for nearly all of them.

A hash of the prompt's text decides the split of a problem, so no problem can
be in two of them.
"""

from collections.abc import Callable
from collections.abc import Iterator
import dataclasses
import random

from score_jax import config as config_lib
from score_jax.grading import answers
from score_jax.tasks import base

NAME = 'sums'
SPLITS = ('train', 'validation', 'test')

QUESTION = '{problem} Answer briefly.'
INSTRUCTION = (
    'There might be an error above. Read the problem again, check the '
    'calculation and write the correct answer in one short sentence.'
)

HELD_OUT = 2000
"""Problems of the validation split, and of the test split."""

_SEED = 0
_VERSION = 2  # Raised whenever the same sizes draw other rows.
_GIVE_UP = 10_000  # Draws in a row without a new problem.


@dataclasses.dataclass(frozen=True)
class _Kind:
  """Problems that differ in names and numbers only.

  Attributes:
    text: of the problem.
    most: the largest a, b and c; the smallest is 2.
    solve: the answer, from a, b and c; below zero for no such problem.
  """

  text: str
  most: tuple[int, int, int]
  solve: Callable[[int, int, int], int]


_NOW = 'How many {things} does {name} have now?'
_LEFT = 'How many {things} are left?'
_KINDS = (
    _Kind('{name} has {a} {things} and buys {b} more. ' + _NOW,
          (10, 10, 2), lambda a, b, c: a + b),
    _Kind('{name} has {a} {things} and gives {b} of them away. ' + _LEFT,
          (10, 10, 2), lambda a, b, c: a - b),
    _Kind('{name} has {a} {things} and loses {b} {things}. ' + _LEFT,
          (10, 10, 2), lambda a, b, c: a - b),
    _Kind('{name} has {a} boxes with {b} {things} in each. ' + _NOW,
          (9, 9, 2), lambda a, b, c: a * b),
    _Kind('{name} finds {a} {things} on Monday, {b} on Tuesday and {c} on '
          'Friday. How many {things} does {name} find in total?',
          (9, 9, 9), lambda a, b, c: a + b + c),
)
_NAMES = ('Anna', 'Ben', 'Clara', 'David', 'Emma', 'Felix', 'Grace', 'Henry',
          'Ida', 'Jack', 'Kate', 'Leo', 'Mia', 'Noah', 'Olga', 'Paul')
_THINGS = ('apples', 'books', 'buttons', 'cards', 'coins', 'cookies', 'eggs',
           'flowers', 'marbles', 'pencils', 'shells', 'stamps')


def task(config: config_lib.TaskConfig) -> base.Task:
  """The task, with `config.train_problems` problems to train on."""
  sizes = {'train': config.train_problems, 'validation': HELD_OUT,
           'test': HELD_OUT}

  def split_rows(split: str) -> Iterator[dict[str, str]]:
    base.require_split(NAME, split, SPLITS)
    return rows(split, _SEED, sizes[split])

  return base.Task(
      name=NAME, question=QUESTION, instruction=INSTRUCTION, splits=SPLITS,
      rows=split_rows, grade=answers.equal_numbers, answer=answers.final_number,
      is_stated=answers.is_stated,
      fingerprint=base.fingerprint(_VERSION, _SEED, *sizes.values()))


def split_of(prompt: str) -> str:
  """The split of a problem, from its text alone: a tenth each is held out."""
  share = base.text_share(prompt)
  return 'test' if share < 0.1 else 'validation' if share < 0.2 else 'train'


def rows(split: str, seed: int, size: int) -> Iterator[dict[str, str]]:
  """Draws the problems of a split, each at most once.

  Args:
    split: one of `SPLITS`.
    seed: another seed draws other problems of the same split.
    size: how many.

  Yields:
    Dicts with `id`, `prompt` and `answer`. Equal arguments, equal rows.

  Raises:
    ValueError: there are not as many problems.
  """
  base.require_split(NAME, split, SPLITS)
  rng = random.Random(f'{NAME}/{split}/{seed}')
  seen = set()
  misses = 0
  while len(seen) < size:
    prompt, answer = _draw(rng)
    if answer < 0 or prompt in seen or split_of(prompt) != split:
      misses += 1
      if misses == _GIVE_UP:
        raise ValueError(
            f'the split {split!r} of the task {NAME!r} has hardly more than '
            f'{len(seen)} problems; lower --config.task.train_problems={size}')
      continue
    misses = 0
    yield {'id': f'{NAME}-{split}-{len(seen)}', 'prompt': prompt,
           'answer': str(answer)}
    seen.add(prompt)


def _draw(rng: random.Random) -> tuple[str, int]:
  """A problem and its answer."""
  kind = rng.choice(_KINDS)
  a, b, c = (rng.randint(2, most) for most in kind.most)
  prompt = kind.text.format(a=a, b=b, c=c, name=rng.choice(_NAMES),
                            things=rng.choice(_THINGS))
  return prompt, kind.solve(a, b, c)
