"""Conversion: bit-equal round trips, trained runs, what stays when it fails."""

import dataclasses
import os
import shutil
import signal
import subprocess
import sys
import time
import types as types_lib

import jax
import numpy as np
import pytest

from score_jax import checkpoint
from score_jax import config as config_lib
from score_jax import convert
from score_jax import files
from score_jax import new_folder
from score_jax import sharding
from score_jax import types
from score_jax import weights
from score_jax.models import decoder
from score_jax.models import families
from score_jax.models import hf
from score_jax.models import safetensors
from score_jax.models import stored
from score_jax.recipes import base_recipes
from tests import folders


def _convert(source, to, output, stage='', **options):
  convert.convert(convert.open_source(str(source), stage), to, output,
                  **options)
  return to


def _same_tensors(folder, arrays):
  found = safetensors.open_folder(folder)
  assert set(found) == set(arrays)
  for name, array in arrays.items():
    assert found[name].dtype == array.dtype, name
    assert found[name].tobytes() == array.tobytes(), name


@pytest.mark.parametrize('family', sorted(folders.SMALL))
@pytest.mark.parametrize('dtype', ['float32', 'bfloat16'])
def test_a_round_trip_through_orbax_is_bit_equal(tmp_path, family, dtype):
  config = folders.small_config(family)
  arrays = folders.write(tmp_path / 'hf', config, dtype, shard_bytes=2000)
  assert len(list((tmp_path / 'hf').glob('*.safetensors'))) > 2
  _convert(tmp_path / 'hf', tmp_path / 'orbax', 'orbax')
  back = _convert(tmp_path / 'orbax', tmp_path / 'back', 'hf', shard_bytes=1500)
  _same_tensors(back, arrays)
  assert hf.open_model(back).config == config
  assert not list(tmp_path.glob('*.partial'))


@pytest.mark.parametrize('family, dtype', [
    ('llama', 'bfloat16'), ('qwen2', 'float32'), ('gemma3', 'float16')])
def test_a_head_of_a_model_called_tied_survives(
    tmp_path, capfd, family, dtype):
  config = folders.small_config(family, tied_head=True)
  arrays = folders.tensors(config, dtype)
  arrays['lm_head.weight'] = arrays['model.embed_tokens.weight'][::-1].copy()
  folders.write(tmp_path / 'hf', config, dtype, 2000, arrays)
  assert files.read_json(tmp_path / 'hf/config.json')['tie_word_embeddings']
  _convert(tmp_path / 'hf', tmp_path / 'orbax', 'orbax')
  said = capfd.readouterr().err
  assert said.count('lm_head.weight differs') == said.count('\n') == 1
  back = _convert(tmp_path / 'orbax', tmp_path / 'back', 'hf')
  _same_tensors(back, arrays)
  direct = _convert(tmp_path / 'hf', tmp_path / 'direct', 'hf')
  _same_tensors(direct, arrays)
  for folder in (back, direct):
    assert not files.read_json(folder / 'config.json')['tie_word_embeddings']
    assert not hf.open_model(folder).remarks


@pytest.mark.parametrize('family', ['qwen3', 'gemma3'])
def test_a_scaling_survives(tmp_path, family):
  scaling = config_lib.RopeScaling(
      'yarn', 4.0, original_positions=16, beta_fast=8.0, attention_factor=1.2)
  changes = {'rope_scaling': scaling}
  if family == 'gemma3':
    changes |= {'activation': 'gelu_exact', 'local_rope_scaling': scaling}
  config = folders.small_config(family, **changes)
  folders.write(tmp_path / 'hf', config)
  _convert(tmp_path / 'hf', tmp_path / 'orbax', 'orbax')
  assert weights.open_model(tmp_path / 'orbax').config == config
  back = _convert(tmp_path / 'orbax', tmp_path / 'back', 'hf')
  assert hf.open_model(back).config == config


def test_each_tensor_keeps_its_own_dtype(tmp_path):
  config = folders.small_config('llama')
  arrays = folders.tensors(config, 'bfloat16')
  arrays = {name: a.astype(np.float32) if 'norm' in name else a
            for name, a in arrays.items()}
  folders.write(tmp_path / 'hf', config, arrays=arrays)
  _convert(tmp_path / 'hf', tmp_path / 'orbax', 'orbax')
  _same_tensors(_convert(tmp_path / 'orbax', tmp_path / 'back', 'hf'), arrays)


