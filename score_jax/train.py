"""The algorithm: SCoRe's stages, and the base model that they start from.

One step of a stage, top to bottom in `train_stage`:

    problems -> two attempts each, G times -> rewards -> shaped rewards
             -> advantages -> update -> log -> save
"""

from collections.abc import Callable
from collections.abc import Sequence
import contextlib
import functools
import math
import time
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
import numpy as np

from score_jax import actor as actor_lib
from score_jax import compiler
from score_jax import config as config_lib
from score_jax import data
from score_jax import feedback
from score_jax import hosts
from score_jax import keys
from score_jax import metrics
from score_jax import offline
from score_jax import profiling
from score_jax import progress
from score_jax import protocol
from score_jax import sharding
from score_jax import shutdown
from score_jax import states
from score_jax import types
from score_jax import update
from score_jax.models import decoder
from score_jax.rl import advantages
from score_jax.rl import rewards
from score_jax.run import Run
from score_jax.text import prompts

_STEPS_WITH_WARNING = 3  # At the start of a stage.


class Trained(NamedTuple):
  """What a stage ends with.

  Attributes:
    params: on the mesh.
    wall_s: seconds that its steps took, over all starts.
  """

  params: types.Params
  wall_s: float


def credit_of(
    settings: config_lib.StageConfig, attempts: int
) -> rewards.Credit:
  """The stage's table of coefficients."""
  if settings.method in config_lib.SFT_METHODS:
    return rewards.none(attempts)
  alpha, beta1 = settings.alpha, settings.beta1
  credit = {
      'stage1': lambda: rewards.stage1(attempts, beta1, settings.beta2),
      'stage2': lambda: rewards.stage2(attempts, alpha, beta1),
      'last': lambda: rewards.last(attempts, beta1),
      'first': lambda: rewards.first(attempts, beta1),
      'progress': lambda: rewards.progress(attempts, alpha, beta1),
  }[settings.method]()
  credit = rewards.returns(credit, settings.gamma)
  return rewards.factored(credit) if settings.baseline == 'factored' else credit


def stage_credit(
    config: config_lib.Config, settings: config_lib.StageConfig
) -> rewards.Credit:
  """The coefficients of all that a stage samples, critiques too."""
  credit = credit_of(
      settings, settings.attempts or len(config.rollout.attempt_tokens))
  has_critique = config.rollout.feedback == 'critique'
  return rewards.with_critique(credit) if has_critique else credit


def stage_program(states_of_run: states.States, stage: str) -> Callable:
  """The update of Stage I or II as one program; see `update.rl_update`.

  Cross-entropy is of the model as it is, at temperature 1.
  """
  config, settings = states_of_run.config, states_of_run.settings(stage)
  credit = stage_credit(config, settings)
  sft = settings.method in config_lib.SFT_METHODS
  return _jitted(states_of_run, stage, functools.partial(
      update.rl_update, model=config.model, stage=settings, credit=credit,
      temperature=1.0 if sft else config.rollout.temperature,
      samples=samples_of(config, settings)))


def samples_of(
    config: config_lib.Config, settings: config_lib.StageConfig
) -> int:
  """Neighbours in a stage's batches that are samples of one problem."""
  sft = settings.method in config_lib.SFT_METHODS
  return 1 if sft else config.rollout.samples


def credit_program(
    settings: config_lib.StageConfig,
    credit: rewards.Credit,
    samples: int,
    mesh: Mesh,
) -> Callable[..., tuple[jax.Array, jax.Array, jax.Array]]:
  """Make the program that turns grades into credit.

  Args:
    settings: of the stage; how truncated attempts are treated.
    credit: its coefficients.
    samples: of a problem, adjacent.
    mesh: of the run.

  Returns:
    (grades_BA, truncated_BA, attempt_BS) -> advantages_BA, attempt_BS of what
    is learned, and the mean shaped reward of each attempt.
  """

  def program(grades_BA, truncated_BA, attempt_BS):
    if settings.truncated == 'zero':
      grades_BA = rewards.zeroed(grades_BA, truncated_BA)
    elif settings.truncated == 'masked':
      attempt_BS = rewards.masked(attempt_BS, truncated_BA)
    unpaid_BA = truncated_BA if settings.truncated_bonus == 'unpaid' else None
    shaped_BA = rewards.shaped_rewards(grades_BA, credit, unpaid_BA)
    return (advantages.leave_one_out(shaped_BA, samples), attempt_BS,
            shaped_BA.mean(axis=0))

  of_rows = sharding.named(mesh, 'batch')
  return jax.jit(program, out_shardings=(of_rows, of_rows,
                                         sharding.named(mesh)))


