"""Every method by name: what it trains, at whose budget."""

import numpy as np
import pytest

from score_jax import config as config_lib
from score_jax import pipeline
from score_jax import train
from score_jax.recipes import base_recipes
from score_jax.recipes import methods


def _config(name) -> config_lib.Config:
  return config_lib.from_dict(base_recipes.make(name, 'stage2'))


def _steps(config) -> int:
  return sum(getattr(config, stage).steps
             for stage in pipeline.stages_of(config)[1:])


@pytest.mark.parametrize('method', [
    name for name in methods.METHODS if name != 'self_refine'])
@pytest.mark.parametrize('variant', ['chain', 'math', 'smollm2_sums'])
def test_every_method_builds_on_every_variant_at_its_budget(variant, method):
  plain, config = _config(variant), _config(f'{variant}+{method}')
  assert config.name == f'{variant}+{method}'
  assert _steps(config) == _steps(plain)
  for field in ('prompts', 'samples', 'temperature'):
    assert getattr(config.rollout, field) == getattr(plain.rollout, field)
  assert config.stage2.optimizer == plain.stage2.optimizer
  assert (config.stage2.beta1, config.stage1.beta2) == (
      plain.stage2.beta1, plain.stage1.beta2)


def test_a_method_alone_is_of_the_embedded_task():
  assert base_recipes.make('no_bonus', 'stage2').task.name == 'chain'
  assert not set(methods.METHODS) & set(base_recipes.VARIANTS)


@pytest.mark.parametrize('name,message', [
    ('no_bonos', "unknown variant 'no_bonos'; did you mean 'no_bonus'"),
    ('math+no_bonos', "unknown method 'no_bonos'; did you mean 'no_bonus'"),
    ('maths+no_bonus', "unknown variant 'maths'; did you mean 'math'"),
    ('no_bonus+no_stage1', "unknown variant 'no_bonus'"),
])
def test_an_unknown_name_is_told(name, message):
  with pytest.raises(ValueError, match=message):
    base_recipes.make(name, 'stage2')


# What r1 and r2 add to each attempt's reward, and the KL weights, at the
# variant's alpha 10 and beta1 0.1.
@pytest.mark.parametrize('name,reward_AA,kl_A', [
    ('score', [[1, 0], [-10, 11]], (0.1, 0.1)),
    ('no_stage1', [[1, 0], [-10, 11]], (0.1, 0.1)),
    ('no_bonus', [[1, 0], [0, 1]], (0.1, 0.1)),
    ('single_turn', [[1, 0], [0, 0]], (0.1, 0.0)),
    ('plain_last', [[0, 1], [0, 1]], (0.1, 0.1)),
    ('plain_sum', [[1, 1], [0, 1]], (0.1, 0.1)),
    ('plain_own', [[1, 0], [0, 1]], (0.1, 0.1)),
    ('plain_pairs', [[0, 0], [0, 1]], (0.1, 0.1)),
    ('return_to_go', [[0.2, 1.6], [-1, 2]], (0.1, 0.1)),
    ('factored', [[1, 0], [0, 11]], (0.1, 0.1)),
    ('progress', [[1, 1], [-1, 2]], (0.1, 0.1)),
])
def test_what_each_attempt_of_a_method_is_paid_for(name, reward_AA, kl_A):
  config = _config(name)
  credit = train.credit_of(config.stage2, 2)
  np.testing.assert_allclose(credit.reward_AA, reward_AA)
  assert credit.kl_A == kl_A
  has_stage1 = name in ('score', 'no_bonus', 'return_to_go', 'factored')
  assert pipeline.stages_of(config) == (
      ('base', 'stage1', 'stage2') if has_stage1 else ('base', 'stage2'))
  if has_stage1:  # Which is that of SCoRe in all.
    assert config.stage1 == _config('score').stage1
    credit = train.credit_of(config.stage1, 2)
    assert credit.reward_AA == ((0, 0), (0, 1)) and credit.kl_A == (1.0, 0.1)


@pytest.mark.parametrize('name,method,rounds,stages', [
    ('star', 'star', 3, 2), ('star_plus', 'star_plus', 3, 2),
    ('pair_sft', 'pairs', 1, 2), ('pair_sft_plus', 'pairs_plus', 1, 2),
    ('star_stage2', 'star', 3, 3)])
def test_supervised_methods_have_neither_rewards_nor_kl(
    name, method, rounds, stages):
  config = _config(name)
  assert (config.stage2.method, config.stage2.rounds) == (method, rounds)
  assert len(pipeline.stages_of(config)) == stages
  credit = train.credit_of(config.stage2, 2)
  assert not np.any(credit.reward_AA) and credit.kl_A == (0, 0)


def test_first_attempts_of_the_base_are_of_stage_2_alone():
  for name, share in (('score', 0.0), ('no_online', 1.0), ('offline_mix', 0.5)):
    config = _config(name)
    assert (config.stage1.offline, config.stage2.offline) == (0.0, share)


def test_three_attempts_have_a_stage_for_each_and_one_for_all():
  config, two = _config('three_attempts'), _config('score')
  assert pipeline.stages_of(config) == ('base', 'stage1', 'stage1b', 'stage2')
  assert config.rollout.attempt_tokens == (14, 16, 16)
  first, then, last = config.stage1, config.stage1b, config.stage2
  assert (first.attempts, then.attempts, last.attempts) == (2, 0, 0)
  assert (first.reference, then.reference, last.reference) == (
      'base', 'start', 'base')
  assert then.optimizer == first.optimizer == two.stage1.optimizer
  # I(a): r2, attempt 1 pinned. I(b): r3, attempts 1 and 2 pinned.
  assert train.credit_of(first, 2) == train.credit_of(two.stage1, 2)
  credit = train.credit_of(then, 3)
  assert credit.reward_AA == ((0, 0, 0), (0, 0, 0), (0, 0, 1))
  assert credit.kl_A == (1.0, 1.0, 0.1)
  # II: bonuses between each attempt and the one just before.
  assert train.credit_of(last, 3).reward_AA == (
      (1, 0, 0), (-10, 11, 0), (0, -10, 11))


def test_feedback_is_a_named_choice_of_the_second_prompt():
  assert _config('score').rollout.feedback == 'none'
  for kind in ('critique', 'verdict', 'tests'):
    config = _config(f'feedback_{kind}')
    assert config.rollout.feedback == kind
    assert config.stage2 == _config('score').stage2
  config = _config('self_refine')
  assert config.rollout.feedback == 'critique'
  assert pipeline.stages_of(config) == ('base',)


def test_a_critique_is_paid_as_the_attempt_that_it_is_for():
  config = _config('feedback_critique')
  credit = train.stage_credit(config, config.stage2)
  assert credit.reward_AA == ((1, 0, 0), (-10, 0, 11), (-10, 0, 11))
  assert credit.kl_A == (0.1, 0.1, 0.1)
  credit = train.stage_credit(config, config.stage1)
  assert credit.reward_AA == ((0, 0, 0), (0, 0, 1), (0, 0, 1))
  assert credit.kl_A == (1.0, 0.1, 0.1)
