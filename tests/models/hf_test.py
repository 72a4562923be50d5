"""Hugging Face folders: names, dtypes, and what is refused."""

import dataclasses
import json
import os
import pickle

from flax import traverse_util
import ml_dtypes
import numpy as np
import pytest

from score_jax.models import decoder
from score_jax.models import families
from score_jax.models import hf
from score_jax.models import stored
from tests import folders

FAMILY = pytest.mark.parametrize('family', families.FAMILIES)


def _refusal(folder):
  with pytest.raises(ValueError) as error:
    hf.open_model(folder)
  assert '\n' not in str(error.value)
  assert str(folder) in str(error.value)
  return str(error.value)


def _check_params(model, arrays):
  """Every tensor is where the table says, bit by bit."""
  for row in families.table(model.config):
    param = model.params[row.path]
    for i, name in enumerate(families.names(model.config, row)):
      assert param.names[i] == name
      back = families.to_theirs(row, param.part(i))
      assert back.dtype == arrays[name].dtype, name
      assert back.tobytes() == arrays[name].tobytes(), name


@FAMILY
@pytest.mark.parametrize('dtype', folders.DTYPES)
def test_a_folder_is_read_bit_by_bit(tmp_path, family, dtype):
  config = folders.small_config(family)
  arrays = folders.write(tmp_path, config, dtype, shard_bytes=3000)
  assert len(list(tmp_path.glob('*.safetensors'))) > 1
  model = hf.open_model(tmp_path)
  assert (model.config, model.dtype) == (config, dtype)
  assert model.where == str(tmp_path)
  _check_params(model, arrays)
  flat = traverse_util.flatten_dict(decoder.abstract(config))
  assert {path: param.shape for path, param in model.params.items()} == {
      path: leaf.shape for path, leaf in flat.items()}
  for path, param in model.params.items():
    assert stored.whole(param).shape == flat[path].shape


def test_nothing_but_what_is_asked_for_is_read(tmp_path, monkeypatch):
  config = folders.small_config('llama')
  folders.write(tmp_path, config)
  asked = []
  turn = families.to_ours
  model = hf.open_model(tmp_path)
  monkeypatch.setattr(families, 'to_ours', lambda row, *rest: (
      asked.append(row.name), turn(row, *rest))[1])
  model.params['blocks', 'mlp', 'up', 'kernel'].part(1)
  assert asked == ['model.layers.{}.mlp.up_proj.weight']


def test_layers_of_two_dtypes_are_widened(tmp_path):
  config = folders.small_config('llama')
  arrays = folders.tensors(config, 'bfloat16')
  name = 'model.layers.1.mlp.up_proj.weight'
  arrays[name] = (arrays[name].astype(np.float32) * 1.001)
  folders.write(tmp_path, config, arrays=arrays)
  model = hf.open_model(tmp_path)
  assert model.dtype == 'bfloat16'  # Of most.
  param = model.params['blocks', 'mlp', 'up', 'kernel']
  assert param.dtype == np.float32
  np.testing.assert_array_equal(stored.whole(param)[1], arrays[name].T)
  assert model.params['blocks', 'mlp', 'gate', 'kernel'].dtype == (
      ml_dtypes.bfloat16)


def _prefixed(arrays, text, head):
  rename = lambda name: (head + name if name.startswith('lm_head')
                         else text + name.removeprefix('model.'))
  return {rename(name): array for name, array in arrays.items()}


@pytest.mark.parametrize('text, head, other', [
    ('language_model.model.', 'language_model.', ''),
    ('model.language_model.', '', 'model.')])
def test_the_text_model_of_a_multimodal_folder(tmp_path, text, head, other):
  config = folders.small_config('gemma3', tied_head=False)
  arrays = folders.tensors(config)
  vision = {f'{other}vision_tower.encoder.layers.0.mlp.fc1.weight': 3,
            f'{other}multi_modal_projector.mm_input_projection_weight': 2}
  folders.write(tmp_path, config, arrays=_prefixed(arrays, text, head) | {
      name: np.ones(n, np.float32) for name, n in vision.items()})
  values = json.loads((tmp_path / 'config.json').read_text())
  (tmp_path / 'config.json').write_text(json.dumps({
      'architectures': ['Gemma3ForConditionalGeneration'],
      'vision_config': {'hidden_size': 8},
      'tie_word_embeddings': values.pop('tie_word_embeddings'),
      'text_config': values}))
  model = hf.open_model(tmp_path)
  assert model.config == config
  for row in families.table(config):
    for i, name in enumerate(families.names(config, row)):
      np.testing.assert_array_equal(
          families.to_theirs(row, model.params[row.path].part(i)),
          arrays[name])


