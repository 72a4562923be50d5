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
      local_rope_base=30.0, window=4, global_every=6,
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


@pytest.mark.parametrize('name', ['sliding_window_pattern',
                                  '_sliding_window_pattern'])
def test_a_period_is_read_from_its_number(name):
  assert _fields(GEMMA3 | {name: 3})['global_every'] == 3
  everywhere = _fields(GEMMA3 | {name: 1})
  assert (everywhere['global_every'], everywhere['window']) == (1, 0)


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
    ({'rope_scaling': 'llama3'}, 'rope_scaling must be dict'),
    ({'rope_scaling': {'rope_type': 'yarn', 'factor': 4.0}},
     "RoPE scaling 'yarn' is not supported"),
    ({'rope_scaling': {'type': 'linear'}}, 'factor of RoPE must be a number'),
    ({'rope_scaling': {'type': 'linear', 'factor': math.inf}},
     'factor of RoPE must be a number, got inf'),
    ({'rope_scaling': {'type': 'linear', 'factor': 0.5}},
     'rope_scaling.factor is 0.5; it must be at least 1'),
    ({'rope_theta': -1.0}, 'rope_base is -1.0; it must be above 0'),
])
def test_bad_fields_are_refused(changes, words):
  with pytest.raises(ValueError) as error:
    _fields(LLAMA | changes)
  assert words in str(error.value)
  assert str(error.value).startswith('x/config.json')
  assert '\n' not in str(error.value)


@pytest.mark.parametrize('changes, words', [
    ({'query_pre_attn_scalar': 0}, 'query_pre_attn_scalar=0.0'),
    ({'query_pre_attn_scalar': -4}, 'query_pre_attn_scalar=-4.0'),
    ({'sliding_window': None}, 'lacks sliding_window'),
    ({'sliding_window': 0}, 'the local layers have no'),
    ({'attn_logit_softcapping': 50.0}, 'attn_logit_softcapping=50.0'),
    ({'use_bidirectional_attention': True}, 'use_bidirectional_attention'),
    ({'hidden_activation': 'silu'}, "the activation 'silu'"),
    ({'rope_parameters': {'full_attention': 3}}, 'must hold dicts'),
    ({'rope_parameters': {
        'full_attention': {'rope_type': 'default', 'rope_theta': 1e4},
        'sliding_attention': {'rope_type': 'linear', 'rope_theta': 1e4}}},
     'of layers with a window'),
])
def test_bad_fields_of_gemma_are_refused(changes, words):
  with pytest.raises(ValueError) as error:
    _fields(GEMMA3 | changes)
  assert words in str(error.value)
  assert str(error.value).startswith('x/config.json')


def test_qwen_with_a_window_is_refused():
  with pytest.raises(ValueError, match='use_sliding_window=True'):
    _fields(golden.CASES['qwen2'] | {'use_sliding_window': True})


def test_fields_of_the_weights_are_all_but_those_of_the_run():
  others = {'dtype', 'param_dtype', 'remat', 'attention', 'unroll_decode',
            'lora', 'checkpoint', 'tokenizer', 'thinking'}
  names = {field.name for field in dataclasses.fields(config_lib.ModelConfig)}
  assert set(families.MODEL_FIELDS) == names - others
