"""Weights of llama-type models from GGUF files, as float32 parameters.

One table (`_table`) says which tensor becomes which parameter, of which shape
in the file, and how it is turned into ours. Quantised weights are dequantised
once; training goes on in float32.
"""

import dataclasses
import os

from flax import traverse_util
import numpy as np

from score_jax import config as config_lib
from score_jax import types
from score_jax.models import gguf_config
from score_jax.text import gguf_file


def model_config(
    path: str | os.PathLike,
    model: config_lib.ModelConfig = config_lib.ModelConfig(),
) -> config_lib.ModelConfig:
  """`model` with the sizes of the one in a GGUF file; reads no weights.

  Args:
    path: the file.
    model: what the file does not decide, such as `dtype` or `remat`.

  Raises:
    ValueError: as `load_params`.
  """
  file = gguf_file.GgufFile(path)
  sizes = gguf_config.sizes(file)
  found = dataclasses.replace(model, **sizes)
  _check_tensors(file, found)
  return found


def load_params(path: str | os.PathLike) -> types.Params:
  """The weights in a GGUF file.

  Returns:
    The nested dict of `models.decoder`, of float32 numpy arrays.

  Raises:
    ValueError: no whole GGUF file, another architecture; tensors that are
      missing, unknown, of another shape or a type that cannot be read, all
      listed; or weights that are not finite.
  """
  file = gguf_file.GgufFile(path)
  config = dataclasses.replace(
      config_lib.ModelConfig(), **gguf_config.sizes(file))
  _check_tensors(file, config)
  params = {}
  for target, (name, shape, turn) in _table(config).items():
    weights = [turn(_dequantised(file, n, shape)) for n in _all(name, config)]
    params[target] = (np.stack(weights) if target[0] == 'blocks'
                      else np.ascontiguousarray(weights[0]))
  return traverse_util.unflatten_dict(params)


def _table(config):
  """Parameter: (tensor, its shape in the file, how to turn it)."""
  V, D, F, H = (config.vocab_size, config.width, config.mlp_width,
                config.head_dim)
  N, K = config.num_heads, config.num_kv_heads
  same = lambda w: w
  heads = lambda w: w.reshape(-1, H, D).transpose(2, 0, 1)  # [D, heads, H]
  rotary = lambda w: heads(_halves(w, H))
  out = lambda w: w.reshape(D, N, H).transpose(1, 2, 0)
  layer = {
      ('attention_norm', 'scale'): ('attn_norm', (D,), same),
      ('attention', 'query'): ('attn_q', (N * H, D), rotary),
      ('attention', 'key'): ('attn_k', (K * H, D), rotary),
      ('attention', 'value'): ('attn_v', (K * H, D), heads),
      ('attention', 'out'): ('attn_output', (D, N * H), out),
      ('mlp_norm', 'scale'): ('ffn_norm', (D,), same),
      ('mlp', 'gate'): ('ffn_gate', (F, D), np.transpose),
      ('mlp', 'up'): ('ffn_up', (F, D), np.transpose),
      ('mlp', 'down'): ('ffn_down', (D, F), np.transpose),
  }
  table = {
      ('embed', 'embedding'): ('token_embd.weight', (V, D), same),
      ('final_norm', 'scale'): ('output_norm.weight', (D,), same),
  }
  if not config.tied_head:
    table['head', 'kernel'] = ('output.weight', (V, D), np.transpose)
  for target, (name, shape, turn) in layer.items():
    table['blocks', *target] = (f'blk.{{}}.{name}.weight', shape, turn)
  return table


def _all(name, config):
  """The tensor's names: one for each layer if `name` has a place for it."""
  layers = range(config.num_layers) if '{}' in name else (0,)
  return [name.format(i) for i in layers]


def _halves(w, head_dim: int):
  """Rows of each head from interleaved pairs to two halves.

  Files of this architecture rotate the rows (0, 1), (2, 3), ...; our RoPE
  rotates (0, H/2), (1, H/2 + 1), ...
  """
  pairs = w.reshape(-1, head_dim // 2, 2, w.shape[-1])
  return pairs.swapaxes(1, 2).reshape(w.shape)


def _check_tensors(file, config):
  """Lists everything wrong with the tensors at once."""
  expected = {name: shape for row, shape, _ in _table(config).values()
              for name in _all(row, config)}
  found = {name: tuple(map(int, reversed(tensor.shape)))
           for name, tensor in file.tensors.items()}
  wrong = [f'{name} has shape {found[name]}, not {shape}'
           for name, shape in expected.items()
           if name in found and found[name] != shape]
  problems = [
      ('missing', sorted(expected.keys() - found)),
      ('unknown', sorted(found.keys() - expected)),
      ('of another shape', wrong),
  ]
  problems = [f'{what}: {_listed(names)}' for what, names in problems if names]
  if problems:
    raise ValueError(
        f'{file.path}: the tensors are not those of the llama model that its '
        f'metadata describe; {"; ".join(problems)}'
    )


def _listed(names, most=20):
  rest = len(names) - most
  return ', '.join(names[:most]) + (f' and {rest} more' if rest > 0 else '')


def _dequantised(file, name: str, shape: tuple[int, ...]) -> np.ndarray:
  """The tensor as a float32 array, checked to be finite."""
  import gguf  # An optional extra; there, as the file is open.
  tensor = file.tensors[name]
  try:
    values = gguf.dequantize(tensor.data, tensor.tensor_type)
  except NotImplementedError as error:
    raise ValueError(
        f'{file.path}: {name} is of type {tensor.tensor_type.name}, which '
        'cannot be read; take a file of another quantisation'
    ) from error
  values = np.asarray(values, np.float32).reshape(shape)
  if not np.isfinite(values).all():
    raise ValueError(f'{file.path}: {name} has weights that are not finite')
  return values
