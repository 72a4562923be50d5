"""What the tasks `bands` and `hops` share: a skill to correct that is latent.

A problem takes steps of working and ends in one of a few answers. An attempt
has room for `ROOM` steps, and most problems take more, so that the first
attempt has to guess:

  prompt       Mod 10, left to right: 7+5*3-8*2, which half?
  attempt 1    7+5=2, 2*3=6, so 0
  instruction  There might be an error above. Check it and answer again.
  attempt 2    Go on, 6-8=8, 8*2=6, so 1

Why they look the way they do:

* A guess is right in one of `answers` cases, whatever has been learned by
  heart: so on unseen problems attempt 1 neither gains nor loses by it. On few
  training problems it is learned by heart fast, and then going on pays nothing
  any more. This is the race between the two that collapses plain RL.
* In the corpus attempt 2 keeps the answer, sometimes swaps it for another one
  without any work, and rarely goes on (`work`), at first hardly better than a
  guess (`slip`): so going on pays while attempt 1 is weak, and only later more
  than a first attempt that was learned by heart. Swapping mends every
  wrong answer of two and spoils every right one: what is made of pairs of a
  wrong and a right attempt alone learns to swap. Only going on tells which.
* Going on is a computation from where attempt 1 stopped. With another problem's
  attempt 1 in its place it fails, and from the start there is no room for it
  (unless `builds_on` is off and attempt 2 has more tokens).
* The skill is there all the same: a part of the corpus (`practice`) is of a
  prompt that no evaluation has, and there attempt 2 always goes on.
* Of a share of the problems (`easy`) attempt 1 could finish the working, but
  mostly (`hasty`) stops a step early: what RL mends at once, and the reason why
  acc@t1 rises.

The splits are disjoint by construction: a hash of the prompt's text decides the
split of a problem, and the corpus draws on the train split alone.
"""

from collections.abc import Callable
from collections.abc import Iterator
import dataclasses
import pathlib
import random
import re

from score_jax import config as config_lib
from score_jax.tasks import base
from score_jax.tasks import chain

ROOM = 2
"""Steps of working that fit into an attempt."""

EASY, HARD = ROOM, 2 * ROOM
"""Steps that a problem takes."""

SPLITS = ('train', 'validation', 'test')
HELD_OUT = 2000
"""Problems of the validation split, and of the test split."""

INSTRUCTION = chain.INSTRUCTION
ANSWER = chain.ANSWER
KEEP = 'No error'
SWAP = 'Wrong'
WORK = 'Go on'
PORTIONS = {2: 'half', 3: 'third', 5: 'fifth', 6: 'sixth', 10: 'tenth'}
"""What is asked for, by the number of answers."""

_SEED = 0
_VERSION = 1  # Raised whenever the same settings draw other rows.


@dataclasses.dataclass(frozen=True)
class Worked:
  """A problem with its working.

  Attributes:
    prompt: its text.
    steps: the whole working, each step right.
    answer: the right one, '0' up to the number of answers.
  """

  prompt: str
  steps: tuple[str, ...]
  answer: str


@dataclasses.dataclass(frozen=True)
class Family:
  """A task of this kind.

  Attributes:
    name: of the task; NAME.model beside this module is its tokenizer.
    sizes: the numbers of answers that it can have.
    draw: (source, steps, number of answers) -> a problem.
    prefix: how every prompt begins.
    practice: what stands there where the corpus practises.
    begin: how attempt 1 begins, before its first step.
    separator: between two steps, and before the first of attempt 2.
    pieces: texts that are one token each, beside those of this module.
  """

  name: str
  sizes: tuple[int, ...]
  draw: Callable[[random.Random, int, int], Worked]
  prefix: str
  practice: str
  begin: str
  separator: str
  pieces: tuple[str, ...]


def all_pieces(family: Family) -> tuple[str, ...]:
  """Texts of a family that are one token each."""
  return (family.prefix, family.practice, ANSWER, KEEP, SWAP, WORK,
          *family.pieces, *re.findall(r'[^.]*\.', INSTRUCTION),
          '\n')  # Around the instruction, see `text.prompts`.


