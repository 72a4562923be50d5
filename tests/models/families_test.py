"""Names and axes of every family: each parameter once, nothing unread."""

import dataclasses
import math

from flax import traverse_util
import numpy as np
import pytest

from score_jax import config as config_lib
from score_jax.models import decoder
from score_jax.models import families
from score_jax.models import stored
from tests import folders
from tests.models import golden

FAMILY = pytest.mark.parametrize('family', families.FAMILIES)
LLAMA, GEMMA3 = golden.CASES['llama'], golden.CASES['gemma3']


def _fields(values):
  return families.fields(values, 'x/config.json')


def _refusal(values):
  with pytest.raises(ValueError) as error:
    _fields(values)
  assert str(error.value).startswith('x/config.json')
  assert '\n' not in str(error.value)
  return str(error.value)


@FAMILY
@pytest.mark.parametrize('tied', [True, False])
def test_the_table_has_every_parameter_once_in_its_shape(family, tied):
  config = folders.small_config(family, tied_head=tied)
  rows = families.table(config)
  shapes = {path: leaf.shape for path, leaf in traverse_util.flatten_dict(
      decoder.abstract(config)).items()}
  assert {row.path: stored.our_shape(row, config) for row in rows} == shapes
  assert len(rows) == len(shapes)
  names = [name for row in rows for name in families.names(config, row)]
  assert len(set(names)) == len(names)
  assert ('lm_head.weight' in names) == (not tied)


@FAMILY
@pytest.mark.parametrize('dtype', folders.DTYPES)
def test_to_ours_and_back_is_bit_equal_and_copies_nothing(family, dtype):
  config = folders.small_config(family)
  for name, array in folders.tensors(config, dtype).items():
    row = next(row for row in families.table(config)
               if name in families.names(config, row))
    ours = families.to_ours(row, array, config.head_dim)
    assert np.shares_memory(ours, array), name
    back = families.to_theirs(row, np.ascontiguousarray(ours))
    assert (back.shape, back.dtype) == (array.shape, array.dtype), name
    assert back.tobytes() == array.tobytes(), name


def test_what_a_projection_computes_is_the_same():
  # y = W x in their rows; head n is rows n H to (n + 1) H.
  rng = np.random.default_rng(0)
  D, N, H = 5, 3, 4
  row = lambda kind: families.Tensor((), '', kind, ())
  w, x = rng.normal(size=(N * H, D)), rng.normal(size=D)
  ours = families.to_ours(row('heads_in'), w, H)
  np.testing.assert_allclose(np.einsum('d,dnh->nh', x, ours).ravel(), w @ x)
  bias = np.arange(N * H)
  assert families.to_ours(row('heads'), bias, H)[1].tolist() == [4, 5, 6, 7]
  w, x = rng.normal(size=(D, N * H)), rng.normal(size=N * H)
  ours = families.to_ours(row('heads_out'), w, H)
  np.testing.assert_allclose(np.einsum('nh,nhd->d', x.reshape(N, H), ours),
                             w @ x)
  np.testing.assert_allclose(x @ families.to_ours(row('transposed'), w, H),
                             w @ x)


@pytest.mark.parametrize('family, more', [
    ('llama', []),
    ('qwen2', ['self_attn.q_proj.bias', 'self_attn.k_proj.bias',
               'self_attn.v_proj.bias']),
    ('qwen3', ['self_attn.q_norm.weight', 'self_attn.k_norm.weight']),
    ('gemma2', ['pre_feedforward_layernorm.weight',
                'post_feedforward_layernorm.weight']),
    ('gemma3', ['pre_feedforward_layernorm.weight',
                'post_feedforward_layernorm.weight',
                'self_attn.q_norm.weight', 'self_attn.k_norm.weight']),
])
def test_names_of_a_layer(family, more):
  config = folders.small_config(family)
  names = [row.name.removeprefix('model.layers.{}.')
           for row in families.table(config) if '{}' in row.name]
  common = ['input_layernorm', 'post_attention_layernorm', 'mlp.gate_proj',
            'mlp.up_proj', 'mlp.down_proj'] + [
                f'self_attn.{x}_proj' for x in 'qkvo']
  assert sorted(names) == sorted([f'{name}.weight' for name in common] + more)


def test_gemma_has_its_norms_where_transformers_has_them():
  # In the order of the forward pass; 'post_attention' is not before the MLP.
  named = {row.name.split('.')[-2]: row.path[1]
           for row in families.table(folders.small_config('gemma2'))
           if 'layernorm' in row.name}
  assert named == {
      'input_layernorm': 'attention_norm',
      'post_attention_layernorm': 'attention_post_norm',
      'pre_feedforward_layernorm': 'mlp_norm',
      'post_feedforward_layernorm': 'mlp_post_norm'}


