"""GGUF weights: exact layout, RoPE's form, and files that are refused."""

import dataclasses
import math
import os
import sys

from flax import traverse_util
import gguf as gguf_package
import jax
import numpy as np
import pytest

from score_jax import config as config_lib
from score_jax.models import decoder
from score_jax.models import families
from score_jax.models import gguf
from score_jax.models import gguf_config
from score_jax.models import rope
from score_jax.models import stored
from score_jax.text import gguf_file
from tests import folders

# All sizes different, so that no transposition goes unseen.
V, D, F, L, N, K, H = 11, 10, 14, 2, 4, 2, 6


def matrices(tied=True, seed=0):
  """Tensors as a llama-type file has them, rows first."""
  rng = np.random.default_rng(seed)
  draw = lambda *shape: rng.normal(size=shape).astype(np.float32)
  tensors = {'token_embd.weight': draw(V, D), 'output_norm.weight': draw(D)}
  if not tied:
    tensors['output.weight'] = draw(V, D)
  for i in range(L):
    layer = {
        'attn_norm': draw(D), 'attn_q': draw(N * H, D),
        'attn_k': draw(K * H, D), 'attn_v': draw(K * H, D),
        'attn_output': draw(D, N * H), 'ffn_norm': draw(D),
        'ffn_gate': draw(F, D), 'ffn_up': draw(F, D), 'ffn_down': draw(D, F),
    }
    tensors |= {f'blk.{i}.{name}.weight': w for name, w in layer.items()}
  return tensors


def fields(**changes):
  """Metadata, `None` for a field that is to be left out."""
  return {
      'block_count': L, 'context_length': 32, 'embedding_length': D,
      'feed_forward_length': F, 'attention.head_count': N,
      'attention.head_count_kv': K, 'attention.key_length': H,
      'attention.layer_norm_rms_epsilon': 1e-5, 'rope.freq_base': 100_000.0,
      **changes,
  }


def write(path, tensors=None, metadata=None, architecture='llama'):
  writer = gguf_package.GGUFWriter(path, architecture)
  for name, value in (metadata or fields()).items():
    add = {int: writer.add_uint32, float: writer.add_float32,
           str: writer.add_string, type(None): lambda name, value: None}
    add[type(value)](f'{architecture}.{name}', value)
  for name, array in (matrices() if tensors is None else tensors).items():
    writer.add_tensor(name, array)
  writer.write_header_to_file()
  writer.write_kv_data_to_file()
  writer.write_tensors_to_file()
  writer.close()
  return path


@pytest.fixture(name='path')
def _path(tmp_path):
  return tmp_path / 'a.gguf'


def load(path):
  """Every parameter, whole."""
  return traverse_util.unflatten_dict({
      name: stored.whole(param)
      for name, param in gguf.open_model(path).params.items()})


def refusal(path, load=gguf.open_model):
  with pytest.raises(ValueError) as error:
    load(path)
  assert '\n' not in str(error.value)
  assert str(path) in str(error.value)
  return str(error.value)


def test_config_is_that_of_the_file(path):
  model = gguf.open_model(write(path))
  assert model.config == config_lib.ModelConfig(
      vocab_size=V, num_layers=L, width=D, num_heads=N, num_kv_heads=K,
      head_dim=H, mlp_width=F, rope_base=100_000.0, norm_eps=1e-5,
      tied_head=True, max_positions=32)
  assert (model.where, model.dtype) == (str(path), 'float32')


def test_config_of_an_untied_file_with_defaults(path):
  metadata = fields(**{'attention.key_length': None,
                       'attention.head_count_kv': None, 'rope.freq_base': None,
                       'embedding_length': 24})
  write(path, {**matrices(tied=False), 'token_embd.weight': np.ones((V, 24))},
        metadata)
  found = gguf_config.fields(gguf_file.GgufFile(path))
  assert (found['tied_head'], found['head_dim'], found['num_kv_heads'],
          found['rope_base']) == (False, 6, N, 10_000.0)


def test_config_is_refused_where_tensors_are_missing(path):
  tensors = matrices()
  del tensors['output_norm.weight']
  write(path, tensors)
  assert 'missing: output_norm.weight' in refusal(path)