@pytest.mark.parametrize('mesh', [(8, 1, 1), (1, 4, 2)])
def test_orbax_and_hugging_face_folders_load_the_same(tmp_path, mesh):
  config = folders.small_config('qwen2', num_kv_heads=4)
  folders.write(tmp_path / 'hf', config, 'bfloat16')
  _convert(tmp_path / 'hf', tmp_path / 'orbax', 'orbax')
  mesh = sharding.make_mesh(config_lib.MeshConfig(*mesh))
  config = dataclasses.replace(config, vocab_size=29)
  where = sharding.tree_shardings(mesh, decoder.logical_axes(config))
  # 29 rows cannot be split by two.
  where['embed']['embedding'] = sharding.named(mesh, None, 'embed')
  trees = []
  for name in ('hf', 'orbax'):
    path = str(tmp_path / name)
    assert weights.model_config(path, config_lib.ModelConfig()) == config
    trees.append(weights.load_params(path, config, where))
  assert jax.tree.structure(trees[0]) == jax.tree.structure(
      decoder.abstract(config))
  for a, b, s in zip(*map(jax.tree.leaves, (*trees, where))):
    assert a.sharding == b.sharding == s and a.dtype == b.dtype == np.float32
    np.testing.assert_array_equal(a, b)


def test_dtype_is_rounded_and_what_does_not_fit_is_named(tmp_path):
  config = folders.small_config('llama')
  arrays = folders.tensors(config)
  folders.write(tmp_path / 'hf', config, arrays=arrays)
  to = _convert(tmp_path / 'hf', tmp_path / 'half', 'hf', dtype='bfloat16')
  bfloat16 = folders.DTYPES['bfloat16']
  _same_tensors(to, {name: a.astype(bfloat16) for name, a in arrays.items()})
  assert files.read_json(to / 'config.json')['torch_dtype'] == 'bfloat16'
  arrays['model.norm.weight'][0] = 1e6
  folders.write(tmp_path / 'large', config, arrays=arrays)
  with pytest.raises(ValueError, match='model.norm.weight has numbers that '
                     'float16 cannot hold'):
    _convert(tmp_path / 'large', tmp_path / 'no', 'hf', dtype='float16')
  assert not list(tmp_path.glob('no*'))


def test_what_does_not_fit_is_not_written_to_orbax_either(tmp_path):
  config = folders.small_config('llama')
  arrays = folders.tensors(config)
  arrays['model.layers.1.mlp.up_proj.weight'][0, 0] = 1e6
  folders.write(tmp_path / 'hf', config, arrays=arrays)
  with pytest.raises(ValueError, match='blocks/mlp/up/kernel has numbers that '
                     'float16 cannot hold'):
    _convert(tmp_path / 'hf', tmp_path / 'no', 'orbax', dtype='float16')
  assert not list(tmp_path.glob('no*'))


@pytest.mark.parametrize('stacked', [True, False])
def test_pieces_are_read_once_and_keep_no_other_alive(monkeypatch, stacked):
  monkeypatch.setattr(weights, 'PIECE_BYTES', 16)
  array = np.arange(12, dtype=np.float32).reshape(3, 4)
  reads = []

  def read(number):
    reads.append(number)
    return array[number] if stacked else array

  names = ('a', 'b', 'c') if stacked else ('a',)
  pieces = list(weights.pieces(stored.Stored(
      names, (3, 4), np.dtype('float32'), read, stacked)))
  assert reads == list(range(len(names)))
  assert [number for number, _ in pieces] == ['0', '1', '2']
  np.testing.assert_array_equal(np.concatenate([p for _, p in pieces]), array)
  # A layer is all that was read; a slice must not keep the rest alive.
  assert stacked or not any(np.shares_memory(p, array) for _, p in pieces)


