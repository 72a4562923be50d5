"""The work of a comparison: one file, which both sides read.

Only the standard library is imported here, and of score_jax only what does not
need jax: peers live in environments of their own.
"""

from collections.abc import Sequence
import dataclasses
import json
import pathlib
import random

from score_jax.grading import answers

PAD, STOP, FIRST = 0, 1, 256
"""Ids of padding, of the end of a turn, and the lowest one of a prompt."""

BONUS = 10.0
"""alpha of Stage II."""


@dataclasses.dataclass(frozen=True)
class Workload:
  """What each side is given.

  Attributes:
    weights: a Hugging Face folder.
    threads: processors that a side may use.
    prompts: ids of N prompts, all of one length.
    golds: the answer to each.
    instruction: ids between two attempts, behind the end of the turn.
    samples: rows a prompt (G).
    attempt_tokens: most tokens of each attempt.
    stop_ids: ids that end an attempt; the first closes one that ran out.
    ends: whether attempts end with them; else all use up their tokens.
    learned: ids of every attempt of N * G rows, for the update.
    credit: advantages of those attempts.
    learning_rate, kl: of the update.
  """

  weights: str
  threads: int
  prompts: list[list[int]]
  golds: list[str]
  instruction: list[int]
  samples: int
  attempt_tokens: list[int]
  stop_ids: list[int]
  ends: bool
  learned: list[list[list[int]]]
  credit: list[list[float]]
  learning_rate: float = 1e-5
  kl: float = 0.01

  def rows(self) -> list[list[int]]:
    """The prompt of each row, problem-major."""
    return [ids for ids in self.prompts for _ in range(self.samples)]

  def slots_together(self) -> int:
    """Of a problem's samples in an update, which have one prompt in common."""
    splices = (len(self.attempt_tokens) - 1) * (1 + len(self.instruction))
    own = sum(self.attempt_tokens) + splices
    return len(self.prompts[0]) + self.samples * own

  def next_prompt(self, prompt: list[int], attempt: list[int]) -> list[int]:
    """All that stands before the attempt behind `attempt`."""
    closed = attempt if self.has_ended(attempt) else [
        *attempt, self.stop_ids[0]]
    return [*prompt, *closed, *self.instruction]

  def has_ended(self, attempt: list[int]) -> bool:
    """Whether an attempt has its stop token."""
    return bool(attempt) and attempt[-1] in self.ending

  @property
  def ending(self) -> list[int]:
    """Ids that end an attempt here."""
    return self.stop_ids if self.ends else []

  def cut(self, ids: Sequence[int]) -> list[int]:
    """An attempt up to its stop token, which is kept."""
    ids = list(ids)
    ends = (n for n, token in enumerate(ids, 1) if token in self.ending)
    return ids[: next(ends, len(ids))]

  def grades(self, attempts: list[list[list[int]]]) -> list[list[int]]:
    """1 for each attempt [B, A] whose last number is the gold one."""
    golds = [gold for gold in self.golds for _ in range(self.samples)]
    return [[answers.equal_numbers(gold, '\n'.join(map(str, ids)))
             for ids in row] for gold, row in zip(golds, attempts, strict=True)]

  def advantages(self, grades: list[list[int]]) -> list[list[float]]:
    """Of attempts [B, A]: Stage II's rewards less those of other samples.

    As a run of `score_jax` has them, for sides without jax.
    """
    shaped = [[row[0], *((1 + BONUS) * later - BONUS * before
                         for before, later in zip(row, row[1:]))]
              for row in grades]
    found = []
    for first in range(0, len(shaped), self.samples):
      group = shaped[first : first + self.samples]
      totals = list(map(sum, zip(*group)))
      found += [[own - (total - own) / (self.samples - 1)
                 for own, total in zip(row, totals)] for row in group]
    return found

  def write(self, path: pathlib.Path):
    """Writes the file."""
    path.write_text(json.dumps(dataclasses.asdict(self)))


def read(path: str | pathlib.Path) -> Workload:
  """The work that a file describes."""
  return Workload(**json.loads(pathlib.Path(path).read_text()))


def make(
    weights: str,
    vocab_size: int,
    *,
    prompts: int,
    samples: int,
    prompt_tokens: int = 128,
    attempt_tokens: Sequence[int] = (64, 64),
    instruction_tokens: int = 48,
    threads: int = 2,
    ends: bool = False,
    mean_tokens: int = 40,
    seed: int = 0,
) -> Workload:
  """Random ids of the sizes asked for; the same for the same seed.

  Args:
    weights: see `Workload`.
    vocab_size: of the model.
    prompts, samples, threads, ends: see `Workload`.
    prompt_tokens, attempt_tokens, instruction_tokens: sizes.
    mean_tokens: of an attempt without a limit, if it ends by chance and all
      ids are equally likely: so many ids end one.
    seed: of the ids.
  """
  draw = random.Random(seed)
  ids = lambda count: [draw.randrange(FIRST, vocab_size) for _ in range(count)]
  rows = prompts * samples
  others = range(STOP + 1, STOP + vocab_size // mean_tokens)
  return Workload(
      weights, threads, prompts=[ids(prompt_tokens) for _ in range(prompts)],
      golds=[str(draw.randrange(vocab_size)) for _ in range(prompts)],
      instruction=ids(instruction_tokens), samples=samples,
      attempt_tokens=list(attempt_tokens),
      stop_ids=[STOP, *others] if ends else [STOP], ends=ends,
      learned=[[ids(count) for count in attempt_tokens] for _ in range(rows)],
      credit=[[draw.choice((-1.0, 1.0)) for _ in attempt_tokens]
              for _ in range(rows)])