def test_a_config_json_by_hand():
  assert _fields(GEMMA3) == dict(
      family='gemma3', vocab_size=31, num_layers=7, width=16, num_heads=4,
      num_kv_heads=1, head_dim=12, mlp_width=20, activation='gelu',
      rope_base=1000.0, rope_scaling=config_lib.RopeScaling('linear', 8.0),
      local_rope_base=30.0, local_rope_scaling=config_lib.RopeScaling(),
      window=4, global_every=6,
      attention_scale=7**-0.5, attention_softcap=0.0, final_softcap=0.0,
      qk_norm=True, post_norms=True, norm_plus_one=True, embed_scale=True,
      norm_eps=0.01, tied_head=True, max_positions=64)


def test_an_exported_config_json_by_hand():
  config = folders.small_config('gemma3', final_softcap=3.0)
  values = families.config_json(config, 'bfloat16')
  assert values['architectures'] == ['Gemma3ForCausalLM']
  assert values['model_type'] == 'gemma3_text'
  assert values['torch_dtype'] == 'bfloat16'
  assert values['layer_types'] == [
      *['sliding_attention'] * 5, 'full_attention', 'sliding_attention']
  assert values['sliding_window_pattern'] == 6
  assert (values['rope_theta'], values['rope_local_base_freq']) == (1e4, 100.0)
  assert values['rope_scaling'] == {'rope_type': 'linear', 'factor': 8.0}
  assert type(values['query_pre_attn_scalar']) is int  # They insist on it.
  assert values['query_pre_attn_scalar'] == 10
  assert values['final_logit_softcapping'] == 3.0
  assert values['attn_logit_softcapping'] is None


@FAMILY
@pytest.mark.parametrize('tied', [True, False])
def test_config_json_and_back(family, tied):
  config = folders.small_config(family, tied_head=tied)
  values = families.config_json(config, 'float32')
  assert config_lib.ModelConfig(**_fields(values)) == config


@pytest.mark.parametrize('family, changes, words', [
    ('llama', {'window': 4, 'global_every': 2}, 'window=4, global_every=2'),
    ('llama', {'qk_norm': True}, 'qk_norm=True'),
    ('llama', {'activation': 'gelu'}, "activation 'gelu_pytorch_tanh'"),
    ('qwen3', {'qkv_bias': True}, 'qkv_bias=True'),
    ('gemma2', {'local_rope_base': 50.0}, 'local_rope_base=50.0'),
    ('gemma2', {'attention_scale': 0.3}, 'attention_scale=0.3'),
    ('gemma3', {'attention_softcap': 5.0}, 'attn_logit_softcapping=5.0'),
    ('gemma3', {'local_rope_base': 0.0}, 'local_rope_base=0.0'),
])
def test_a_model_that_no_family_has_is_not_exported(family, changes, words):
  config = folders.small_config(family, **changes)
  with pytest.raises(ValueError) as error:
    families.config_json(config, 'float32')
  assert words in str(error.value) and family in str(error.value)


def test_a_scale_left_to_the_head_is_written_out():
  config = folders.small_config('gemma2', attention_scale=0.0)
  values = families.config_json(config, 'float32')
  assert values['query_pre_attn_scalar'] == config.head_dim == 10
  plain = folders.small_config('gemma3', local_rope_base=0.0,
                               rope_scaling=config_lib.RopeScaling())
  assert families.config_json(
      plain, 'float32')['rope_local_base_freq'] == plain.rope_base


def test_a_sparse_multimodal_config_json_is_that_of_gemma_3():
  # As google/gemma-3-4b-it has it: what is not said is in the class.
  fields = _fields({
      'architectures': ['Gemma3ForConditionalGeneration'],
      'text_config': {
          'hidden_size': 2560, 'intermediate_size': 10240,
          'num_hidden_layers': 34, 'sliding_window': 1024}})
  assert (fields['num_heads'], fields['num_kv_heads'], fields['head_dim'],
          fields['vocab_size'], fields['rope_base'], fields['local_rope_base'],
          fields['max_positions'], fields['global_every'], fields['tied_head']
          ) == (8, 4, 256, 262_208, 1e6, 1e4, 131_072, 6, True)


