"""The evaluation of a policy on held-out problems, greedy, and its studies."""

from collections.abc import Sequence
import time

import numpy as np

from score_jax import metrics
from score_jax import protocol
from score_jax import studies
from score_jax import types
from score_jax.run import Run


def check(run: Run):
  """Reads the problems and looks at the studies, before any work is done.

  Raises:
    ValueError: there is a split or a study that the run cannot have.
  """
  settings = run.config.evaluation
  run.problems(settings.split)
  for study in settings.studies:
    studies.STUDIES[study].check(run)


def evaluate(
    run: Run, stage: str, params: types.Params, step: int | None
) -> dict:
  """Evaluates a policy, and writes transcripts and results.

  Args:
    run: the run.
    stage: the name under which results are kept.
    params: the policy, on the mesh.
    step: updates of the stage that it has had; None of given weights.

  Returns:
    What `results.json` holds of this stage: `metrics.summary`, by tag too
    (`groups`), how far attempts differ (`edit_distance`), and the studies.

  Raises:
    shutdown.Stopped: between two batches, when asked to.
  """
  settings = run.config.evaluation
  there = len(run.problems(settings.split))
  if settings.problems > there:
    run.say(f'{settings.split}: {there} problems, fewer than the '
            f'{settings.problems} asked for')
  problems = _problems(run, settings.split)
  params = run.actor.copied(params)
  began = time.monotonic()
  outcome = protocol.attempt(run, f'evaluate {stage}', params, problems)
  result = {
      **metrics.summary(outcome.counts()),
      **metrics.change_rates(outcome.grades_BA, outcome.unchanged_B),
      'split': settings.split, 'step': step,
      **_by_attempt(run, outcome), 'feedback': run.config.rollout.feedback,
      'tokens': outcome.length_BA.mean(axis=0).tolist(),
      'edit_distance': metrics.histogram([
          metrics.edit_distance_ratio(texts[0], texts[-1])
          for texts in outcome.texts]),
      'groups': _groups(problems, outcome)}
  rows = [
      studies.transcript(problem, settings.split, *of_problem)
      for problem, *of_problem in zip(
          problems, outcome.texts, outcome.grades_BA, outcome.truncated_BA,
          outcome.unchanged_B)]
  for study in settings.studies:
    fields, more = studies.STUDIES[study].make(run, params, problems)
    result |= fields
    rows += more
  run.writer.transcripts(stage, rows)
  run.keep_result(
      stage, result, f'evaluate_{stage}', time.monotonic() - began,
      {'timeouts': outcome.timeouts, 'crashes': outcome.crashes,
       'answers_per_s': outcome.answers_per_s})
  return result


def is_of(run: Run, result: dict, step: int | None) -> bool:
  """Whether a result is of a stage at a step and of this run's problems.

  Args:
    run: the run.
    result: what `results.json` holds of the stage.
    step: updates of the stage.
  """
  split = run.config.evaluation.split
  return (result.get('step') == step and result.get('split', split) == split
          and result.get('n') == len(_problems(run, split)))


def ids(run: Run, result: dict) -> list[str]:
  """Return the problems of a result in the order of its transcripts."""
  found = _problems(run, run.config.evaluation.split)
  if 'repair' in result:
    found = found + _problems(run, run.config.evaluation.repair_split)
  return [problem.id for problem in found]


def _problems(run, split) -> list[types.Problem]:
  """Those of a split that are evaluated."""
  return run.problems(split)[: run.config.evaluation.problems or None]


def _by_attempt(run: Run, outcome: protocol.Outcome) -> dict[str, list[float]]:
  """Accuracy of each attempt, where there are more than first and last."""
  if len(run.config.rollout.attempt_tokens) == 2:
    return {}
  return {'accuracy': outcome.grades_BA.mean(axis=0).tolist()}


def _groups(
    problems: Sequence[types.Problem], outcome: protocol.Outcome
) -> dict[str, dict[str, dict]]:
  """The summary of the problems of each tag, such as a level or a subject."""
  tags = sorted({(name, value) for problem in problems
                 for name, value in problem.tags.items()})
  groups = {}
  for name, value in tags:
    chosen_N = np.array([p.tags.get(name) == value for p in problems])
    groups.setdefault(name, {})[value] = metrics.summary(
        outcome.counts(chosen_N))
  return groups