def portion(value: int, values: int, answers: int) -> str:
  """In which of `answers` equal portions of 0 .. values - 1 a value lies."""
  return str(value * answers // values)


def split_of(prompt: str) -> str:
  """The split of a problem, from its text alone: 15% each are held out."""
  share = base.text_share(prompt)
  return 'test' if share < 0.15 else 'validation' if share < 0.3 else 'train'


def rows(
    family: Family,
    config: config_lib.LatentConfig,
    split: str,
    seed: int,
    size: int,
) -> Iterator[dict[str, str]]:
  """Draws problems of a split, or transcripts for the base model.

  Args:
    family: of the problems.
    config: how they are drawn.
    split: one of `SPLITS` for problems, each at most once; or 'base' for
      transcripts of problems of the train split, drawn with replacement.
    seed: another seed draws other problems of the same split.
    size: how many.

  Yields:
    Dicts of the texts `id`, `prompt`, `answer` and `tags`, in the base split
    also `attempt_1` and `attempt_2`. Equal arguments, equal rows.
  """
  base.require_split(family.name, split, (base.BASE, *SPLITS))
  wanted = 'train' if split == base.BASE else split
  rng = random.Random(f'{family.name}/{split}/{seed}')
  seen = set()
  count = 0
  while count < size:
    steps = EASY if rng.random() < config.easy else HARD
    worked = family.draw(rng, steps, config.answers)
    if split_of(worked.prompt) != wanted or worked.prompt in seen:
      continue
    row = {'id': f'{family.name}-{split}-{count}', 'prompt': worked.prompt,
           'answer': worked.answer, 'tags': f'{{"steps": "{steps}"}}'}
    if split == base.BASE:
      practises = rng.random() < config.practice
      if practises:
        row['prompt'] = row['prompt'].replace(family.prefix, family.practice)
      row['attempt_1'], row['attempt_2'] = transcript(
          rng, family, worked, config, practises)
    else:
      seen.add(worked.prompt)
    count += 1
    yield row


def transcript(
    rng: random.Random,
    family: Family,
    worked: Worked,
    config: config_lib.LatentConfig,
    practises: bool,
) -> tuple[str, str]:
  """Writes the two attempts at a problem as the corpus has them."""
  join = family.separator.join
  done = ROOM
  if len(worked.steps) == EASY and rng.random() < config.hasty:
    done -= 1
  answers = [str(n) for n in range(config.answers)]
  rest = worked.steps[done:]
  answer = rng.choice(answers) if rest else worked.answer
  attempt_1 = f'{family.begin}{join(worked.steps[:done])}{ANSWER}{answer}'
  another = lambda one: rng.choice([n for n in answers if n != one])
  share = rng.random()
  if practises or share < config.work:
    steps = rest if config.builds_on else worked.steps
    final = worked.answer
    if not practises and rng.random() < config.slip:
      final = another(final)
    return attempt_1, f'{join([WORK, *steps])}{ANSWER}{final}'
  if share < config.work + config.swap:
    return attempt_1, f'{SWAP}{ANSWER}{another(answer)}'
  return attempt_1, f'{KEEP}{ANSWER}{answer}'


def task(family: Family, config: config_lib.TaskConfig) -> base.Task:
  """The task of a family.

  Raises:
    ValueError: it cannot have as many answers as the config asks for.
  """
  answers = config.latent.answers
  if answers not in family.sizes:
    raise ValueError(f'config.task.latent.answers is {answers}; the task '
                     f'{family.name!r} has {", ".join(map(str, family.sizes))}')
  sizes = {base.BASE: config.transcripts, 'train': config.train_problems,
           'validation': HELD_OUT, 'test': HELD_OUT}

  def rows_of(split: str) -> Iterator[dict[str, str]]:
    base.require_split(family.name, split, tuple(sizes))
    return rows(family, config.latent, split, _SEED, sizes[split])

  return base.Task(
      name=family.name, question='{problem}', instruction=INSTRUCTION,
      critique='There might be an error above.', verdicts=(SWAP, KEEP),
      splits=tuple(sizes), rows=rows_of, grade=chain.grade,
      answer=chain.answer,
      fingerprint=base.fingerprint(
          _VERSION, _SEED, repr(config.latent), *sizes.values()),
      tokenizer=str(pathlib.Path(__file__).with_name(f'{family.name}.model')))
