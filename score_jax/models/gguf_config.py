"""The model fields that the metadata of a GGUF file give."""

import functools
from typing import Any

import numpy as np

from score_jax import config as config_lib
from score_jax.models import families
from score_jax.models import layers
from score_jax.text import gguf_file

ROPE_FACTORS = 'rope_freqs.weight'
"""The tensor that holds Llama 3's RoPE scaling, one factor a wave."""

# What these files leave unsaid, because llama.cpp knows it by heart.
_LOCAL_ROPE_BASE = {'gemma3': 10_000.0}
# Models whose scores are scaled by the width of a head had there been D / N of
# it, by family and number of layers: the 27B ones.
_BY_WIDTH = {('gemma2', 46), ('gemma3', 62)}


def fields(file: gguf_file.GgufFile) -> dict[str, Any]:
  """The fields of `config.ModelConfig` that a file decides.

  Raises:
    ValueError: another architecture, a form of it that `models.decoder` does
      not compute, or fields that are missing or damaged.
  """
  family = file.require('general.architecture', str)
  if family not in families.FAMILIES:
    raise ValueError(
        f'{file.path} holds a model of architecture {family!r}; '
        f'supported: {", ".join(families.FAMILIES)}'
    )
  meta = _Metadata(file, family)
  width = meta.size('embedding_length')
  heads = meta.size('attention.head_count')
  found = dict(
      families.FAMILIES[family].fixed,
      family=family,
      vocab_size=_vocab_size(file),
      num_layers=meta.size('block_count', most=len(file.tensors)),
      width=width,
      num_heads=heads,
      num_kv_heads=meta.size('attention.head_count_kv', heads),
      head_dim=meta.size('attention.key_length', width // heads),
      mlp_width=meta.size('feed_forward_length'),
      rope_base=_shortest(meta.get('rope.freq_base', float, 1e4)),
      norm_eps=_shortest(
          meta.require('attention.layer_norm_rms_epsilon', float)),
      tied_head='output.weight' not in file.tensors,
      max_positions=meta.size('context_length'),
  )
  found['rope_scaling'] = _scaling(meta, found)
  if families.FAMILIES[family].period:
    _gemma(meta, found)
  _refuse_other_forms(meta, found)
  config_lib.check_model(config_lib.ModelConfig(**found), file.path)
  return found


class _Metadata:
  """The fields of one architecture."""

  def __init__(self, file, architecture):
    self.file = file
    self._name = lambda name: f'{architecture}.{name}'

  def get(self, name, kind, default=None):
    return self.file.get(self._name(name), kind, default)

  def require(self, name, kind):
    return self.file.require(self._name(name), kind)

  def size(self, name, default=None, most=2**31):
    """A field that counts something."""
    value = self.get(name, int, default)
    if value is None:
      value = self.require(name, int)
    if not 1 <= value <= most:
      raise ValueError(
          f'{self.file.path}: the field {self._name(name)} is {value}, which '
          'cannot be; the file is damaged'
      )
    return value


def _gemma(meta, found):
  family = families.FAMILIES[found['family']]
  # The first files of Gemma 2 leave its window and its caps unsaid.
  unsaid = family.defaults if found['family'] == 'gemma2' else {}
  found['window'] = meta.size('attention.sliding_window',
                              unsaid.get('sliding_window'))
  found['global_every'] = meta.size('attention.sliding_window_pattern',
                                    family.period)
  found['local_rope_base'] = _shortest(meta.get(
      'rope.freq_base_swa', float,
      _LOCAL_ROPE_BASE.get(found['family'], 0.0)))
  by_width = (found['family'], found['num_layers']) in _BY_WIDTH
  size = found['width'] / found['num_heads'] if by_width else found['head_dim']
  found['attention_scale'] = size**-0.5
  for ours, theirs in (('attention_softcap', 'attn_logit_softcapping'),
                       ('final_softcap', 'final_logit_softcapping')):
    found[ours] = _shortest(meta.get(theirs, float, unsaid.get(theirs, 0.0)))
  if found['family'] == 'gemma3' and found['attention_softcap']:
    raise ValueError(f'{meta.file.path}: attn_logit_softcapping is not '
                     'supported for the family gemma3')


def _scaling(meta, found) -> config_lib.RopeScaling:
  """From metadata, or Llama 3's from its factors, compared with the known."""
  kind = meta.get('rope.scaling.type', str, 'none')
  if kind == 'linear':
    return config_lib.RopeScaling(
        'linear', _shortest(meta.require('rope.scaling.factor', float)))
  tensor = meta.file.tensors.get(ROPE_FACTORS)
  if kind == 'none' and tensor is None:
    return config_lib.RopeScaling()
  if kind in ('none', 'llama3') and tensor is not None:
    factors = np.asarray(tensor.data, np.float64).reshape(-1)
    waves = functools.partial(
        layers.frequencies, found['rope_base'], found['head_dim'])
    for factor in (8.0, 32.0):  # Llama 3.1, and 3.2.
      known = config_lib.RopeScaling('llama3', factor)
      expected = waves() / waves(known)
      if (factors.shape == expected.shape
          and np.allclose(factors, expected, rtol=1e-3)):
        return known
  raise ValueError(
      f'{meta.file.path}: RoPE scaling {kind!r} is not supported; supported: '
      'linear, and that of Llama 3')


def _refuse_other_forms(meta, found):
  """Models whose forward pass is not that of `models.decoder`."""
  H, N, K = (found[name] for name in ('head_dim', 'num_heads', 'num_kv_heads'))
  rotated = meta.size('rope.dimension_count', H)
  values = meta.size('attention.value_length', H)
  if rotated != H or values != H or H % 2 or N % K:
    raise ValueError(
        f'{meta.file.path}: {N} heads on {K} of {H} wide keys and {values} '
        f'wide values, {rotated} dimensions rotated; supported: whole groups '
        'of heads, one even width for all'
    )


def _vocab_size(file):
  embedding = file.tensors.get('token_embd.weight')
  if embedding is None or len(embedding.shape) != 2:
    raise ValueError(f'{file.path} has no matrix token_embd.weight')
  return int(embedding.shape[1])


def _shortest(value: float) -> float:
  """The float32 `value` as it was written: 1e-05, not 9.99999974e-06."""
  return float(str(np.float32(value)))
