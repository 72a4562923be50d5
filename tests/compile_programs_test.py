"""The programs of a run, from shapes alone."""

import jax
import pytest

from score_jax import actor
from score_jax import arithmetic
from score_jax import compile_programs
from score_jax import sharding
from score_jax import train
from score_jax.tasks import chain
from tests import arithmetic_test
from tests import tiny_run


def _mesh(config):
  return sharding.make_mesh(config.mesh, jax.devices()[:4])


def _programs(**changes):
  config = arithmetic_test.small_config(**changes)
  mesh = _mesh(config)
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
  assert [p.scored // (16 + 32) for p in found.values()] == [0, 8, 8, 8, 4]
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


class _Recorded:
  """A program that notes the shapes of what it is called or compiled with."""

  def __init__(self, program, noted):
    self._program, self._noted = program, noted

  def _note(self, given, named):
    shapes = jax.tree.map(lambda x: f'{x.dtype}{list(x.shape)}', given)
    self._noted.add(f'{shapes} {sorted(named.items())}')

  def __call__(self, *given, **named):
    self._note(given, named)
    return self._program(*given, **named)

  def lower(self, *given, **named):
    self._note(given, named)


@pytest.mark.slow
@pytest.mark.parametrize('method', [
    'three_attempts', 'offline_mix', 'feedback_critique', 'feedback_verdict',
    'star_stage2'])
def test_what_is_compiled_is_what_a_run_calls(tmp_path, monkeypatch, method):
  noted = set()
  for module, name in ((actor, 'sampler_program'), (train, 'stage_program')):
    make = getattr(module, name)
    monkeypatch.setattr(module, name, lambda *of, make=make: _Recorded(
        make(*of), noted))
  monkeypatch.setattr(chain, 'grade', lambda answer, text: len(text) % 2)
  one_step = {'steps': 1}
  config = tiny_run.config(method, rollout={'prompts': 16}, stage1=one_step,
                           stage2=one_step | {'rounds': 1})
  run = tiny_run.start(tmp_path, config)
  tiny_run.train(run)
  called = noted.copy()
  noted.clear()
  longest = run.actor.conversation.longest
  assert arithmetic.layout_of(config).attempts == longest.attempts
  # Of what stands between the attempts a run alone knows the length.
  monkeypatch.setattr(arithmetic, 'layout_of', lambda _: longest)
  for program in compile_programs.programs(config, run.mesh):
    program.lower()
  assert noted == called


def test_other_weights_that_sample_stay_beside_the_policys():
  rollout = {'prompts': 16, 'samples': 2, 'prompt_buckets': (16,),
             'attempt_tokens': (16, 32), 'parts': 2}
  found = _programs(stage2={'offline': 0.5}, rollout=rollout)
  assert list(found) == [
      'copy for the sampler', 'copy of the base for the sampler',
      'sampler of stage1', 'sampler of stage2',
      'sampler of stage2, first attempts', 'sampler of stage2, later attempts',
      *ALL[2:]]
  copy, base, one, two, first, later = list(found.values())[:6]
  weights = two.arguments["sampler's weights"]
  assert copy.resident | {"sampler's weights": weights} | copy.arguments == (
      base.resident | base.arguments)
  for program in (two, first, later):
    assert program.resident == one.resident | {
        "sampler's other weights": weights}
  # 4 of 8 problems over 2 devices; what is drawn apart is read again.
  assert [p.scored for p in (one, two, first, later)] == [
      8 * 48, 4 * 48, 4 * 16, 4 * 32]
  assert later.flops > two.flops - first.flops


def test_a_stage_with_a_reference_of_its_own_keeps_the_base_too():
  rollout = {'prompts': 8, 'samples': 2, 'prompt_buckets': (16,),
             'attempt_tokens': (16, 32, 32)}
  found = _programs(rollout=rollout, stage1={'attempts': 2},
                    stage1b={'steps': 1, 'reference': 'start'})
  updates = [found[f'update of {name}'] for name in (
      'stage1', 'stage1b', 'stage2')]
  base = {'base': updates[0].arguments['reference']}
  assert [u.resident for u in updates] == [{}, base, {}]
  assert updates[0].flops < updates[1].flops == updates[2].flops
  # Stages I(b) and II draw alike; I(a) draws two attempts.
  names = [name for name in found if name.startswith('sampler')]
  assert names == ['sampler of stage1', 'sampler of stage1b']
  assert 'base' in found[names[1]].resident
  assert found[names[0]].cache < found[names[1]].cache


def test_samples_of_a_problem_read_it_together_and_chosen_examples_do_not():
  rollout = {'prompts': 8, 'samples': 4, 'prompt_buckets': (64,),
             'attempt_tokens': (4, 4)}
  rewarded, chosen = (
      _programs(rollout=rollout, stage2={'method': method})['update of stage2']
      for method in ('stage2', 'star'))
  assert rewarded.flops < 0.8 * chosen.flops
  compiled = lambda program: program.lower().cost_analysis()['flops']
  with jax.set_mesh(_mesh(arithmetic_test.small_config(rollout=rollout))):
    assert compiled(rewarded) < 0.8 * compiled(chosen)


@pytest.mark.parametrize('name', ['sampler', 'update of stage2'])
def test_a_program_of_several_devices_wants_their_mesh_set(name):
  with pytest.raises(ValueError, match='for 4 devices .* no mesh is set'):
    _programs()[name].lower()
