"""Which fields of a config the weights of a stage depend on.

Checkpoints keep them, so that one of another run or stage is noticed. A
checkpoint may be copied into a run that differs from its own in other fields
alone, as those of a sweep are.
"""

import dataclasses
from typing import NamedTuple

from score_jax import config as config_lib
from score_jax import files

LATER = ('stage1', 'stage1b', 'stage2')
"""The stages after the base, in order."""

_NEVER = ('name', 'stage', 'checkpoints', 'evaluation', 'grading', 'profile',
          'mesh', 'memory', 'collapse_unchanged',
          # Places, which may have been moved; weights have a fingerprint.
          'model.checkpoint', 'model.tokenizer', 'task.data_dir',
          'stage1.checkpoint')
_NOT_OF_BASE = (
    'task.train_problems', 'rollout.prompts', 'rollout.samples',
    'rollout.parts', 'rollout.temperature', 'rollout.attempt_tokens',
    'rollout.feedback', 'rollout.feedback_tokens')


class Origin(NamedTuple):
  """The run and stage that a checkpoint is of.

  Attributes:
    stages: the stage that saves it; what is restored may be of any of these.
    config: fields of the config that the weights depend on, in JSON, by dotted
      name; empty where the run is another one.
  """

  stages: tuple[str, ...]
  config: dict[str, str]


def of_stage(
    config: config_lib.Config, stage: str, base: str | None
) -> Origin:
  """Return what a checkpoint of a stage is of.

  Args:
    config: of the run.
    stage: its name.
    base: fingerprint of the weights that `config.model.checkpoint` names.
  """
  at = config_lib.STAGES.index(stage)
  without = (*_NEVER, *config_lib.STAGES[at + 1 :],
             *(_NOT_OF_BASE if stage == 'base' else ()))
  fields = files.flat(dataclasses.asdict(config))
  kept = {name: value for name, value in fields.items()
          if not is_of(name, without)}
  if base:
    kept['model.checkpoint (its contents)'] = base
  return Origin((stage,), kept)


def of_other_run() -> Origin:
  """Return what `config.stage1.checkpoint` has to name: Stage I of any run."""
  return Origin(('stage1', 'stage1b'), {})


def is_of(path: str, fields: tuple[str, ...]) -> bool:
  """Whether a field is one of `fields`, or in a group that is."""
  return any(path == field or path.startswith(f'{field}.') for field in fields)


def check(folder: files.Path, seal: dict, origin: Origin | None):
  """Compare a checkpoint with its place and with the run that wants it.

  Args:
    folder: of the checkpoint, named by its step.
    seal: its content. One of an earlier version has no `config`, and its stage
      in `meta`; what it lacks is not compared.
    origin: what it has to be of; None: any.

  Raises:
    ValueError: it was saved at another step, by another stage or config.
  """
  step = seal.get('step')
  if step is not None and str(step) != folder.name:
    raise ValueError(
        f'checkpoint {folder} was saved at step {step}, so the folder was '
        f'renamed or copied; name it {step} again, or remove it')
  if origin is None:
    return
  stage = seal.get('stage', seal['meta'].get('stage'))
  if stage not in (None, *origin.stages):
    raise ValueError(
        f'checkpoint {folder} was saved by {stage}, and is to be one of '
        f'{" or ".join(origin.stages)}; move it back to where it was')
  there, here = seal.get('config', {}), origin.config
  differ = [f'config.{name} is {there[name]} there and {here[name]} here'
            for name in sorted(there.keys() & here)
            if there[name] != here[name]]
  if differ:
    more = f' and {len(differ) - 4} more' if len(differ) > 4 else ''
    raise ValueError(
        f'checkpoint {folder} is of another run: {"; ".join(differ[:4])}{more}'
        '; move it back to where it was, and bring back that of this run')
