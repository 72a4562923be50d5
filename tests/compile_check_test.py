"""What a run takes of a TPU slice, and bad input."""

import dataclasses
import importlib.util
import json

import jax
import pytest

from experiments import pods
from score_jax import compile_check
from score_jax import config as config_lib
from score_jax import sharding

MODEL = {'vocab_size': 512, 'num_layers': 2, 'width': 256, 'num_heads': 4,
         'num_kv_heads': 2, 'head_dim': 128, 'mlp_width': 512,
         'dtype': 'bfloat16', 'unroll_decode': False, 'tied_head': True}


def _config(**changes):
  return config_lib.from_dict({
      'model': MODEL,
      'rollout': {'prompts': 8, 'samples': 2, 'prompt_buckets': (16,),
                  'attempt_tokens': (16, 32)},
      'evaluation': {'batch_size': 8},
      'mesh': {'data': 1, 'fsdp': 2, 'tensor': 2}} | changes)


@pytest.mark.parametrize('topology,slices,message', [
    ('v5e-16', 1, 'v5e-16 is not known; known: v4:2x2x1.*v5e:16x16.*v6e:2x2'),
    ('v5p:4x4', 1, 'v5p:4x4 is not known'),
    ('', 1, '--topology= is not known'),
    ('v5e:4x4', 0, '--slices=0')])
def test_a_slice_that_is_not_there_is_refused(topology, slices, message):
  with pytest.raises(ValueError, match=message):
    compile_check.devices(topology, slices)


def test_a_missing_compiler_is_told_with_the_way_to_it(monkeypatch):
  monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
  with pytest.raises(ValueError, match=r"pip install -e '\.\[tpu\]'"):
    compile_check.devices('v5e:2x2', 1)


def test_products_are_named_by_chips_or_by_cores():
  names = map(compile_check.product_name,
              ('v5e:4x4', 'v6e:16x16', 'v5p:4x4x4', 'v4:2x2x1'))
  assert list(names) == ['v5litepod-16', 'v6e-256', 'v5p-128', 'v4-8']


def test_the_cache_of_a_device_by_hand():
  config = _config()
  mesh = sharding.make_mesh(config.mesh, jax.devices()[:4])
  slots = 16 + 16 + 65 + 32  # The splice: 64 tokens and an end of turn.
  # Keys and values of 2 layers, half of 16 rows, one of 2 heads, bfloat16.
  assert compile_check.cache_bytes(config, mesh, 16) == (
      2 * 2 * 8 * 1 * slots * 128 * 2)


def test_the_flops_of_an_update_by_hand():
  config = _config()
  slots, tokens, rows = 129, 48, 16
  # Query 256 x 512, key and value 256 x 256, out 512 x 256, three of the MLP.
  weights = 2 * (256 * 512 * 2 + 256 * 256 * 2 + 3 * 256 * 512)
  pairs = slots * (slots + 1) // 2
  forward = 2 * weights * slots + 4 * 2 * 4 * 128 * pairs
  assert compile_check.update_flops(config) == rows * (
      5 * forward + 6 * 2 * 256 * 512 * tokens)
  kept = dataclasses.replace(
      config, model=dataclasses.replace(config.model, remat='none'))
  assert compile_check.update_flops(config) - compile_check.update_flops(
      kept) == rows * forward


def test_the_flops_of_a_sampler_by_hand():
  weights = 2 * (256 * 512 * 2 + 256 * 256 * 2 + 3 * 256 * 512)
  # A prompt of 16, read once; then each of 2 rows reads tokens 17 to 129.
  pairs = sum(range(1, 17)) + 2 * sum(range(17, 130))
  assert compile_check.sampler_flops(_config(), 1, 2) == (
      2 * weights * (16 + 2 * 113) + 4 * 2 * 4 * 128 * pairs
      + 2 * 48 * 2 * 256 * 512)


def test_the_largest_arrays_are_named():
  text = 'tensor<4x256xf32> tensor<1024x1024xbf16> tensor<2x1024x1024xi1>'
  assert compile_check.largest_arrays(text, 2) == [
      'bf16[1024, 1024] 0.00 GiB', 'pred[2, 1024, 1024] 0.00 GiB']


@pytest.mark.parametrize('name', pods.VARIANTS)
def test_a_pod_takes_512_rollouts_and_trains_all_weights(name):
  config = config_lib.from_dict(pods.get_config(name))
  assert config.rollout.prompts * config.rollout.samples == 512
  assert config.rollout.prompt_buckets == (512,)
  assert config.rollout.attempt_tokens == (1024, 1024)
  assert not config.model.lora.rank and '--topology=' in pods.VARIANTS[
      name].__doc__


@pytest.mark.tpu_compiler
def test_every_program_compiles_for_a_small_slice(tmp_path, capsys):
  assert compile_check.check(_config(), tmp_path, 'v5e:2x2', 1)
  kept = json.loads((tmp_path / 'compile.json').read_text())
  assert kept['chips'] == 4 and kept['product'] == 'v5litepod-4'
  sampler, one, two, evaluation = kept['programs']
  assert [p['name'] for p in kept['programs']] == [
      'sampler', 'update of stage1', 'update of stage2', 'evaluation']
  for program in kept['programs']:
    assert program['fits'] and not program['unknown_loops']
    assert program['collectives']
    assert 0.9 < program['flops'] / program['model_flops'] < 2.5
  weights = sampler['arguments']['weights']
  assert one['arguments']['weights'] == weights
  assert 2 * weights <= sampler['resident']['optimizer'] < 2.1 * weights
  assert sampler['resident']['reference'] == weights
  assert '4 chips, 1 x v5litepod-4' in capsys.readouterr().out


@pytest.mark.tpu_compiler
def test_what_does_not_fit_names_its_largest_arrays(tmp_path, capsys):
  config = _config(rollout={
      'prompts': 4096, 'samples': 8, 'prompt_buckets': (512,),
      'attempt_tokens': (1024, 1024)})
  assert not compile_check.check(config, tmp_path, 'v5e:2x2', 1)
  out = capsys.readouterr().out
  assert 'DOES NOT FIT' in out and 'bf16[2, 32768, 2, 2625, 128]' in out
