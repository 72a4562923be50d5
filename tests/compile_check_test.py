"""What a run takes of a TPU slice, and bad input."""

import json
import math
import re

import jax
import pytest

from score_jax import compile_check
from score_jax import compile_programs
from score_jax import config as config_lib
from score_jax import run as run_lib
from score_jax import sharding
from score_jax import tpu_slices
from score_jax.recipes import pods
from tests import arithmetic_test

_config = arithmetic_test.small_config


@pytest.fixture(name='here')
def _here(monkeypatch):
  """As if the devices here were the slice, and no program were compiled."""
  monkeypatch.setattr(tpu_slices, 'devices', lambda *_: jax.devices()[:4])


@pytest.mark.parametrize('changes,message', [
    ({'mesh': {'data': 1, 'fsdp': 8, 'tensor': 2}}, 'does not fit 4 devices'),
    ({'mesh': {'data': 1, 'fsdp': 1, 'tensor': 4}},
     "'kv_heads' of size 2 is not divisible by the 4 devices of mesh axis "
     "'tensor'"),
    ({'mesh': {'data': 1, 'fsdp': 4, 'tensor': 1},
      'rollout': {'prompts': 2, 'samples': 4, 'prompt_buckets': (16,),
                  'attempt_tokens': (16, 32)}},
     'config.rollout.prompts 2 is not divisible by 4.*use 4'),
])
def test_what_does_not_divide_is_refused_before_anything_is_compiled(
    here, changes, message, tmp_path):
  with pytest.raises(ValueError, match=message):
    compile_check.check(_config(**changes), tmp_path / 'run', 'v5e:2x2', 1)
  assert not (tmp_path / 'run').exists()


REPORT = '''
Memory Space: default (color=0)
Total bytes: 30872690688 (28.75GiB)
  cumulative_size;       size;       offset; used_by_n_values; shapes_list
  ------------------------------------------------------------
   12.50GiB( 42%);   12.50GiB;            0;               22; bf16[16,512,2304], 19×bf16[26,384,1,2625,256]
   13.00GiB( 83%);  512.50MiB;  13418496000;               20; pred[4], f32[2,3]
   13.00GiB( 83%);  1008.0KiB;  13418496000;               20; s32[7]

   13.00GiB( 83%);   9.50GiB;  13418496000;               20; f32[9]
'''  # noqa: E501


def test_the_largest_pieces_of_memory_are_named(tmp_path):
  (tmp_path / 'module_1.memory-usage-report.txt').write_text(REPORT)
  assert compile_check.largest_buffers(tmp_path, 2) == [
      'bf16[26, 384, 1, 2625, 256] 12.50GiB', 'f32[2, 3] 512.50MiB']


@pytest.mark.parametrize('name', pods.VARIANTS)
def test_a_pod_takes_512_rollouts_and_trains_all_weights(name):
  config = config_lib.from_dict(pods.get_config(name))
  assert config.rollout.prompts * config.rollout.samples == 512
  assert config.rollout.prompt_buckets == (512,)
  assert config.rollout.attempt_tokens == (1024, 1024)
  assert not config.model.lora.rank and '--topology=' in pods.VARIANTS[
      name].__doc__


@pytest.mark.parametrize('name', pods.VARIANTS)
def test_a_pod_divides_by_its_mesh(name):
  config = config_lib.from_dict(pods.get_config(name))
  sizes = [config.mesh.data, config.mesh.fsdp, config.mesh.tensor]
  mesh = jax.sharding.AbstractMesh(tuple(sizes), sharding.AXES)
  run_lib.check_devices(config, mesh)
  topology, _, slices = re.search(
      r'--topology=(\S+?)\.?( --slices=(\d))?[.\s]', pods.VARIANTS[
          name].__doc__ + ' ').groups()
  shape = topology.partition(':')[2].split('x')
  assert tpu_slices.chip(topology)
  assert math.prod(sizes) == math.prod(map(int, shape)) * int(slices or 1)


@pytest.fixture(name='as_in_a_run')
def _as_in_a_run():
  """Products of the precision that runs have: the kernel has no other."""
  with jax.default_matmul_precision('default'):
    yield


