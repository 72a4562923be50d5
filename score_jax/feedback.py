"""What stands between the attempts besides the instruction, if anything does.

Intrinsic self-correction, the paper's, has nothing there. Two kinds of feedback
tell something of the first attempt, so first attempts are sampled, judged, and
then followed (`continuation`):

    'verdict'    whether the grader finds it right
    'tests'      which of the tests that the prompt shows a program passes

With 'critique' the policy is asked for its own critique first (Self-Refine,
2303.17651). That is sampled as an attempt is, and tells nothing from outside;
see `rl.rewards.with_critique`. Results of all three say so, since they are not
of the paper's problem.
"""

from collections.abc import Sequence
import dataclasses

import jax
import numpy as np

from score_jax import actor as actor_lib
from score_jax import config as config_lib
from score_jax import continuation
from score_jax import keys
from score_jax import rows as rows_lib
from score_jax import types

_OUTCOMES = ('failed', 'passed')


def conversation(
    actor: actor_lib.Actor, rollout: config_lib.RolloutConfig
) -> actor_lib.Conversation:
  """The task's conversation with the feedback that is asked for.

  Raises:
    ValueError: the task has none of this kind.
  """
  asked, task, kind = actor.intrinsic, actor.task, rollout.feedback
  if kind == 'none':
    return asked
  limit = rollout.feedback_tokens or asked.attempt_tokens[-1]
  if kind == 'critique':
    _require(task.critique, task, kind, 'no prompt that asks for a critique')
    first, last = asked.attempt_tokens
    return dataclasses.replace(
        asked, splices=(actor.splice(task.critique), *asked.splices),
        attempt_tokens=(first, limit, last))
  if kind == 'tests':
    _require(task.visible, task, kind, 'no tests that its prompts show')
    slots = limit + len(_ids(actor, '\n'))
  else:
    slots = max(len(_ids(actor, text)) for text in task.verdicts)
  return dataclasses.replace(
      asked, splices=(np.zeros(slots, np.int32),), feedback=kind)


def _require(found, task, kind, lacks):
  if not found:
    raise ValueError(
        f'config.rollout.feedback is {kind!r}, and the task {task.name!r} has '
        f'{lacks}; choose another')


def sample(
    actor: actor_lib.Actor,
    params: types.Params,
    problems: Sequence[types.Problem],
    key: jax.Array,
    step: int,
    *,
    samples: int,
    temperature: float,
    parts: int = 1,
    first_row: int = 0,
    conversation: actor_lib.Conversation | None = None,
) -> list[types.Rollout]:
  """As `Actor.sample`, with the feedback of the conversation, if it has any."""
  asked = conversation or actor.conversation
  given = {'samples': samples, 'temperature': temperature}
  if not asked.feedback:
    return actor.sample(params, problems, key, step, parts=parts,
                        first_row=first_row, conversation=asked, **given)
  asked, size = asked.of_one_length(problems), len(problems) // parts
  slots, rollouts = len(asked.splices[0]), []
  for start in range(0, len(problems), size):
    chosen, row = problems[start : start + size], first_row + start * samples
    first, = actor.sample(params, chosen, key, step, first_row=row,
                          conversation=asked.first_attempts(1), **given)
    said = _SAYS[asked.feedback](actor, chosen, first, samples)
    rollouts.append(continuation.follow(
        actor, params, chosen, first,
        [splice(actor, text, slots) for text in said], asked,
        keys.second_key(key), step, row, temperature))
  return rollouts


def splice(actor: actor_lib.Actor, text: str, slots: int) -> list[int]:
  """Ids of feedback and instruction; the feedback is cut where it is too long.
  """
  ids, tokens = _ids(actor, text), actor.tokenizer.encode(text)
  while len(ids) > slots:
    tokens = tokens[: max(len(tokens) - (len(ids) - slots), 0)]
    ids = _ids(actor, actor.tokenizer.decode(tokens))
  return ids


def _ids(actor, text):
  instruction = actor.task.instruction
  return actor.splice(f'{text}\n{instruction}' if text else instruction
                      ).tolist()


def _verdicts(actor, problems, first, samples) -> list[str]:
  """Whether each attempt is right."""
  graded = actor.grade(problems, first, samples)()
  grades_BA = rows_lib.everywhere(graded.grades_BA, actor.mesh)
  return [actor.task.verdicts[grade] for grade in grades_BA[:, 0]]


def _tests(actor, problems, first, samples) -> list[str]:
  """The tests that each prompt shows, with what became of them."""
  shown = [actor.task.visible(problem.answer) for problem in problems]
  mine = rows_lib.mine(first.tokens_BS)
  read = lambda x: rows_lib.read(x, mine)
  texts = actor.attempts_of(first, read)
  tests = [shown[row // samples] for row in mine]
  grades = iter(actor.grader.submit([
      (gold, text) for (text,), of_row in zip(texts, tests)
      for _, gold in of_row]).result().grades)
  found_NT = np.zeros((len(mine), max(map(len, shown), default=0)), np.int32)
  for n, of_row in enumerate(tests):
    found_NT[n, : len(of_row)] = [next(grades) for _ in of_row]
  found_BT = rows_lib.everywhere(rows_lib.spread(
      found_NT, mine, len(first.tokens_BS), actor.mesh), actor.mesh)
  return [
      '\n'.join(f'{line}  # {_OUTCOMES[outcome]}' for (line, _), outcome in
                zip(shown[row // samples], outcomes))
      for row, outcomes in enumerate(found_BT)]


_SAYS = {'verdict': _verdicts, 'tests': _tests}
