"""The protocol of every evaluation: all attempts at all problems, no oracle.

Every problem is answered and then answered again, whether the first answer was
right or not; nothing tells the model which (paper section 3.1).
"""

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence
import dataclasses

import jax
from jax.sharding import Mesh
import numpy as np

from score_jax import actor as actor_lib
from score_jax import config as config_lib
from score_jax import feedback
from score_jax import hosts
from score_jax import keys
from score_jax import metrics
from score_jax import progress
from score_jax import sharding
from score_jax import shutdown
from score_jax import types
from score_jax.run import Run

_MANY_TRUNCATED = 0.5


@dataclasses.dataclass(frozen=True)
class Outcome:
  """What became of attempts; rows are samples, problem-major.

  Attributes:
    texts: of every attempt, by row.
    grades_BA: int32, 1 for a right attempt.
    unchanged_B: bool, first and last attempt give one answer.
    truncated_BA: bool, the attempt ran out of tokens.
    length_BA: int32, tokens of the attempt.
    timeouts, crashes: answers that could not be graded, see `pool.Grades`.
    answers_per_s: grades a second, while there was something to grade.
  """

  texts: list[list[str]]
  grades_BA: np.ndarray
  unchanged_B: np.ndarray
  truncated_BA: np.ndarray
  length_BA: np.ndarray
  timeouts: int
  crashes: int
  answers_per_s: float

  def counts(self, chosen_B=slice(None)) -> dict[str, int]:
    """See `metrics.count`, of all rows or of those that are chosen."""
    return metrics.count(self.grades_BA[chosen_B], self.unchanged_B[chosen_B],
                         self.truncated_BA[chosen_B])


def attempt(
    run: Run,
    title: str,
    params: types.Params,
    problems: Sequence[types.Problem],
    *,
    samples: int = 1,
    temperature: float = 0.0,
    first_row: int = 0,
    conversation: actor_lib.Conversation | None = None,
    sample: Callable[..., list[types.Rollout]] = feedback.sample,
) -> Outcome:
  """Has a policy attempt problems, in batches.

  A batch is graded while the devices are at the next one.

  Args:
    run: the run.
    title: stands before the bar that shows how far it is.
    params: the policy, on the mesh.
    problems: at least one.
    samples: rows a problem.
    temperature: of sampling; 0 decodes greedily.
    first_row: see `Actor.sample`; two studies with one number draw alike.
    conversation: the task's own two attempts if None.
    sample: as `feedback.sample`; how the attempts of a batch are drawn.

  Raises:
    shutdown.Stopped: between two batches, when asked to.
  """
  size = batch_size(run.config.evaluation, run.mesh, samples)
  key = keys.purpose_key(run.config.seed, 'evaluation')

  asked = conversation or run.actor.conversation

  def sampled() -> Iterator[tuple[Sequence[types.Problem], types.Rollout]]:
    rollout = None
    for first in range(0, len(problems), size):
      batch = problems[first : first + size]
      filled = (list(batch) * size)[:size]
      jax.block_until_ready(rollout)  # A CPU would be at both at one time.
      bar.doing = (
          f'batch {first // size + 1} of {-(-len(problems) // size)}: '
          f'{size * samples} sequences of up to {sum(asked.attempt_tokens)} '
          'tokens are decoded at a time (config.evaluation.batch_size)')
      rollout, = sample(
          run.actor, params, filled, key, 0, samples=samples,
          temperature=temperature, first_row=first_row + first * samples,
          conversation=conversation)
      yield batch, rollout

  done, parts, total = 0, [], None
  with progress.Progress(title, len(problems)) as bar:
    for batch, rollout in _one_ahead(sampled()):
      hosts.present.at = f'{title}, after {done} problems'
      graded = run.actor.grade(batch, rollout, samples)()
      parts.append(run.actor.everywhere(graded))
      counts = parts[-1].counts
      total = counts if total is None else metrics.add(total, counts)
      rates = metrics.rates(total)
      done += len(batch)
      bar.update(done, {
          'acc@t1': rates['accuracy_first'],
          f'acc@t{parts[-1].grades_NA.shape[1]}': rates['accuracy_last'],
          'delta': rates['delta']})
      if hosts.any_of(run.stop.requested):
        raise shutdown.Stopped(
            f'{title}: stopped after {done} of {len(problems)} problems; the '
            'same command begins this evaluation again')
  outcome = _outcome(parts)
  warning = truncation_warning(
      title, outcome.truncated_BA.mean(axis=0), run.config.rollout,
      run.actor.stop_strings is not None)
  if warning:
    run.say(warning)
  return outcome


def truncation_warning(
    title: str, shares: Sequence[float], rollout: config_lib.RolloutConfig,
    has_stops: bool,
) -> str:
  """Return a line that names what to raise where attempts run out of tokens.

  Args:
    title: of what was sampled.
    shares: of each attempt, 0 to 1, that was truncated.
    rollout: the limits.
    has_stops: whether stop strings are looked for.

  Returns:
    The line; '' where less than half of every attempt is truncated.
  """
  if max(shares) < _MANY_TRUNCATED:
    return ''
  listed = ', '.join(f'{share:.0%} of attempts {a}'
                     for a, share in enumerate(shares, 1))
  more = '' if has_stops else (
      '; a model that writes no stop token needs '
      'config.task.stop_strings')
  return (f'WARNING: {title}: {listed} ran out of tokens; raise '
          f'config.rollout.attempt_tokens, now {rollout.attempt_tokens}{more}')


def batch_size(
    config: config_lib.EvaluationConfig, mesh: Mesh, samples: int
) -> int:
  """Problems a batch: so many that its rows split evenly over the mesh."""
  ways = sharding.ways('batch', mesh)
  return max(config.batch_size // samples // ways, 1) * ways


def _one_ahead(items: Iterable) -> Iterator:
  """Each item, when the one after it has been made."""
  last = []
  for item in items:
    yield from last
    last = [item]
  yield from last


def _outcome(parts: Sequence[actor_lib.Graded]) -> Outcome:
  rows = lambda of: np.concatenate([of(part) for part in parts])
  grades = [part.grades for part in parts]
  answers = sum(len(g.grades) for g in grades)
  failed = hosts.totals({
      'timeouts': sum(g.timeouts for g in grades),
      'crashes': sum(g.crashes for g in grades)})
  return Outcome(
      texts=[texts for part in parts for texts in part.texts],
      grades_BA=rows(lambda part: part.grades_NA),
      unchanged_B=rows(lambda part: part.unchanged_N),
      truncated_BA=rows(lambda part: part.truncated_NA),
      length_BA=rows(lambda part: part.length_NA), **failed,
      answers_per_s=answers / max(sum(g.wall_s for g in grades), 1e-9))