def test_a_model_type_stands_in_for_missing_architectures():
  values = {k: v for k, v in GEMMA3.items() if k != 'architectures'}
  assert _fields(values) == _fields(GEMMA3)


@pytest.mark.parametrize('changes, period', [
    ({'sliding_window_pattern': 3}, 3),
    ({'sliding_window_pattern': 2, '_sliding_window_pattern': 6}, 2),
    ({'sliding_window_pattern': 6, '_sliding_window_pattern': 2}, 6),
    ({'_sliding_window_pattern': 6}, 6),
    ({}, 6),
    ({'sliding_window_pattern': 3, 'layer_types': families.layer_types(7, 2)},
     2),
    ({'_sliding_window_pattern': 3, 'layer_types': families.layer_types(7, 6)},
     6),
    ({'layer_types': ['sliding_attention'] * 7}, 8),
    ({'sliding_window_pattern': 1, 'sliding_window': None}, 1),
])
def test_the_period_is_that_of_transformers(changes, period):
  fields = _fields(GEMMA3 | changes)
  assert fields['global_every'] == period
  assert fields['window'] == (4 if period > 1 else 0)


@pytest.mark.parametrize('values, words', [
    # Transformers ignores this name, so the number means nothing.
    (GEMMA3 | {'_sliding_window_pattern': 3},
     '_sliding_window_pattern=3 without layer_types'),
    (GEMMA3 | {'sliding_window_pattern': 0}, 'sliding_window_pattern=0'),
    (GEMMA3 | {'sliding_window_pattern': None},
     'lacks sliding_window_pattern (it is null)'),
    (GEMMA3 | {'sliding_window_pattern': 2.0},
     'sliding_window_pattern must be int'),
    (golden.CASES['gemma2'] | {'sliding_window_pattern': 3},
     'sliding_window_pattern=3 without layer_types'),
    (LLAMA | {'sliding_window_pattern': 3},
     'the field sliding_window_pattern=3 is unknown'),
])
def test_a_period_without_a_meaning_is_refused(values, words):
  assert words in _refusal(values)


def test_a_period_is_read_from_the_layers():
  full, near = 'full_attention', 'sliding_attention'
  pairs = golden.CASES['gemma3_pairs']
  assert _fields(pairs)['global_every'] == 2
  everywhere = _fields(pairs | {'layer_types': [full] * 3})
  assert (everywhere['global_every'], everywhere['window']) == (1, 0)
  nowhere = _fields(pairs | {'layer_types': [near] * 3})
  assert nowhere['global_every'] > 3
  for kinds in ([full, near, near], [near, full, full], [near, near],
                [near] * 4, ['odd'] * 3, [3, 4, 5]):
    with pytest.raises(ValueError, match='layer_types'):
      _fields(pairs | {'layer_types': kinds})