def test_tensors_without_a_meaning_are_left_out(tmp_path):
  config = folders.small_config('qwen2')  # Tied.
  arrays = folders.tensors(config)
  folders.write(tmp_path, config, arrays=arrays | {
      'lm_head.weight': arrays['model.embed_tokens.weight'],
      'model.layers.0.self_attn.rotary_emb.inv_freq': np.ones(5, np.float32)})
  _check_params(hf.open_model(tmp_path), arrays)


def _with_a_head(config, arrays, head):
  """The arrays of a model that is called tied, and a head."""
  assert config.tied_head
  return arrays | {'lm_head.weight': head}


@pytest.mark.parametrize('family, dtype', [
    ('llama', 'float32'), ('llama', 'bfloat16'), ('llama', 'float16'),
    ('qwen2', 'bfloat16'), ('qwen3', 'float32'), ('gemma2', 'bfloat16'),
    ('gemma3', 'float16')])
@pytest.mark.parametrize('change', ['all', 'one', 'last'])
def test_a_head_that_differs_is_kept(tmp_path, family, dtype, change):
  config = folders.small_config(family, tied_head=True)
  arrays = folders.tensors(config, dtype)
  head = arrays['model.embed_tokens.weight'].copy()
  if change == 'all':
    head = head[::-1].copy()
  else:
    at = (3, 5) if change == 'one' else (-1, -1)
    head[at] = np.nextafter(head[at], head.dtype.type(9))
  arrays = _with_a_head(config, arrays, head)
  folders.write(tmp_path, config, dtype, shard_bytes=2000, arrays=arrays)
  model = hf.open_model(tmp_path)
  assert model.config == dataclasses.replace(config, tied_head=False)
  assert model.remarks == (
      f'{tmp_path}: config.json says tie_word_embeddings, but lm_head.weight '
      'differs from the embedding; it is kept, and the model is not tied',)
  _check_params(model, arrays)


@pytest.mark.parametrize('dtypes', [
    ('float32', 'float32'), ('bfloat16', 'bfloat16'), ('float16', 'float16'),
    ('bfloat16', 'float32'), ('float32', 'bfloat16'), ('float16', 'float32')])
def test_a_head_that_is_equal_is_left_out(tmp_path, dtypes):
  embedding, head = map(folders.DTYPES.get, dtypes)
  config = folders.small_config('qwen3', tied_head=True)
  arrays = folders.tensors(config, 'bfloat16')
  name = 'model.embed_tokens.weight'
  arrays[name] = arrays[name].astype(np.float16).astype(
      folders.DTYPES['bfloat16']).astype(embedding)
  arrays[name][0] = 0
  equal = arrays[name].astype(head)
  equal[0] = -0.0
  folders.write(tmp_path, config,
                arrays=_with_a_head(config, arrays, equal))
  model = hf.open_model(tmp_path)
  assert model.config == config and not model.remarks
  _check_params(model, arrays)


def test_a_head_is_compared_in_pieces(tmp_path, monkeypatch):
  monkeypatch.setattr(hf, '_PIECE', 30)
  for change in (0, 1):
    config = folders.small_config('llama', tied_head=True)
    arrays = folders.tensors(config)
    head = arrays['model.embed_tokens.weight'].copy()
    head[-1, -1] += change
    folders.write(tmp_path / str(change), config,
                  arrays=_with_a_head(config, arrays, head))
    model = hf.open_model(tmp_path / str(change))
    assert model.config.tied_head == (not change)


def test_a_tied_model_with_its_head_alone_is_read(tmp_path):
  config = folders.small_config('llama', tied_head=True)
  arrays = folders.tensors(config)
  alone = dict(arrays)
  alone['lm_head.weight'] = alone.pop('model.embed_tokens.weight')
  folders.write(tmp_path, config, arrays=alone)
  model = hf.open_model(tmp_path)
  assert model.config == config and not model.remarks
  embedding = model.params['embed', 'embedding']
  np.testing.assert_array_equal(stored.whole(embedding),
                                arrays['model.embed_tokens.weight'])


