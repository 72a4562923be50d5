"""The two-attempt protocol on held-out problems: greedy, no oracle.

Every problem is answered and then answered again, whether the first answer was
right or not; nothing tells the model which (paper section 3.1).
"""

import time

import jax

from score_jax import keys
from score_jax import metrics
from score_jax import progress
from score_jax import shutdown
from score_jax import types
from score_jax.run import Run


def evaluate(run: Run, stage: str, params: types.Params) -> dict:
  """Evaluates a policy, and writes transcripts and results.

  Args:
    run: the run.
    stage: the name under which results are kept.
    params: the policy, on the mesh.

  Returns:
    What `results.json` holds of this stage: `n`, the rates of
    `metrics.rates`, and `delta_ci95`.

  Raises:
    shutdown.Stopped: between two batches, when asked to.
  """
  settings = run.config.evaluation
  problems = run.problems(settings.split)
  if settings.problems > len(problems):
    run.say(f'{settings.split}: {len(problems)} problems, fewer than the '
            f'{settings.problems} asked for')
  problems = problems[: settings.problems or None]
  key = keys.purpose_key(run.config.seed, 'evaluation')
  start = time.monotonic()
  total, transcripts = None, []
  with progress.Progress(f'evaluate {stage}', len(problems)) as bar:
    for first in range(0, len(problems), settings.batch_size):
      batch = problems[first : first + settings.batch_size]
      counts, rows = _one_batch(run, params, batch, key, settings.batch_size)
      total = counts if total is None else metrics.add(total, counts)
      transcripts += rows
      rates = metrics.rates(total)
      bar.update(first + len(batch), {
          'acc@t1': rates['accuracy_t1'], 'acc@t2': rates['accuracy_t2'],
          'delta': rates['delta']})
      if run.stop.requested:
        raise shutdown.Stopped(
            f'evaluate {stage}: stopped after {first + len(batch)} of '
            f'{len(problems)} problems; the same command begins this '
            'evaluation again')
  result = {'n': total['n'], **metrics.rates(total),
            'delta_ci95': metrics.delta_interval(total)}
  run.writer.transcripts(stage, transcripts)
  run.keep_result(stage, result, f'evaluate_{stage}',
                  time.monotonic() - start)
  return result


def _one_batch(run, params, problems, key, batch_size):
  """Counts and transcripts of a batch; a short one is filled, then cut."""
  filled = (problems * batch_size)[:batch_size]
  rollout = run.actor.sample(params, filled, key, 0, samples=1,
                             temperature=0.0)
  rollout = jax.tree.map(lambda x: x[: len(problems)], jax.device_get(rollout))
  graded = run.actor.grade(problems, rollout)
  rows = [
      {'id': problem.id, 'problem': problem.prompt, 'attempts': texts,
       'answer': problem.answer, 'grades': [int(g) for g in grades],
       'truncated': [bool(t) for t in truncated]}
      for problem, texts, grades, truncated in zip(
          problems, graded.texts, graded.grades_BA, rollout.truncated_BA)]
  return graded.counts, rows

