"""Studies beside the two attempts: scaling, many attempts, repair, Self-Refine.

Each takes a run, a policy and the problems that were evaluated, and returns
what it adds to the stage's entry in `results.json`, and transcripts of its own.
"""

from collections.abc import Callable
from collections.abc import Sequence
import dataclasses
import functools
from typing import NamedTuple

import numpy as np

from score_jax import actor as actor_lib
from score_jax import continuation
from score_jax import intervals
from score_jax import metrics
from score_jax import protocol
from score_jax import types
from score_jax.run import Run

_BUCKET = 64  # Prompts of a study are padded to a multiple of this.


class Study(NamedTuple):
  """A study of the evaluation.

  Attributes:
    check: (run); ValueError if the run cannot have it.
    make: (run, params, problems) -> fields by name, and transcripts.
  """

  check: Callable[[Run], None]
  make: Callable[[Run, types.Params, Sequence[types.Problem]],
                 tuple[dict, list[dict]]]


def scaling(run, params, problems):
  """2K samples in parallel against K samples each corrected once, by vote.

  The paper's figure 1 (right): a majority of first attempts against one of
  second attempts. Both curves have 95% intervals over problems. `baselines` is
  what two samples give without correction, at the token budget of two attempts.
  A majority of two samples is not among them: where they differ there is none,
  and the first of them, or either at random, has the accuracy of one sample.
  """
  settings = run.config.evaluation
  most, first_row = settings.samples, len(problems) * settings.samples
  attempt = lambda title, **more: protocol.attempt(
      run, f'scaling, {title}', params, problems, samples=most,
      temperature=settings.temperature, **more)
  pairs = attempt('corrected')
  alone = attempt('in parallel', first_row=first_row,
                  conversation=run.actor.conversation.first_attempts(1))
  votes = lambda outcome, index: _by_problem(run, outcome, index, most)
  corrected, first, second = votes(pairs, -1), votes(pairs, 0), votes(alone, 0)
  parallel = [a + b for a, b in zip(first, second)]
  halves = lambda k: [a[:k] + b[:k] for a, b in zip(first, second)]
  ks = range(1, most + 1)
  right_N = np.array([sum(grade for _, grade in of) for of in parallel])
  curves = {'parallel': [_votes(halves(k)) for k in ks],
            'corrected': [_votes([of[:k] for of in corrected]) for k in ks]}
  tokens = lambda outcome: float(outcome.length_BA.sum() / len(problems) / most)
  return {
      'scaling': {
          'temperature': settings.temperature, 'budget': [2 * k for k in ks],
          **{name: [right / len(problems) for right in of]
             for name, of in curves.items()},
          **{f'{name}_ci95': [intervals.of_rate(right, len(problems))
                              for right in of]
             for name, of in curves.items()}},
      'baselines': {
          'temperature': settings.temperature,
          'pass_at_2': metrics.pass_at(2, right_N, 2 * most),
          'tokens': 2 * tokens(alone),
          'tokens_two_attempts': tokens(pairs)}}, []


def in_a_row(run, params, problems):
  """Accuracy of each of many attempts, each behind the one before it."""
  outcome = protocol.attempt(run, 'attempts in a row', params, problems,
                             conversation=_in_a_row(run))
  return {'attempts_in_a_row': {
      'accuracy': outcome.grades_BA.mean(axis=0).tolist(),
      'truncated': outcome.truncated_BA.mean(axis=0).tolist()}}, []


def self_refine(run, params, problems):
  """By prompting alone: attempt, the policy's own critique, attempt again.

  After Madaan et al., 2303.17651; the second answer is asked for whatever the
  critique says.
  """
  outcome = protocol.attempt(run, 'self-refine', params, problems,
                             conversation=_self_refine(run))
  return {'self_refine': metrics.summary(outcome.counts())}, []


def repair(run, params, problems):
  """Given wrong attempts, each to be corrected once (paper: MBPP-R)."""
  del problems  # Those of another split, of which as many are taken.
  settings = run.config.evaluation
  split = settings.repair_split
  problems = run.problems(split)[: settings.problems or None]
  outcome = protocol.attempt(run, 'repair', params, problems,
                             conversation=_repair(run))
  unchanged_B = np.array([
      run.actor.same_answer(problem.given, texts[0])
      for problem, texts in zip(problems, outcome.texts)])
  given = np.zeros_like(outcome.grades_BA)
  counts = metrics.count(
      np.concatenate([given, outcome.grades_BA], axis=1), unchanged_B,
      np.concatenate([given > 0, outcome.truncated_BA], axis=1))
  found = metrics.summary(counts)
  names = {'n': 'n', 'accuracy': 'accuracy_t2',
           'accuracy_ci95': 'accuracy_t2_ci95', 'unchanged': 'unchanged',
           'truncated': 'truncated_t2'}
  rows = [
      {**transcript(problem, split, [problem.given, *texts], [0, *grades],
                    [False, *truncated], unchanged)}
      for problem, texts, grades, truncated, unchanged in zip(
          problems, outcome.texts, outcome.grades_BA, outcome.truncated_BA,
          unchanged_B)]
  return {'repair': {'split': split} | {
      name: found[key] for name, key in names.items()}}, rows


