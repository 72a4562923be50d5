"""STaR and Pair-SFT, through the loop of `train`: sample, choose, learn.

A stage has rounds. In each the policy of its first step samples all that
REINFORCE would have sampled in the steps of the round, with the same keys;
right second attempts are chosen (`rl.examples`), and the steps of the round
learn them by the same update, with advantages of 1 and without KL. So samples
and updates are as many as with any other method.

The examples of a round are kept in WORKDIR/examples, whole, so that a run that
was stopped goes on with the same ones. STaR's rounds go on from the policy that
the round before ended with, where ReST-EM starts each at the base: so all
updates count.
"""

import dataclasses
import pathlib

import jax
import jax.numpy as jnp
import numpy as np

from score_jax import config as config_lib
from score_jax import data
from score_jax import files
from score_jax import hosts
from score_jax import keys
from score_jax import metrics
from score_jax import progress
from score_jax import rows
from score_jax import sharding
from score_jax import shutdown
from score_jax import train
from score_jax import types
from score_jax.models import decoder
from score_jax.rl import examples
from score_jax.run import Run

_PARTS = ('tokens', 'valid', 'attempt')
_COUNTS = metrics.count_names(2)


@dataclasses.dataclass(frozen=True)
class Round:
  """A part of a stage.

  Attributes:
    number: from 0.
    first: its first step.
    end: the step behind its last.
    path: where its examples are kept.
  """

  number: int
  first: int
  end: int
  path: pathlib.Path


def round_of(
    run: Run, stage: str, settings: config_lib.StageConfig, step: int
) -> Round:
  """The round that a step is in."""
  steps, rounds = settings.steps, settings.rounds
  number = step * rounds // steps
  first, end = (-(-n * steps // rounds) for n in (number, number + 1))
  return Round(number, first, end,
               run.folder / 'examples' / f'{stage}_{number + 1}.npz')


def train_stage(
    run: Run,
    stage: str,
    settings: config_lib.StageConfig,
    params: types.Params,
    reference: types.Params,
) -> train.Trained:
  """A stage by cross-entropy; arguments and errors as `train.train_stage`.

  Raises:
    ValueError: nothing that was sampled can be learned from.
  """
  model, rollout = run.config.model, run.config.rollout
  size = rollout.prompts * rollout.samples
  step_fn = train.stage_program(run.states, stage)
  seed = keys.purpose_seed(run.config.seed, f'examples/{stage}')
  layout = run.actor.conversation.longest
  second_BA = np.tile(np.float32([0, 1]), (size, 1))
  of_round = {}

  def one_step(state, step):
    part = round_of(run, stage, settings, step)
    if part.number not in of_round:
      of_round.clear()
      policy = decoder.policy(model, reference, state.params)
      of_round[part.number] = _examples(run, stage, settings, part, policy,
                                        step)
    found = of_round[part.number]
    chosen = data.indices_of_step(len(found['tokens']), seed, step, size)
    arrays = [found[name][chosen] for name in _PARTS]
    logp_BS = np.zeros(arrays[0].shape, np.float32)
    batch = types.TrainBatch(
        *(sharding.put_rows(x, run.mesh)
          for x in (*arrays, logp_BS, second_BA)), layout)
    state, measured = step_fn(state, reference, batch)
    counts = dict(zip(_COUNTS, found['counts'].tolist()))
    row = metrics.rates(counts) | {'examples': len(found['tokens'])} | {
        name: float(x) for name, x in jax.device_get(measured).items()
        if not name.startswith('logp_gap')}  # Nobody sampled them so.
    return state, row, {'tokens': int((arrays[2] == 2).sum())}

  if params is reference:  # Which stays, while these are moved.
    params = jax.tree.map(jnp.copy, params)
  return train.loop(run, stage, settings.steps, params, one_step)


def _examples(run, stage, settings, part, policy, step):
  """The examples of a round: kept ones, or such as the policy gives now."""
  found = files.read_arrays(part.path)
  if found is not None:
    return found
  if step != part.first:
    raise ValueError(
        f'{part.path} is missing, and the policy that its examples are of is '
        'no more; bring it back, or start in another --workdir')
  found = _sampled(run, stage, settings, part, policy)
  if not len(found['tokens']):
    counts = dict(zip(_COUNTS, found['counts'].tolist()))
    run.say(f'{stage}, round {part.number + 1}: nothing to learn from in '
            f'{counts["n"]} rollouts, {counts["i_to_c"]} of them mended')
    if not part.number:
      raise ValueError(
          f'{stage}: the method {settings.method!r} finds nothing to learn '
          f'from in {counts["n"]} rollouts; more config.{stage}.steps sample '
          'more, or take another method')
    before = round_of(run, stage, settings, part.first - 1)
    found = files.read_arrays(before.path) | {'counts': found['counts']}
  if hosts.is_first():
    files.write_arrays(part.path, found)
  hosts.barrier()
  return found


def _sampled(run, stage, settings, part, policy):
  """Samples a round's rollouts and makes examples of them."""
  asked = run.actor.conversation
  asked = dataclasses.replace(asked, buckets=asked.buckets[-1:])
  problems, prompts = run.problems('train'), run.config.rollout.prompts
  key = keys.purpose_key(run.config.seed, f'rollout/{stage}')
  steps, total = [], None
  title = f'{stage}, samples of round {part.number + 1}'
  with progress.Progress(title, part.end - part.first) as bar:
    for step in range(part.first, part.end):
      chosen = train.indices(run, stage, len(problems), step, prompts)
      graded = train.attempts(run, policy, [problems[i] for i in chosen], key,
                              step, asked)
      sampled = graded.rollout
      steps.append((
          np.repeat(chosen, run.config.rollout.samples), *rows.everywhere(
              (graded.grades_BA, sampled.tokens_BS, sampled.valid_BS,
               sampled.attempt_BS), run.mesh)))
      counts = hosts.totals(graded.counts)
      total = counts if total is None else metrics.add(total, counts)
      bar.update(len(steps), {'acc@t1': counts['right_t1'] / counts['n']})
      if hosts.any_of(run.stop.requested):
        raise shutdown.Stopped(
            f'{title}: stopped; the same command samples them again')
  problem_B, grades_BA, *arrays = map(np.concatenate, zip(*steps))
  rng = np.random.default_rng(
      [keys.purpose_seed(run.config.seed, f'pairs/{stage}'), part.number])
  made = examples.assemble(
      *arrays, asked.longest,
      examples.choose(settings.method, grades_BA, problem_B, rng),
      run.actor.tokenizer.pad_id)
  return dict(zip(_PARTS, made)) | {
      'counts': np.array([total[name] for name in _COUNTS])}
