"""The closed list of fields of config.json, and quantised checkpoints."""

import json

import pytest

from score_jax.models import families
from score_jax.models import quantised
from tests.models import golden

LLAMA = golden.CASES['llama']
CLASSES = json.loads((golden.FOLDER / 'configs.json').read_text())
"""All fields of the config classes of transformers, with their defaults."""


def _refusal(values):
  with pytest.raises(ValueError) as error:
    families.fields(values, 'x/config.json')
  assert str(error.value).startswith('x/config.json')
  assert '\n' not in str(error.value)
  return str(error.value)


@pytest.mark.parametrize('version', CLASSES)
@pytest.mark.parametrize('name', CLASSES['5.24'])
def test_every_field_of_the_classes_is_known(version, name):
  values = CLASSES[version][name]
  assert len(values) > 15
  fields = families.fields(values, name)
  # What is left out of a file has the same value.
  names = {'architectures', 'model_type', 'vocab_size', 'hidden_size',
           'intermediate_size', 'num_hidden_layers', 'num_attention_heads',
           'text_config'}
  few = {key: value for key, value in values.items() if key in names}
  assert families.fields(few, name) == fields


@pytest.mark.parametrize('values', [
    {'_name_or_path': 'x', 'transformers_version': '4.45.0.dev0'},
    {'rope_interleaved': False, 'is_llama_config': True,
     'transformers.js_config': {'dtype': 'q4'}},
    {'pretraining_tp': 2, 'max_sequence_length': 2048},
    {'unsloth_fixed': True, 'unsloth_version': '2025.3.19'},
    {'use_mrope': False, '_attn_implementation_autoset': True},
    {'eos_token_id': [2, 3], 'pad_token_id': None, 'bos_token_id': 1,
     'boi_token_index': 4, 'pad_token': '<pad>', 'suppress_tokens': [1]},
    {'attention_dropout': 0.1, 'resid_pdrop': 0.1, 'initializer_range': 0.1},
    {'quantization_config': None, 'layer_types': None, 'use_moe': None},
    {'activation': 'swiglu', 'auto_map': {}, 'pruned_heads': {}},
    {'per_layer_config': {}, 'per_layer_sizes': None, 'use_cache': False},
    {'task_specific_params': {'x': 1}, 'id2label': {'0': 'a'},
     'num_labels': 1, 'problem_type': 'regression'},
])
def test_what_published_files_have_is_harmless(values):
  assert families.fields(LLAMA | values, 'x') == families.fields(LLAMA, 'x')


@pytest.mark.parametrize('name, value', [
    # Of models that share tensors and names with these.
    ('residual_multiplier', 0.22), ('embedding_multiplier', 12.0),
    ('logits_scaling', 8.0), ('attention_multiplier', 0.0078125),
    ('use_qk_norm', True), ('qk_norm', False), ('logit_scale', 0.0625),
    ('no_rope_layers', [1, 1, 0]), ('use_rope', False), ('alibi', True),
    ('attn_temperature_tuning', 4), ('parallel_residual', True),
    ('num_local_experts', 8), ('moe_intermediate_size', 4), ('scale_emb', 12),
    ('scale_depth', 1.4), ('mup_enabled', True), ('clip_qkv', 8.0),
    ('attention_sinks', True), ('attention_chunk_size', 8192),
    ('sliding_window', 4096), ('interleaved_sliding_window', [4]),
    ('query_pre_attn_scalar', 8), ('final_logit_softcapping', 30.0),
    ('num_nextn_predict_layers', 1), ('kv_lora_rank', 8), ('rope_ratio', 2),
    ('attn_logit_scale', 'log'), ('norm_type', 'layernorm'), ('x', ''),
    ('layer_scale', {}), ('_private', 0), ('use_sliding_windows', False),
    # Read, but of one value only.
    ('attention_bias', True), ('mlp_bias', True), ('attention_bias', 0),
    ('use_bidirectional_attention', True), ('is_encoder_decoder', True),
    ('add_cross_attention', True), ('pruned_heads', {'0': [1]}),
    ('use_mrope', True), ('activation', 'gelu'), ('activation', ['silu']),
    ('per_layer_config', {'0': {'num_key_value_heads': 1}}),
    ('chunk_size_feed_forward', 8), ('tie_encoder_decoder', True),
    ('use_sliding_window', True), ('partial_rotary_factor', 0.25),
])
def test_a_field_that_may_change_the_computation_is_refused(name, value):
  message = _refusal(LLAMA | {name: value})
  assert f'{name}={value!r}'[:57] in message
  assert 'for the family llama' in message


def test_a_long_value_is_cut():
  assert len(_refusal(LLAMA | {'x': 'y' * 10_000})) < 250


