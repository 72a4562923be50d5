"""The model configuration that the metadata of a llama-type GGUF file give."""

from typing import Any

import numpy as np

from score_jax.text import gguf_file

ARCHITECTURE = 'llama'


def sizes(file: gguf_file.GgufFile) -> dict[str, Any]:
  """The fields of `config.ModelConfig` that a file decides.

  Raises:
    ValueError: another architecture, a form of it that `models.decoder` does
      not compute, or fields that are missing or damaged.
  """
  architecture = file.require('general.architecture', str)
  if architecture != ARCHITECTURE:
    raise ValueError(
        f'{file.path} holds a model of architecture {architecture!r}; '
        f'supported: {ARCHITECTURE}'
    )
  width = _size(file, 'embedding_length')
  heads = _size(file, 'attention.head_count')
  found = dict(
      vocab_size=_vocab_size(file),
      num_layers=_size(file, 'block_count', most=len(file.tensors)),
      width=width,
      num_heads=heads,
      num_kv_heads=_size(file, 'attention.head_count_kv', heads),
      head_dim=_size(file, 'attention.key_length', width // heads),
      mlp_width=_size(file, 'feed_forward_length'),
      rope_base=_shortest(file.get(_field('rope.freq_base'), float, 1e4)),
      norm_eps=_shortest(
          file.require(_field('attention.layer_norm_rms_epsilon'), float)),
      tied_head='output.weight' not in file.tensors,
  )
  _refuse_other_forms(file, found)
  return found


def _field(name):
  return f'{ARCHITECTURE}.{name}'


def _size(file, name, default=None, most=2**31):
  """A metadata field that counts something."""
  value = file.get(_field(name), int, default)
  if value is None:
    value = file.require(_field(name), int)
  if not 1 <= value <= most:
    raise ValueError(
        f'{file.path}: the field {_field(name)} is {value}, which cannot be; '
        'the file is damaged'
    )
  return value


def _refuse_other_forms(file, found):
  """Llama-type models whose forward pass is not that of `models.decoder`."""
  H, N, K = (found[name] for name in ('head_dim', 'num_heads', 'num_kv_heads'))
  rotated = _size(file, 'rope.dimension_count', H)
  values = _size(file, 'attention.value_length', H)
  scaling = file.get(_field('rope.scaling.type'), str, 'none')
  if rotated != H or values != H or H % 2 or N % K or scaling != 'none':
    raise ValueError(
        f'{file.path}: {N} heads on {K} of {H} wide keys and {values} wide '
        f'values, {rotated} dimensions rotated, RoPE scaling {scaling!r}; '
        'supported: whole groups of heads, one even width for all, no scaling'
    )


def _vocab_size(file):
  embedding = file.tensors.get('token_embd.weight')
  if embedding is None or len(embedding.shape) != 2:
    raise ValueError(f'{file.path} has no matrix token_embd.weight')
  return int(embedding.shape[1])


def _shortest(value: float) -> float:
  """The float32 `value` as it was written: 1e-05, not 9.99999974e-06."""
  return float(str(np.float32(value)))
