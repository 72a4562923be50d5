"""The config: every mistake ends in one line that names the field."""

import dataclasses
import importlib
import pathlib

import pytest

from score_jax import config as config_lib
from score_jax.recipes import base_recipes
from score_jax.recipes import pods


def test_defaults_are_every_field_and_locked():
  values = config_lib.defaults()
  assert config_lib.from_dict(values) == config_lib.Config()
  with pytest.raises(AttributeError):
    values.rolout = 1


def test_an_unknown_field_names_the_nearest():
  with pytest.raises(ValueError, match=r"unknown field config.stage2.betta1; "
                                       r"did you mean 'beta1'\?"):
    config_lib.from_dict({'stage2': {'betta1': 0.1}})
  with pytest.raises(ValueError, match=r"unknown field config.rolout; did you "
                                       r"mean 'rollout'\?"):
    config_lib.check_override('--config.rolout.samples=2')
  with pytest.raises(ValueError, match='unknown field config.seed.x'):
    config_lib.check_override('--config.seed.x=2')
  config_lib.check_override('--config.stage1.optimizer.learning_rate=1')
  config_lib.check_override('--config=experiments/stage2.py')
  config_lib.check_override('--workdir=x')


@pytest.mark.parametrize('values,message', [
    ({'seed': 1.5}, 'config.seed must be int, got 1.5'),
    ({'seed': True}, 'config.seed must be int, got True'),
    ({'task': 3}, 'config.task must be a group of fields'),
    ({'stage1': {'beta1': 'x'}}, 'config.stage1.beta1 must be float'),
    ({'stage1': {'beta1': float('nan')}}, 'config.stage1.beta1 must be finite'),
    ({'rollout': {'attempt_tokens': 3}}, 'attempt_tokens must be a tuple'),
    ({'rollout': {'attempt_tokens': (3, 'x')}}, 'attempt_tokens must be int'),
    ({'rollout': {'attempt_tokens': (3,)}}, 'must be at least 2'),
    ({'rollout': {'attempt_tokens': (3, 0)}}, 'attempt_tokens is 0'),
    ({'rollout': {'prompt_buckets': (8, 4)}}, 'must be rising'),
    ({'rollout': {'prompt_buckets': ()}}, 'must be rising'),
    ({'rollout': {'samples': 1}}, 'samples .* is 1; it must be at least 2'),
    ({'rollout': {'temperature': 0.0}}, 'temperature must be above 0'),
    ({'stage': 'stage3'}, 'config.stage is .stage3.; known: base, stage1'),
    ({'stage1': {'kl': 'k3'}}, "config.stage1.kl is 'k3'; known: exact, k2"),
    ({'stage2': {'kl': 'k1'}}, "config.stage2.kl is 'k1'; known: exact, k2"),
    ({'stage2': {'normalisation': 'mean'}}, 'known: sequence, token'),
    ({'stage2': {'beta1': -0.1}}, 'config.stage2.beta1 is -0.1'),
    ({'stage2': {'micro_batches': 7}}, '256 rows .* not divisible .* 7'),
    ({'stage2': {'checkpoint': 'x'}}, 'config.stage2.checkpoint is not read'),
    ({'stage2': {'method': 'stage3'}}, "method is 'stage3'; known: stage1"),
    ({'stage2': {'rounds': 3}}, "'stage2' samples at every step; leave it at"),
    ({'stage2': {'method': 'star', 'rounds': 0}}, 'rounds is 0; it must be at'),
    ({'stage2': {'method': 'star', 'steps': 2, 'rounds': 3}}, '3, more than'),
    ({'stage2': {'method': 'pairs'}, 'rollout': {'attempt_tokens': (4, 4, 4)}},
     "'pairs' is of two attempts, and config.rollout.attempt_tokens has 3"),
    ({'stage2': {'offline': 1.5}}, 'offline is 1.5; it is a share, 0 to 1'),
    ({'stage2': {'offline': 0.3}}, 'no whole number of the 32 problems of a'),
    ({'stage2': {'offline': 1.0, 'method': 'star'}}, "'star' has no use for"),
    ({'stage2': {'offline': 1.0}, 'memory': {'offload': ('reference',)}},
     'the reference samples, so it cannot lie on the host'),
    ({'rollout': {'feedback': 'oracle'}}, "'oracle'; known: none, critique"),
    ({'rollout': {'feedback': 'verdict', 'attempt_tokens': (4, 4, 4)}},
     "'verdict', which stands between two attempts, and .* has 3"),
    ({'rollout': {'feedback': 'verdict'}, 'evaluation': {
        'studies': ('scaling',)}}, "'verdict', and studies are made without"),
    ({'rollout': {'feedback': 'verdict'}, 'stage2': {'offline': 1.0}},
     'config.stage2.offline has first attempts of the base, of which nothing'),
    ({'rollout': {'feedback': 'critique'}, 'stage2': {'method': 'star'}},
     "'star' of config.stage2 makes no examples of critiques"),
    ({'stage1': {'attempts': 1}}, 'attempts is 1; it must be 0, for all, or 2'),
    ({'stage1': {'attempts': 3}}, 'stage1.attempts is 3; .* or 2 to 2, as'),
    ({'stage1b': {'checkpoint': 'x'}}, 'config.stage1b.checkpoint is not read'),
    ({'stage1b': {'reference': 'stage1'}}, "'stage1'; known: base, start"),
    ({'stage1': {'reference': 'start'}, 'model': {'lora': {'rank': 4}}},
     "'start', but with config.model.lora.rank 4 the reference is the base"),
    ({'stage': 'stage1b'}, "config.stage is 'stage1b', and .* end with anoth"),
    ({'stage2': {'baseline': 'mean'}}, "'mean'; known: shaped, factored"),
    ({'stage2': {'gamma': 1.5}}, 'config.stage2.gamma is 1.5; it must be betw'),
    ({'stage1': {'gamma': 0.5}}, "the method 'stage1' has no returns"),
    ({'stage2': {'steps': 0}}, "config.stage is 'stage2', and .* end with ano"),
    ({'stage1': {'steps': 0, 'checkpoint': 'x'}}, 'leaves the stage out; chan'),
    ({'model': {'num_kv_heads': 3}}, 'num_heads 4 is not divisible'),
    ({'model': {'head_dim': 5}}, 'head_dim is 5; RoPE needs it even'),
    ({'model': {'dtype': 'float16'}}, 'known: float32, bfloat16'),
    ({'profile': {'stage': 'stage3'}}, "config.profile.stage is 'stage3'; "),
    ({'profile': {'stage': 'stage2'}, 'stage': 'stage1'},
     "config.profile.stage is 'stage2'; known: base, stage1"),
    ({'profile': {'steps': -1}}, 'config.profile.steps is -1'),
    ({'profile': {'first': 0}}, 'config.profile.first is 0'),
    ({'profile': {'steps': 3, 'first': 4}, 'stage2': {'steps': 5}},
     'asks for steps 4 to 6 of stage2, and config.stage2.steps is 5; lower'),
    ({'base': {'optimizer': {'schedule': 'linear'}}}, 'constant, cosine'),
    ({'stage1': {'optimizer': {'learning_rate': -1.0}}}, 'learning_rate is -1'),
])
def test_a_bad_value_is_named(values, message):
  with pytest.raises(ValueError, match=message) as error:
    config_lib.from_dict(values)
  assert '\n' not in str(error.value)


