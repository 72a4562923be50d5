"""Public models on pod slices: MATH at 512 rollouts a step, all weights.

    python -m score_jax.main --config=experiments/pods.py:gemma2_2b_v5e \
        --mode=compile --topology=v5e:4x4
    python -m score_jax.main --config=experiments/pods.py:gemma2_2b_v5e \
        --config.model.checkpoint=DIR --config.task.data_dir=FOLDER

Prompts of 512 tokens and attempts of 1024. `--mode=compile` needs no weights.
All counts are of chips.
"""

import ml_collections

from experiments import variants
from score_jax import config as config_lib
from score_jax.models import variants as models

ConfigDict = ml_collections.ConfigDict


def gemma2_2b_v5e(config: ConfigDict):
  """Gemma 2 2B on 16 of v5e: --topology=v5e:4x4.

  The sampler needs 6.1 and the update of Stage I 5.7 of 15.75 GiB.
  """
  _pod(config, 'gemma2_2b', fsdp=4, tensor=4, parts=4, micro_batches=64)


def _pod(config, model, *, fsdp, tensor, parts, micro_batches, data=1):
  variants.math(config)
  config.model.update(models.fields(model))
  config.rollout.update(prompt_buckets=(512,), parts=parts)
  config.memory.reference_dtype = 'bfloat16'
  config.mesh.update(data=data, fsdp=fsdp, tensor=tensor)
  for stage in (config.stage1, config.stage2):
    stage.micro_batches = micro_batches


VARIANTS = {
    'gemma2_2b_v5e': gemma2_2b_v5e,
}


def get_config(arg: str | None = None) -> ConfigDict:
  """The config of a pod, through Stage II.

  Raises:
    ValueError: unknown variant; the message lists the known ones.
  """
  if arg not in VARIANTS:
    raise ValueError(
        f'unknown variant {arg!r}{config_lib.nearest(arg or "", VARIANTS)}; '
        f'known: {", ".join(VARIANTS)}')
  config = config_lib.defaults()
  with config.unlocked():
    VARIANTS[arg](config)
  config.name = arg
  return config
