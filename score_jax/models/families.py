"""Hugging Face's names: of model fields in config.json and of tensors.

A family is a row of `FAMILIES`, with what its config.json leaves unsaid and
what its models share. `fields` reads a config.json, `config_json` writes one,
and `table` is the mapping of tensors; all three serve import and export.

Sources: the config classes and modeling files of transformers 5.23 (Apache-2.0)
for llama, gemma2, gemma3_text, qwen2 and qwen3.
"""

import dataclasses
import math
from typing import Any
from typing import NamedTuple

import numpy as np

from score_jax import config as config_lib

_ROPE = {'rope_type': 'default', 'rope_theta': 10_000.0}
_COMMON = {
    'rms_norm_eps': 1e-6, 'attention_bias': False, 'mlp_bias': False,
    'use_sliding_window': False, 'tie_word_embeddings': False,
    'max_position_embeddings': 2048,
}
_GEMMA = _COMMON | {
    'tie_word_embeddings': True, 'head_dim': 256, 'vocab_size': 256_000,
    'hidden_size': 2304, 'intermediate_size': 9216, 'num_hidden_layers': 26,
    'num_attention_heads': 8, 'num_key_value_heads': 4,
    'hidden_activation': 'gelu_pytorch_tanh', 'query_pre_attn_scalar': 256,
    'sliding_window': 4096, 'max_position_embeddings': 8192,
}


@dataclasses.dataclass(frozen=True)
class Family:
  """One architecture of transformers.

  Attributes:
    architecture: its class.
    model_type: its name in config.json.
    defaults: values of config.json where the file has none.
    fixed: fields of `ModelConfig` that all its models have.
    period: `global_every` of models with a window; 0: without windows.
  """

  architecture: str
  model_type: str
  defaults: dict[str, Any]
  fixed: dict[str, Any]
  period: int = 0


_GEMMA_FIXED = dict(activation='gelu', post_norms=True, norm_plus_one=True,
                    embed_scale=True)

FAMILIES = {
    'llama': Family('LlamaForCausalLM', 'llama', _COMMON, {}),
    'gemma2': Family(
        'Gemma2ForCausalLM', 'gemma2',
        _GEMMA | {'final_logit_softcapping': 30.0,
                  'attn_logit_softcapping': 50.0},
        _GEMMA_FIXED, period=2),
    'gemma3': Family(
        'Gemma3ForCausalLM', 'gemma3_text',
        _GEMMA | {'vocab_size': 262_208, 'max_position_embeddings': 131_072,
                  'rope_theta': 1e6, 'rope_local_base_freq': 10_000.0},
        _GEMMA_FIXED | {'qk_norm': True}, period=6),
    'qwen2': Family(
        'Qwen2ForCausalLM', 'qwen2',
        _COMMON | {'max_position_embeddings': 32_768}, {'qkv_bias': True}),
    'qwen3': Family(
        'Qwen3ForCausalLM', 'qwen3',
        _COMMON | {'head_dim': 128, 'max_position_embeddings': 32_768},
        {'qk_norm': True}),
}
"""Families by the name that `ModelConfig.family` has."""

# Gemma 3 with a vision tower: its text model is what is read.
_MULTIMODAL = 'Gemma3ForConditionalGeneration'

_SIZES = {
    'vocab_size': 'vocab_size', 'num_layers': 'num_hidden_layers',
    'width': 'hidden_size', 'num_heads': 'num_attention_heads',
    'num_kv_heads': 'num_key_value_heads', 'head_dim': 'head_dim',
    'mlp_width': 'intermediate_size', 'norm_eps': 'rms_norm_eps',
    'tied_head': 'tie_word_embeddings',
    'max_positions': 'max_position_embeddings',
}
_ACTIVATIONS = {'silu': 'silu', 'gelu': 'gelu_pytorch_tanh'}
_LLAMA3 = {'low_freq': 'low_freq_factor', 'high_freq': 'high_freq_factor',
           'original_positions': 'original_max_position_embeddings'}


_MOST_LAYERS = 10_000  # More is damage, and would take long to list.


