"""The noise of both baselines of Stage II: exactly, and of a run's own policy.

    python -m score_jax.baseline_variance
    python -m score_jax.baseline_variance --run=WORKDIR --at=stage1

Both have one expected gradient (`rl.rewards.factored`). Without a run it is
that of a policy so small that all of its rollouts can be counted: a first
attempt that is right or wrong, and a second that is, given the first. With a
run it is estimated from batches of its own training problems, without the KL,
whose gradient is the same for both.
"""

import contextlib
import dataclasses
import itertools
from typing import NamedTuple

from absl import flags
import jax
import jax.numpy as jnp
import numpy as np
import optax

from score_jax import config as config_lib
from score_jax import door
from score_jax import files
from score_jax import keys
from score_jax import pipeline
from score_jax import run as run_lib
from score_jax import sharding
from score_jax import shutdown
from score_jax import train
from score_jax import types
from score_jax import update
from score_jax.models import decoder
from score_jax.rl import advantages
from score_jax.rl import rewards

_ALPHAS = (0.0, 1.0, 10.0)
_SAMPLES = (2, 4)


class Gradient(NamedTuple):
  """A gradient that samples estimate.

  Attributes:
    mean: its expectation, a vector.
    variance: the sum of its entries' variances.
  """

  mean: np.ndarray
  variance: float


def exactly(
    credit: rewards.Credit, samples: int, logits: np.ndarray
) -> Gradient:
  """The estimated gradient of a problem, over all that can be sampled.

  Args:
    credit: of two attempts.
    samples: G.
    logits: that attempt 1 is right, and attempt 2 after a wrong and after a
      right one; what is differentiated.
  """
  right = 1 / (1 + np.exp(-logits))
  outcomes = np.array(list(itertools.product((0, 1), repeat=2)))
  chance, score = np.ones(4), np.zeros((4, 2, 3))
  for n, (r1, r2) in enumerate(outcomes):
    for a, (grade, which) in enumerate(((r1, 0), (r2, 1 + r1))):
      chance[n] *= right[which] if grade else 1 - right[which]
      score[n, a, which] = grade - right[which]
  groups = np.array(list(itertools.product(range(4), repeat=samples)))
  chance_N = chance[groups].prod(axis=1)
  shaped_BA = rewards.shaped_rewards(outcomes[groups.ravel()], credit)
  credit_BA = np.asarray(advantages.leave_one_out(shaped_BA, samples), float)
  credit_NGA = credit_BA.reshape(*groups.shape, 2)
  gradient_NP = (credit_NGA[..., None] * score[groups]).sum(axis=2).mean(axis=1)
  mean = chance_N @ gradient_NP
  return Gradient(mean, float(chance_N @ ((gradient_NP - mean)**2).sum(axis=1)))


def table() -> str:
  """Of the small policy, in Markdown; attempt 2 mends and spoils a little."""
  logits = np.array([-0.5, -2.0, 2.0])
  lines = ['| alpha | G | expected gradients differ by | variance, shaped '
           '| factored | ratio |', '|---|---|---|---|---|---|']
  for alpha, samples in itertools.product(_ALPHAS, _SAMPLES):
    credit = rewards.stage2(2, alpha, 0.0)
    shaped = exactly(credit, samples, logits)
    factored = exactly(rewards.factored(credit), samples, logits)
    differ = np.abs(shaped.mean - factored.mean).max()
    lines.append(
        f'| {alpha:g} | {samples} | {differ:.1e} | {shaped.variance:.4f} | '
        f'{factored.variance:.4f} | {shaped.variance / factored.variance:.3f} |'
    )
  return '\n'.join(lines)


def of_run(run: run_lib.Run, at: str, batches: int) -> dict[str, Gradient]:
  """Of a run's Stage II at the weights of a stage, by baseline.

  Raises:
    ValueError: there are no such weights.
  """
  found, base = (pipeline.newest(run, stage) for stage in (at, 'base'))
  if found is None or base is None:
    raise ValueError(f'{run.folder} holds no checkpoint of '
                     f'{at if found is None else "base"}; train it first')
  config, rollout = run.config, run.config.rollout
  params = run.start(found.params) if at == 'base' else found.params
  policy = decoder.policy(config.model, base.params, params)
  credits = {
      name: train.credit_program(
          train.stage_credit(config, dataclasses.replace(
              config.stage2, method='stage2', baseline=name)),
          rollout.samples, run.mesh)
      for name in ('shaped', 'factored')}
  asked = run.actor.conversation
  gradient = _gradient_program(run, len(asked.attempt_tokens))
  problems = run.problems('train')
  key = keys.purpose_key(config.seed, 'baseline_variance')
  vectors = {name: [] for name in credits}
  for step in range(batches):
    chosen = train.indices(run, 'stage2', len(problems), step, rollout.prompts)
    graded = train.attempts(run, policy, [problems[i] for i in chosen], key,
                            step, asked)
    sampled = graded.rollout
    for name, credit_fn in credits.items():
      advantages_BA, _ = credit_fn(graded.grades_BA)
      vectors[name].append(gradient(params, base.params, types.TrainBatch(
          sampled.tokens_BS, sampled.valid_BS, sampled.attempt_BS,
          sampled.logp_BS, advantages_BA, sampled.layout)))
  return {name: _measured(np.array(found)) for name, found in vectors.items()}


def _gradient_program(run, attempts):
  """(parameters, reference, batch) -> the update's gradient, as a vector."""
  config = run.config
  keep = optax.GradientTransformation(
      lambda params: jax.tree.map(jnp.zeros_like, params),
      lambda grads, state, params=None: (grads, grads))

  def program(params, reference, batch):
    state, _ = update.rl_update(
        update.init_state(keep, params), reference, batch, model=config.model,
        stage=config.stage2, credit=rewards.none(attempts), optimizer=keep,
        temperature=config.rollout.temperature, head_chunk=config.head_chunk)
    return jnp.concatenate(
        [x.ravel() for x in jax.tree.leaves(state.opt_state)])

  return jax.jit(program, out_shardings=sharding.named(run.mesh))


def _measured(vectors: np.ndarray) -> Gradient:
  return Gradient(vectors.mean(axis=0),
                  float(vectors.var(axis=0, ddof=1).sum()))


def _define():
  flags.DEFINE_string('run', '', 'The --workdir of a run.')
  flags.DEFINE_enum('at', 'stage1', list(config_lib.STAGES), 'Whose weights.')
  flags.DEFINE_integer('batches', 32, 'Of the run, at least 2.')


def main():
  """Prints the table, or the two variances of a run."""
  given = flags.FLAGS
  if not given.run:
    print(table(), flush=True)
    return
  if given.batches < 2:
    raise ValueError(f'--batches={given.batches}; a variance needs 2 or more')
  folder = files.opened(given.run)
  record = files.read_json(folder / 'config.json')
  if record is None:
    raise ValueError(f'--run={given.run} is no run: it has no config.json')
  run = run_lib.open_run(config_lib.from_dict(record['config']), folder,
                         shutdown.StopRequest(), evaluating=True)
  with contextlib.closing(run), jax.set_mesh(run.mesh):
    found = of_run(run, given.at, given.batches)
  for name, gradient in found.items():
    print(f'{name}: variance {gradient.variance:.4g}, squared mean '
          f'{gradient.mean @ gradient.mean:.4g}, of {given.batches} batches')


if __name__ == '__main__':
  door.run(main, _define)
