"""Hugging Face's names: of model fields in config.json and of tensors.

A family is a row of `FAMILIES`, with what its config.json leaves unsaid and
what its models share. `fields` reads a config.json, `config_json` writes one,
and `table` is the mapping of tensors; all three serve import and export.

Sources: the config classes and modeling files of transformers 5.24 (Apache-2.0)
for llama, gemma2, gemma3_text, qwen2 and qwen3.
"""

import dataclasses
from typing import Any
from typing import NamedTuple

import numpy as np

from score_jax import config as config_lib
from score_jax.models import config_fields
from score_jax.models import config_values
from score_jax.models import quantised
from score_jax.models import rope_fields

_COMMON = {
    'rms_norm_eps': 1e-6, 'tie_word_embeddings': False, 'hidden_act': 'silu',
    'max_position_embeddings': 2048,
}
_GEMMA = {
    'rms_norm_eps': 1e-6,
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
        _GEMMA | {'vocab_size': 262_208, 'max_position_embeddings': 131_072},
        _GEMMA_FIXED | {'qk_norm': True}, period=6),
    'qwen2': Family(
        'Qwen2ForCausalLM', 'qwen2',
        _COMMON | {'max_position_embeddings': 32_768,
                   'num_key_value_heads': 32}, {'qkv_bias': True}),
    'qwen3': Family(
        'Qwen3ForCausalLM', 'qwen3',
        _COMMON | {'head_dim': 128, 'max_position_embeddings': 32_768,
                   'num_key_value_heads': 32},
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
_ACTIVATIONS = {'silu': 'silu', 'gelu': 'gelu_pytorch_tanh',
                'gelu_exact': 'gelu'}
_ACTIVATIONS_BY = {
    False: {'silu': 'silu', 'swish': 'silu'},
    True: {'gelu_pytorch_tanh': 'gelu', 'gelu': 'gelu_exact'},
}
"""Activations by theirs, of other families and of Gemma."""

_MOST_LAYERS = 10_000  # More is damage, and would take long to list.


def fields(values: dict[str, Any], where: str) -> dict[str, Any]:
  """Return the fields of `ModelConfig` that a config.json decides.

  Args:
    values: the contents of a config.json of transformers 4 or 5.
    where: its path, for messages.

  Raises:
    ValueError: another architecture, quantised weights, a form of a known
      architecture that the decoder does not compute, or fields that are
      unknown, missing, ill-typed or contradict each other.
  """
  return read(values, where)[0]


def read(
    values: dict[str, Any], where: str
) -> tuple[dict[str, Any], list[str]]:
  """Return the same, and remarks on fields that others overrule, for a user."""
  json = _opened(values, where)
  family = FAMILIES[json.family]
  config_fields.check(json)
  types = {field.name: field.type
           for field in dataclasses.fields(config_lib.ModelConfig)}
  heads = json.require('num_attention_heads', int)
  found = dict(family.fixed, family=json.family)
  for ours, theirs in _SIZES.items():
    if _is_derived(json, theirs):
      found[ours] = heads if theirs == 'num_key_value_heads' else (
          json.require('hidden_size', int) // max(heads, 1))
    else:
      found[ours] = json.require(theirs, types[ours])
  if found['num_layers'] > _MOST_LAYERS:
    json.refuse(f'num_hidden_layers={found["num_layers"]}')
  found['activation'] = _activation(json)
  rope, remarks = rope_fields.read(json)
  found |= rope
  if family.period:
    _gemma(json, found, family.period)
  else:
    _check_all_full(json, found['num_layers'])
  config_lib.check_model(config_lib.ModelConfig(**found), where)
  return found, remarks


def _opened(values, where) -> config_values.Values:
  """The fields of the text model, with the defaults of its family."""
  quantised.check_config(values, where)
  architectures = values.get('architectures') or [values.get('model_type')]
  found = architectures[0] if isinstance(architectures, list) else None
  family = _family(found)
  if family is None:
    known = [f.architecture for f in FAMILIES.values()] + [_MULTIMODAL]
    raise ValueError(
        f'{where}: architecture {config_values.short(found)} is not supported; '
        f'supported: {", ".join(known)}')
  named = values.get('model_type')
  is_outer = isinstance(values.get('text_config'), dict)
  if {_family(name) for name in architectures} != {family} or (
      named is not None and _family(named) != family):
    raise ValueError(
        f'{where}: architectures {config_values.short(architectures)} and '
        f'model_type {config_values.short(named)} contradict each other')
  if is_outer != (named == 'gemma3') and named is not None:
    raise ValueError(f'{where}: a model_type of {named!r} '
                     f'{"has" if is_outer else "lacks"} text_config')
  if is_outer:
    if family != 'gemma3':
      raise ValueError(f'{where}: text_config is not supported for the family '
                       f'{family}')
    values = _text_config(values, where)
  return config_values.Values(values, FAMILIES[family].defaults, where, family)


def _family(name):
  """The family that an architecture or a `model_type` is of, or None."""
  names = {f.architecture: name for name, f in FAMILIES.items()}
  names |= {f.model_type: name for name, f in FAMILIES.items()}
  names[_MULTIMODAL] = names['gemma3'] = 'gemma3'
  return names.get(name) if isinstance(name, str) else None


def _text_config(values, where):
  """The text model of a multimodal one, which decides whether it is tied."""
  config_fields.check_outer(values, where, 'gemma3')
  text = dict(values['text_config'])
  tied = values.get('tie_word_embeddings', True)
  for name in ('tie_word_embeddings', 'vocab_size'):
    outer = tied if name == 'tie_word_embeddings' else values.get(name)
    if name in text and outer not in (None, text[name]):
      raise ValueError(f'{where}: {name} is {outer!r}, and {text[name]!r} in '
                       'text_config; make both equal')
  if text.get('model_type', 'gemma3_text') != 'gemma3_text':
    raise ValueError(f'{where}: model_type {text["model_type"]!r} in '
                     'text_config is not supported; supported: gemma3_text')
  return text | {'tie_word_embeddings': tied}


def _is_derived(json, name):
  """Whether a size follows from others: transformers has it null or absent."""
  if name == 'num_key_value_heads':
    # The class's own number where the field is absent, not where it is null.
    return not json.has(name) and json.family in ('llama', 'qwen2', 'qwen3')
  if name == 'head_dim':
    return not json.has(name) and (
        json.family == 'llama'
        or json.family == 'qwen2' and name not in json.names)
  return False


def _activation(json):
  """Ours of the activation; the families call the field differently."""
  name, other = 'hidden_act', 'hidden_activation'
  if json.family.startswith('gemma'):
    name, other = other, name
  value = json.require(name, object)
  known = _ACTIVATIONS_BY[json.family.startswith('gemma')]
  if not isinstance(value, str) or value not in known:
    json.refuse(f'{name}: the activation {config_values.short(value)}')
  # The other one is not read; files of Gemma say 'gelu' there of 'tanh'.
  if json.get(other) not in (None, value, *(
      ('gelu', 'gelu_pytorch_tanh') if other == 'hidden_act' else ())):
    json.refuse(f'{other}={config_values.short(json.get(other))} next to '
                f'{name}={value!r}')
  return known[value]


def _check_all_full(json, num_layers):
  kinds = json.get('layer_types', list)
  if kinds is not None and kinds != layer_types(num_layers, 1):
    json.refuse(f'layer_types={config_values.short(kinds)} of {num_layers} '
                'layers')


def _gemma(json, found, period):
  scalar = json.require('query_pre_attn_scalar', float)
  if scalar <= 0:
    json.refuse(f'query_pre_attn_scalar={scalar}')
  found['attention_scale'] = scalar**-0.5
  for ours, theirs in (('attention_softcap', 'attn_logit_softcapping'),
                       ('final_softcap', 'final_logit_softcapping')):
    cap = json.get(theirs, float)
    if cap is not None and cap <= 0:
      json.refuse(f'{theirs}={cap}')
    found[ours] = cap or 0.0
  if found['family'] == 'gemma3' and found['attention_softcap']:
    # Transformers reads the field and leaves it out of what it computes.
    json.refuse(f'attn_logit_softcapping={found["attention_softcap"]!r}')
  found['global_every'] = _period(json, found['num_layers'], period)
  found['window'] = (0 if found['global_every'] == 1
                     else json.require('sliding_window', int))


def _period(json, num_layers, period):
  """`global_every`, from the kinds of layers or from their period."""
  given = {name: json.require(name, int)
           for name in ('sliding_window_pattern', '_sliding_window_pattern')
           if name in json.names}
  for name, number in given.items():
    if number < 1:
      json.refuse(f'{name}={number}')
  kinds = json.get('layer_types', list)
  if kinds is None:
    # Only this name is read, and in Gemma 2 none.
    read = 'sliding_window_pattern' if json.family == 'gemma3' else ''
    period = given.get(read, period)
    for name, number in given.items():
      if number != period and read not in given:
        json.refuse(f'{name}={number} without layer_types')
    return period
  if kinds == layer_types(num_layers, period):
    return period
  period = (kinds.index('full_attention') if 'full_attention' in kinds
            else len(kinds)) + 1
  if kinds != layer_types(num_layers, period):
    json.refuse(f'layer_types={config_values.short(kinds)} of {num_layers} '
                'layers, which do not repeat')
  return period


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
  } | rope_fields.write(config)
  if family.period:
    values |= _gemma_json(config)
  if config.family == 'gemma3':
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