def _workdir(folder, model, stage='stage2', steps=(2, 4), checkpoint_path=''):
  """A run's folder, with checkpoints but without a run."""
  values = base_recipes.make('chain', 'stage2')
  values.model.update(weights.fields_json(model))
  values.model.update(lora=dataclasses.asdict(model.lora),
                      checkpoint=checkpoint_path)
  config = config_lib.from_dict(values)
  folder.mkdir()
  files.write_json(folder / 'config.json',
                   {'config': dataclasses.asdict(config)})
  trees = []
  for step in steps:
    tree = decoder.trained(config.model, decoder.init(
        config.model, jax.random.key(step)))
    tree = jax.tree.map(lambda x: x + 0.01, tree)  # lora_b is born zero.
    state = types.TrainState(np.int32(step), tree, {'moments': tree})
    with checkpoint.Checkpoints(folder / 'checkpoints' / stage, 5) as saved:
      saved.save(step, jax.tree.map(jax.numpy.asarray, state), {})
    trees.append(tree)
  return config, trees


def test_the_newest_checkpoint_of_the_last_stage_is_exported(tmp_path):
  model = folders.small_config('gemma3')
  config, trees = _workdir(tmp_path / 'run', model)
  source = convert.open_source(str(tmp_path / 'run'))
  assert (source.is_orbax, source.what) == (True, 'stage2 at step 4')
  to = _convert(tmp_path / 'run', tmp_path / 'hf', 'hf')
  mesh = sharding.make_mesh(config_lib.MeshConfig())
  where = jax.tree.map(lambda x: sharding.named(mesh), trees[1])
  loaded = weights.load_params(str(to), config.model, where)
  jax.tree.map(np.testing.assert_array_equal, loaded, trees[1])
  # The task's tokenizer goes with it.
  assert (to / 'tokenizer.model').is_file()
  ids = files.read_json(to / 'config.json')
  assert ids['eos_token_id'] and 'pad_token_id' in ids
  _convert(tmp_path / 'run' / 'checkpoints' / 'stage2', tmp_path / 'again',
           'orbax')


def test_generation_stops_where_attempts_do(tmp_path):
  found = {'eos_token_id': 1, 'top_p': 0.9, 'bos_token_id': 5}
  ids = {'eos_token_id': [7, 1], 'pad_token_id': 0, 'bos_token_id': 2}
  path = tmp_path / 'generation_config.json'
  for before, after in (
      ({}, ids),
      (found, found | {'eos_token_id': [7, 1], 'pad_token_id': 0}),
      ({'eos_token_id': [1, 7, 9]}, {'eos_token_id': [1, 7, 9]})):
    files.write_json(path, before)
    convert._add_stops(path, ids)  # pylint: disable=protected-access
    assert files.read_json(path) == after


def test_a_trained_checkpoint_goes_back_to_the_dtype_it_came_in(tmp_path):
  model = folders.small_config('qwen3')
  folders.write(tmp_path / 'base', model, 'bfloat16')
  _, trees = _workdir(tmp_path / 'run', model,
                      checkpoint_path=str(tmp_path / 'base'))
  to = _convert(tmp_path / 'run', tmp_path / 'hf', 'hf')
  found = safetensors.open_folder(to)
  assert {a.dtype.name for a in found.values()} == {'bfloat16'}
  np.testing.assert_array_equal(
      found['model.norm.weight'],
      np.asarray(trees[1]['final_norm']['scale']).astype(
          folders.DTYPES['bfloat16']))


def test_adapters_are_merged_into_their_base(tmp_path):
  plain = folders.small_config('gemma2')
  lora = config_lib.LoraConfig(rank=3, alpha=6.0,
                               targets='attention/(query|out)|mlp/down')
  model = dataclasses.replace(plain, lora=lora)
  arrays = folders.write(tmp_path / 'base', plain)
  _, trees = _workdir(tmp_path / 'run', model,
                      checkpoint_path=str(tmp_path / 'base'))
  found = safetensors.open_folder(
      _convert(tmp_path / 'run', tmp_path / 'hf', 'hf'))
  changed = {name for name in arrays
             if not np.array_equal(found[name], arrays[name])}
  adapted = ('self_attn.q_proj', 'self_attn.o_proj', 'mlp.down_proj')
  assert changed == {f'model.layers.{i}.{name}.weight'
                     for i in range(2) for name in adapted}
  down = trees[1]['blocks']['mlp']['down']
  expected = arrays['model.layers.1.mlp.down_proj.weight'] + 2 * (
      np.asarray(down['lora_a'][1]) @ np.asarray(down['lora_b'][1])).T
  np.testing.assert_allclose(found['model.layers.1.mlp.down_proj.weight'],
                             expected, rtol=1e-6, atol=1e-6)


