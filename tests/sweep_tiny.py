"""A sweep of seconds: what --config names in `sweep_test`."""

from unittest import mock

from score_jax.recipes import base_recipes
from score_jax.recipes import sweep_embedded


def tiny(config):
  """The embedded task, a model of 2,000 parameters, a few steps a stage."""
  base_recipes.chain(config)
  config.model.update(num_layers=1, width=16, num_heads=2, num_kv_heads=1,
                      head_dim=8, mlp_width=16)
  config.task.update(train_problems=64, transcripts=64)
  config.rollout.update(prompts=8, samples=2)
  config.base.update(batch_size=16, micro_batches=2, steps=3)
  for stage in (config.stage1, config.stage2):
    stage.update(micro_batches=2, steps=3)
  config.checkpoints.every = 2


def get_config(arg=None):
  """Three cells, two seeds; `arg` is a form of `sweep_embedded`.

  With +METHOD it is the run of a single cell.
  """
  with mock.patch.dict(base_recipes.VARIANTS, tiny=tiny):
    if arg and arg.startswith('+'):
      config = base_recipes.make(f'tiny{arg}', 'stage2')
      config.evaluation.studies = ('swapped',)
    else:
      config = sweep_embedded.get_config(f'tiny+{arg or "quick"}')
      config.sweep.update(seeds=2, only=('score', 'no_bonus', 'no_stage1'))
  config.evaluation.update(problems=12, batch_size=8)
  return config