def train_stage(
    run: Run,
    stage: str,
    settings: config_lib.StageConfig,
    params: types.Params,
    reference: types.Params,
) -> Trained:
  """A stage of SCoRe, or in its place, from where it was left, to its end.

  Args:
    run: the run.
    stage: 'stage1' or 'stage2'.
    settings: of the stage.
    params: where it starts: `Run.start` for Stage I, Stage I for Stage II; with
      LoRA the adapters alone. Given up, unless they are the reference.
    reference: the BASE model, in both stages; see `Run.reference`.

  Raises:
    shutdown.Stopped: after saving, when asked to.
    FloatingPointError: a loss or gradient is not finite.
  """
  rollout, credit = run.config.rollout, stage_credit(run.config, settings)
  asked = run.actor.conversation.first_attempts(len(credit.kl_A))
  model = run.config.model
  credit_fn = credit_program(settings, credit, rollout.samples, run.mesh)
  step_fn = stage_program(run.states, stage)
  problems = run.problems('train')
  key = keys.purpose_key(run.config.seed, f'rollout/{stage}')
  base_key = keys.purpose_key(run.config.seed, f'rollout/{stage}/base')
  base = run.start_policy(reference) if settings.offline else None

  warned = []

  def one_step(state, step):
    chosen = [problems[i] for i in indices(run, stage, len(problems), step,
                                            rollout.prompts)]
    policy = decoder.policy(model, reference, state.params)
    if settings.offline:
      graded = offline.attempts(run, policy, base, chosen, key, base_key, step,
                                settings.offline, asked)
    else:
      graded = attempts(run, policy, chosen, key, step, asked)
    sampled = graded.rollout
    advantages_BA, attempt_BS, shaped_A = credit_fn(
        graded.grades_BA, sampled.truncated_BA, sampled.attempt_BS)
    batch = types.TrainBatch(
        sampled.tokens_BS, sampled.valid_BS, attempt_BS,
        sampled.logp_BS, advantages_BA, sampled.layout)
    state, measured = step_fn(state, reference, batch)
    totals = hosts.totals(_sums(graded))
    if step < _STEPS_WITH_WARNING and not warned:
      warned.extend(_warning(run, graded))
    row = _row(totals, *jax.device_get((shaped_A, measured)))
    return state, row, _timing(graded, totals)

  if params is reference:  # Which stays, while these are moved.
    params = jax.tree.map(jnp.copy, params)
  return loop(run, stage, settings.steps, params, one_step)


def attempts(
    run: Run,
    policy: types.Params,
    problems: Sequence[types.Problem],
    key: jax.Array,
    step: int,
    asked: actor_lib.Conversation,
) -> actor_lib.Graded:
  """Graded attempts at the problems of a step.

  A part is graded while the devices sample those after it. The sampler's copy
  of the policy is gone when this returns.
  """
  rollout = run.config.rollout
  sampled = feedback.sample(
      run.actor, run.actor.copied(policy), problems, key, step,
      samples=rollout.samples, temperature=rollout.temperature,
      parts=rollout.parts, conversation=asked)
  size = len(problems) // rollout.parts
  waiting = [run.actor.grade(problems[n * size : (n + 1) * size], part,
                             rollout.samples)
             for n, part in enumerate(sampled)]
  return actor_lib.join([graded() for graded in waiting], run.mesh)


def indices(
    run: Run, stage: str, size: int, step: int, batch: int
) -> np.ndarray:
  """Which problems a step takes: a pure function of seed, stage and step."""
  seed = keys.purpose_seed(run.config.seed, f'data/{stage}')
  return data.indices_of_step(size, seed, step, batch)


def train_base(run: Run) -> Trained:
  """Language modelling of two-attempt transcripts: the base model."""
  settings = run.config.base
  step_fn = _jitted(run.states, 'base', functools.partial(
      update.lm_update, model=run.states.model('base'),
      micro_batches=settings.micro_batches))
  corpus = _corpus(run)
  tokens = int(np.sum(corpus[1]) / len(corpus[1]) * settings.batch_size)

  def one_step(state, step):
    rows = indices(run, 'base', len(corpus[0]), step, settings.batch_size)
    batch = [sharding.put_rows(x[rows], run.mesh) for x in corpus]
    state, measured = step_fn(state, *batch)
    row = {name: float(x) for name, x in jax.device_get(measured).items()}
    return state, row, {'tokens': tokens}

  return loop(run, 'base', settings.steps, run.random_params(), one_step)


