"""Public models on pod slices: MATH at 512 rollouts a step, all weights.

    python -m score_jax.main --config=experiments/pods.py:gemma2_2b_v5e \
        --mode=compile --topology=v5e:4x4
    python -m score_jax.main --config=experiments/pods.py:gemma2_2b_v5e \
        --config.model.checkpoint=DIR --config.task.data_dir=FOLDER

Prompts of 512 tokens and attempts of 1024, both stages. `--mode=compile` needs
no weights; what it found of each is in docs/pods.md. All counts are of chips.

`tensor` divides the heads of keys and values, so a device holds the sampler's
weights over `tensor`. `parts` is so high that the keys of a layer, of the rows
of a device, fit a chip's inner memory and are read once a token (docs/pods.md).
"""

import ml_collections

from score_jax import config as config_lib
from score_jax.models import variants as models
from score_jax.recipes import base_recipes

ConfigDict = ml_collections.ConfigDict


def gemma2_2b_v5e(config: ConfigDict):
  """Gemma 2 2B on 16 of v5e: --topology=v5e:4x4."""
  _pod(config, 'gemma2_2b', fsdp=4, tensor=4, parts=2, micro_batches=16)


def gemma2_2b_v6e(config: ConfigDict):
  """Gemma 2 2B on 16 of v6e: --topology=v6e:4x4."""
  _pod(config, 'gemma2_2b', fsdp=4, tensor=4, parts=4, micro_batches=8)


def gemma2_9b_v5e(config: ConfigDict):
  """Gemma 2 9B on 256 of v5e: --topology=v5e:16x16."""
  _pod(config, 'gemma2_9b', fsdp=32, tensor=8, parts=1, micro_batches=4)


def gemma2_9b_v5p(config: ConfigDict):
  """Gemma 2 9B on 64 of v5p: --topology=v5p:4x4x4."""
  _pod(config, 'gemma2_9b', fsdp=8, tensor=8, parts=4, micro_batches=4)


def gemma2_9b_two_slices(config: ConfigDict):
  """Gemma 2 9B on 2 slices of 256 of v5e: --topology=v5e:16x16 --slices=2.

  Each slice has a whole copy of the state and half of the rows.
  """
  _pod(config, 'gemma2_9b', data=2, fsdp=32, tensor=8, parts=1,
       micro_batches=2)


def gemma2_27b_v5p(config: ConfigDict):
  """Gemma 2 27B on 128 of v5p: --topology=v5p:4x4x8."""
  _pod(config, 'gemma2_27b', fsdp=16, tensor=8, parts=1, micro_batches=4)


def llama3_1_8b_v5e(config: ConfigDict):
  """Llama 3.1 8B on 64 of v5e: --topology=v5e:8x8."""
  _pod(config, 'llama3_1_8b', fsdp=8, tensor=8, parts=1, micro_batches=8)


def llama3_1_70b_v5p(config: ConfigDict):
  """Llama 3.1 70B on 256 of v5p: --topology=v5p:4x8x8."""
  _pod(config, 'llama3_1_70b', fsdp=32, tensor=8, parts=1, micro_batches=2)


def qwen2_5_72b_v5p(config: ConfigDict):
  """Qwen2.5 72B on 256 of v5p: --topology=v5p:4x8x8."""
  _pod(config, 'qwen2_5_72b', fsdp=32, tensor=8, parts=1, micro_batches=2)


def _pod(config, model, *, fsdp, tensor, parts, micro_batches, data=1):
  base_recipes.math(config)
  config.model.update(models.fields(model))
  config.rollout.update(prompt_buckets=(512,), parts=parts)
  config.memory.reference_dtype = 'bfloat16'
  config.mesh.update(data=data, fsdp=fsdp, tensor=tensor)
  # The head is read again for every chunk: few of them.
  config.head_chunk = 128
  for stage in (config.stage1, config.stage2):
    stage.micro_batches = micro_batches


VARIANTS = {
    variant.__name__: variant for variant in (
        gemma2_2b_v5e, gemma2_2b_v6e, gemma2_9b_v5e, gemma2_9b_v5p,
        gemma2_9b_two_slices, gemma2_27b_v5p, llama3_1_8b_v5e,
        llama3_1_70b_v5p, qwen2_5_72b_v5p)
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
