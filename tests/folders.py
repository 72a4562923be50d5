"""Small Hugging Face folders of every family, with random weights."""

import json
import pathlib

import ml_dtypes
import numpy as np

from score_jax import config as config_lib
from score_jax.models import families
from score_jax.models import safetensors_writer

DTYPES = {'float32': np.float32, 'float16': np.float16,
          'bfloat16': ml_dtypes.bfloat16}

_GEMMA = dict(families.FAMILIES['gemma2'].fixed, rope_base=10_000.0, window=4,
              attention_scale=10.0**-0.5, tied_head=True)
SMALL = {
    'llama': dict(rope_base=10_000.0, tied_head=False, rope_scaling=(
        config_lib.RopeScaling('llama3', 8.0, original_positions=16))),
    'gemma2': dict(_GEMMA, global_every=2, attention_softcap=2.0,
                   final_softcap=3.0),
    'gemma3': dict(_GEMMA, global_every=6, qk_norm=True, local_rope_base=100.0,
                   rope_scaling=config_lib.RopeScaling('linear', 8.0),
                   num_layers=7),
    'qwen2': dict(rope_base=10_000.0, qkv_bias=True, tied_head=True),
    'qwen3': dict(rope_base=10_000.0, qk_norm=True, tied_head=False),
}
"""What is each family's own in its small model."""


def small_config(family: str, **changes) -> config_lib.ModelConfig:
  """A model of all sizes different, so that no transposition goes unseen."""
  sizes = dict(vocab_size=29, num_layers=2, width=12, num_heads=4,
               num_kv_heads=2, head_dim=10, mlp_width=14, max_positions=64)
  return config_lib.ModelConfig(
      family=family, **(sizes | SMALL[family] | changes))


def tensors(config: config_lib.ModelConfig, dtype='float32', seed: int = 0):
  """Random arrays by Hugging Face's names, in the order of `families.table`."""
  rng = np.random.default_rng(seed)
  return {
      name: (rng.standard_normal(row.shape) * 0.3).astype(DTYPES[dtype])
      for row in families.table(config)
      for name in families.names(config, row)}


def write(
    folder: pathlib.Path,
    config: config_lib.ModelConfig,
    dtype: str = 'float32',
    shard_bytes: int = 10**9,
    arrays=None,
):
  """Writes a folder; returns its arrays."""
  arrays = tensors(config, dtype) if arrays is None else arrays
  folder.mkdir(parents=True, exist_ok=True)
  specs = {name: (a.shape, a.dtype) for name, a in arrays.items()}
  with safetensors_writer.Writer(folder, specs, shard_bytes) as writer:
    for name, array in arrays.items():
      writer.put(name, array)
  (folder / 'config.json').write_text(
      json.dumps(families.config_json(config, dtype)))
  return arrays
