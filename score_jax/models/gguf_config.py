"""The model fields that the metadata of a GGUF file give."""

import dataclasses
import functools
from typing import Any

import numpy as np

from score_jax import config as config_lib
from score_jax.models import families
from score_jax.models import rope
from score_jax.text import gguf_file

ROPE_FACTORS = 'rope_freqs.weight'
"""The tensor that holds Llama 3's RoPE scaling, one factor a wave."""

# What these files leave unsaid, because llama.cpp knows it by heart.
_LOCAL_ROPE_BASE = {'gemma3': 10_000.0}
# Models whose scores are scaled by the width of a head had there been D / N of
# it, by family and number of layers: the 27B ones.
_BY_WIDTH = {('gemma2', 46), ('gemma3', 62)}


_READ = frozenset((
    'block_count', 'context_length', 'embedding_length', 'feed_forward_length',
    'attention.head_count', 'attention.head_count_kv', 'attention.key_length',
    'attention.value_length', 'attention.layer_norm_rms_epsilon',
    'rope.dimension_count', 'rope.freq_base', 'rope.scale_linear',
    'rope.scaling.type', 'rope.scaling.factor',
    'rope.scaling.original_context_length', 'rope.scaling.attn_factor',
    'rope.scaling.yarn_ext_factor', 'rope.scaling.yarn_attn_factor',
    'rope.scaling.yarn_beta_fast', 'rope.scaling.yarn_beta_slow',
    'rope.scaling.yarn_log_multiplier'))
_READ_OF_GEMMA = frozenset((
    'attention.sliding_window', 'attention.sliding_window_pattern',
    'rope.freq_base_swa', 'attn_logit_softcapping', 'final_logit_softcapping'))
_HARMLESS = frozenset((
    'vocab_size', 'tensor_data_layout', 'rope.scaling.finetuned',
    'attention.layer_norm_epsilon', 'mm.tokens_per_image'))
_FIXED = {
    'expert_count': (0,), 'expert_used_count': (0,),
    'attention.causal': (True,), 'attention.clamp_kqv': (0.0,),
    'attention.max_alibi_bias': (0.0,), 'use_parallel_residual': (False,),
    'attention.scale': (0.0,), 'logit_scale': (0.0, 1.0),
    'residual_scale': (0.0, 1.0), 'embedding_scale': (0.0, 1.0),
    'pooling_type': (0,), 'nextn_predict_layers': (0,),
    'attention.sliding_window': (0,), 'attn_logit_softcapping': (0.0,),
    'final_logit_softcapping': (0.0,),
}
"""Fields that may have these values only, where they are not read."""


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

  def value(self, name):
    """A field of any type."""
    return self.file.get(self._name(name), object)

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
  factor = _shortest(meta.get(
      'rope.scaling.factor', float, meta.get('rope.scale_linear', float, 0.0)))
  # As llama.cpp: a factor without a kind is linear, and 0 is none.
  kind = meta.get('rope.scaling.type', str, 'linear' if factor else 'none')
  tensor = meta.file.tensors.get(ROPE_FACTORS)
  if kind in ('none', 'llama3') and tensor is not None:
    return _llama3(meta, found, np.asarray(tensor.data, np.float64).reshape(-1))
  if tensor is not None:
    raise ValueError(f'{meta.file.path}: RoPE scaling {kind!r} next to the '
                     f'tensor {ROPE_FACTORS} is not supported')
  if kind == 'none' or kind == 'linear' and factor in (0, 1):
    return config_lib.RopeScaling()
  if kind == 'linear':
    return config_lib.RopeScaling('linear', factor)
  has_windows = families.FAMILIES[found['family']].period
  if kind == 'yarn' and factor and not has_windows:
    return _yarn(meta, found, factor)
  raise _unsupported(meta, kind)


def _llama3(meta, found, factors):
  waves = functools.partial(
      rope.frequencies, found['rope_base'], found['head_dim'])
  for factor in (8.0, 32.0):  # Llama 3.1, and 3.2.
    known = config_lib.RopeScaling('llama3', factor)
    expected = waves() / waves(known)
    if (factors.shape == expected.shape
        and np.allclose(factors, expected, rtol=1e-3)):
      return known
  raise _unsupported(meta, 'by factors')


def _unsupported(meta, kind):
  return ValueError(
      f'{meta.file.path}: RoPE scaling {kind!r} is not supported; supported: '
      'linear, that of Llama 3, and outside of Gemma yarn with a factor')


def _yarn(meta, found, factor):
  """YaRN; llama.cpp multiplies the usual attention factor by its own."""
  name = 'rope.scaling.{}'.format
  number = lambda key, default: _shortest(meta.get(name(key), float, default))
  for key, allowed in (('yarn_ext_factor', (1.0, -1.0)),
                       ('yarn_log_multiplier', (0.0,))):
    if number(key, allowed[0]) not in allowed:
      raise ValueError(
          f'{meta.file.path}: the field {name(key)} is {number(key, 0.0)}, '
          f'which is not supported; supported: {allowed[0]}')
  scaling = config_lib.RopeScaling(
      'yarn', factor, original_positions=meta.size(
          name('original_context_length'), found['max_positions']),
      beta_fast=number('yarn_beta_fast', 32.0),
      beta_slow=number('yarn_beta_slow', 1.0))
  more = number('attn_factor', 1.0) * number('yarn_attn_factor', 1.0)
  if more == 1:
    return scaling
  return dataclasses.replace(
      scaling, attention_factor=more * rope.attention_factor(scaling))


def _refuse_other_forms(meta, found):
  """Models whose forward pass is not that of `models.decoder`."""
  _check_names(meta, found)
  H, N, K = (found[name] for name in ('head_dim', 'num_heads', 'num_kv_heads'))
  rotated = meta.size('rope.dimension_count', H)
  values = meta.size('attention.value_length', H)
  if rotated != H or values != H or H % 2 or N % K:
    raise ValueError(
        f'{meta.file.path}: {N} heads on {K} of {H} wide keys and {values} '
        f'wide values, {rotated} dimensions rotated; supported: whole groups '
        'of heads, one even width for all'
    )


def _check_names(meta, found):
  """Refuse fields that llama.cpp may compute something else for."""
  prefix = f'{found["family"]}.'
  known = _READ | (_READ_OF_GEMMA if families.FAMILIES[found['family']].period
                   else frozenset())
  for full in meta.file.names:
    name = full.removeprefix(prefix)
    if name == full or name in known or name in _HARMLESS:
      continue
    value = meta.value(name)
    allowed = _FIXED.get(name, ())
    if name.endswith('_swa'):  # Of layers with a window: as of the others.
      allowed = (found['head_dim'],)
    if value not in allowed:
      raise ValueError(
          f'{meta.file.path}: the field {full}={value!r} is not supported, as '
          'it may change what the model computes')


def _vocab_size(file):
  embedding = file.tensors.get('token_embd.weight')
  if embedding is None or len(embedding.shape) != 2:
    raise ValueError(f'{file.path} has no matrix token_embd.weight')
  return int(embedding.shape[1])


def _shortest(value: float) -> float:
  """The float32 `value` as it was written: 1e-05, not 9.99999974e-06."""
  return float(str(np.float32(value)))