@pytest.mark.tpu_compiler
def test_every_program_compiles_for_a_small_slice(
    as_in_a_run, tmp_path, capsys):
  assert not compile_check.check(_config(), tmp_path, 'v5e:2x2', 1)
  kept = json.loads((tmp_path / 'compile.json').read_text())
  assert kept['chips'] == 4 and kept['product'] == 'v5litepod-4'
  copy, sampler, one, two, evaluation = kept['programs']
  assert [p['name'] for p in kept['programs']] == [
      'copy for the sampler', 'sampler', 'update of stage1',
      'update of stage2', 'evaluation']
  for program in kept['programs']:
    assert program['fits'] and not program['unknown_loops']
    assert program['collectives'] and not program['faults']
  for program in (one, two):
    assert 1 <= (program['sent_bytes']['fsdp']
                 / program['least_fsdp_bytes']) < 2
  for program in (sampler, one, two, evaluation):
    assert program['links_s'] > 0
    assert 0.9 < program['flops'] / program['model_flops'] < 2.5
  # Float32 over four devices; the copy is in bfloat16 over two.
  weights = copy['arguments']['weights']
  assert one['arguments']['weights'] == weights
  assert 1 <= sampler['arguments']["sampler's weights"] / weights < 1.01
  assert 2 * weights <= sampler['resident']['optimizer'] < 2.1 * weights
  assert sampler['resident']['reference'] == weights
  assert 'optimizer' not in evaluation['resident']
  for bytes_of_a_token in sampler['decode_bytes'].values():
    assert bytes_of_a_token > 0
  assert '4 chips, 1 x v5litepod-4' in capsys.readouterr().out


@pytest.mark.tpu_compiler
@pytest.mark.parametrize('asked', [False, True])
def test_an_update_gathers_whole_weights_unless_asked_otherwise(
    as_in_a_run, asked):
  config = _config(
      mesh={'data': 1, 'fsdp': 4, 'tensor': 1, 'collective_matmul': asked},
      # So many that the compiler thinks it worth while.
      rollout={'prompts': 32, 'samples': 2, 'prompt_buckets': (512,),
               'attempt_tokens': (512, 512)})
  mesh = sharding.make_mesh(config.mesh, tpu_slices.devices('v5e:2x2', 1))
  update, = (program for program in compile_programs.programs(config, mesh)
             if program.name == 'update of stage2')
  found = compile_check.measure(
      update, config, mesh, tpu_slices.chip('v5e:2x2'))
  kinds = {one['kind'] for one in found['collectives']}
  assert 'all-gather' in kinds and asked == ('collective-permute' in kinds)


@pytest.mark.tpu_compiler
def test_what_does_not_fit_names_its_largest_buffers(
    as_in_a_run, tmp_path, capsys):
  config = _config(rollout={
      'prompts': 4096, 'samples': 8, 'prompt_buckets': (512,),
      'attempt_tokens': (1024, 1024)})
  wrong = compile_check.check(config, tmp_path, 'v5e:2x2', 1)
  assert 'sampler does not fit' in wrong and 'evaluation' not in wrong
  out = capsys.readouterr().out
  # A row's own slots: two attempts of 1024 and the instruction of 65.
  assert 'DOES NOT FIT' in out and 'bf16[2, 16384, 1, 2113, 128]' in out


@pytest.mark.tpu_compiler
def test_two_slices_are_joined_along_data(as_in_a_run, tmp_path):
  config = _config(mesh={'data': 2, 'fsdp': 2, 'tensor': 2})
  assert not compile_check.check(config, tmp_path, 'v5e:2x2', 2)
  kept = json.loads((tmp_path / 'compile.json').read_text())
  assert kept['chips'] == 8 and kept['mesh']['data'] == 2
  axes = {c['axis'] for p in kept['programs'] for c in p['collectives']}
  assert 'data, between slices' in axes


@pytest.mark.tpu_compiler
def test_what_the_base_samples_is_compiled_too(as_in_a_run, tmp_path):
  rollout = {'prompts': 8, 'samples': 2, 'prompt_buckets': (16,),
             'attempt_tokens': (16, 32)}
  config = _config(rollout=rollout, stage1={'steps': 0},
                   stage2={'offline': 0.5})
  assert not compile_check.check(config, tmp_path, 'v5e:2x2', 1)
  programs = json.loads((tmp_path / 'compile.json').read_text())['programs']
  assert [p['name'] for p in programs] == [
      'copy for the sampler', 'copy of the base for the sampler', 'sampler',
      'sampler, first attempts', 'sampler, later attempts',
      'update of stage2', 'evaluation']
  assert [list(p['decode_bytes']) for p in programs[2:5]] == [
      ['1', '2'], ['1'], ['1']]
  for program in programs[2:]:
    assert program['fits'] and not program['unknown_loops']
    assert 0.9 < program['flops'] / program['model_flops'] < 2.5