@pytest.mark.parametrize('changes, words', [
    ({'architectures': ['MistralForCausalLM']},
     "architecture 'MistralForCausalLM' is not supported; supported: "
     'LlamaForCausalLM, Gemma2ForCausalLM, Gemma3ForCausalLM, '
     'Qwen2ForCausalLM, Qwen3ForCausalLM, Gemma3ForConditionalGeneration'),
    ({'architectures': 'LlamaForCausalLM'}, 'architecture None'),
    ({'architectures': ['x' * 999]}, "xxx... is not supported; supported: "),
    ({'architectures': ['LlamaForCausalLM'] * 99 + ['y']}, '... and model_ty'),
    ({'architectures': [['x']]}, "architecture ['x']"),
    ({'hidden_size': None}, 'lacks hidden_size'),
    ({'hidden_size': '16'}, "hidden_size must be int, got '16'"),
    ({'hidden_size': 16.0}, 'hidden_size must be int, got 16.0'),
    ({'num_hidden_layers': True}, 'num_hidden_layers must be int, got True'),
    ({'num_hidden_layers': 0}, 'num_layers is 0'),
    ({'num_attention_heads': 0}, 'num_heads'),
    ({'num_key_value_heads': 3}, 'num_heads 4 is not divisible by'),
    ({'head_dim': 7}, 'head_dim is 7; RoPE needs it even'),
    ({'rms_norm_eps': math.nan}, 'rms_norm_eps must be float, got nan'),
    ({'rms_norm_eps': 10**400}, 'rms_norm_eps must be float, got 1000'),
    ({'rope_theta': 10**400}, 'rope_theta must be float, got 1000'),
    ({'num_hidden_layers': 10**9}, 'num_hidden_layers=1000000000'),
    ({'hidden_act': ['silu']}, "the activation ['silu']"),
    ({'rope_scaling': {'rope_type': 'llama3', 'factor': 8.0,
                       'low_freq_factor': 1.0, 'high_freq_factor': 4.0,
                       'original_max_position_embeddings': -5}},
     'original_positions is -5'),
    ({'tie_word_embeddings': 1}, 'tie_word_embeddings must be bool, got 1'),
    ({'attention_bias': True}, 'attention_bias=True is not supported for the '
     'family llama'),
    ({'mlp_bias': True}, 'mlp_bias=True is not supported'),
    ({'hidden_act': 'relu'}, "the activation 'relu' is not supported"),
    ({'hidden_act': 'gelu'}, "the activation 'gelu' is not supported"),
    ({'hidden_activation': 'gelu'},
     "hidden_activation='gelu' next to hidden_act='silu'"),
    ({'hidden_act': None, 'hidden_activation': 'silu'}, 'lacks hidden_act'),
    ({'model_type': 'qwen2'}, "['LlamaForCausalLM'] and model_type 'qwen2' "
     'contradict each other'),
    ({'model_type': 'mistral'}, "model_type 'mistral' contradict"),
    ({'architectures': ['LlamaForCausalLM', 'Qwen2ForCausalLM']},
     'contradict each other'),
    ({'text_config': {'hidden_size': 16}}, "a model_type of 'llama' has "
     'text_config'),
    ({'rope_scaling': 'llama3'}, 'rope_scaling must be dict'),
    ({'rope_scaling': {'type': 'linear'}}, 'factor of RoPE must be a number'),
    ({'rope_scaling': {'type': 'linear', 'factor': math.inf}},
     'factor of RoPE must be a number, got inf'),
    ({'rope_scaling': {'type': 'linear', 'factor': 0.5}},
     'rope_scaling.factor is 0.5; it must be at least 1'),
    ({'rope_theta': -1.0}, 'rope_base is -1.0; it must be above 0'),
])
def test_bad_fields_are_refused(changes, words):
  assert words in _refusal(LLAMA | changes)


@pytest.mark.parametrize('changes, words', [
    ({'query_pre_attn_scalar': 0}, 'query_pre_attn_scalar=0.0'),
    ({'query_pre_attn_scalar': -4}, 'query_pre_attn_scalar=-4.0'),
    ({'sliding_window': None}, 'lacks sliding_window'),
    ({'sliding_window': 0}, 'the local layers have no'),
    ({'attn_logit_softcapping': 50.0}, 'attn_logit_softcapping=50.0'),
    ({'use_bidirectional_attention': True}, 'use_bidirectional_attention'),
    ({'hidden_activation': 'silu'}, "the activation 'silu'"),
    ({'sliding_window': -1}, 'window is -1'),
    ({'final_logit_softcapping': 0.0}, 'final_logit_softcapping=0.0'),
    ({'final_logit_softcapping': -2.0}, 'final_logit_softcapping=-2.0'),
    ({'attn_logit_softcapping': 0}, 'attn_logit_softcapping=0.0'),
    ({'hidden_activation': None}, 'lacks hidden_activation (it is null)'),
    ({'hidden_act': 'relu'}, "hidden_act='relu' next to hidden_activation"),
    ({'num_key_value_heads': None}, 'lacks num_key_value_heads (it is null)'),
    ({'head_dim': None}, 'lacks head_dim (it is null)'),
])
def test_bad_fields_of_gemma_are_refused(changes, words):
  assert words in _refusal(GEMMA3 | changes)


_FULL, _NEAR = 'full_attention', 'sliding_attention'


@pytest.mark.parametrize('family', ['qwen2', 'qwen3'])
@pytest.mark.parametrize('changes, words', [
    ({'use_sliding_window': True}, 'use_sliding_window=True'),
    ({'use_sliding_window': True, 'max_window_layers': 0,
      'sliding_window': 4}, 'use_sliding_window=True'),
    ({'layer_types': [_NEAR, _NEAR]}, "layer_types=['sliding_attention'"),
    ({'layer_types': [_FULL, _NEAR], 'use_sliding_window': False},
     'layer_types='),
    ({'layer_types': [_FULL]}, "layer_types=['full_attention'] of 2 layers"),
    ({'layer_types': [_FULL] * 3}, 'of 2 layers'),
    ({'layer_types': ['linear_attention', _FULL]}, 'layer_types='),
    ({'layer_types': 'full_attention'}, 'layer_types must be list'),
])
def test_windows_and_odd_layers_of_qwen_are_refused(family, changes, words):
  assert words in _refusal(golden.CASES[family] | changes)


