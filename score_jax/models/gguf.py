"""Reads GGUF files: quantised weights, dequantised to float32 once.

The tensors have the shapes of Hugging Face's (`families.table`) under other
names, and two families have other numbers: llama's queries and keys are
rotated pair by pair, and Gemma's norms have one added.
"""

import functools
import os

import numpy as np

from score_jax import config as config_lib
from score_jax.models import families
from score_jax.models import gguf_config
from score_jax.models import stored
from score_jax.text import gguf_file

_TOP = {'embed': 'token_embd', 'final_norm': 'output_norm', 'head': 'output'}
_LAYER = {
    ('attention_norm',): 'attn_norm',
    ('attention', 'query'): 'attn_q',
    ('attention', 'key'): 'attn_k',
    ('attention', 'value'): 'attn_v',
    ('attention', 'out'): 'attn_output',
    ('attention', 'query_norm'): 'attn_q_norm',
    ('attention', 'key_norm'): 'attn_k_norm',
    ('attention_post_norm',): 'post_attention_norm',
    ('mlp_norm',): 'ffn_norm',
    ('mlp', 'gate'): 'ffn_gate',
    ('mlp', 'up'): 'ffn_up',
    ('mlp', 'down'): 'ffn_down',
    ('mlp_post_norm',): 'post_ffw_norm',
}
"""Parameter to tensor, of the model and of a layer."""


def open_model(path: str | os.PathLike) -> stored.Model:
  """Opens a file and checks everything but the numbers in it.

  Raises:
    ValueError: no whole GGUF file, another architecture; tensors that are
      missing, unknown, of another shape or a type that cannot be read, all
      listed.
  """
  file = gguf_file.GgufFile(path)
  config = config_lib.ModelConfig(**gguf_config.fields(file))
  rows = {row.path: row._replace(name=_name(row.path))
          for row in families.table(config)}
  expected = {name: row.shape for row in rows.values()
              for name in families.names(config, row)}
  found = {name: tuple(map(int, reversed(tensor.shape)))
           for name, tensor in file.tensors.items()
           if name != gguf_config.ROPE_FACTORS}
  stored.check_tensors(
      file.path, expected, found,
      f'the {config.family} model that its metadata describe')
  _check_types(file)
  params = {
      row.path: stored.Stored(
          tuple(families.names(config, row)), stored.our_shape(row, config),
          np.dtype(np.float32), functools.partial(_read, file, config, row),
          stacked='{}' in row.name)
      for row in rows.values()}
  return stored.Model(file.path, config, 'float32', params)


def _name(path):
  *module, leaf = path
  end = 'bias' if leaf == 'bias' else 'weight'
  if module[0] == 'blocks':
    return f'blk.{{}}.{_LAYER[tuple(module[1:])]}.{end}'
  return f'{_TOP[module[0]]}.{end}'


def _check_types(file):
  import gguf  # An optional extra; there, as the file is open.
  wrong = []
  for name, tensor in file.tensors.items():
    block = np.zeros(gguf.GGML_QUANT_SIZES[tensor.tensor_type][1], np.uint8)
    try:
      gguf.dequantize(block, tensor.tensor_type)
    except NotImplementedError:
      wrong.append(f'{name} is {tensor.tensor_type.name}')
  if wrong:
    raise ValueError(
        f'{file.path}: types that cannot be read: {stored.listed(wrong)}; '
        'take a file of another quantisation')


def _read(file, config, row, number):
  """One layer of a parameter, float32."""
  import gguf
  tensor = file.tensors[row.name.format(number)]
  values = gguf.dequantize(tensor.data, tensor.tensor_type)
  values = np.asarray(values, np.float32).reshape(row.shape)
  if config.family == 'llama' and row.path[-2] in ('query', 'key'):
    values = _halves(values, config.head_dim)
  if config.norm_plus_one and row.path[-1] == 'scale':
    values = values - 1
  return families.to_ours(row, values, config.head_dim)


def _halves(w, head_dim: int):
  """Rows of each head from interleaved pairs to two halves.

  Files of this architecture rotate the rows (0, 1), (2, 3), ...; our RoPE
  rotates (0, H/2), (1, H/2 + 1), ...
  """
  pairs = w.reshape(-1, head_dim // 2, 2, w.shape[-1])
  return pairs.swapaxes(1, 2).reshape(w.shape)