def test_whole_numbers_serve_as_floats():
  config = config_lib.from_dict({'stage2': {'alpha': 3}})
  assert config.stage2.alpha == 3.0 and type(config.stage2.alpha) is float


def test_the_papers_numbers_are_the_defaults():
  stage = config_lib.StageConfig()
  assert (stage.alpha, stage.beta1, stage.beta2) == (10.0, 0.01, 0.1)
  assert config_lib.RolloutConfig().temperature == 1.0


def test_a_stage_of_which_some_fields_are_given_keeps_the_others():
  config = config_lib.from_dict({'stage1': {'beta2': 0.5}})
  assert config.stage1 == dataclasses.replace(config_lib.Config().stage1,
                                              beta2=0.5)
  assert config.stage1.method == 'stage1'


@pytest.mark.parametrize('variant', [None, *base_recipes.VARIANTS])
@pytest.mark.parametrize('stage', ['stage1', 'stage2'])
def test_every_experiment_builds(variant, stage):
  experiment = importlib.import_module(f'experiments.{stage}')
  config = config_lib.from_dict(experiment.get_config(variant))
  assert config.stage == stage and config.name == (variant or 'chain')
  other = config_lib.from_dict(base_recipes.make(variant, 'stage2'))
  assert dataclasses.replace(config, stage='stage2') == other


def test_no_file_of_experiments_is_left_out():
  folder = pathlib.Path(base_recipes.__file__).parent
  with_config = {path.stem for path in folder.glob('*.py')
                 if 'def get_config(' in path.read_text()}
  assert with_config == {'pods', 'stage1', 'stage2', 'sweep_embedded'}


@pytest.mark.parametrize('variant', pods.VARIANTS)
def test_every_pod_builds(variant):
  config = config_lib.from_dict(pods.get_config(variant))
  rollout = config.rollout
  assert config.stage == 'stage2' and config.name == variant
  assert rollout.prompts * rollout.samples == 512
  assert rollout.prompt_buckets[-1] == 512
  assert rollout.attempt_tokens == (1024, 1024)