def loop(
    run: Run,
    stage: str,
    steps: int,
    params: types.Params,
    one_step: Callable,
) -> Trained:
  """Steps from the last whole checkpoint to the end; logs and saves.

  Args:
    run: the run.
    stage: its name.
    steps: at its end.
    params: where it starts; given up.
    one_step: (state, step) -> the new state, a row for the log, and `tokens`
      and what depends on the clock.
  """
  with run.checkpoints(stage) as checkpoints:
    state, wall_s = _begin(run, stage, params, checkpoints)
    first = int(state.step)
    run.writer.rewind(stage, first, steps)
    warned = False
    with (progress.Progress(stage, steps, first) as bar,
          contextlib.closing(profiling.traced(
              run.config, stage, range(first, steps), run.folder / 'profile',
              bar.say)) as traced):
      for step in traced:
        began = time.monotonic()
        hosts.present.at = f'{stage} step {step + 1}'
        state, row, timing = one_step(state, step)
        _check_finite(stage, step + 1, row, checkpoints)
        run.writer.metrics(stage, step + 1, row)
        took = time.monotonic() - began
        wall_s += took
        tokens_per_s = timing.pop('tokens') / took
        run.writer.timing(stage, step + 1, {
            'step_s': took, 'tokens_per_s': tokens_per_s} | timing)
        bar.update(step + 1, _shown(row, tokens_per_s))
        warned = warned or _warn_of_truncation(run, stage, step + 1, row, bar)
        last, stopping = step + 1 == steps, hosts.any_of(run.stop.requested)
        if (last or stopping
            or (step + 1) % run.config.checkpoints.every == 0):
          run.writer.flush()  # First, since a run goes on from a checkpoint.
          checkpoints.save(step + 1, _on_devices(run, stage, state),
                           {'stage': stage, 'wall_s': wall_s})
          _warn_of_collapse(run, stage, step + 1, row, bar)
        if stopping and not last:
          checkpoints.wait()
          raise shutdown.Stopped(
              f'{stage}: stopped after step {step + 1} of {steps}, saved; the '
              'same command goes on from there')
    checkpoints.wait()
  return Trained(state.params, wall_s)


def _begin(run, stage, params, checkpoints) -> tuple[types.TrainState, float]:
  """The state to go on from, and the seconds that it took; gives up `params`.
  """
  places = run.states.state_places(stage)
  restored = checkpoints.restore(run.states.state(stage), run.say)
  if restored is None:
    born = functools.partial(update.init_state, run.states.optimizer(stage))
    return jax.jit(born, out_shardings=places, donate_argnums=0)(params), 0.0
  for leaf in jax.tree.leaves(params):
    leaf.delete()
  state, meta = restored
  run.say(f'{stage}: goes on from step {int(state.step)}')
  return jax.device_put(state, places), meta['wall_s']


def _on_devices(run, stage, state):
  """The state as checkpoints hold it, wherever it lies between steps."""
  return jax.device_put(state, states.shardings(run.states.state(stage)))


def _jitted(states_of_run, stage, update_fn):
  """The update as one program: state donated, each part where it is kept."""
  config, mesh = states_of_run.config, states_of_run.mesh
  update_fn = functools.partial(
      update_fn, optimizer=states_of_run.optimizer(stage),
      head_chunk=config.head_chunk,
      seed=keys.purpose_seed(config.seed, f'rounding/{stage}'))
  bring = states.on_devices if config.memory.offload else lambda x: x
  places = states_of_run.state_places(stage)

  def step(*given):
    sharding.check_set(mesh)
    return update_fn(*bring(given))

  step.__name__ = f'update_{stage}'  # What the program is called in a trace.
  return jax.jit(step, donate_argnums=0,
                 out_shardings=(places, sharding.named(mesh)),
                 compiler_options=compiler.options(config.mesh, mesh))