def test_a_tied_head_of_another_shape_is_refused(tmp_path):
  config = folders.small_config('llama', tied_head=True)
  arrays = folders.tensors(config)
  folders.write(tmp_path, config, arrays=_with_a_head(
      config, arrays, np.ones((30, 12), np.float32)))
  assert 'lm_head.weight has shape (30, 12), not (29, 12)' in (
      _refusal(tmp_path))


@pytest.mark.parametrize('text, head', [
    ('language_model.model.', 'language_model.'),
    ('model.language_model.', '')])
def test_a_head_of_a_multimodal_folder_that_differs_is_kept(
    tmp_path, text, head):
  config = folders.small_config('gemma3')
  arrays = folders.tensors(config)
  arrays['lm_head.weight'] = arrays['model.embed_tokens.weight'] * 2
  folders.write(tmp_path, config, arrays=_prefixed(arrays, text, head))
  values = json.loads((tmp_path / 'config.json').read_text())
  (tmp_path / 'config.json').write_text(json.dumps({
      'architectures': ['Gemma3ForConditionalGeneration'],
      'model_type': 'gemma3', 'text_config': values | {'architectures': None}}))
  model = hf.open_model(tmp_path)
  assert not model.config.tied_head and len(model.remarks) == 1
  for row in families.table(model.config):
    for i, name in enumerate(families.names(model.config, row)):
      np.testing.assert_array_equal(
          families.to_theirs(row, model.params[row.path].part(i)),
          arrays[name])


def test_a_tensor_under_two_names_is_refused(tmp_path):
  config = folders.small_config('gemma3')
  arrays = folders.tensors(config)
  folders.write(tmp_path, config, arrays=arrays | {
      'model.language_model.norm.weight': np.ones(12, np.float32)})
  assert 'has the tensor model.norm.weight twice: ' in _refusal(tmp_path)


@pytest.mark.parametrize('name, dtype, words', [
    ('self_attn.q_proj.qweight', 'I32', 'GPTQ or AWQ'),
    ('self_attn.q_proj.weight_scale_inv', 'F32', 'FP8'),
    ('self_attn.q_proj.weight.absmax', 'U8', 'bitsandbytes')])
def test_quantised_tensors_are_named(tmp_path, name, dtype, words):
  config = folders.small_config('llama')
  folders.write(tmp_path, config)
  header = {f'model.layers.{i}.{name}': {
      'dtype': dtype, 'shape': [4],
      'data_offsets': [i * size, (i + 1) * size]}
            for size in ({'U8': 4}.get(dtype, 16),) for i in range(300)}
  text = json.dumps(header).encode()
  (tmp_path / 'model.safetensors').write_bytes(
      len(text).to_bytes(8, 'little') + text
      + bytes(300 * ({'U8': 4}.get(dtype, 16))))
  message = _refusal(tmp_path)
  assert f'the weights are quantised with {words} (model.layers.0.' in message
  assert len(message) < 400


def test_lists_of_tensors_are_cut_after_ten(tmp_path):
  config = folders.small_config('llama')
  folders.write(tmp_path, config, arrays={
      f'other.{i}': np.ones(1, np.float32) for i in range(200)})
  message = _refusal(tmp_path)
  assert 'model.layers.0.mlp.gate_proj.weight' in message
  assert message.count('model.') == 9 and message.count('other.') == 10
  assert ' and 11 more; unknown: other.0, ' in message
  assert message.endswith('other.106 and 190 more')


@pytest.mark.parametrize('make, words', [
    (lambda path: path.symlink_to('../../blobs/0a1b'),
     'config.json is a link to ../../blobs/0a1b, which is not there'),
    (lambda path: path.write_text('version https://git-lfs.github.com/spec/v1\n'
                                  'oid sha256:0a\nsize 8\n'),
     'config.json is a Git LFS pointer, not the file itself; run `git lfs pul'),
    (os.mkfifo, 'config.json is not a regular file'),
    (lambda path: path.symlink_to('/dev/zero'), 'is not a regular file'),
    (os.mkdir, 'config.json: Is a directory')])
def test_a_config_json_that_is_no_file_is_named(tmp_path, make, words):
  folders.write(tmp_path, folders.small_config('llama'))
  (tmp_path / 'config.json').unlink()
  make(tmp_path / 'config.json')
  assert words in _refusal(tmp_path)


