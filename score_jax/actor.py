"""Problems in, graded attempts out: the policy at work on a task.

Here text becomes ids, once, and sampled ids become text for the grader and the
reader; training sees the ids alone.
"""

from collections.abc import Callable
from collections.abc import Sequence
import dataclasses
import functools
import time

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
import numpy as np

from score_jax import config as config_lib
from score_jax import hosts
from score_jax import metrics
from score_jax import rows
from score_jax import sharding
from score_jax import stop_strings
from score_jax import types
from score_jax.grading import pool
from score_jax.grading import verdicts
from score_jax.models import decoder
from score_jax.rollout import attempts
from score_jax.rollout import stops as stops_lib
from score_jax.tasks import base as tasks_base
from score_jax.text import prompts
from score_jax.text import tokenizer as tokenizer_lib


@dataclasses.dataclass(frozen=True)
class Conversation:
  """What the policy reads before each of its attempts.

  Attributes:
    first: ids of the first prompt of a problem.
    splices: for each attempt but the first, int32 ids of what stands before it.
    attempt_tokens: most tokens of each attempt.
    buckets: rising lengths that a first prompt is padded to.
    feedback: what is said of first attempts; the first splice is room for it.
      See `score_jax.feedback`; '' says nothing.
    corrects: the first prompt ends with a correction instruction, so that its
      attempt has the stop strings of later ones.
  """

  first: Callable[[types.Problem], list[int]]
  splices: tuple[np.ndarray, ...]
  attempt_tokens: tuple[int, ...]
  buckets: tuple[int, ...]
  feedback: str = ''
  corrects: bool = False

  def layout(self, prompt_slots: int) -> types.Layout:
    """The slots of a sequence whose prompt takes this many."""
    return types.Layout(prompt_slots, self.attempt_tokens,
                        tuple(1 + len(ids) for ids in self.splices))

  def first_attempts(self, count: int) -> 'Conversation':
    """The same, ending after so many attempts."""
    return dataclasses.replace(
        self, splices=self.splices[: count - 1],
        attempt_tokens=self.attempt_tokens[:count],
        feedback=self.feedback if count > 1 else '')

  def of_one_length(
      self, problems: Sequence[types.Problem]
  ) -> 'Conversation':
    """With the one bucket that holds the prompts of all of these."""
    longest = max(len(self.first(problem)) for problem in problems)
    return dataclasses.replace(
        self, buckets=(prompts.choose_bucket(longest, self.buckets),))

  @property
  def longest(self) -> types.Layout:
    """The slots of the longest sequence."""
    return self.layout(self.buckets[-1])


@dataclasses.dataclass(frozen=True)
class Graded:
  """A rollout and what became of it.

  Of several processes each grades its own rows, N of all B.

  Attributes:
    rollout: as sampled, all rows, on the mesh.
    grades_BA: int32, 1 for a right attempt, all rows, on the mesh.
    rows_N: numbers of this process's rows; what follows is of these alone.
    texts: the text of every attempt, by row.
    grades_NA: int32, as `grades_BA`.
    unchanged_N: bool, first and last attempt give one answer.
    truncated_NA: bool, the attempt ran out of tokens.
    length_NA: int32, tokens of the attempt.
    grades: of the grader, with its timeouts and crashes.
    wait_s: seconds in which there was nothing to do but wait for grades.
  """

  rollout: types.Rollout
  grades_BA: jax.Array
  rows_N: np.ndarray
  texts: list[list[str]]
  grades_NA: np.ndarray
  unchanged_N: np.ndarray
  truncated_NA: np.ndarray
  length_NA: np.ndarray
  grades: pool.Grades
  wait_s: float

  @property
  def counts(self) -> dict[str, int]:
    """See `metrics.count`; of this process's rows."""
    return metrics.count(self.grades_NA, self.unchanged_N, self.truncated_NA)


