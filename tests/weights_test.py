"""Weights of any format: the same numbers, and what is refused."""

import dataclasses
import json
import os
import pickle

import jax
import numpy as np
import pytest

from score_jax import config as config_lib
from score_jax import convert
from score_jax import files
from score_jax import sharding
from score_jax import weights
from score_jax.models import decoder
from score_jax.models import families
from tests import folders
from tests.models import gguf_test

FORMATS = ('hf', 'gguf', 'orbax')


def _write(folder, output, config):
  """The same weights in one of the formats; returns its path."""
  if output == 'gguf':
    return gguf_test.as_gguf(folder / 'a.gguf', config, folders.tensors(config))
  folders.write(folder / 'hf', config)
  if output == 'hf':
    return folder / 'hf'
  convert.convert(convert.open_source(str(folder / 'hf')), folder / 'orbax',
                  'orbax')
  return folder / 'orbax'


@pytest.mark.parametrize('output', FORMATS)
def test_every_format_gives_the_same_model(tmp_path, output):
  config = folders.small_config('qwen3', vocab_size=32)
  path = _write(tmp_path, output, config)
  assert weights.is_converted(path) == (output == 'orbax')
  model = weights.open_model(path)
  assert (model.config, model.dtype) == (config, 'float32')
  run = config_lib.ModelConfig(dtype='bfloat16', remat='dots', width=9)
  found = weights.model_config(str(path), run)
  assert found == dataclasses.replace(config, dtype='bfloat16', remat='dots')
  mesh = sharding.make_mesh(config_lib.MeshConfig(2, 2, 2))
  where = sharding.tree_shardings(mesh, decoder.logical_axes(config))
  params = weights.load_params(str(path), found, where)
  assert jax.tree.map(lambda x: x.sharding, params) == where
  arrays = folders.tensors(config)
  for row in families.table(config):
    leaf = params
    for name in row.path:
      leaf = leaf[name]
    for i, name in enumerate(families.names(config, row)):
      layer = np.asarray(leaf[i] if '{}' in row.name else leaf)
      np.testing.assert_array_equal(families.to_theirs(row, layer),
                                    arrays[name], err_msg=name)


def _refusal(path):
  with pytest.raises(ValueError) as error:
    weights.open_model(path)
  assert str(path) in str(error.value) and '\n' not in str(error.value)
  return str(error.value)


def test_files_that_are_no_model_are_refused(tmp_path):
  assert 'no such file or folder' in _refusal(tmp_path / 'none')
  assert 'config.json' in _refusal(tmp_path)
  folders.write(tmp_path / 'hf', folders.small_config('llama'))
  message = _refusal(tmp_path / 'hf' / 'model.safetensors')
  assert 'name its folder' in message
  text = tmp_path / 'notes.txt'
  text.write_text('some words')
  assert 'is not a GGUF file' in _refusal(text)


@pytest.mark.parametrize('name', ['model.bin', 'model.pt', 'model.gguf'])
def test_pickled_files_are_refused_unread(tmp_path, name):

  class Bomb:

    def __reduce__(self):
      return open, (str(tmp_path / 'ran'), 'w')

  path = tmp_path / name
  path.write_bytes(pickle.dumps(Bomb()))
  message = _refusal(path)
  assert ('pickled weights' in message) == (not name.endswith('gguf'))
  assert not (tmp_path / 'ran').exists()


def test_a_name_of_no_package_says_which_there_are():
  with pytest.raises(ValueError, match='config.model.checkpoint.*neither a '
                     'file, a folder nor one of: smollm2_135m'):
    weights.model_config('gemma', config_lib.ModelConfig())


