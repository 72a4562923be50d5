"""The programs of a run, from shapes alone."""


import jax

from score_jax import compile_programs
from score_jax import sharding
from tests import arithmetic_test


def _programs(**changes):
  config = arithmetic_test.small_config(**changes)
  mesh = sharding.make_mesh(config.mesh, jax.devices()[:4])
  return {p.name: p for p in compile_programs.programs(config, mesh)}


def _model(**changes):
  return {'model': arithmetic_test.MODEL | changes}


ALL = ['copy for the sampler', 'sampler', 'update of stage1',
       'update of stage2', 'evaluation']


def test_every_program_of_both_stages_and_what_stays_beside_it():
  found = _programs()
  assert list(found) == ALL
  copy, sampler, one, two, evaluation = found.values()
  weights = copy.arguments['weights']
  # Moments are two float32 arrays a weight, and a count.
  moments = one.arguments['optimizer']
  assert 2 * weights < moments < 2 * weights + 100
  assert copy.resident == {'optimizer': moments, 'reference': weights}
  assert sampler.resident == {'weights': weights} | copy.resident
  assert one.arguments == two.arguments == {
      'weights': weights, 'optimizer': moments, 'reference': weights}
  assert not one.resident
  assert evaluation.resident == {'weights': weights, 'reference': weights}
  # Half the width of float32, against half of the bytes: but for the norms.
  norms = (2 * 2 + 1) * 256 * 4
  assert sampler.arguments == {
      "sampler's weights": weights - norms // 2 + norms}
  # A micro-batch of 16 rows over 2 devices; a part of 16; 8 problems.
  assert [p.rows for p in found.values()] == [0, 8, 8, 8, 4]
  assert sampler.decode_bytes == (
      sampler.arguments["sampler's weights"] + sampler.cache)


def test_a_policy_that_lies_as_the_sampler_wants_it_is_not_copied():
  mesh = {'mesh': {'data': 2, 'fsdp': 1, 'tensor': 2}}
  found = _programs(**_model(dtype='float32'), **mesh)
  assert list(found) == ALL[1:]
  assert 'weights' not in found['sampler'].resident
  assert list(_programs(**_model(), **mesh)) == ALL


def test_a_run_to_stage_1_has_no_update_of_stage_2():
  assert 'update of stage2' not in _programs(stage='stage1')


def test_the_base_of_adapters_is_the_reference():
  found = _programs(**_model(lora={'rank': 2}))
  assert found['sampler'].resident['reference'] == 0
  update = found['update of stage1'].arguments
  assert update['weights'] < update['reference'] / 10


def test_a_table_that_is_only_looked_up_in_is_not_read_at_every_token():
  tied, untied = (_programs(**_model(tied_head=tied))['sampler']
                  for tied in (True, False))
  assert tied.decode_bytes == untied.decode_bytes
  table = 1408 // 2 * 256 * 2
  assert untied.arguments["sampler's weights"] - tied.arguments[
      "sampler's weights"] == table


def test_what_is_offloaded_is_not_on_the_device():
  found = _programs(memory={'offload': ('optimizer',)})
  assert found['sampler'].resident['optimizer'] == 0