class _Json:
  """A config.json, its family's defaults behind it."""

  def __init__(self, values: dict[str, Any], where: str):
    self.where = where
    architectures = values.get('architectures') or [values.get('model_type')]
    names = {f.architecture: name for name, f in FAMILIES.items()}
    names |= {f.model_type: name for name, f in FAMILIES.items()}
    names[_MULTIMODAL] = names['gemma3'] = 'gemma3'
    found = architectures[0] if isinstance(architectures, list) else None
    if not isinstance(found, str) or found not in names:
      known = [f.architecture for f in FAMILIES.values()] + [_MULTIMODAL]
      raise ValueError(
          f'{where}: architecture {found!r} is not supported; supported: '
          f'{", ".join(known)}')
    self.family = names[found]
    if isinstance(values.get('text_config'), dict):
      outer = {k: v for k, v in values.items() if k == 'tie_word_embeddings'}
      values = outer | values['text_config']
    self._values = values
    self._defaults = FAMILIES[self.family].defaults

  def has(self, name: str) -> bool:
    return self.get(name) is not None

  def get(self, name: str, kind: type | None = None) -> Any:
    """A value, or None; ValueError if it is not of type `kind`."""
    value = self._values.get(name, self._defaults.get(name))
    if value is None or kind is None:
      return value
    number = _finite(value) if kind is float else value
    if type(number) is not kind:
      raise ValueError(f'{self.where}: {name} must be {kind.__name__}, got '
                       f'{value!r:.60}')
    return number

  def require(self, name: str, kind: type) -> Any:
    value = self.get(name, kind)
    if value is None:
      raise ValueError(f'{self.where} lacks {name}')
    return value

  def refuse(self, what: str):
    raise ValueError(
        f'{self.where}: {what} is not supported for the family {self.family}')


def fields(values: dict[str, Any], where: str) -> dict[str, Any]:
  """The fields of `ModelConfig` that a config.json decides.

  Args:
    values: the contents of a config.json of transformers 4 or 5.
    where: its path, for messages.

  Raises:
    ValueError: another architecture, a form of a known one that the decoder
      does not compute, or fields that are missing or ill-typed.
  """
  json = _Json(values, where)
  family = FAMILIES[json.family]
  for name in ('attention_bias', 'mlp_bias', 'use_sliding_window',
               'use_bidirectional_attention'):
    if json.get(name):
      json.refuse(f'{name}={json.get(name)!r}')
  types = {field.name: field.type
           for field in dataclasses.fields(config_lib.ModelConfig)}
  heads = json.require('num_attention_heads', int)
  found = dict(family.fixed, family=json.family)
  for ours, theirs in _SIZES.items():
    kind = types[ours]
    if theirs == 'num_key_value_heads' and not json.has(theirs):
      found[ours] = heads
    elif theirs == 'head_dim' and not json.has(theirs):
      found[ours] = json.require('hidden_size', int) // max(heads, 1)
    else:
      found[ours] = json.require(theirs, kind)
  if found['num_layers'] > _MOST_LAYERS:
    json.refuse(f'num_hidden_layers={found["num_layers"]}')
  _activation(json, found)
  _rope(json, found)
  if family.period:
    _gemma(json, found, family.period)
  config_lib.check_model(config_lib.ModelConfig(**found), where)
  return found


def _activation(json, found):
  name = json.get('hidden_activation') or json.get('hidden_act') or 'silu'
  theirs = {v: k for k, v in _ACTIVATIONS.items()}
  # Files of Gemma that say 'gelu' mean the approximation all the same.
  theirs['gelu'] = 'gelu' if found['family'].startswith('gemma') else None
  if not isinstance(name, str) or (
      theirs.get(name) != found.get('activation', 'silu')):
    json.refuse(f'the activation {name!r}')


def _rope(json, found):
  """Bases and scaling, in the words of transformers 4 or 5."""
  rope = json.get('rope_parameters', dict)
  if rope and 'full_attention' in rope:  # One for each kind of layer.
    local = rope.get('sliding_attention') or _ROPE
    rope = rope['full_attention']
    if not (isinstance(local, dict) and isinstance(rope, dict)):
      raise ValueError(f'{json.where}: rope_parameters must hold dicts, got '
                       f'{[rope, local]!r}')
    found['local_rope_base'] = _number(json, local, 'rope_theta')
    if local.get('rope_type', 'default') != 'default':
      json.refuse(f'RoPE scaling {local!r} of layers with a window')
  elif json.has('rope_local_base_freq'):
    found['local_rope_base'] = json.get('rope_local_base_freq', float)
  old = json.get('rope_scaling', dict) or {}
  theta = json.get('rope_theta', float) or _ROPE['rope_theta']
  rope = {'rope_theta': theta} | old if rope is None else rope
  found['rope_base'] = _number(json, rope, 'rope_theta')
  found['rope_scaling'] = _scaling(json, rope)


def _scaling(json, rope):
  kind = rope.get('rope_type', rope.get('type', 'default'))
  if kind in (None, 'default'):
    return config_lib.RopeScaling()
  if kind not in ('linear', 'llama3'):
    json.refuse(f'RoPE scaling {kind!r}')
  names = {'factor': 'factor'} | (_LLAMA3 if kind == 'llama3' else {})
  values = {ours: _number(json, rope, theirs)
            for ours, theirs in names.items()}
  if 'original_positions' in values:
    values['original_positions'] = int(values['original_positions'])
  return config_lib.RopeScaling(kind=kind, **values)


