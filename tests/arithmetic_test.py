"""What a run has to compute and to read, by hand."""

import dataclasses

import jax
import pytest

from score_jax import arithmetic
from score_jax import config as config_lib
from score_jax import sharding
from score_jax import types

MODEL = {'vocab_size': 1408, 'num_layers': 2, 'width': 256, 'num_heads': 4,
         'num_kv_heads': 2, 'head_dim': 128, 'mlp_width': 512,
         'dtype': 'bfloat16', 'unroll_decode': False, 'tied_head': True}


def small_config(**changes):
  return config_lib.from_dict({
      'model': MODEL,
      'rollout': {'prompts': 8, 'samples': 2, 'prompt_buckets': (16,),
                  'attempt_tokens': (16, 32)},
      'evaluation': {'batch_size': 8},
      'mesh': {'data': 1, 'fsdp': 2, 'tensor': 2}} | changes)


def test_the_cache_of_a_device_by_hand():
  config = small_config()
  mesh = sharding.make_mesh(config.mesh, jax.devices()[:4])
  slots = 16 + 65 + 32  # The splice: 64 tokens and an end of turn.
  # Keys and values of 2 layers, one of 2 heads, bfloat16: of half of 8 prompts
  # of 16 slots, and of their two rows each.
  assert arithmetic.cache_bytes(config, mesh, 8, 2) == (
      2 * 2 * (4 * 16 + 8 * slots) * 1 * 128 * 2)


@pytest.mark.parametrize('kind,more,attempts,splices', [
    ('none', 0, (16, 32), (65,)),
    ('verdict', 9, (16, 32), (65,)),  # Which is told in few words.
    ('tests', 9, (16, 32), (74,)),
    ('tests', 0, (16, 32), (97,)),
    ('critique', 9, (16, 9, 32), (65, 65)),
    ('critique', 0, (16, 32, 32), (65, 65))])
def test_the_room_for_feedback_by_hand(kind, more, attempts, splices):
  layout = arithmetic.layout_of(small_config(rollout={
      'prompts': 8, 'samples': 2, 'prompt_buckets': (16,),
      'attempt_tokens': (16, 32), 'feedback': kind, 'feedback_tokens': more}))
  assert layout == types.Layout(16, attempts, splices)


def test_what_fsdp_has_to_send_by_hand():
  mesh = jax.sharding.AbstractMesh((1, 4, 2), sharding.AXES)
  # Weights as below, the embedding, and norms, which tensor does not split.
  matrices = 2 * (256 * 512 * 2 + 256 * 256 * 2 + 3 * 256 * 512)
  layers = matrices // (4 * 2) + 4 * 256 // 4
  table = 1408 * 256 // (4 * 2) + 256 // 4  # And the last norm.
  # To 3 others, for each of 5 parts, in bfloat16.
  assert arithmetic.fsdp_bytes(small_config(), mesh, 5) == (
      3 * 5 * 2 * (4 * layers + 3 * table))
  adapted = small_config(model=MODEL | {'lora': {'rank': 2}})
  assert arithmetic.fsdp_bytes(adapted, mesh, 5) == (
      3 * 5 * 2 * (3 * layers + 2 * table))
  alone = jax.sharding.AbstractMesh((1, 1, 2), sharding.AXES)
  assert not arithmetic.fsdp_bytes(small_config(), alone, 5)


def test_the_flops_of_an_update_by_hand():
  config = small_config()
  slots, tokens, rows = 129, 48, 16
  # Query 256 x 512, key and value 256 x 256, out 512 x 256, three of the MLP.
  weights = 2 * (256 * 512 * 2 + 256 * 256 * 2 + 3 * 256 * 512)
  pairs = slots * (slots + 1) // 2
  forward = 2 * weights * slots + 4 * 2 * 4 * 128 * pairs
  assert arithmetic.update_flops(config) == rows * (
      5 * forward + 4 * 2 * 256 * 1408 * tokens)
  kept = dataclasses.replace(
      config, model=dataclasses.replace(config.model, remat='none'))
  assert arithmetic.update_flops(config) - arithmetic.update_flops(
      kept) == rows * forward
  # Of each 8 rows that read a prompt of 16 together 7 do not read it.
  prompt = 2 * weights * 16 + 4 * 2 * 4 * 128 * (16 * 17 // 2)
  assert arithmetic.update_flops(config) - arithmetic.update_flops(
      config, together=8) == rows * 7 / 8 * 5 * prompt


def test_a_window_leaves_pairs_out_of_local_layers():
  # Layers 1 and 2 of 3 see 20 slots, the third all: it divides by 3.
  changes = {'num_layers': 3, 'global_every': 3, 'window': 20}
  far = small_config(model=MODEL | {'num_layers': 3})
  near = small_config(model=MODEL | changes)
  heads = 4 * 4 * 128
  pairs = lambda first, last: sum(
      t - min(t, 20) for t in range(first, last + 1))
  of = arithmetic.update_flops
  assert of(far) - of(near) == 16 * 5 * 2 * heads * pairs(1, 129)
  of = lambda config: arithmetic.sampler_flops(config, 1, 2)
  assert of(far) - of(near) == 2 * heads * 2 * pairs(17, 129)
  wide = small_config(model=MODEL | changes | {'window': 129})
  assert of(wide) == of(far)


def test_the_flops_of_a_sampler_by_hand():
  weights = 2 * (256 * 512 * 2 + 256 * 256 * 2 + 3 * 256 * 512)
  # A prompt of 16, read once; then each of 2 rows reads tokens 17 to 129.
  pairs = sum(range(1, 17)) + 2 * sum(range(17, 130))
  assert arithmetic.sampler_flops(small_config(), 1, 2) == (
      2 * weights * (16 + 2 * 113) + 4 * 2 * 4 * 128 * pairs
      + 2 * 48 * 2 * 256 * 1408)
