"""The models of comparisons, as Hugging Face folders that every side loads."""

import pathlib

from flax import traverse_util
import jax
import numpy as np

from benchmarks import workload
from score_jax import config as config_lib
from score_jax import convert
from score_jax.models import decoder
from score_jax.models import families
from score_jax.models import stored

# Tunix 0.1.7 has one base of rotary angles for every Llama, whatever its config
# says: with another one, random weights take the place of real ones.
_ROPE_BASE = 1e6


def _llama(**sizes) -> config_lib.ModelConfig:
  return config_lib.ModelConfig(rope_base=_ROPE_BASE, tied_head=True, **sizes)


RANDOM = {
    'random_1m': _llama(
        vocab_size=2048, num_layers=2, width=128, num_heads=4, num_kv_heads=2,
        head_dim=32, mlp_width=384),
    'random_10m': _llama(
        vocab_size=2048, num_layers=6, width=384, num_heads=6, num_kv_heads=2,
        head_dim=64, mlp_width=1024),
    'random_135m': _llama(  # Of the sizes of SmolLM2-135M.
        vocab_size=49_152, num_layers=30, width=576, num_heads=9,
        num_kv_heads=3, head_dim=64, mlp_width=1536),
}
"""Models with random weights; the first is only to try a command."""

NAMES = (*RANDOM, 'smollm2_135m')


def folder_of(name: str, build: pathlib.Path) -> pathlib.Path:
  """The folder of a model, float32, written if it is not there.

  Args:
    name: one of `NAMES`.
    build: where folders of models are kept.

  Raises:
    ValueError: the package with the weights is missing.
  """
  folder = build / 'models' / name
  if not (folder / 'config.json').exists():
    source = _random(name) if name in RANDOM else convert.open_source(name)
    folder.parent.mkdir(parents=True, exist_ok=True)
    convert.convert(source, folder, 'hf', 'float32')
  return folder


def random_params(config: config_lib.ModelConfig):
  """Random weights that seldom end a turn, and choose clearly.

  Scores have a standard deviation of 3, so that rounding does not decide; the
  stop token's is 0, which is seldom among the highest.
  """
  params = jax.jit(lambda key: decoder.init(config, key))(jax.random.key(0))
  embedding_VD = params['embed']['embedding'].at[workload.STOP].set(0)
  return params | {
      'embed': {'embedding': embedding_VD},
      'final_norm': {'scale': 3 * params['final_norm']['scale']}}


def _random(name) -> convert.Source:
  config = RANDOM[name]
  flat = traverse_util.flatten_dict(
      jax.tree.map(np.asarray, random_params(config)))
  rows = {row.path: row for row in families.table(config)}
  params = {
      path: stored.Stored(
          tuple(families.names(config, rows[path])), value.shape, value.dtype,
          value.__getitem__ if path[0] == 'blocks' else lambda _, v=value: v,
          stacked=path[0] == 'blocks')
      for path, value in flat.items()}
  model = stored.Model(name, config, 'float32', params)
  return convert.Source(model, '', True, name)