def test_an_unknown_variant_lists_the_known_ones():
  with pytest.raises(ValueError, match="unknown variant 'smollm2_gsm'; did you "
                                       'mean .*known: chain, .*smollm2_gsm8k'):
    base_recipes.make('smollm2_gsm', 'stage2')


def test_sizes_that_no_model_has_are_refused():
  with pytest.raises(ValueError, match='mlp_width is 4000000000; no model is'):
    config_lib.from_dict({'model': {'mlp_width': 4_000_000_000}})


@pytest.mark.parametrize('path,meant', [
    ('stage2.learning_rate', 'config.stage2.optimizer.learning_rate'),
    ('stage1.warmup_steps', 'config.stage1.optimizer.warmup_steps'),
    ('base.eps', 'config.base.optimizer.eps'),
    ('attempt_tokens', 'config.rollout.attempt_tokens'),
    ('lora.rank', 'config.model.lora'),
    ('rank', 'config.model.lora.rank'),
    ('alpha', 'config.model.lora.alpha or config.stage1.alpha or '
              'config.stage1b.alpha'),
    ('model.attempt_tokens', 'config.rollout.attempt_tokens'),
    ('rollout.temperture', "'temperature'"),
    ('stage2.alhpa', "'alpha'"),
    ('sweep.dail', "'dial'"),
])
def test_the_hint_names_the_field_at_its_own_level(path, meant):
  with pytest.raises(ValueError) as error:
    config_lib.check_override(f'--config.{path}=1')
  assert str(error.value).endswith(f'; did you mean {meant}?')


def test_a_file_with_a_field_at_the_wrong_level_gets_the_same_hint():
  with pytest.raises(ValueError, match='unknown field config.stage2.learning_'
                     'rate; did you mean config.stage2.optimizer.learning_rat'):
    config_lib.from_dict({'stage2': {'learning_rate': 1e-3}})


@pytest.mark.parametrize('value', [
    ('scaling', 'in_a_row'), ['scaling', 'in_a_row'], ('scaling,in_a_row',),
    ('scaling, in_a_row',), ('(scaling,in_a_row)',), ("'scaling','in_a_row'",),
    ('[scaling, in_a_row,]',)])
def test_names_are_told_apart_by_commas(value):
  config = config_lib.from_dict({'evaluation': {'studies': value}})
  assert config.evaluation.studies == ('scaling', 'in_a_row')


@pytest.mark.parametrize('values,message', [
    ({'seed': 2**63}, 'config.seed is 9223372036854775808; it must be below'),
    ({'seed': 2**32}, 'config.seed is 4294967296; it must be below 4294967296'),
    ({'seed': -1}, 'config.seed is -1; it must be at least 0'),
    ({'base': {'steps': 10**22}}, 'config.base.steps is 10{22}; it must be'),
    ({'stage2': {'steps': 2**31}}, 'config.stage2.steps is 2147483648; it'),
    ({'task': {'train_problems': 10**9}}, 'config.task.train_problems is 10'),
    ({'task': {'transcripts': 10**8}}, 'config.task.transcripts is 10{8}; it'),
    ({'evaluation': {'samples': 10**6}}, 'config.evaluation.samples is 10{6};'),
    ({'evaluation': {'attempts': -(2**40)}}, 'config.evaluation.attempts is -'),
])
def test_numbers_beyond_their_range_are_refused(values, message):
  with pytest.raises(ValueError, match=message):
    config_lib.from_dict(values)
  assert config_lib.from_dict({'seed': 2**32 - 1}).seed == 2**32 - 1


def test_a_warm_up_that_is_given_fits_its_stage():
  short = {'steps': 5, 'optimizer': {'warmup_steps': 6}}
  config = config_lib.from_dict({'stage1': short, 'stage2': short})
  field = 'stage1.optimizer.warmup_steps'
  with pytest.raises(ValueError, match=f'config.{field} is 6, more than '
                                       r'config.stage1.steps 5'):
    config_lib.check_warmup(config, {field: 6})
  config_lib.check_warmup(config, {'stage1.steps': 5})
  config_lib.check_warmup(config, {'base.optimizer.warmup_steps': 600})
  assert config_lib.short_warmups(config) == [
      f'{name}: the learning rate rises for 6 steps (config.{name}.optimizer.'
      'warmup_steps), and the stage has 5' for name in ('stage1', 'stage2')]
  # A stage that is left out, or that is not reached, has no warm-up.
  config = config_lib.from_dict({
      'stage': 'stage1', 'stage2': short,
      'stage1b': {'steps': 0, 'optimizer': {'warmup_steps': 6}}})
  assert not config_lib.short_warmups(config)
