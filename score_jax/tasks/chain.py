"""Chain arithmetic modulo ten, a self-correction task that fits a CPU.

A problem is a chain of two to four operations on digits, taken strictly left
to right and modulo ten, for example

  prompt       Mod 10, left to right: 7+5*3-8=?
  attempt 1    7+5=2, 2*3=6, so 6
  instruction  There might be an error above. Check it and answer again.
  attempt 2    Go on, 6-8=8, so 8

The module holds the problem generator, the exact grader and the corpus of
two-attempt transcripts that the base language model is trained on. It is pure
Python: nothing here knows about tokens, arrays or models.

Why the task looks the way it does:

* Attempt 1 is limited structurally. It has room for `STEPS_PER_ATTEMPT` steps
  of working and an answer. A chain of two operations is finished there; a
  longer one is not, and its answer has to be given before its working is
  done: the last value reached, or a guess. So on unseen problems the accuracy
  of attempt 1 stays well below one: getting further would take one or two
  operations of mental arithmetic in a single token.
* Attempt 2 has to use attempt 1. It has room for the same number of steps, so
  a chain of four operations cannot be redone from its start; the way to the
  answer goes on from the last value that attempt 1 wrote. Showing it the
  attempt 1 of another problem therefore breaks it.
* The fix is computed, not copied: but for chance, attempt 1 does not hold the
  answer to a long chain anywhere.
* The skill is latent in the base model. In the corpus attempt 2 mostly keeps
  the answer (`KEEP_RATE`), whatever attempt 1 looks like, and otherwise goes
  on, with random slips. Decoded greedily a model of this corpus repeats its
  first answer, so its second attempt is no better than its first; sampled, it
  goes on often enough for reinforcement learning to find out that this pays.
  In the corpus going on is right more often (0.57) than keeping (0.39), which
  is what the first stage of SCoRe needs to amplify it, not to extinguish it.
* Correction is worth doing only where it is needed. Where attempt 1 finished
  the chain, going on oversteps it (`OVERSTEP_RATE`): it applies the last
  operation once more and spoils a right answer. So the best policy looks
  whether the chain is done before it goes on.

The splits are disjoint by construction: a hash of the prompt's text decides
the split of a problem, and the base corpus draws on the train split alone.
"""

from collections.abc import Iterator
import hashlib
import pathlib
import random

from score_jax import config as config_lib
from score_jax.tasks import base

NAME = 'chain'
HELD_OUT = 2000  # Problems of the validation and of the test split.
MOST = 1_000_000  # Rows of a split; there are about 4 million to train on.
_SEED = 0  # Of the problems; a run's seed is another matter.

INSTRUCTION = 'There might be an error above. Check it and answer again.'
"""The correction instruction between the two attempts (it tells nothing)."""

PREFIX = 'Mod 10, left to right: '
SUFFIX = '=?'
SEPARATOR = ', '
ANSWER = ', so '
KEEP = 'No error'
REDO = 'Go on'
OPERATIONS = '+-*'

SPLITS = ('train', 'validation', 'test')

STEPS_PER_ATTEMPT = 2
"""Steps of working which fit into one attempt."""

LENGTHS = (2, 3, 4)
"""Numbers of operations of a chain."""

LENGTH_WEIGHTS = (0.35, 0.35, 0.30)
"""Shares of the chain lengths among drawn problems."""

KEEP_RATE = 0.85
"""Share of the corpus in which attempt 2 keeps the answer of attempt 1."""

FIRST_SLIP_RATE = 0.05
"""Chance of a wrong result in a step of attempt 1."""

SECOND_SLIP_RATE = 0.1
"""Chance of a wrong result in a step of attempt 2."""

GUESS_RATE = 0.5
"""Chance that the answer to an unfinished chain is a uniform digit."""

OVERSTEP_RATE = 1.0
"""Chance that going on from a finished chain takes a step too many."""


def split_of(prompt: str) -> str:
  """The split a problem belongs to, decided by its text alone.

  Args:
    prompt: the text of the problem.

  Returns:
    One of `SPLITS`. Test holds about 15% of all problems, validation 10%.
  """
  digest = hashlib.sha256(prompt.encode('utf-8')).digest()
  bucket = int.from_bytes(digest[:4], 'big') % 20
  if bucket < 3:
    return 'test'
  if bucket < 5:
    return 'validation'
  return 'train'


def apply(operation: str, left: int, right: int) -> int:
  """One operation on digits, modulo ten.

  Args:
    operation: one of `OPERATIONS`.
    left: left operand, a digit.
    right: right operand, a digit.

  Returns:
    The result, a digit.
  """
  if operation == '+':
    return (left + right) % 10
  if operation == '-':
    return (left - right) % 10
  if operation == '*':
    return (left * right) % 10
  raise ValueError(f'unknown operation {operation!r}')


def render(first: int, chain: list[tuple[str, int]]) -> str:
  """The text of a problem.

  Args:
    first: the digit the chain starts from.
    chain: the operations with their right operands, in order.

  Returns:
    The prompt.
  """
  body = ''.join(f'{operation}{right}' for operation, right in chain)
  return f'{PREFIX}{first}{body}{SUFFIX}'


def solve(first: int, chain: list[tuple[str, int]]) -> int:
  """The right answer to a problem, a digit; arguments as in `render`."""
  value = first
  for operation, right in chain:
    value = apply(operation, value, right)
  return value


def _draw(rng: random.Random) -> tuple[int, list[tuple[str, int]]]:
  """Draws a problem: its first digit and its chain."""
  length = rng.choices(LENGTHS, LENGTH_WEIGHTS)[0]
  first = rng.randrange(10)
  chain = [
      (rng.choice(OPERATIONS), rng.randrange(1, 10)) for _ in range(length)
  ]
  return first, chain