def _corpus(run) -> tuple[np.ndarray, ...]:
  """Transcripts as arrays: tokens int32 and valid bool, both [M, S].

  They stand in the slots in which the sampler would have put them, and each
  attempt ends with the stop token. A transcript has two attempts; how to make
  more of them is not taught.
  """
  rows = run.transcripts()
  tokenizer = run.actor.tokenizer
  asked = run.actor.intrinsic.first_attempts(2)
  layout = asked.longest
  tokens, valid = prompts.pad_left(
      [run.actor.prompt_ids(types.Problem('', row['prompt'], ''))
       for row in rows], layout.prompt,
      tokenizer.pad_id)
  room = ((0, 0), (0, layout.slots - layout.prompt))
  tokens = np.pad(tokens, room, constant_values=tokenizer.pad_id)
  valid = np.pad(valid, room)
  for a, start in enumerate(layout.starts):
    if a:
      splice = asked.splices[a - 1]
      tokens[:, start - len(splice) : start] = splice
      valid[:, start - len(splice) : start] = True
    for n, row in enumerate(rows):
      ids = tokenizer.encode(row[f'attempt_{a + 1}']) + [tokenizer.stop_ids[0]]
      if len(ids) > layout.attempts[a]:
        raise ValueError(
            f'transcript {n}: attempt {a + 1} has {len(ids)} tokens, more than '
            f'config.rollout.attempt_tokens {layout.attempts}')
      tokens[n, start : start + len(ids)] = ids
      valid[n, start : start + len(ids)] = True
  return tokens, valid


def _warning(run, graded) -> list[str]:
  """Says so, if most attempts have no answer; what it said."""
  task = run.actor.task
  line = metrics.unread_warning(task.name, graded.texts, task.answer)
  if line:
    run.say(line)
  return [line] if line else []


def _sums(graded) -> dict[str, int]:
  """What adds up over the rows of all processes."""
  grades = graded.grades
  lengths = {f'length_t{a + 1}': int(length)
             for a, length in enumerate(graded.length_NA.sum(axis=0))}
  return graded.counts | lengths | {
      'timeouts': grades.timeouts, 'crashes': grades.crashes}


def _row(totals, shaped_A, measured) -> dict[str, float]:
  """What a step adds to the log; nothing that depends on the clock."""
  row = metrics.rates(totals)
  for a, reward in enumerate(shaped_A, 1):
    row[f'length_t{a}'] = totals[f'length_t{a}'] / totals['n']
    row[f'reward_t{a}'] = float(reward)
  return row | {name: float(x) for name, x in measured.items()}


def _timing(graded, totals) -> dict[str, float]:
  """Tokens that were sampled, and what depends on the clock."""
  grades = graded.grades
  return {
      'tokens': sum(n for name, n in totals.items() if 'length' in name),
      'grade_wait_s': graded.wait_s,
      'grades_per_s': len(grades.grades) / max(grades.wall_s, 1e-9),
      'grade_timeouts': totals['timeouts'], 'grade_crashes': totals['crashes']}


def _check_finite(stage, step, row, checkpoints):
  for name, value in row.items():
    if not math.isfinite(value):
      saved = checkpoints.latest()
      kept = ('no checkpoint of this stage was saved yet' if saved is None
              else f'the checkpoint of step {saved} is kept')
      raise FloatingPointError(
          f'{stage} step {step}: {name} is {value}; {kept}. A lower '
          f'config.{stage}.optimizer.learning_rate or a '
          'clip_norm above 0 may help')


def _shown(row, tokens_per_s) -> dict[str, float | str]:
  """What the live display shows of a step."""
  if 'kl_t1' not in row:
    return {'loss': row['loss'], 'tokens/s': tokens_per_s}
  kl = '/'.join(f'{x:.2g}' for name, x in row.items()
                if name.startswith('kl_t'))
  accuracy = {name.replace('accuracy_', 'acc@'): x for name, x in row.items()
              if name.startswith('accuracy_t')}
  return accuracy | {
      'delta': row['delta'], 'KL': kl, 'tokens/s': tokens_per_s}


def _warn_of_truncation(run, stage, step, row, bar) -> bool:
  """Says, once a start, that many attempts run out of tokens."""
  shares = [row.get(f'truncated_t{a}', 0.0) for a in (1, 2)]
  warning = protocol.truncation_warning(
      f'{stage} step {step}', shares, run.config.rollout,
      run.actor.stop_strings is not None)
  if warning:
    bar.say(warning)
  return bool(warning)


def _warn_of_collapse(run, stage, step, row, bar):
  """Says when the second attempt has become a copy of the first."""
  limit = run.config.collapse_unchanged
  if row.get('unchanged', 0.0) > limit and row['accuracy_t1'] < limit:
    bar.say(f'{stage} step {step}: {row["unchanged"]:.0%} of second attempts '
            'repeat the first answer; the policy may be collapsing (paper '
            'section 4)')
