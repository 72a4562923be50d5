"""First attempts of the base, second ones of the policy.

The paper mixes such first attempts into Stage II where there are few problems
(section 5.3), and shows that with them alone correction is not learned (section
6, ablations). They are sampled from the frozen base, anew at every step.
"""

from collections.abc import Callable
from collections.abc import Sequence
import dataclasses

import jax
import jax.numpy as jnp

from score_jax import actor as actor_lib
from score_jax import continuation
from score_jax import types
from score_jax.run import Run


def attempts(
    run: Run,
    policy: types.Params,
    base: types.Params,
    problems: Sequence[types.Problem],
    key: jax.Array,
    base_key: jax.Array,
    step: int,
    share: float,
    asked: actor_lib.Conversation,
) -> actor_lib.Graded:
  """Graded attempts at the problems of a step; see `train.attempts`.

  Args:
    run: the run.
    policy: what is trained.
    base: what draws first attempts.
    problems: of the step.
    key: of the policy's attempts.
    base_key: of the base's.
    step: its number.
    share: of the problems of each part, from its first on, whose first attempts
      are the base's. The loss does not see these: in the rollout that is
      returned their tokens are of no attempt.
    asked: what all attempts are asked by.
  """
  rollout, actor = run.config.rollout, run.actor
  policy, base = actor.copied(policy), actor.copied(base)
  asked = asked.of_one_length(problems)

  def sampled(first: int, end: int, by_base: bool) -> Callable:
    chosen = problems[first:end]
    row, temperature = first * rollout.samples, rollout.temperature
    given = {'samples': rollout.samples, 'temperature': temperature,
             'first_row': row}
    if not by_base:
      drawn, = actor.sample(policy, chosen, key, step, conversation=asked,
                            **given)
      return actor.grade(chosen, drawn, rollout.samples)
    drawn, = actor.sample(base, chosen, base_key, step,
                          conversation=asked.first_attempts(1), **given)
    splices = [asked.splices[0]] * len(drawn.tokens_BS)
    whole = continuation.follow(actor, policy, chosen, drawn, splices, asked,
                                key, step, row, temperature)
    graded = actor.grade(chosen, whole, rollout.samples)
    return lambda: _without_first(graded())

  waiting, size = [], len(problems) // rollout.parts
  for first in range(0, len(problems), size):
    cut = first + round(share * size)
    if cut > first:
      waiting.append(sampled(first, cut, True))
    if cut < first + size:
      waiting.append(sampled(cut, first + size, False))
  return actor_lib.join([graded() for graded in waiting], run.mesh)


def _without_first(graded: actor_lib.Graded) -> actor_lib.Graded:
  attempt_BS = graded.rollout.attempt_BS
  return dataclasses.replace(graded, rollout=dataclasses.replace(
      graded.rollout, attempt_BS=jnp.where(attempt_BS == 1, 0, attempt_BS)))