def test_all_that_is_wrong_is_listed_at_once(tmp_path):
  config = folders.small_config('qwen3')
  arrays = folders.tensors(config)
  for name in ('model.norm.weight', 'model.layers.1.mlp.up_proj.weight'):
    del arrays[name]
  arrays['model.layers.2.mlp.up_proj.weight'] = np.ones((2, 2), np.float32)
  arrays['model.layers.0.self_attn.q_proj.bias'] = np.ones(2, np.float32)
  name = 'model.layers.0.self_attn.k_proj.weight'
  arrays[name] = arrays[name].T.copy()
  arrays['lm_head.weight'] = arrays['lm_head.weight'][:-1].copy()
  folders.write(tmp_path, config, arrays=arrays)
  assert _refusal(tmp_path) == (
      f'{tmp_path}: the tensors are not those of the qwen3 model that its '
      'config.json describes; missing: model.layers.1.mlp.up_proj.weight, '
      'model.norm.weight; unknown: model.layers.0.self_attn.q_proj.bias, '
      'model.layers.2.mlp.up_proj.weight; of another shape: '
      'model.layers.0.self_attn.k_proj.weight has shape (12, 20), not '
      '(20, 12), lm_head.weight has shape (28, 12), not (29, 12)')


def test_an_untied_model_without_its_head_is_refused(tmp_path):
  config = folders.small_config('llama')  # Untied.
  arrays = folders.tensors(config)
  del arrays['lm_head.weight']
  folders.write(tmp_path, config, arrays=arrays)
  assert 'missing: lm_head.weight' in _refusal(tmp_path)


def test_quantised_weights_are_refused(tmp_path):
  # Eight-bit numbers under the names of weights; written by hand.
  config = folders.small_config('llama')
  header, at = {}, 0
  for row in families.table(config):
    for name in families.names(config, row):
      size = int(np.prod(row.shape))
      header[name] = {'dtype': 'I8', 'shape': row.shape,
                      'data_offsets': [at, at + size]}
      at += size
  text = json.dumps(header).encode()
  folders.write(tmp_path, config)
  (tmp_path / 'model.safetensors').write_bytes(
      len(text).to_bytes(8, 'little') + text + bytes(at))
  message = _refusal(tmp_path)
  assert 'weights must be F32, F16, BF16; model.embed_tokens.weight is I8' in (
      message)
  assert 'model.layers.0.mlp.gate_proj.weight is I8 and 11 more' in message
  assert 'not quantised' in message


def test_weights_that_are_not_finite_are_named(tmp_path):
  config = folders.small_config('gemma2')
  arrays = folders.tensors(config, 'bfloat16')
  arrays['model.layers.1.mlp.down_proj.weight'][3, 2] = np.inf
  folders.write(tmp_path, config, arrays=arrays)
  param = hf.open_model(tmp_path).params['blocks', 'mlp', 'down', 'kernel']
  param.part(0)
  with pytest.raises(ValueError, match='model.layers.1.mlp.down_proj.weight '
                     'has weights that are not finite'):
    param.part(1)


@pytest.mark.parametrize('text, words', [
    (None, 'config.json'),
    ('[]', 'config.json'),
    ('{"model_type": ', 'config.json'),
    ('{}', 'architecture None is not supported; supported: LlamaForCausalLM'),
    ('{"architectures": ["GPT2LMHeadModel"]}',
     "architecture 'GPT2LMHeadModel' is not supported; supported: "),
])
def test_a_config_json_that_is_none_is_refused(tmp_path, text, words):
  folders.write(tmp_path, folders.small_config('llama'))
  path = tmp_path / 'config.json'
  path.unlink() if text is None else path.write_text(text)
  assert words in _refusal(tmp_path)


def test_pickled_weights_are_refused_unread(tmp_path):
  folders.write(tmp_path, folders.small_config('llama'))
  (tmp_path / 'model.safetensors').unlink()
  assert 'safetensors' in _refusal(tmp_path)

  class Bomb:

    def __reduce__(self):
      return open, (str(tmp_path / 'ran'), 'w')

  (tmp_path / 'pytorch_model.bin').write_bytes(pickle.dumps(Bomb()))
  assert 'pickled weights are not read' in _refusal(tmp_path)
  (tmp_path / 'model.safetensors').write_bytes(pickle.dumps(Bomb()))
  assert 'pickled weights are not read' in _refusal(tmp_path)
  assert not (tmp_path / 'ran').exists()


def test_a_file_cut_short_is_refused(tmp_path):
  folders.write(tmp_path, folders.small_config('llama'))
  path = tmp_path / 'model.safetensors'
  path.write_bytes(path.read_bytes()[:-4])
  assert 'model.safetensors' in _refusal(tmp_path)