def _finite(value) -> float | None:
  """A number as a finite float, or None."""
  try:
    is_number = type(value) in (int, float) and math.isfinite(value)
  except OverflowError:  # An integer with hundreds of digits.
    is_number = False
  return float(value) if is_number else None


def _number(json, rope, name):
  number = _finite(rope.get(name))
  if number is None:
    raise ValueError(f'{json.where}: {name} of RoPE must be a number, got '
                     f'{rope.get(name)!r:.60}')
  return number


def _gemma(json, found, period):
  found['window'] = json.require('sliding_window', int)
  scalar = json.require('query_pre_attn_scalar', float)
  if scalar <= 0:
    json.refuse(f'query_pre_attn_scalar={scalar}')
  found['attention_scale'] = scalar**-0.5
  for ours, theirs in (('attention_softcap', 'attn_logit_softcapping'),
                       ('final_softcap', 'final_logit_softcapping')):
    found[ours] = json.get(theirs, float) or 0.0
  if found['family'] == 'gemma3' and found['attention_softcap']:
    # Transformers reads the field and leaves it out of what it computes.
    json.refuse(f'attn_logit_softcapping={found["attention_softcap"]!r}')
  for name in ('sliding_window_pattern', '_sliding_window_pattern'):
    if json.has(name):
      period = max(json.require(name, int), 1)
  kinds = json.get('layer_types', list)
  if kinds is not None and kinds != layer_types(found['num_layers'], period):
    period = kinds.index('full_attention') + 1 if (
        'full_attention' in kinds) else 0
    if not period or kinds != layer_types(found['num_layers'], period):
      json.refuse('layer_types that do not repeat')
  found['global_every'] = period
  if period == 1:
    found['window'] = 0


def layer_types(num_layers: int, period: int) -> list[str]:
  """Which layers see everything, in the words of config.json."""
  return ['sliding_attention' if (i + 1) % period else 'full_attention'
          for i in range(num_layers)]


def config_json(config: config_lib.ModelConfig, dtype: str) -> dict[str, Any]:
  """The config.json that transformers 4 and 5 and vLLM read.

  Args:
    config: the model.
    dtype: of the weights beside it, such as 'bfloat16'.

  Raises:
    ValueError: no family has a model with these fields.
  """
  family = FAMILIES[config.family]
  values = {theirs: getattr(config, ours) for ours, theirs in _SIZES.items()}
  values |= {
      'architectures': [family.architecture], 'model_type': family.model_type,
      'torch_dtype': dtype, 'attention_bias': False, 'use_cache': True,
      'hidden_act': _ACTIVATIONS[config.activation],
      'attention_dropout': 0.0, 'initializer_range': 0.02,
      'rope_theta': config.rope_base, 'rope_scaling': _scaling_json(config),
  }
  if family.period:
    values |= _gemma_json(config)
  if config.family == 'gemma3':
    values['rope_local_base_freq'] = config.local_rope_base or config.rope_base
    values['sliding_window_pattern'] = config.global_every
  said = _explicit(config_lib.ModelConfig(**fields(
      values, f'a config.json of the family {config.family}')))
  differ = [
      f'{name}={getattr(config, name)!r}' for name in MODEL_FIELDS
      if getattr(_explicit(config), name) != getattr(said, name)]
  if differ:
    raise ValueError(
        f'the family {config.family} of transformers has no model with '
        f'{", ".join(differ)}; set config.model.family to one that has')
  return values


def _explicit(config):
  """The same model, with what 0 stands for written out."""
  base = config.rope_base if config.rope_scaling.kind == 'none' else 0.0
  return dataclasses.replace(
      config, local_rope_base=config.local_rope_base or base,
      attention_scale=config.attention_scale or config.head_dim**-0.5)


def _scaling_json(config):
  scaling = config.rope_scaling
  if scaling.kind == 'none':
    return None
  values = {'rope_type': scaling.kind, 'factor': scaling.factor}
  if scaling.kind == 'llama3':
    values |= {theirs: getattr(scaling, ours)
               for ours, theirs in _LLAMA3.items()}
  return values


def _gemma_json(config):
  period = config.global_every
  scale = config.attention_scale or config.head_dim**-0.5
  scalar = round(scale**-2, 6)
  return {
      'hidden_activation': _ACTIVATIONS[config.activation],
      'query_pre_attn_scalar': int(scalar) if scalar % 1 == 0 else scalar,
      'sliding_window': config.window or config.max_positions,
      'layer_types': layer_types(config.num_layers, period),
      'attn_logit_softcapping': config.attention_softcap or None,
      'final_logit_softcapping': config.final_softcap or None,
  }