def test_adapters_on_another_base_are_not_merged(tmp_path):
  plain = folders.small_config('llama')
  model = dataclasses.replace(plain, lora=config_lib.LoraConfig(rank=2))
  folders.write(tmp_path / 'base', plain, 'bfloat16')
  _workdir(tmp_path / 'run', model, checkpoint_path=str(tmp_path / 'base'))
  record = files.read_json(tmp_path / 'run' / 'config.json')
  record['base'] = weights.fingerprint(weights.open_model(tmp_path / 'base'))
  files.write_json(tmp_path / 'run' / 'config.json', record)
  convert.open_source(str(tmp_path / 'run'))  # As it was.
  _convert(tmp_path / 'base', tmp_path / 'orbax', 'orbax')
  other = folders.tensors(plain, 'bfloat16')
  other['model.layers.1.mlp.up_proj.weight'][0, 0] += 1
  (tmp_path / 'base').rename(tmp_path / 'gone')
  folders.write(tmp_path / 'base', plain, 'bfloat16', arrays=other)
  with pytest.raises(ValueError, match='holds other weights than when the run'):
    convert.open_source(str(tmp_path / 'run'))
  # The same numbers in another format are the same base.
  shutil.rmtree(tmp_path / 'base')
  (tmp_path / 'orbax').rename(tmp_path / 'base')
  convert.open_source(str(tmp_path / 'run'))


def test_adapters_that_are_not_those_of_the_config_are_refused(tmp_path):
  plain = folders.small_config('llama')
  model = dataclasses.replace(plain, lora=config_lib.LoraConfig(rank=2))
  folders.write(tmp_path / 'base', plain)
  _workdir(tmp_path / 'run', model, checkpoint_path=str(tmp_path / 'base'))
  record = files.read_json(tmp_path / 'run' / 'config.json')
  for changes, message in (({'rank': 3}, 'of another shape: blocks/'),
                           ({'targets': 'mlp/up'}, 'unknown: blocks/')):
    config = record['config'] | {'model': record['config']['model'] | {
        'lora': record['config']['model']['lora'] | changes}}
    files.write_json(tmp_path / 'run' / 'config.json', {'config': config})
    with pytest.raises(ValueError, match=message):
      convert.open_source(str(tmp_path / 'run'))


def test_a_run_without_checkpoints_and_a_stage_of_no_run(tmp_path):
  _workdir(tmp_path / 'run', folders.small_config('llama'))
  with pytest.raises(ValueError, match='no checkpoint of stage1; there are: '
                     'stage2'):
    convert.open_source(str(tmp_path / 'run'), 'stage1')
  folders.write(tmp_path / 'hf', folders.small_config('llama'))
  with pytest.raises(ValueError, match='not the workdir of a run'):
    convert.open_source(str(tmp_path / 'hf'), 'stage1')


def test_a_stage_folder_is_not_taken_for_another_stage(tmp_path):
  _workdir(tmp_path / 'run', folders.small_config('llama'))
  with pytest.raises(ValueError, match='stage2 holds no checkpoint of stage1'):
    convert.open_source(
        str(tmp_path / 'run' / 'checkpoints' / 'stage2'), 'stage1')


@pytest.mark.parametrize('rank', [0, 3])
def test_a_run_whose_base_became_another_model_is_refused(tmp_path, rank):
  model = folders.small_config('llama', lora=config_lib.LoraConfig(rank=rank))
  folders.write(tmp_path / 'base', folders.small_config('qwen2'))
  _workdir(tmp_path / 'run', model, checkpoint_path=str(tmp_path / 'base'))
  with pytest.raises(ValueError, match='base is another model than the one'):
    convert.open_source(str(tmp_path / 'run'))


def test_a_changed_model_json_is_found(tmp_path):
  folders.write(tmp_path / 'hf', folders.small_config('llama'))
  path = _convert(tmp_path / 'hf', tmp_path / 'to', 'orbax') / 'model.json'
  path.write_text(path.read_text().replace('10000.0', '90000.0'))
  with pytest.raises(ValueError, match='model.json is damaged'):
    weights.open_model(tmp_path / 'to')