def test_fields_of_one_family_are_unknown_to_another():
  for family, name, value in (
      ('gemma2', 'rope_local_base_freq', 1e4), ('gemma2', 'max_window_layers',
                                                3),
      ('qwen3', 'query_pre_attn_scalar', 3),
      ('llama', 'sliding_window', 3), ('gemma3', 'is_llama_config', True)):
    assert f'the field {name}={value!r} is unknown for the family {family}' in (
        _refusal(golden.CASES[family] | {name: value}))


BNB = {'quant_method': 'bitsandbytes', '_load_in_4bit': True}


@pytest.mark.parametrize('config, words', [
    ({'quant_method': 'fp8', 'weight_block_size': [128, 128]}, 'FP8'),
    (BNB | {'load_in_4bit': True}, 'bitsandbytes, 4 bits'),
    (BNB | {'load_in_8bit': True}, 'bitsandbytes, 8 bits'),
    ({'load_in_4bit': True, 'bnb_4bit_quant_type': 'nf4'},
     'bitsandbytes, 4 bits'),
    ({'quant_method': 'gptq', 'bits': 4, 'group_size': 128}, 'GPTQ, 4 bits'),
    ({'bits': 8, 'desc_act': True, 'group_size': 128}, 'GPTQ, 8 bits'),
    ({'quant_method': 'awq', 'bits': 4}, 'AWQ, 4 bits'),
    ({'w_bit': 4, 'zero_point': True}, 'AWQ, 4 bits'),
    ({'quant_method': 'compressed-tensors', 'format': 'pack-quantized'},
     'compressed-tensors pack-quantized'),
    ({'config_groups': {}}, 'compressed-tensors'),
    ({'quant_method': 'mxfp4'}, 'MXFP4'),
    ({'quant_method': 'torchao'}, 'torchao'),
    ({'quant_method': 'hqq'}, 'hqq'),
    ({'quant_algo': 'FP8'}, 'ModelOpt'),
    ({}, 'an unknown method'), ('int4', 'an unknown method'),
])
def test_a_quantisation_is_named(config, words):
  text = f'the weights are quantised with {words} (quantization_config)'
  values = LLAMA | {'quantization_config': config}
  assert text in _refusal(values)
  # Whatever else is wrong, and where the text model is an inner one.
  assert text in _refusal(values | {'hidden_size': None})
  assert text in _refusal({
      'architectures': ['Gemma3ForConditionalGeneration'],
      'text_config': values})


@pytest.mark.parametrize('key, words', [
    ('quantization', 'MLX, 4 bits (quantization)'),
    ('compression_config', 'MLX, 4 bits (compression_config)')])
def test_other_names_of_a_quantisation(key, words):
  assert words in _refusal(LLAMA | {key: {'group_size': 64, 'bits': 4}})


@pytest.mark.parametrize('name, dtype, words', [
    ('q_proj.qweight', 'I32', 'GPTQ or AWQ'), ('q_proj.g_idx', 'I32', 'GPTQ'),
    ('q_proj.weight.absmax', 'U8', 'bitsandbytes'),
    ('q_proj.weight.quant_state.bitsandbytes__nf4', 'U8', 'bitsandbytes'),
    ('q_proj.SCB', 'F32', 'bitsandbytes'),
    ('q_proj.weight_scale_inv', 'F32', 'FP8'),
    ('q_proj.weight_packed', 'I32', 'compressed-tensors'),
    ('q_proj.weight_scale', 'BF16', 'FP8 or compressed-tensors'),
    ('q_proj.input_scale', 'F32', 'FP8 or compressed-tensors'),
    ('experts.down_proj_blocks', 'U8', 'MXFP4'),
    ('q_proj.scales', 'BF16', 'MLX'),
    ('q_proj.weight', 'F8_E4M3', 'FP8 (F8_E4M3)'),
])
def test_tensors_tell_a_quantisation(tmp_path, name, dtype, words):
  names = ['model.norm.weight', f'model.layers.0.self_attn.{name}']
  with pytest.raises(ValueError) as error:
    quantised.check_tensors(tmp_path, names, {names[1]: dtype})
  assert str(error.value).startswith(
      f'{tmp_path}: the weights are quantised with {words} ({names[1]}); ')


def test_a_file_of_the_tool_names_it(tmp_path):
  names = ['model.layers.0.self_attn.q_proj.qweight']
  for file, words in (('quant_config.json', 'AWQ'),
                      ('quantize_config.json', 'GPTQ'),
                      ('hf_quant_config.json', 'ModelOpt')):
    (tmp_path / file).write_text('{}')
    # Without such tensors the file means nothing.
    quantised.check_tensors(tmp_path, ['model.norm.weight'], {})
    with pytest.raises(ValueError, match=rf'with {words} \({file}\)'):
      quantised.check_tensors(tmp_path, names, {})