@pytest.mark.parametrize('tied', [True, False])
def test_params_have_the_form_of_the_decoder(path, tied):
  write(path, matrices(tied))
  form = lambda tree: jax.tree.map(lambda x: (x.shape, x.dtype), tree)
  config = gguf.open_model(path).config
  assert form(load(path)) == form(decoder.abstract(config))


def test_every_weight_is_where_it_belongs(path):
  tensors = matrices(tied=False)
  params = load(write(path, tensors))
  same = np.testing.assert_array_equal
  same(params['embed']['embedding'], tensors['token_embd.weight'])
  same(params['final_norm']['scale'], tensors['output_norm.weight'])
  same(params['head']['kernel'], tensors['output.weight'].T)
  blocks = params['blocks']
  x_D, x_F = np.arange(D, dtype=np.float32), np.arange(F, dtype=np.float32)
  x_NH = np.arange(N * H, dtype=np.float32)
  close = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)
  for i in range(L):
    file = lambda name, i=i: tensors[f'blk.{i}.{name}.weight']
    same(blocks['attention_norm']['scale'][i], file('attn_norm'))
    same(blocks['mlp_norm']['scale'][i], file('ffn_norm'))
    close(x_D @ blocks['mlp']['gate']['kernel'][i], file('ffn_gate') @ x_D)
    close(x_D @ blocks['mlp']['up']['kernel'][i], file('ffn_up') @ x_D)
    close(x_F @ blocks['mlp']['down']['kernel'][i], file('ffn_down') @ x_F)
    attention = blocks['attention']
    value, out = (attention[name]['kernel'][i] for name in ('value', 'out'))
    close(np.einsum('d,dkh->kh', x_D, value).ravel(), file('attn_v') @ x_D)
    close(np.einsum('nh,nhd->d', x_NH.reshape(N, H), out),
          file('attn_output') @ x_NH)


def rotate_pairs(x, position, base=100_000.0):
  """RoPE as llama-type files mean it: (0, 1), (2, 3), ... turn together."""
  angle = position * base ** (-np.arange(0, H, 2) / H)
  turned = (x[..., 0::2] + 1j * x[..., 1::2]) * np.exp(1j * angle)
  return np.stack([turned.real, turned.imag], -1).reshape(x.shape)