def join(parts: Sequence[Graded], mesh: Mesh) -> Graded:
  """The parts of a batch as one, rows in order, arrays of it on the mesh."""
  if len(parts) == 1:
    return parts[0]
  rollout, grades_BA = _concatenate(sharding.named(mesh, 'batch'))(
      *((part.rollout, part.grades_BA) for part in parts))
  first_rows = np.cumsum([0, *(len(part.grades_BA) for part in parts)])
  of_all = lambda of: np.concatenate([of(part) for part in parts])
  grades = [part.grades for part in parts]
  return Graded(
      rollout, grades_BA,
      np.concatenate([first + part.rows_N
                      for first, part in zip(first_rows, parts)]),
      [texts for part in parts for texts in part.texts],
      of_all(lambda part: part.grades_NA),
      of_all(lambda part: part.unchanged_N),
      of_all(lambda part: part.truncated_NA),
      of_all(lambda part: part.length_NA),
      pool.Grades(
          [grade for g in grades for grade in g.grades],
          sum(g.timeouts for g in grades), sum(g.crashes for g in grades),
          sum(g.wall_s for g in grades)),
      sum(part.wait_s for part in parts))


@functools.cache
def _concatenate(where):
  return jax.jit(
      lambda *parts: jax.tree.map(lambda *x: jnp.concatenate(x), *parts),
      out_shardings=where)


def sampler_program(
    model: config_lib.ModelConfig,
    mesh: Mesh,
    stop_ids: tuple[int, ...],
    pad_id: int,
) -> Callable[..., types.Rollout]:
  """The sampler as one program; see `attempts.sample_attempts`."""

  def sample_attempts(*given, **static):
    sharding.check_set(mesh)
    return attempts.sample_attempts(
        model, *given, stop_ids=stop_ids, pad_id=pad_id, **static)

  return jax.jit(
      sample_attempts,
      static_argnames=('samples', 'attempt_tokens', 'temperature'),
      out_shardings=sharding.named(mesh, 'batch'))


def copy_program(
    model: config_lib.ModelConfig, mesh: Mesh
) -> Callable[[types.Params], types.Params]:
  """What makes the sampler's copy of a policy: its layout, its dtype."""
  where = sharding.tree_shardings(mesh, decoder.logical_axes(model),
                                  sharding.SAMPLER_AXES)
  return jax.jit(functools.partial(decoder.cast, model), out_shardings=where)


def lie_alike(tree: types.Params, other: types.Params) -> bool:
  """Whether arrays, or their shapes, have the same dtypes and shardings."""
  return jax.tree.all(jax.tree.map(
      lambda a, b: a.dtype == b.dtype and a.sharding.is_equivalent_to(
          b.sharding, a.ndim), tree, other))