MODEL_FIELDS = tuple(
    field.name for field in dataclasses.fields(config_lib.ModelConfig)
)[: [f.name for f in dataclasses.fields(config_lib.ModelConfig)].index(
    'max_positions') + 1]
"""The fields of `ModelConfig` that belong to the weights."""


class Tensor(NamedTuple):
  """One parameter of ours and what it is called in a Hugging Face file.

  Attributes:
    path: ours, such as ('blocks', 'attention', 'query', 'kernel').
    name: theirs; '{}' stands for the number of the layer.
    kind: how the axes differ, a key of `_TURNS`.
    shape: in the file.
  """

  path: tuple[str, ...]
  name: str
  kind: str
  shape: tuple[int, ...]


_NORMS = {
    False: {'attention_norm': 'input_layernorm',
            'mlp_norm': 'post_attention_layernorm'},
    True: {'attention_norm': 'input_layernorm',
           'attention_post_norm': 'post_attention_layernorm',
           'mlp_norm': 'pre_feedforward_layernorm',
           'mlp_post_norm': 'post_feedforward_layernorm'},
}
"""Norms of a layer, without and with `post_norms`."""


def table(config: config_lib.ModelConfig) -> list[Tensor]:
  """Every parameter without adapters and its tensor, in the file's order."""
  V, D, F, H = (config.vocab_size, config.width, config.mlp_width,
                config.head_dim)
  N, K = config.num_heads, config.num_kv_heads
  rows = [Tensor(('embed', 'embedding'), 'model.embed_tokens.weight', 'same',
                 (V, D))]

  def layer(path, name, kind, *shape):
    rows.append(Tensor(('blocks', *path), f'model.layers.{{}}.{name}', kind,
                       shape))

  for ours, theirs, heads in (('query', 'q_proj', N), ('key', 'k_proj', K),
                              ('value', 'v_proj', K)):
    layer(('attention', ours, 'kernel'), f'self_attn.{theirs}.weight',
          'heads_in', heads * H, D)
    if config.qkv_bias:
      layer(('attention', ours, 'bias'), f'self_attn.{theirs}.bias', 'heads',
            heads * H)
  layer(('attention', 'out', 'kernel'), 'self_attn.o_proj.weight', 'heads_out',
        D, N * H)
  if config.qk_norm:
    for ours, theirs in (('query_norm', 'q_norm'), ('key_norm', 'k_norm')):
      layer(('attention', ours, 'scale'), f'self_attn.{theirs}.weight', 'same',
            H)
  for ours, (rows_F, columns) in (('gate', (F, D)), ('up', (F, D)),
                                  ('down', (D, F))):
    layer(('mlp', ours, 'kernel'), f'mlp.{ours}_proj.weight', 'transposed',
          rows_F, columns)
  for ours, theirs in _NORMS[config.post_norms].items():
    layer((ours, 'scale'), f'{theirs}.weight', 'same', D)
  rows.append(Tensor(('final_norm', 'scale'), 'model.norm.weight', 'same',
                     (D,)))
  if not config.tied_head:
    rows.append(Tensor(('head', 'kernel'), 'lm_head.weight', 'transposed',
                       (V, D)))
  return rows


# Each kind of tensor: from theirs to ours, and from ours (of one layer) to
# theirs. All are views: what is not asked for is not read.
_TURNS = {
    'same': (lambda w, H: w, lambda w: w),
    'transposed': (lambda w, H: w.T, lambda w: w.T),
    # [heads * H, D] and [D, heads, H]
    'heads_in': (
        lambda w, H: w.reshape(-1, H, w.shape[-1]).transpose(2, 0, 1),
        lambda w: w.transpose(1, 2, 0).reshape(-1, w.shape[0])),
    # [heads * H] and [heads, H]
    'heads': (lambda w, H: w.reshape(-1, H), lambda w: w.reshape(-1)),
    # [D, heads * H] and [heads, H, D]
    'heads_out': (
        lambda w, H: w.reshape(w.shape[0], -1, H).transpose(1, 2, 0),
        lambda w: w.transpose(2, 0, 1).reshape(w.shape[-1], -1)),
}


def to_ours(row: Tensor, array: np.ndarray, head_dim: int) -> np.ndarray:
  """A tensor of a file as one layer of our parameter; a view."""
  return _TURNS[row.kind][0](array, head_dim)


def to_theirs(row: Tensor, array: np.ndarray) -> np.ndarray:
  """One layer of our parameter as a tensor of a file."""
  return _TURNS[row.kind][1](array)


def names(config: config_lib.ModelConfig, row: Tensor) -> list[str]:
  """The row's tensors: one for each layer, or one."""
  layers = range(config.num_layers) if '{}' in row.name else (0,)
  return [row.name.format(i) for i in layers]
