"""What a task is: problems by split, two prompts and a grader."""

from collections.abc import Callable
from collections.abc import Iterator
import dataclasses
import hashlib
from typing import NamedTuple

BASE = 'base'
"""The split that holds transcripts: rows with `attempt_1` and `attempt_2`."""


class Stops(NamedTuple):
  """Texts that end an attempt of a model without a chat template.

  Attributes:
    first: of the answer to a question.
    later: of what is written after a correction instruction or a critique.
  """

  first: tuple[str, ...]
  later: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Task:
  """A family of problems and how attempts at them are graded.

  Attributes:
    name: a key of `score_jax.tasks.TASKS`.
    question: what is put to the model first. `{problem}` in it stands for the
      problem's text (`str.replace`: problems hold braces of their own).
    instruction: the correction instruction between two attempts; it tells
      nothing about the attempt before it.
    splits: names of the splits. 'base', where there is one, is the corpus of
      two-attempt transcripts that a base model is trained on.
    rows: the rows of a split: dicts of the texts `id`, `prompt` and `answer`
      (the gold answer), in 'base' also `attempt_1` and `attempt_2`. There may
      be `tags` (JSON of a dict of texts) and `given`; see `types.Problem`. The
      same rows on every call; ValueError on a split that is not in `splits`.
    grade: (gold answer, text of an attempt) -> 1 if right, else 0. Never raises
      on the text of an attempt. Can be pickled.
    answer: the answer that a text gives, in one canonical spelling; None if it
      gives none. Tells whether two attempts agree.
    fingerprint: changes whenever the rows do.
    tokenizer: path of the tokenizer that comes with the task; '' if none does.
    grading: where `grade` runs: 'here', in the training process, as it cannot
      take long; 'pool', in processes apart; 'sandbox', there too, as a
      function of `grade(gold, text, sandbox=...)`: it runs programs.
    verdicts: what is said of a wrong and of a right attempt, where a grader's
      verdict is given.
    visible: (gold answer) -> the tests that the prompt shows, each as a line
      and as a gold answer of its own; None if the task has no tests.
    is_stated: whether nothing that might follow a truncated text changes its
      answer. A truncated attempt without such an answer is graded as ''. None
      grades truncated attempts like others.
    critique: asks the model what is wrong with its attempt (Self-Refine); ''
      if the task has no such prompt.
    notes: lines on the data that a person should see at the start.
    stops: the kinds of stop strings that its problems have; () for none.
    kind_of_stops: (gold answer) -> the index of its kind in `stops`.
  """

  name: str
  question: str
  instruction: str
  splits: tuple[str, ...]
  rows: Callable[[str], Iterator[dict[str, str]]]
  grade: Callable[[str, str], int]
  answer: Callable[[str], str | None]
  fingerprint: str
  tokenizer: str = ''
  grading: str = 'here'
  critique: str = ''
  notes: tuple[str, ...] = ()
  verdicts: tuple[str, str] = (
      'The answer above is wrong.', 'The answer above is right.')
  visible: Callable[[str], list[tuple[str, str]]] | None = None
  is_stated: Callable[[str], bool] | None = None
  stops: tuple[Stops, ...] = ()
  kind_of_stops: Callable[[str], int] = lambda answer: 0


def from_rows(
    name: str, split_rows: dict[str, list[dict[str, str]]], **fields
) -> Task:
  """A task whose rows are at hand. A split without rows is no split."""
  splits = tuple(split for split, rows in split_rows.items() if rows)

  def rows(split: str) -> Iterator[dict[str, str]]:
    require_split(name, split, splits)
    return iter(split_rows[split])

  return Task(name=name, splits=splits, rows=rows, **fields)


def fingerprint(*parts: str | int | bytes) -> str:
  """16 hexadecimal digits that change when any of the parts does."""
  return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def text_share(text: str) -> float:
  """A number in [0, 1) that depends on a text alone, evenly spread.

  Splits that are cut by it are disjoint by construction: equal texts fall on
  one side, whatever the seed, the size or the machine.
  """
  digest = hashlib.sha256(text.encode()).digest()
  return int.from_bytes(digest[:6], 'big') / 2**48


def require_split(task: str, split: str, splits: tuple[str, ...]):
  """Raises ValueError if a task has no such split."""
  if split not in splits:
    raise ValueError(
        f'the task {task!r} has no split {split!r}; it has {", ".join(splits)}')
