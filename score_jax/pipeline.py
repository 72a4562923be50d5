"""Base, Stage I, Stage II: what is missing is run, what is there is skipped."""

from typing import NamedTuple

from score_jax import checkpoint
from score_jax import config as config_lib
from score_jax import evaluate
from score_jax import evaluations
from score_jax import files
from score_jax import hosts
from score_jax import imitate
from score_jax import origins
from score_jax import train
from score_jax import types
from score_jax.models import decoder
from score_jax.run import Run


class Found(NamedTuple):
  """What a stage has trained so far.

  Attributes:
    params: all weights; for Stages I and II with LoRA the adapters.
    step: updates; None of weights that were given.
  """

  params: types.Params
  step: int | None


def stages_of(config: config_lib.Config) -> tuple[str, ...]:
  """The stages of a run, in order; those without steps are left out."""
  up_to = config_lib.STAGES[: config_lib.STAGES.index(config.stage) + 1]
  return tuple(name for name in up_to if getattr(config, name).steps)


def train_all(run: Run) -> dict:
  """Trains and evaluates every stage that is not finished.

  Returns:
    The contents of `results.json`.
  """
  run.problems('train')  # Prompts that are too long show now, not hours later.
  evaluate.check(run)
  if run.config.stage1.checkpoint:
    _named_stage1(run)  # So does a folder that cannot be taken.
  model = run.config.model
  params = reference = None
  for stage in stages_of(run.config):
    trained = ready(run, stage)
    if trained and trained.step is not None:
      run.writer.check_logs(stage, trained.step)
    if trained is None:
      # Not kept: a reference of the stage's own is gone before the evaluation.
      trained = _train(run, stage, params, _held_against(
          run, stage, params, reference))
    params = trained.params
    if stage == 'base':
      reference = run.reference(params)  # Of all (paper Eq. 2 to 4).
      params = run.start(params)
    _evaluate_once(run, stage, decoder.policy(model, reference, params),
                   trained.step)
  return run.writer.read_results()


def _held_against(run, stage, params, reference):
  """The reference of a stage: the base, unless its settings have another."""
  own = stage != 'base' and run.settings(stage).reference == 'start'
  return run.reference(params) if own else reference


def evaluate_all(run: Run, name: str = '') -> dict:
  """Evaluates every stage as far as it is trained, training nothing.

  Transcripts and results go to `evaluations/NAME`; those of the training stay.
  An evaluation of the same settings and steps that is there is not repeated.

  Args:
    run: the run.
    name: of the evaluation; by default see `evaluations.default_name`.

  Returns:
    The contents of its `results.json`.

  Raises:
    ValueError: no stage has a checkpoint, or there is an evaluation of that
      name of other settings or steps.
  """
  evaluate.check(run)
  run = evaluations.opened(run, name, _steps(run))
  model, base, evaluated = run.config.model, None, []
  for stage in stages_of(run.config):
    found = newest(run, stage)
    if found is None or (stage != 'base' and model.lora.rank and base is None):
      run.say(f'{stage}: no checkpoint; skipped')
      continue
    if not _is_whole(run, stage, found):
      run.say(f'{stage}: as it is after step {found.step} of '
              f'{run.settings(stage).steps}')
    params = found.params
    if model.lora.rank and stage == 'base':
      base, params = params, run.fresh_adapters()
    evaluated.append(stage)
    if not evaluations.is_there(run, stage, found.step):
      evaluate.evaluate(run, stage, decoder.policy(model, base, params),
                        found.step)
  return run.writer.read_results()


def _steps(run) -> dict[str, int | None]:
  """The newest checkpoint of each stage; None of weights that were given.

  Raises:
    ValueError: no stage has any.
  """
  config, steps = run.config, {}
  for stage in stages_of(config):
    with run.checkpoints(stage) as saved:
      newest_step = hosts.from_first(saved.latest)
    given = (stage == 'base' and config.model.checkpoint
             or stage == 'stage1' and config.stage1.checkpoint)
    if given or newest_step is not None:
      steps[stage] = None if given else newest_step
  if not steps or config.model.lora.rank and 'base' not in steps:
    raise ValueError(f'{run.folder} holds no checkpoint to evaluate; train '
                     'first, with --mode=train')
  return steps


def ready(run: Run, stage: str) -> Found | None:
  """What a stage has trained to its end, or was given; None if neither."""
  found = newest(run, stage)
  return found if found and _is_whole(run, stage, found) else None


def newest(run: Run, stage: str) -> Found | None:
  """What a stage was given, or has trained so far; None if neither."""
  config = run.config
  if stage == 'base' and config.model.checkpoint:
    run.say(f'base: weights from {config.model.checkpoint}')
    return Found(run.loaded_params(), None)
  if stage == 'stage1' and config.stage1.checkpoint:
    run.say(f'stage1: weights from {config.stage1.checkpoint}')
    return Found(_named_stage1(run).params, None)
  folder = run.folder / 'checkpoints' / stage
  state = _last_state(run, stage, folder, origins.of_stage(
      config, stage, run.base))
  if state is None:
    return None
  found = Found(state.params, int(state.step))
  if _is_whole(run, stage, found):
    run.say(f'{stage}: finished in {folder}; skipped')
  return found


def _is_whole(run, stage, found):
  return found.step is None or found.step >= run.settings(stage).steps


def _named_stage1(run) -> types.TrainState:
  folder = files.opened(run.config.stage1.checkpoint)
  found = _last_state(run, 'stage1', folder, origins.of_other_run())
  if found is None:
    raise ValueError(f'config.stage1.checkpoint: {folder} holds no checkpoint; '
                     'name a folder such as WORKDIR/checkpoints/stage1')
  return found


def _last_state(run, stage, folder, origin) -> types.TrainState | None:
  with checkpoint.Checkpoints(
      folder, run.config.checkpoints.keep, origin) as saved:
    restored = saved.restore(run.states.state(stage), run.say)
  return None if restored is None else restored[0]


def _train(run, stage, params, reference) -> Found:
  settings = run.settings(stage)
  if stage == 'base':
    run.say(f'base: language modelling, {settings.steps} steps, because '
            'config.model.checkpoint names no weights')
    trained = train.train_base(run)
  else:
    run.say(f'{stage}: {settings.steps} steps')
    act = (imitate if settings.method in config_lib.SFT_METHODS else train)
    trained = act.train_stage(run, stage, settings, params, reference)
  run.say(f'{stage}: trained in {trained.wall_s:.0f} s')
  run.keep_result(stage, None, stage, trained.wall_s)
  return Found(trained.params, settings.steps)


def _evaluate_once(run, stage, params, step):
  results = run.writer.read_results() or {'stages': {}}
  done = results['stages'].get(stage)
  if done and evaluate.is_of(run, done, step):
    run.writer.check_transcripts(stage, evaluate.ids(run, done), results.get(
        'transcripts', {}).get(stage))
    run.say(f'{stage}: already evaluated in results.json; skipped')
    return
  if done:  # Of an earlier step or of other problems, by another version.
    run.writer.keep_results()
  evaluate.evaluate(run, stage, params, step)
