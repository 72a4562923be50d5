"""Problems in, graded attempts out: the policy at work on a task.

Here text becomes ids, once, and sampled ids become text for the grader and the
reader; training sees the ids alone.
"""

from collections.abc import Sequence
import dataclasses
import functools

import jax
from jax.sharding import Mesh
import numpy as np

from score_jax import config as config_lib
from score_jax import metrics
from score_jax import sharding
from score_jax import types
from score_jax.rollout import attempts
from score_jax.tasks import base as tasks_base
from score_jax.text import prompts
from score_jax.text import tokenizer as tokenizer_lib


@dataclasses.dataclass(frozen=True)
class Graded:
  """A rollout and what became of it.

  Attributes:
    rollout: as sampled, on the devices.
    texts: the text of every attempt, by row.
    grades_BA: int32, 1 for a right attempt.
    counts: see `metrics.count`.
  """

  rollout: types.Rollout
  texts: list[list[str]]
  grades_BA: np.ndarray
  counts: dict[str, int]


class Actor:
  """Samples attempts at problems of one task with one tokenizer."""

  def __init__(
      self,
      config: config_lib.Config,
      task: tasks_base.Task,
      tokenizer: tokenizer_lib.Tokenizer,
      mesh: Mesh,
  ):
    tokenizer_lib.check_fits(tokenizer, config.model.vocab_size)
    self.task = task
    self.tokenizer = tokenizer
    self._config = config
    self._mesh = mesh
    self._format = prompts.format_for(tokenizer, config.model.thinking)
    splice = np.asarray(
        prompts.splice_ids(self._format, tokenizer, task.instruction), np.int32)
    self.splices = (splice,) * (len(config.rollout.attempt_tokens) - 1)
    highest = max([*splice.tolist(), *self.prompt_ids('')])
    if highest >= config.model.vocab_size:
      raise ValueError(
          f'the chat template has the token {highest}, and '
          f'config.model.vocab_size is {config.model.vocab_size}; use the '
          'tokenizer that belongs to the model')
    sample = functools.partial(
        attempts.sample_attempts, config.model,
        attempt_tokens=config.rollout.attempt_tokens,
        stop_ids=tokenizer.stop_ids, pad_id=tokenizer.pad_id)
    self.program = jax.jit(
        sample, static_argnames=('samples', 'temperature'),
        out_shardings=sharding.named(mesh, 'batch'))

  def prompt_ids(self, prompt: str) -> list[int]:
    """Ids of a problem's first prompt."""
    question = self.task.question.replace('{problem}', prompt)
    return prompts.first_ids(self._format, self.tokenizer, question)

  def layout(self, prompt_slots: int) -> types.Layout:
    """The slots of a sequence whose prompt takes this many."""
    return types.Layout(prompt_slots, self._config.rollout.attempt_tokens,
                        tuple(1 + len(ids) for ids in self.splices))

  def check_lengths(
      self, problems: Sequence[types.Problem], split: str
  ) -> tuple[list[types.Problem], str]:
    """Problems whose prompts fit, and a line on those that do not, or ''.

    Raises:
      ValueError: some do not and `config.task.long_prompts` is 'error'.
    """
    lengths = [len(self.prompt_ids(p.prompt)) for p in problems]
    kept, left_out = prompts.keep_fitting(
        lengths, [p.id for p in problems],
        self._config.rollout.prompt_buckets[-1], split,
        self._config.task.long_prompts)
    return [problems[i] for i in kept], left_out

  def sample(
      self,
      params: types.Params,
      problems: Sequence[types.Problem],
      key: jax.Array,
      step: int,
      *,
      samples: int,
      temperature: float,
  ) -> types.Rollout:
    """Rollouts of every problem, `samples` adjacent rows each.

    Args:
      params: the policy, on the mesh.
      problems: as many as the batch axes of the mesh can split.
      key: see `keys.purpose_key`.
      step: folded into the key.
      samples: rows a problem.
      temperature: of sampling; 0 decodes greedily.
    """
    ids = [self.prompt_ids(p.prompt) for p in problems]
    bucket = prompts.choose_bucket(
        max(map(len, ids)), self._config.rollout.prompt_buckets)
    arrays = prompts.pad_left(ids, bucket, self.tokenizer.pad_id)
    rows = np.arange(len(problems) * samples, dtype=np.int32)
    split = lambda x: sharding.put_rows(x, self._mesh)
    return self.program(
        params, *map(split, arrays), self.splices, key, np.int32(step),
        split(rows), samples=samples, temperature=temperature)

  def attempts_of(self, rollout: types.Rollout) -> list[list[str]]:
    """The text of every attempt, by row."""
    tokens_BS = np.asarray(rollout.tokens_BS)
    attempt_BS = np.asarray(rollout.attempt_BS)
    numbers = range(1, len(rollout.layout.attempts) + 1)
    return [
        [self.tokenizer.decode(tokens[attempt == a].tolist()) for a in numbers]
        for tokens, attempt in zip(tokens_BS, attempt_BS)]

  def grade(
      self, problems: Sequence[types.Problem], rollout: types.Rollout
  ) -> Graded:
    """Grades every attempt against its problem's gold answer."""
    texts = self.attempts_of(rollout)
    samples = len(texts) // len(problems)
    answers = [p.answer for p in problems for _ in range(samples)]
    grades_BA = np.array(
        [[self.task.grade(answer, text) for text in row]
         for answer, row in zip(answers, texts)], np.int32)
    unchanged_B = np.array([self.same_answer(row[0], row[-1]) for row in texts])
    counts = metrics.count(grades_BA, unchanged_B,
                           np.asarray(rollout.truncated_BA))
    return Graded(rollout, texts, grades_BA, counts)

  def same_answer(self, first: str, last: str) -> bool:
    """Whether two attempts give one answer, or, without any, one text."""
    a, b = self.task.answer(first), self.task.answer(last)
    return first == last if a is None or b is None else a == b