@pytest.mark.parametrize('change, words', [
    (lambda v: v.pop('model'), "KeyError('model')"),
    (lambda v: v.pop('dtype'), "KeyError('dtype')"),
    (lambda v: v['model'].update(width='wide'), 'width'),
    (lambda v: v['model'].update(num_layers=3),
     'blocks/attention/key/bias has shape (2, 2, 10), not (3, 2, 10)'),
    (lambda v: v['model'].update(tied_head=False), 'missing: head/kernel'),
    (lambda v: v['model'].update(qkv_bias=False),
     'unknown: blocks/attention/key/bias'),
    (lambda v: v['model'].update(mlp_width=15), 'of another shape: '),
])
def test_a_converted_folder_with_another_model_json_is_refused(
    tmp_path, change, words):
  path = _write(tmp_path, 'orbax', folders.small_config('qwen2'))
  values = files.read_json(path / weights.MODEL_JSON)
  change(values)
  (path / weights.MODEL_JSON).write_text(json.dumps(values))
  assert words in _refusal(path)


def test_a_converted_folder_with_damaged_numbers_is_refused(tmp_path):
  path = _write(tmp_path, 'orbax', folders.small_config('qwen2'))
  largest = max((p for p in (path / weights.ARRAYS).rglob('*') if p.is_file()),
                key=lambda p: p.stat().st_size)
  data = bytearray(largest.read_bytes())
  data[len(data) // 2] ^= 255
  largest.write_bytes(data)
  assert 'is damaged' in _refusal(path)


def test_a_folder_that_changed_is_opened_again(tmp_path):
  config = folders.small_config('qwen2')
  path = _write(tmp_path, 'hf', config)
  assert weights.open_model(path) is weights.open_model(path)
  text = (path / 'config.json').read_text()
  (path / 'config.json').write_text(text.replace('"rms_norm_eps": 1e-05',
                                                 '"rms_norm_eps": 0.001'))
  assert weights.open_model(path).config == dataclasses.replace(
      config, norm_eps=1e-3)


@pytest.mark.parametrize('make, words', [
    (lambda path: path.symlink_to('../../blobs/0a1b'),
     'is a link to ../../blobs/0a1b, which is not there'),
    (os.mkfifo, 'is not a regular file'),
    (os.mkdir, 'Is a directory'),
    (lambda path: path.write_text(
        'version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n'),
     'run `git lfs pull`')])
def test_a_model_json_that_is_no_file_is_named(tmp_path, make, words):
  make(tmp_path / 'model.json')
  with pytest.raises(ValueError) as error:
    weights.open_model(tmp_path)
  assert words in str(error.value) and 'model.json' in str(error.value)
  assert '\n' not in str(error.value)


def test_a_path_that_is_a_link_to_nothing_or_a_pipe_is_named(tmp_path):
  link, pipe = tmp_path / 'm.gguf', tmp_path / 'pipe'
  link.symlink_to('../blobs/0a1b')
  os.mkfifo(pipe)
  for call in (weights.open_model,
               lambda path: weights.model_config(
                   str(path), config_lib.ModelConfig())):
    with pytest.raises(ValueError, match='m.gguf is a link to ../blobs/0a1b, '
                       'which is not there'):
      call(link)
    with pytest.raises(ValueError, match='pipe is neither a file nor a folder'):
      call(pipe)


@pytest.mark.parametrize('added, words', [
    ({'rope_parameters': {'rope_type': 'default', 'rope_theta': 5e5},
      'rope_scaling': {'rope_type': 'linear', 'factor': 2.0}},
     'rope_scaling replaces rope_parameters'),
    ({'rope_parameters': {'rope_type': 'default', 'rope_theta': 5e5}},
     'rope_theta is 500000 and not 10000'),
    ({}, '')])
def test_what_another_field_overrules_is_printed_once(
    tmp_path, capfd, added, words):
  folders.write(tmp_path, folders.small_config('qwen2'))
  path = tmp_path / 'config.json'
  path.write_text(json.dumps(json.loads(path.read_text()) | added))
  for _ in range(2):
    weights.model_config(str(tmp_path), config_lib.ModelConfig())
  lines = capfd.readouterr().err.splitlines()
  assert sum(words in line for line in lines) == bool(words)
  assert all(line.startswith(f'score_jax: {path}: rope_') for line in lines)