def swapped(run, params, problems):
  """Attempt 2 after its own attempt 1, and after that of the next problem.

  A control: a second attempt that does not read the first is the same.
  """
  size = protocol.batch_size(run.config.evaluation, run.mesh, 1)
  if len(problems) % size == 1:  # It has no other one in its batch.
    problems = problems[:-1]
  own, other = (
      protocol.attempt(run, f'swapped, after {whose}', params, problems,
                       sample=functools.partial(continuation.sample, swap=swap))
      for whose, swap in (('its own', False), ("another's", True)))
  same = [run.actor.same_answer(mine[-1], theirs[-1])
          for mine, theirs in zip(own.texts, other.texts)]
  return {'swapped': {
      'n': len(problems),
      'accuracy_own': float(own.grades_BA[:, -1].mean()),
      'accuracy': float(other.grades_BA[:, -1].mean()),
      'same': float(np.mean(same)),
      'copied': float(other.unchanged_B.mean())}}, []


def transcript(problem, split, texts, grades, truncated, unchanged) -> dict:
  """A line of `transcripts.jsonl`."""
  return {
      'id': problem.id, 'split': split, 'problem': problem.prompt,
      'attempts': texts, 'answer': problem.answer,
      'grades': [int(grade) for grade in grades],
      'truncated': [bool(t) for t in truncated], 'unchanged': bool(unchanged),
      'tags': problem.tags}


def _by_problem(run, outcome, index, samples):
  """Answer and grade of every sample, by problem."""
  found = [(run.actor.task.answer(texts[index]), int(grades[index]))
           for texts, grades in zip(outcome.texts, outcome.grades_BA)]
  return [found[i : i + samples] for i in range(0, len(found), samples)]


def _votes(samples: Sequence[Sequence[tuple[str | None, int]]]) -> int:
  """Return the number of problems of which the majority answer is right."""
  chosen = [of[metrics.majority([answer for answer, _ in of])]
            for of in samples]
  return sum(grade for _, grade in chosen)


def _in_a_row(run) -> actor_lib.Conversation:
  asked, times = run.actor.conversation, run.config.evaluation.attempts
  first, *_, last = asked.attempt_tokens
  return dataclasses.replace(
      asked, splices=asked.splices[:1] * (times - 1),
      attempt_tokens=(first,) + (last,) * (times - 1))


def _self_refine(run) -> actor_lib.Conversation:
  task, asked = run.actor.task, run.actor.conversation
  if not task.critique:
    raise ValueError(
        f"the task {task.name!r} has no prompt that asks for a critique; leave "
        "'self_refine' out of config.evaluation.studies")
  first, *_, last = asked.attempt_tokens
  return dataclasses.replace(
      asked, splices=(run.actor.splice(task.critique), asked.splices[-1]),
      attempt_tokens=(first, last, last))


def _repair(run) -> actor_lib.Conversation:
  problems = run.problems(run.config.evaluation.repair_split)
  if not all(problem.given for problem in problems):
    raise ValueError(
        f'config.evaluation.repair_split {run.config.evaluation.repair_split!r}'
        f' of the task {run.actor.task.name!r} has problems without a given '
        'attempt')
  asked = run.actor.conversation
  longest = max(len(run.actor.repair_ids(problem)) for problem in problems)
  return actor_lib.Conversation(
      run.actor.repair_ids, (), asked.attempt_tokens[-1:],
      (-(-longest // _BUCKET) * _BUCKET,), corrects=True)


def _swapped(run) -> actor_lib.Conversation:
  kind = run.config.rollout.feedback
  if kind != 'none':
    raise ValueError(
        "the study 'swapped' is of attempts alone, and config.rollout.feedback"
        f" is {kind!r}; leave it out of config.evaluation.studies")
  if len(run.problems(run.config.evaluation.split)) < 2 or (
      run.config.evaluation.problems == 1):
    raise ValueError("the study 'swapped' needs two problems; raise "
                     'config.evaluation.problems')
  return run.actor.conversation


def _check(study: str, conversation: Callable[[Run], actor_lib.Conversation]):
  """A check that the study's sequences fit the model's context."""

  def check(run):
    slots = conversation(run).longest.slots
    if slots > run.config.model.max_positions:
      raise ValueError(
          f'the study {study!r} has sequences of up to {slots} positions and '
          f'the model has {run.config.model.max_positions} '
          '(config.model.max_positions); leave it out of '
          'config.evaluation.studies, or lower config.evaluation.attempts or '
          'config.rollout.attempt_tokens')

  return check


STUDIES = {
    'scaling': Study(
        _check('scaling', lambda run: run.actor.conversation), scaling),
    'in_a_row': Study(_check('in_a_row', _in_a_row), in_a_row),
    'self_refine': Study(_check('self_refine', _self_refine), self_refine),
    'repair': Study(_check('repair', _repair), repair),
    'swapped': Study(_check('swapped', _swapped), swapped),
}