class Actor:
  """Samples attempts at problems of one task with one tokenizer.

  Attributes:
    intrinsic: the task's conversation, without feedback.
    conversation: that of the run, which may have some (`score_jax.feedback`).
    stop_strings: texts that end an attempt; None for none.
  """

  def __init__(
      self,
      config: config_lib.Config,
      task: tasks_base.Task,
      tokenizer: tokenizer_lib.Tokenizer,
      mesh: Mesh,
      grader: pool.Grader,
  ):
    tokenizer_lib.check_fits(tokenizer, config.model.vocab_size)
    self.task = task
    self.tokenizer = tokenizer
    self.grader = grader
    self.mesh = mesh
    self._long_prompts = config.task.long_prompts
    self._format = prompts.format_for(tokenizer, config.model.thinking)
    self.intrinsic = Conversation(
        self.prompt_ids,
        (self.splice(task.instruction),)
        * (len(config.rollout.attempt_tokens) - 1),
        config.rollout.attempt_tokens, config.rollout.prompt_buckets)
    self.conversation = self.intrinsic
    self._check_ids(config.model.vocab_size)
    self.stop_strings = stop_strings.make(
        config, task, tokenizer, self._format.name == 'chat', mesh)
    self.program = sampler_program(
        config.model, mesh, tokenizer.stop_ids, tokenizer.pad_id)
    self._copy = copy_program(config.model, mesh)

  def _check_ids(self, vocab_size):
    highest = max([*self.conversation.splices[0].tolist(),
                   *self.prompt_ids(types.Problem('', '', ''))])
    if highest >= vocab_size:
      raise ValueError(
          f'the chat template has the token {highest}, and '
          f'config.model.vocab_size is {vocab_size}; use the tokenizer that '
          'belongs to the model')

  def prompt_ids(self, problem: types.Problem) -> list[int]:
    """Ids of a problem's first prompt."""
    question = self.task.question.replace('{problem}', problem.prompt)
    return prompts.first_ids(self._format, self.tokenizer, question)

  def splice(self, instruction: str) -> np.ndarray:
    """Ids between an attempt and the next, int32."""
    return np.asarray(
        prompts.splice_ids(self._format, self.tokenizer, instruction), np.int32)

  def repair_ids(self, problem: types.Problem) -> list[int]:
    """Ids of a prompt that holds the given attempt and the instruction."""
    return [*self.prompt_ids(problem), *self.tokenizer.encode(problem.given),
            self.tokenizer.stop_ids[0], *self.conversation.splices[0].tolist()]

  def check_lengths(
      self, problems: Sequence[types.Problem], split: str
  ) -> tuple[list[types.Problem], str]:
    """Problems whose prompts fit, and a line on those that do not, or ''.

    Raises:
      ValueError: some do not and `config.task.long_prompts` is 'error'.
    """
    lengths = [len(self.prompt_ids(p)) for p in problems]
    kept, left_out = prompts.keep_fitting(
        lengths, [p.id for p in problems], self.conversation.buckets[-1], split,
        self._long_prompts)
    return [problems[i] for i in kept], left_out

  def stops(
      self, problems: Sequence[types.Problem], attempts: int,
      corrects: bool = False,
  ) -> stops_lib.Stops | None:
    """Stop strings of a batch, see `StopStrings.of`; None for none."""
    if self.stop_strings is None:
      return None
    return self.stop_strings.of(problems, attempts, corrects)

  def copied(self, params: types.Params) -> types.Params:
    """A policy as the sampler takes it; itself, where that is the same.

    The copy takes memory of its own: make one for all that is sampled of a
    policy, and let go of it before the next update.
    """
    is_same = lie_alike(params, self._copy.eval_shape(params))
    return params if is_same else self._copy(params)

  def sample(
      self,
      params: types.Params,
      problems: Sequence[types.Problem],
      key: jax.Array,
      step: int,
      *,
      samples: int,
      temperature: float,
      parts: int = 1,
      first_row: int = 0,
      conversation: Conversation | None = None,
  ) -> list[types.Rollout]:
    """Rollouts of every problem, `samples` adjacent rows each.

    They come in parts, one for each part of the problems, all on their way when
    this returns: while the devices are at the later parts, the first can be
    graded. Samples do not depend on the parts.

    Args:
      params: the policy, see `copied`.
      problems: each part as many as the batch axes of the mesh can split.
      key: see `keys.purpose_key`.
      step: folded into the key.
      samples: rows a problem.
      temperature: of sampling; 0 decodes greedily.
      parts: how many; divides the number of problems.
      first_row: number of the first row, for its random key.
      conversation: the task's own if None.
    """
    asked = conversation or self.conversation
    ids = [asked.first(p) for p in problems]
    bucket = prompts.choose_bucket(max(map(len, ids)), asked.buckets)
    size = len(problems) // parts
    numbers = np.arange(first_row, first_row + len(problems) * samples,
                        dtype=np.int32)

    def part(n):
      arrays = prompts.pad_left(ids[n * size : (n + 1) * size], bucket,
                                self.tokenizer.pad_id)
      mine = numbers[n * size * samples : (n + 1) * size * samples]
      split = lambda x: sharding.put_rows(x, self.mesh)
      return self.program(
          params, *map(split, arrays), asked.splices, key, np.int32(step),
          split(mine), self.stops(problems[n * size : (n + 1) * size],
                                  len(asked.attempt_tokens), asked.corrects),
          samples=samples, attempt_tokens=asked.attempt_tokens,
          temperature=temperature)

    return [part(n) for n in range(parts)]

  def attempts_of(
      self, rollout: types.Rollout, read: Callable[[jax.Array], np.ndarray]
  ) -> list[list[str]]:
    """The text of every attempt, up to its stop string, by row.

    Args:
      rollout: of all rows.
      read: takes the wanted rows out of an array of it.
    """
    tokens_NS, attempt_NS = read(rollout.tokens_BS), read(rollout.attempt_BS)
    numbers = range(len(rollout.layout.attempts))
    ids_of = lambda n, a: tokens_NS[n][attempt_NS[n] == a + 1].tolist()
    if rollout.stop_token_BA is None:
      return [[self.tokenizer.decode(ids_of(n, a)) for a in numbers]
              for n in range(len(tokens_NS))]
    token_NA, bytes_NA = map(
        read, (rollout.stop_token_BA, rollout.stop_bytes_BA))
    return [
        [self.tokenizer.decode(ids_of(n, a)) if token_NA[n, a] < 0 else
         self.stop_strings.text(ids_of(n, a), int(token_NA[n, a]),
                                int(bytes_NA[n, a])) for a in numbers]
        for n in range(len(tokens_NS))]

  def grade(
      self, problems: Sequence[types.Problem], rollout: types.Rollout,
      samples: int
  ) -> Callable[[], Graded]:
    """Begins to grade every attempt against its problem's gold answer.

    Waits for the rollout, not for the grades.

    Args:
      problems: in the order of the rollout's rows. Rows behind those of the
        last problem have no grade.
      rollout: on the mesh.
      samples: rows a problem.

    Returns:
      A function that waits for the grades.
    """
    rows_N = rows.mine(rollout.tokens_BS)
    rows_N = rows_N[rows_N < len(problems) * samples]
    read = lambda x: rows.read(x, rows_N)
    truncated_NA, length_NA = map(
        read, (rollout.truncated_BA, rollout.length_BA))
    texts = self.attempts_of(rollout, read)
    pending = self.grader.submit([
        (problems[row // samples].answer, self._gradable(text, truncated))
        for row, of_row, truncated_A in zip(rows_N, texts, truncated_NA)
        for text, truncated in zip(of_row, truncated_A)])
    unchanged_N = np.array(
        [self.same_answer(row[0], row[-1]) for row in texts], bool)

    def graded() -> Graded:
      began = time.monotonic()
      with jax.profiler.TraceAnnotation('wait_for_grades'):
        try:
          grades = pending.result()
        except verdicts.BadVerdict as error:
          row = rows_N[error.number // length_NA.shape[1]]
          raise error.of_problem(problems[row // samples].id) from None
      wait_s = time.monotonic() - began
      grades_NA = np.array(grades.grades, np.int32).reshape(length_NA.shape)
      grades_BA = rows.spread(
          grades_NA, rows_N, len(rollout.tokens_BS), self.mesh)
      return Graded(rollout, grades_BA, rows_N, texts, grades_NA, unchanged_N,
                    truncated_NA, length_NA, grades, wait_s)

    return graded

  def _gradable(self, text, truncated) -> str:
    """Return the text to grade: '' if the attempt was cut off unanswered."""
    is_stated = self.task.is_stated
    return '' if truncated and is_stated and not is_stated(text) else text

  def everywhere(self, graded: Graded) -> Graded:
    """The graded rows of all processes, on each of them."""
    if not hosts.several():
      return graded
    rollout, grades_BA = rows.everywhere(
        (graded.rollout, graded.grades_BA), self.mesh)
    rows_N = np.flatnonzero(grades_BA.min(axis=1) >= 0)
    texts = self.attempts_of(rollout, lambda x: x[rows_N])
    return dataclasses.replace(
        graded, rows_N=rows_N, texts=texts, grades_NA=grades_BA[rows_N],
        unchanged_N=np.array(
            [self.same_answer(row[0], row[-1]) for row in texts], bool),
        truncated_NA=rollout.truncated_BA[rows_N],
        length_NA=rollout.length_BA[rows_N])

  def same_answer(self, first: str, last: str) -> bool:
    """Whether two attempts give one answer, or, without any, one text."""
    a, b = self.task.answer(first), self.task.answer(last)
    return first == last if a is None or b is None else a == b