def test_a_window_that_no_layer_of_qwen_has_is_ignored():
  for changes in ({'sliding_window': 4, 'use_sliding_window': False},
                  {'sliding_window': 4, 'max_window_layers': 0},
                  {'sliding_window': None}, {'layer_types': [_FULL] * 2}):
    values = golden.CASES['qwen2']
    assert _fields(values | changes) == _fields(values), changes


def test_sizes_that_a_file_leaves_out_are_those_of_its_class():
  without = lambda values, name: {
      k: v for k, v in values.items() if k != name}
  for family in ('qwen2', 'qwen3'):
    # Not the number of heads, but null is.
    many = without(golden.CASES[family], 'num_key_value_heads') | {
        'num_attention_heads': 64, 'head_dim': 8}
    assert _fields(many)['num_kv_heads'] == 32
    assert _fields(many | {'num_key_value_heads': None})['num_kv_heads'] == 64
  values = golden.CASES['qwen3']
  assert _fields(without(values, 'head_dim'))['head_dim'] == 128
  assert _fields(LLAMA | {'num_key_value_heads': None})['num_kv_heads'] == 4
  assert _fields(LLAMA | {'head_dim': None})['head_dim'] == 4
  assert 'lacks head_dim (it is null)' in _refusal(values | {'head_dim': None})


@pytest.mark.parametrize('name, value, ours', [
    ('gemma2', 'gelu', 'gelu_exact'), ('gemma3', 'gelu', 'gelu_exact'),
    ('gemma3', 'gelu_pytorch_tanh', 'gelu')])
def test_gelu_of_gemma_is_by_erf(name, value, ours):
  fields = _fields(golden.CASES[name] | {'hidden_activation': value})
  assert fields['activation'] == ours
  exported = families.config_json(config_lib.ModelConfig(**fields), 'float32')
  assert exported['hidden_activation'] == value
  # Early files have 'gelu' under a name that is not read.
  early = _fields(golden.CASES[name] | {'hidden_act': 'gelu'})
  assert early['activation'] == 'gelu'


def test_swish_is_silu():
  assert _fields(LLAMA | {'hidden_act': 'swish'}) == _fields(LLAMA)


def _multimodal(text=None, **outer):
  values = {k: v for k, v in GEMMA3.items() if k != 'architectures'}
  return {'architectures': ['Gemma3ForConditionalGeneration'],
          'model_type': 'gemma3', 'text_config': values | (text or {}),
          'vision_config': {'hidden_size': 8}} | outer


def test_a_multimodal_model_is_tied_by_its_outer_field():
  assert _fields(_multimodal()) == _fields(GEMMA3)
  # A value that is given twice is no contradiction.
  assert _fields(_multimodal(hidden_size=16, vocab_size=31)) == _fields(GEMMA3)
  untied = _fields(_multimodal(tie_word_embeddings=False))
  assert untied == _fields(GEMMA3 | {'tie_word_embeddings': False})


@pytest.mark.parametrize('values, words', [
    (_multimodal({'tie_word_embeddings': False}),
     'tie_word_embeddings is True, and False in text_config'),
    (_multimodal({'tie_word_embeddings': True}, tie_word_embeddings=False),
     'tie_word_embeddings is False, and True in text_config'),
    (_multimodal(vocab_size=99), 'vocab_size is 99, and 31 in text_config'),
    (_multimodal({'model_type': 'gemma2'}), "model_type 'gemma2' in text"),
    (_multimodal(rope_scaling={'rope_type': 'yarn', 'factor': 2.0}),
     'the field rope_scaling='),
    (_multimodal(hidden_size=8), 'the field hidden_size=8 is unknown'),
    (_multimodal({'text_config': {}}), 'the field text_config={} is unknown'),
    (_multimodal(model_type='gemma3_text'),
     "a model_type of 'gemma3_text' has text_config"),
    (_multimodal(text_config=None), "a model_type of 'gemma3' lacks text_co"),
])
def test_contradictions_of_a_multimodal_file_are_refused(values, words):
  assert words in _refusal(values)


def test_fields_of_the_weights_are_all_but_those_of_the_run():
  others = {'dtype', 'param_dtype', 'remat', 'attention', 'unroll_decode',
            'lora', 'checkpoint', 'tokenizer', 'thinking'}
  names = {field.name for field in dataclasses.fields(config_lib.ModelConfig)}
  assert set(families.MODEL_FIELDS) == names - others