def _work(
    rng: random.Random,
    value: int,
    chain: list[tuple[str, int]],
    slip_rate: float,
) -> tuple[list[str], int]:
  """Writes steps of working, with slips.

  Args:
    rng: source of the slips.
    value: the digit to start from.
    chain: the operations to carry out.
    slip_rate: chance of a wrong result in each step.

  Returns:
    The steps as text, and the value the last of them states.
  """
  steps = []
  for operation, right in chain:
    result = apply(operation, value, right)
    if rng.random() < slip_rate:
      result = (result + rng.randrange(1, 10)) % 10
    steps.append(f'{value}{operation}{right}={result}')
    value = result
  return steps, value


def _transcript(
    rng: random.Random, first: int, chain: list[tuple[str, int]]
) -> tuple[str, str]:
  """Writes the two attempts at a problem as the base corpus has them."""
  done, rest = chain[:STEPS_PER_ATTEMPT], chain[STEPS_PER_ATTEMPT:]
  steps, value = _work(rng, first, done, FIRST_SLIP_RATE)
  answer = value
  if rest and rng.random() < GUESS_RATE:
    answer = rng.randrange(10)
  attempt_1 = f'{SEPARATOR.join(steps)}{ANSWER}{answer}'
  if rng.random() < KEEP_RATE:
    return attempt_1, f'{KEEP}{ANSWER}{answer}'
  if rest:
    steps, value = _work(rng, value, rest, SECOND_SLIP_RATE)
  else:
    if rng.random() < OVERSTEP_RATE:
      rest, start = chain[-1:], value
    else:
      rest, start = chain[-1:], int(steps[-1][0])
    steps, value = _work(rng, start, rest, SECOND_SLIP_RATE)
  attempt_2 = SEPARATOR.join([REDO, *steps])
  return attempt_1, f'{attempt_2}{ANSWER}{value}'


def rows(split: str, seed: int, size: int) -> Iterator[dict[str, str]]:
  """Draws problems of a split, or transcripts for the base model.

  Problems of a split are drawn without replacement. There are only 7,290
  problems of two operations in all splits together, so the larger the `size`,
  the smaller their share: 33% in the first 1,000 of test, 29% in the first
  8,192 of train.

  Args:
    split: 'train', 'validation' or 'test' for problems, each at most once; or
      'base' for transcripts of problems of the train split, drawn with
      replacement.
    seed: seed of the drawing. Different seeds draw different problems of the
      same split, and never of another one.
    size: how many rows.

  Returns:
    An iterator of `size` dicts with the texts `id`, `prompt` and `answer` (the
    right answer), and in the base split also `attempt_1` and `attempt_2`.
    Equal arguments yield equal rows.

  Raises:
    ValueError: on the call, if the split is unknown.
  """
  if split not in (*SPLITS, 'base'):
    raise ValueError(f'unknown split {split!r}')
  return _rows(split, seed, size)


def _rows(split: str, seed: int, size: int) -> Iterator[dict[str, str]]:
  """The generator behind `rows`."""
  wanted = 'train' if split == 'base' else split
  rng = random.Random(f'chain/{split}/{seed}')
  seen = set()
  count = 0
  while count < size:
    first, chain = _draw(rng)
    prompt = render(first, chain)
    if split_of(prompt) != wanted or prompt in seen:
      continue
    row = {
        'id': f'chain-{split}-{seed}-{count}',
        'prompt': prompt,
        'answer': str(solve(first, chain)),
    }
    if split == 'base':
      row['attempt_1'], row['attempt_2'] = _transcript(rng, first, chain)
    else:
      seen.add(prompt)
    count += 1
    yield row


def grade(answer: str, text: str) -> int:
  """Grades an attempt.

  The final answer is the single digit that follows the only `ANSWER` marker
  and ends the text. Nothing may follow it, white space included, and there
  must be something before the marker.

  Args:
    answer: the right answer, one digit.
    text: the text of the attempt.

  Returns:
    1 if the text states this answer in this form, else 0. Never raises.
  """
  if not isinstance(text, str) or not isinstance(answer, str):
    return 0
  head, marker, final = text.partition(ANSWER)
  if not head or not marker:
    return 0
  if len(final) != 1 or final not in '0123456789':
    return 0
  return int(final == answer)


def answer(text: str) -> str | None:
  """The final answer that an attempt states, None if it states none."""
  head, marker, final = text.partition(ANSWER)
  return final if head and marker and final else None


def task(config: config_lib.TaskConfig) -> base.Task:
  """The task, its sizes from the config.

  Raises:
    ValueError: a size is above `MOST`.
  """
  for field in ('train_problems', 'transcripts'):
    if getattr(config, field) > MOST:
      raise ValueError(f'config.task.{field} is {getattr(config, field)}; the '
                       f'task {NAME!r} draws at most {MOST}')
  sizes = {base.BASE: config.transcripts, 'train': config.train_problems,
           'validation': HELD_OUT, 'test': HELD_OUT}

  def rows_of(split: str) -> Iterator[dict[str, str]]:
    base.require_split(NAME, split, tuple(sizes))
    return rows(split, _SEED, sizes[split])

  # The tokenizer knows the words of the corpus alone: so do all prompts.
  return base.Task(
      name=NAME, question='{problem}', instruction=INSTRUCTION,
      critique='There might be an error above.', verdicts=(REDO, KEEP),
      splits=tuple(sizes), rows=rows_of, grade=grade, answer=answer,
      fingerprint=base.fingerprint('1', _SEED, *sizes.values()),
      tokenizer=str(pathlib.Path(__file__).with_name('chain.model')))