def test_damage_of_a_checkpoint_is_found_before_it_is_exported(tmp_path):
  _workdir(tmp_path / 'run', folders.small_config('llama'))
  step = tmp_path / 'run' / 'checkpoints' / 'stage2' / '4'
  path = max((p for p in step.rglob('*') if p.is_file()),
             key=lambda p: p.stat().st_size)
  data = bytearray(path.read_bytes())
  data[len(data) // 2] ^= 1
  path.write_bytes(data)
  with pytest.raises(ValueError, match='4 is damaged: .* has changed'):
    convert.open_source(str(tmp_path / 'run'))


def test_a_folder_with_something_in_it_is_left_alone(tmp_path):
  folders.write(tmp_path / 'hf', folders.small_config('llama'))
  (tmp_path / 'to').mkdir()
  (tmp_path / 'to' / 'precious').write_text('x')
  with pytest.raises(ValueError, match='not an empty folder'):
    _convert(tmp_path / 'hf', tmp_path / 'to', 'orbax')
  assert (tmp_path / 'to' / 'precious').read_text() == 'x'
  (tmp_path / 'to' / 'precious').unlink()
  _convert(tmp_path / 'hf', tmp_path / 'to', 'orbax')
  assert weights.is_converted(tmp_path / 'to')


def test_a_folder_of_others_named_partial_is_left_alone(tmp_path):
  source = tmp_path / 'to.partial'
  arrays = folders.write(source, folders.small_config('llama'))
  with pytest.raises(ValueError, match='to.partial is in the way'):
    _convert(source, tmp_path / 'to', 'orbax')
  _same_tensors(source, arrays)
  assert not (tmp_path / 'to').exists()


def test_two_conversions_to_one_folder_do_not_mix(tmp_path):
  folders.write(tmp_path / 'hf', folders.small_config('llama'))
  to = tmp_path / 'to'
  with new_folder.new_folder(to):
    with pytest.raises(ValueError, match='another conversion is writing'):
      _convert(tmp_path / 'hf', to, 'hf')
  _convert(tmp_path / 'hf', to, 'hf')
  assert {p.name for p in to.iterdir()} == {'config.json', 'model.safetensors'}


@pytest.mark.parametrize('output', ['hf', 'orbax'])
def test_numbers_that_are_not_finite_stop_it_and_leave_nothing(
    tmp_path, output):
  config = folders.small_config('llama')
  arrays = folders.tensors(config)
  arrays['model.layers.1.mlp.up_proj.weight'][2, 3] = np.nan
  folders.write(tmp_path / 'hf', config, arrays=arrays)
  with pytest.raises(ValueError, match='layers.1.mlp.up_proj.weight has '
                     'weights that are not finite'):
    _convert(tmp_path / 'hf', tmp_path / 'to', output)
  assert not list(tmp_path.glob('to*'))


def test_a_disk_without_room_shows_before_anything_is_written(
    tmp_path, monkeypatch):
  folders.write(tmp_path / 'hf', folders.small_config('llama'))
  usage = types_lib.SimpleNamespace(free=1000)
  monkeypatch.setattr(shutil, 'disk_usage', lambda path: usage)
  with pytest.raises(ValueError, match='needs .* GB and the disk has 1e-06 GB'):
    _convert(tmp_path / 'hf', tmp_path / 'to', 'orbax')
  assert not list(tmp_path.glob('to*'))


def _command(*args, **options):
  return subprocess.Popen(
      [sys.executable, '-m', 'score_jax.convert', *args], text=True,
      stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)


def test_the_command(tmp_path):
  config = folders.small_config('gemma2')
  arrays = folders.write(tmp_path / 'hf', config, 'bfloat16')
  commands = [
      _command(f'--from={tmp_path}/hf', f'--to={tmp_path}/orbax'),
      _command(f'--from={tmp_path}/hf', f'--to={tmp_path}/cut', '--format=hf',
               '--shard_gb=0.000001'),
      _command(f'--from={tmp_path}/nothing', f'--to={tmp_path}/x'),
      _command(f'--from={tmp_path}/hf', f'--to={tmp_path}/x', '--dtype=int8'),
      _command(f'--from={tmp_path}/hf', f'--to={tmp_path}/x', '--shard_gb=inf')]
  (out, err), (_, _), (_, no), *bad = (
      c.communicate(timeout=120) for c in commands)
  assert [c.returncode for c in commands] == [0, 0, 2, 2, 2], err
  assert [text.count('\n') for _, text in bad] == [1, 1], bad
  assert 'gemma2' in out and 'as orbax' in out and 'no tokenizer' in out
  assert no.count('\n') == 1 and 'nothing: no such file' in no
  assert weights.is_converted(tmp_path / 'orbax')
  sizes = [sum(a.nbytes for a in safetensors.open_folder(path).values())
           for path in (tmp_path / 'cut').glob('*.safetensors')]
  assert sum(sizes) == sum(a.nbytes for a in arrays.values())
  assert len(sizes) > 2 and max(sizes) <= 1000
  _same_tensors(tmp_path / 'cut', arrays)


def test_a_killed_conversion_leaves_no_folder_that_looks_whole(tmp_path):
  config = folders.small_config('llama', width=512, mlp_width=8192)
  folders.write(tmp_path / 'source', config)
  for output, whole in (('hf', 'config.json'), ('orbax', 'model.json')):
    to, aside = tmp_path / output, tmp_path / f'{output}.partial'
    command = _command(f'--from={tmp_path}/source', f'--to={to}',
                       f'--format={output}')
    while not aside.exists() or not any(aside.iterdir()):
      assert command.poll() is None, command.communicate()
      time.sleep(0.001)
    os.kill(command.pid, signal.SIGKILL)
    command.communicate()
    assert not to.exists() and not (aside / whole).exists()
    with pytest.raises(ValueError):
      weights.open_model(aside)
    # What is left is in nobody's way.
    _convert(tmp_path / 'source', to, output)
    assert not aside.exists() and (to / whole).exists()


_PEAK = """
import pathlib, sys, threading, time
import jax
jax.config.update('jax_platforms', 'cpu')
from score_jax import convert

peak, done = 0, False

def own_bytes():  # Without mapped files.
  for line in open('/proc/self/status'):
    if line.startswith('RssAnon'):
      return int(line.split()[1]) * 1024

def watch():
  global peak
  while not done:
    peak = max(peak, own_bytes())
    time.sleep(0.001)

_, warm, source, to, output = sys.argv
# Once before, so that compiled programs and thread pools are there.
convert.convert(convert.open_source(warm), pathlib.Path(to + '_w'), output)
start = own_bytes()
watcher = threading.Thread(target=watch)
watcher.start()
convert.convert(convert.open_source(source), pathlib.Path(to), output,
                shard_bytes=2 * 10**8)
done = True
watcher.join()
print(peak - start)
"""


@pytest.mark.slow
def test_memory_stays_under_the_largest_tensor_and_a_shard(tmp_path):
  small = folders.small_config('llama', num_layers=1)
  big = folders.small_config('llama', num_layers=20, width=1024,
                             mlp_width=4096, vocab_size=8192)
  folders.write(tmp_path / 'small', small)
  rng = np.random.default_rng(0)
  arrays = {
      name: rng.standard_normal(row.shape, np.float32)
      for row in families.table(big) for name in families.names(big, row)}
  total = sum(a.nbytes for a in arrays.values())
  limit = max(a.nbytes for a in arrays.values()) + 2 * 10**8
  assert total > 4 * limit
  folders.write(tmp_path / 'big', big, arrays=arrays)
  del arrays

  def peak(kind, output):
    names = [f'{size}{kind}' for size in ('small', 'big')]
    done = subprocess.run(
        [sys.executable, '-c', _PEAK, *(str(tmp_path / name) for name in names),
         str(tmp_path / f'big{kind}_{output}'), output],
        check=True, capture_output=True, text=True)
    return int(done.stdout)

  peaks = {'hf to orbax': peak('', 'orbax'), 'hf to hf': peak('', 'hf')}
  (tmp_path / 'big_orbax_w').rename(tmp_path / 'small_orbax')
  peaks['orbax to hf'] = peak('_orbax', 'hf')
  assert max(peaks.values()) < limit, peaks