def rotate_halves(x, position, base=100_000.0):
  """RoPE as our decoder has it: (0, H/2), (1, H/2 + 1), ... turn together."""
  angle = position * base ** (-np.arange(0, H, 2) / H)
  turned = (x[..., :H // 2] + 1j * x[..., H // 2:]) * np.exp(1j * angle)
  return np.concatenate([turned.real, turned.imag], -1)


def test_attention_scores_are_those_of_interleaved_pairs(path):
  tensors = matrices()
  attention = load(write(path, tensors))['blocks']['attention']
  rng = np.random.default_rng(1)
  x, y = rng.normal(size=(2, D))
  q = (tensors['blk.1.attn_q.weight'] @ x).reshape(N, H)
  k = (tensors['blk.1.attn_k.weight'] @ y).reshape(K, H)
  expected = rotate_pairs(q, 9) @ rotate_pairs(k, 4).T
  q = np.einsum('d,dnh->nh', x, attention['query']['kernel'][1])
  k = np.einsum('d,dkh->kh', y, attention['key']['kernel'][1])
  found = rotate_halves(q, 9) @ rotate_halves(k, 4).T
  np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_quantised_weights_are_dequantised(path):
  # Q8_0: 32 weights share a scale; here 127 steps of 1 / 127.
  row = np.arange(-16, 16, dtype=np.float32)
  q8 = gguf_package.quants.quantize(
      np.tile(row, (V, 1)), gguf_package.GGMLQuantizationType.Q8_0)
  writer = gguf_package.GGUFWriter(path, 'llama')
  writer.add_tensor('token_embd.weight', q8,
                    raw_dtype=gguf_package.GGMLQuantizationType.Q8_0)
  for name, value in fields(embedding_length=32).items():
    add = writer.add_float32 if isinstance(value, float) else writer.add_uint32
    add(f'llama.{name}', value)
  shapes = {'attn_q': (N * H, 32), 'attn_k': (K * H, 32), 'attn_v': (K * H, 32),
            'attn_output': (32, N * H), 'ffn_gate': (F, 32), 'ffn_up': (F, 32),
            'ffn_down': (32, F), 'attn_norm': (32,), 'ffn_norm': (32,)}
  for i in range(L):
    for name, shape in shapes.items():
      writer.add_tensor(f'blk.{i}.{name}.weight', np.ones(shape, np.float16))
  writer.add_tensor('output_norm.weight', np.ones(32, np.float32))
  writer.write_header_to_file()
  writer.write_kv_data_to_file()
  writer.write_tensors_to_file()
  writer.close()
  params = load(path)
  assert {x.dtype for x in jax.tree.leaves(params)} == {np.dtype(np.float32)}
  np.testing.assert_allclose(params['embed']['embedding'][3], row, atol=0.07)
  np.testing.assert_array_equal(params['blocks']['mlp']['up']['kernel'], 1)


def test_tensors_that_do_not_fit_are_all_listed(path):
  tensors = matrices()
  del tensors['blk.0.attn_q.weight'], tensors['blk.1.ffn_up.weight']
  tensors['blk.1.attn_q.bias'] = np.ones(N * H, np.float32)
  tensors['blk.1.ffn_gate.weight'] = np.ones((F, D + 1), np.float32)
  message = refusal(write(path, tensors))
  assert 'missing: blk.0.attn_q.weight, blk.1.ffn_up.weight;' in message
  assert 'unknown: blk.1.attn_q.bias;' in message
  assert 'blk.1.ffn_gate.weight has shape (14, 11), not (14, 10)' in message


@pytest.mark.parametrize('change, words', [
    ({'block_count': None}, 'no metadata field llama.block_count'),
    ({'block_count': 0}, 'llama.block_count is 0'),
    ({'block_count': 2**31}, 'llama.block_count is 2147483648'),
    ({'block_count': 3}, 'missing: blk.2.attn_k.weight'),
    ({'embedding_length': 'ten'}, 'must be of type int, got str'),
    ({'attention.head_count_kv': 3}, '4 heads on 3'),
    ({'attention.key_length': 5}, 'on 2 of 5 wide keys'),
    ({'attention.value_length': 8}, '8 wide values'),
    ({'rope.dimension_count': 4}, '4 dimensions rotated'),
    ({'rope.scaling.type': 'yarn'}, "RoPE scaling 'yarn'"),
])
def test_metadata_that_do_not_fit_are_refused(path, change, words):
  assert words in refusal(write(path, metadata=fields(**change)))


def test_another_architecture_is_refused(path):
  message = refusal(write(path, architecture='phi3'))
  assert ("architecture 'phi3'; supported: llama, gemma2, gemma3, qwen2, qwen3"
          in message)


def test_a_file_cut_anywhere_is_refused(path):
  whole = write(path).read_bytes()
  for size in [*range(0, 600, 7), *range(600, len(whole) - 32, 211)]:
    path.write_bytes(whole[:size])
    message = refusal(path)
    assert 'not a GGUF file' in message or 'damaged GGUF file' in message, size


def test_files_of_another_kind_are_refused(path):
  path.write_bytes(b'PK\x03\x04' + b'\0' * 500)
  assert "begins with b'PK\\x03\\x04', not b'GGUF'" in refusal(path)
  path.write_bytes(b'GGUF' + b'\xff' * 500)
  assert 'damaged GGUF file' in refusal(path)
  path.unlink()
  assert 'No such file' in refusal(path)


def test_damaged_counts_end_at_once(path):
  whole = write(path).read_bytes()
  for start in (8, 16):  # Tensors, fields: a count of 2^56 and more.
    path.write_bytes(whole[:start + 7] + b'\x01' + whole[start + 8:])
    assert 'damaged GGUF file' in refusal(path)


def test_weights_that_are_not_finite_are_refused(path):
  tensors = matrices()
  tensors['blk.1.attn_v.weight'][2, 3] = np.nan

  def on_device(path):
    model = gguf.open_model(path)
    one = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    return stored.load(model, model.config, jax.tree.map(
        lambda leaf: one, decoder.abstract(model.config)))

  message = refusal(write(path, tensors), on_device)
  assert 'blk.1.attn_v.weight has weights that are not finite' in message


def test_without_the_package_the_extra_is_named(path, monkeypatch):
  write(path)
  monkeypatch.setitem(sys.modules, 'gguf', None)
  assert "pip install 'score_jax[gguf]'" in refusal(path)


def as_gguf(path, config, arrays, **changes):
  """Writes Hugging Face's arrays as the tools of llama.cpp do."""
  turned = {}
  for row in families.table(config):
    for name in families.names(config, row):
      array = arrays[name]
      if config.family == 'llama' and ('q_proj' in name or 'k_proj' in name):
        # Each head's two halves become neighbours.
        array = array.reshape(-1, 2, config.head_dim // 2, array.shape[1])
        array = array.swapaxes(1, 2).reshape(arrays[name].shape)
      if config.norm_plus_one and name.endswith('norm.weight'):
        array = array + np.float32(1)
      turned[_gguf_name(name, config.post_norms)] = array
  if config.rope_scaling.kind == 'llama3':
    plain = rope.frequencies(config.rope_base, config.head_dim)
    scaled = rope.frequencies(config.rope_base, config.head_dim,
                                config.rope_scaling)
    turned['rope_freqs.weight'] = (plain / scaled).astype(np.float32)
  metadata = fields(**{
      'block_count': config.num_layers, 'embedding_length': config.width,
      'feed_forward_length': config.mlp_width,
      'context_length': config.max_positions,
      'attention.head_count': config.num_heads,
      'attention.head_count_kv': config.num_kv_heads,
      'attention.key_length': config.head_dim,
      'attention.value_length': config.head_dim,
      'attention.layer_norm_rms_epsilon': config.norm_eps,
      'rope.freq_base': config.rope_base})
  if config.window:
    metadata['attention.sliding_window'] = config.window
  if config.rope_scaling.kind == 'linear':
    metadata |= {'rope.scaling.type': 'linear',
                 'rope.scaling.factor': config.rope_scaling.factor}
  for name, cap in (('attn', config.attention_softcap),
                    ('final', config.final_softcap)):
    if cap:
      metadata[f'{name}_logit_softcapping'] = cap
  return write(path, turned, metadata | changes, architecture=config.family)


def _gguf_name(name, post_norms):
  """llama.cpp's name of one of Hugging Face's tensors."""
  if name in _TOP:
    return _TOP[name]
  number = name.split('.')[2]
  module, end = name.split('.')[-2:]
  if module == 'post_attention_layernorm' and not post_norms:
    return f'blk.{number}.ffn_norm.{end}'
  return f'blk.{number}.{_MODULES[module]}.{end}'


_TOP = {'model.embed_tokens.weight': 'token_embd.weight',
        'model.norm.weight': 'output_norm.weight',
        'lm_head.weight': 'output.weight'}
_MODULES = {
    'input_layernorm': 'attn_norm', 'q_proj': 'attn_q', 'k_proj': 'attn_k',
    'v_proj': 'attn_v', 'o_proj': 'attn_output', 'q_norm': 'attn_q_norm',
    'k_norm': 'attn_k_norm', 'gate_proj': 'ffn_gate', 'up_proj': 'ffn_up',
    'down_proj': 'ffn_down', 'pre_feedforward_layernorm': 'ffn_norm',
    'post_feedforward_layernorm': 'post_ffw_norm',
    'post_attention_layernorm': 'post_attention_norm'}


def _small(family, **changes):
  """A model that llama.cpp can say: what it knows by heart, or Llama 3.1."""
  if family == 'llama':
    changes['rope_scaling'] = config_lib.RopeScaling('llama3', 8.0)
  if family == 'gemma3':
    changes['local_rope_base'] = 10_000.0
  return folders.small_config(family, **changes)


@pytest.mark.parametrize('tied', [True, False])
@pytest.mark.parametrize('family', families.FAMILIES)
def test_a_file_reads_as_its_hugging_face_folder(path, family, tied):
  config = _small(family, tied_head=tied)
  arrays = folders.tensors(config)
  model = gguf.open_model(as_gguf(path, config, arrays))
  assert model.config == config
  for row in families.table(config):
    for i, name in enumerate(families.names(config, row)):
      back = families.to_theirs(row, model.params[row.path].part(i))
      # One is added to Gemma's norms and taken away again: an ulp of 2.
      np.testing.assert_allclose(back, arrays[name], rtol=0, atol=(
          2.4e-7 if name.endswith('norm.weight') else 0), err_msg=name)


@pytest.mark.parametrize('factor', [8.0, 32.0])
def test_factors_of_llama_3_are_told_apart(path, factor):
  scaling = config_lib.RopeScaling('llama3', factor)
  config = folders.small_config('llama', rope_scaling=scaling, head_dim=64,
                                rope_base=500_000.0)
  as_gguf(path, config, folders.tensors(config))
  assert gguf.open_model(path).config.rope_scaling == scaling


def test_factors_of_another_scaling_are_refused(path):
  config = folders.small_config('llama')  # With an original context of 16.
  assert 'RoPE scaling' in refusal(
      as_gguf(path, config, folders.tensors(config)))


def _scaling(path, family='qwen2', **changes):
  """The base and scaling that a file with these fields is read with."""
  config = folders.small_config(family)
  changes = {f'rope.{name}': value for name, value in changes.items()}
  path.unlink(missing_ok=True)
  model = gguf.open_model(as_gguf(
      path, config, folders.tensors(config), **changes))
  assert dataclasses.replace(
      model.config, rope_scaling=config.rope_scaling) == config
  return model.config.rope_scaling


@pytest.mark.parametrize('changes, expected', [
    ({}, ()),
    ({'scaling.type': 'none', 'scaling.factor': 4.0}, ()),
    ({'scaling.type': 'linear'}, ()),
    ({'scaling.factor': 1.0}, ()),
    ({'scaling.type': 'linear', 'scaling.factor': 4.0}, ('linear', 4.0)),
    # llama.cpp takes a factor without a kind for linear.
    ({'scaling.factor': 4.0}, ('linear', 4.0)),
    ({'scale_linear': 2.0}, ('linear', 2.0)),
    ({'scale_linear': 2.0, 'scaling.factor': 4.0}, ('linear', 4.0)),
])
def test_linear_scaling_of_a_file(path, changes, expected):
  for family in ('qwen2', 'qwen3', 'gemma2'):
    assert _scaling(path, family, **changes) == (
        config_lib.RopeScaling(*expected))


@pytest.mark.parametrize('changes, expected', [
    ({'scaling.original_context_length': 16}, {'original_positions': 16}),
    ({'scaling.finetuned': 1}, {'original_positions': 64}),
    ({'scaling.yarn_beta_fast': 8.0, 'scaling.yarn_beta_slow': 0.5},
     {'original_positions': 64, 'beta_fast': 8.0, 'beta_slow': 0.5}),
    ({'scaling.yarn_ext_factor': 1.0, 'scaling.attn_factor': 1.0},
     {'original_positions': 64}),
    ({'scaling.attn_factor': 0.5}, {
        'original_positions': 64,
        'attention_factor': 0.5 * (0.1 * math.log(4.0) + 1)}),
    ({'scaling.yarn_attn_factor': 2.0, 'scaling.yarn_log_multiplier': 0.0}, {
        'original_positions': 64,
        'attention_factor': 2.0 * (0.1 * math.log(4.0) + 1)}),
])
def test_yarn_of_a_file(path, changes, expected):
  for family in ('qwen2', 'qwen3'):
    assert _scaling(path, family, **changes, **{
        'scaling.type': 'yarn', 'scaling.factor': 4.0}) == (
            config_lib.RopeScaling('yarn', 4.0, **expected))


@pytest.mark.parametrize('family, changes, words', [
    ('qwen2', {'rope.scaling.type': 'longrope'}, "RoPE scaling 'longrope'"),
    ('qwen3', {'rope.scaling.type': 'dynamic'}, "RoPE scaling 'dynamic'"),
    ('gemma2', {'rope.scaling.type': 'yarn'}, "RoPE scaling 'yarn'"),
    ('qwen2', {'rope.scaling.type': 'yarn', 'rope.scaling.factor': 2.0,
               'rope.scaling.yarn_ext_factor': 0.5}, 'yarn_ext_factor is 0.5'),
    ('qwen2', {'rope.scaling.type': 'yarn', 'rope.scaling.factor': 2.0,
               'rope.scaling.yarn_log_multiplier': 0.1},
     'yarn_log_multiplier is 0.1'),
    ('qwen2', {'rope.scaling.type': 'yarn', 'rope.scaling.factor': 0.5},
     'rope_scaling.factor is 0.5'),
    ('qwen2', {'expert_count': 8}, 'qwen2.expert_count=8'),
    ('qwen3', {'attention.clamp_kqv': 8.0}, 'qwen3.attention.clamp_kqv=8.0'),
    ('qwen2', {'attention.scale': 0.5}, 'qwen2.attention.scale=0.5'),
    ('qwen2', {'logit_scale': 0.0625}, 'qwen2.logit_scale=0.0625'),
    ('qwen2', {'attention.sliding_window': 9}, 'attention.sliding_window=9'),
    ('qwen2', {'final_logit_softcapping': 9.0}, 'final_logit_softcapping=9.0'),
    ('qwen2', {'rope.dimension_sections': 2}, 'rope.dimension_sections=2'),
    ('gemma3', {'attention.key_length_swa': 5}, 'key_length_swa=5'),
    ('qwen2', {'something.new': 'x'}, "the field qwen2.something.new='x'"),
])
def test_fields_that_may_change_the_computation_are_refused(
    path, family, changes, words):
  config = _small(family)
  assert words in refusal(as_gguf(
      path, config, folders.tensors(config), **changes))


def test_fields_that_change_nothing_are_ignored(path):
  config = _small('qwen3')
  model = gguf.open_model(as_gguf(
      path, config, folders.tensors(config), **{
          'vocab_size': 29, 'expert_count': 0, 'attention.scale': 0.0,
          'rope.dimension_count': 10, 'attention.key_length_swa': 10,
          'attention.layer_norm_epsilon': 1e-5}))
  assert model.config == config


@pytest.mark.parametrize('make, words', [
    (lambda path: path.symlink_to('../../blobs/0a1b'),
     'is a link to ../../blobs/0a1b, which is not there'),
    (lambda path: path.write_text(
        'version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n'),
     'run `git lfs pull`'),
    (os.mkfifo, 'regular file')])
def test_a_path_that_is_no_file_is_named(path, make, words):
  make(path)
  assert words in refusal(path)


def test_many_types_that_cannot_be_read_are_cut_after_ten(path, monkeypatch):
  write(path)

  def dequantize(data, kind):
    raise NotImplementedError

  monkeypatch.setattr(gguf_package, 'dequantize', dequantize)
  message = refusal(path)
  assert message.count(' is F32') == 10 and ' and 10 more; take' in message


def test_gemma_2_without_its_newer_fields_has_the_published_ones(path):
  config = folders.small_config('gemma2', window=0, global_every=1,
                                attention_softcap=0.0, final_softcap=0.0)
  as_gguf(path, config, folders.tensors(config))
  assert gguf.open_model(path).config == dataclasses.replace(
      config, window=4096, global_every=2, attention_softcap=50.0,
      final_softcap=30.0)


def test_gemma_3_says_its_period_and_local_base_or_has_the_published(path):
  config = _small('gemma3')
  arrays = folders.tensors(config)
  as_gguf(path, config, arrays)
  assert gguf.open_model(path).config.global_every == 6
  path.unlink()
  as_gguf(path, config, arrays, **{
      'attention.sliding_window_pattern': 3, 'rope.freq_base_swa': 50.0})
  assert gguf.open_model(path).config == dataclasses.replace(
      config, global_every=3, local_rope_base=50.0)
  for change, words in (
      ({'attn_logit_softcapping': 5.0}, 'attn_logit_softcapping'),
      ({'attention.sliding_window': None}, 'attention.sliding_window')):
    assert words in refusal(as_gguf(path, config, arrays, **change))


@pytest.mark.parametrize('family, num_layers, scale', [
    ('gemma2', 46, 3.0**-0.5), ('gemma2', 26, 10.0**-0.5),
    ('gemma3', 62, 3.0**-0.5), ('gemma3', 34, 10.0**-0.5)])
def test_scores_of_the_27b_models_are_scaled_by_the_width(
    path, family, num_layers, scale):
  # A width of 12 on 4 heads, and heads of 10.
  config = _small(family, num_layers=num_layers)
  as_gguf(path, config, folders.tensors(config))
  assert gguf.open_model(path).config.attention_scale == scale
