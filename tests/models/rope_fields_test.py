"""RoPE in config.json files; `golden_test` compares what it computes."""

import dataclasses
import json

import pytest

from score_jax import config as config_lib
from score_jax.models import families
from tests.models import golden

SCALED = config_lib.RopeScaling
YARN = {'rope_type': 'yarn', 'factor': 4.0,
        'original_max_position_embeddings': 16}
THETA = {'rope_type': 'default', 'rope_theta': 500.0}
FULL, NEAR = 'full_attention', 'sliding_attention'


def _values(name, **changes):
  values = {key: value for key, value in golden.CASES[name].items()
            if not key.startswith('rope')}
  return values | changes


def _read(name, **changes):
  fields = families.fields(_values(name, **changes), 'x/config.json')
  return fields['rope_base'], fields['rope_scaling']


def _refusal(name, **changes):
  with pytest.raises(ValueError) as error:
    families.fields(_values(name, **changes), 'x/config.json')
  assert str(error.value).startswith('x/config.json')
  assert '\n' not in str(error.value)
  return str(error.value)


@pytest.mark.parametrize('name', ['llama', 'qwen2', 'qwen3', 'gemma2'])
@pytest.mark.parametrize('group, expected', [
    ({}, SCALED()),
    ({'rope_type': 'default', 'factor': 1.0}, SCALED()),
    ({'type': 'linear', 'factor': 3}, SCALED('linear', 3.0)),
    ({'type': 'linear', 'rope_type': 'linear', 'factor': 3.0},
     SCALED('linear', 3.0)),
    (YARN, SCALED('yarn', 4.0, original_positions=16)),
    (YARN | {'finetuned': True, 'partial_rotary_factor': 1.0, 'mscale': None},
     SCALED('yarn', 4.0, original_positions=16)),
    (YARN | {'beta_fast': 8, 'beta_slow': 2, 'truncate': False},
     SCALED('yarn', 4.0, original_positions=16, beta_fast=8.0, beta_slow=2.0,
            truncate=False)),
    (YARN | {'mscale': 1.5, 'mscale_all_dim': 0.5, 'attention_factor': 1.2},
     SCALED('yarn', 4.0, original_positions=16, mscale=1.5,
            mscale_all_dim=0.5, attention_factor=1.2)),
    ({'type': 'yarn', 'factor': 4.0}, SCALED('yarn', 4.0,
                                             original_positions=64)),
    (YARN | {'factor': None}, SCALED('yarn', 4.0, original_positions=16)),
])
def test_a_scaling_is_the_same_under_either_name(name, group, expected):
  for key in ('rope_scaling', 'rope_parameters'):
    assert _read(name, **{key: group}, rope_theta=50.0) == (50.0, expected)
    assert _read(name, **{key: group}) == (1e4, expected)


@pytest.mark.parametrize('changes, base, remark', [
    (dict(rope_parameters=THETA), 500.0, ''),
    (dict(rope_parameters=THETA, rope_theta=500), 500.0, ''),
    (dict(rope_parameters=THETA, rope_scaling=None), 500.0, ''),
    (dict(rope_parameters=THETA, rope_scaling={}), 500.0, ''),
    (dict(rope_parameters=THETA, rope_theta=20.0), 500.0,
     'rope_theta is 500 and not 20'),
    (dict(rope_parameters=THETA, rope_scaling=YARN), 1e4,
     'rope_theta is 10000 and not 500'),
    (dict(rope_parameters=THETA, rope_scaling=YARN, rope_theta=20.0), 20.0,
     'rope_theta is 20 and not 500'),
    (dict(rope_parameters=THETA, rope_scaling=YARN | {'rope_theta': 500.0}),
     500.0, 'rope_scaling replaces rope_parameters'),
])
def test_which_base_wins(changes, base, remark):
  for name in ('llama', 'qwen2', 'qwen3'):
    fields, remarks = families.read(_values(name, **changes), 'x')
    assert fields['rope_base'] == base
    assert (fields['rope_scaling'].kind == 'yarn') == (
        changes.get('rope_scaling') not in (None, {}))
    assert remark in ' '.join(remarks) if remark else not remarks
    assert all('\n' not in line for line in remarks)


@pytest.mark.parametrize('group, words', [
    ({'rope_type': 'dynamic', 'factor': 2.0}, "RoPE scaling 'dynamic'"),
    ({'type': 'dynamic', 'factor': 2.0}, "RoPE scaling 'dynamic'"),
    ({'rope_type': 'longrope', 'long_factor': [1.0], 'short_factor': [1.0]},
     "RoPE scaling 'longrope'"),
    ({'type': 'su', 'factor': 2.0}, "RoPE scaling 'su'"),
    ({'type': 'mrope', 'mrope_section': [2, 2, 2]}, "RoPE scaling 'mrope'"),
    ({'rope_type': 'proportional'}, "RoPE scaling 'proportional'"),
    ({'rope_type': 'YARN', 'factor': 2.0}, "RoPE scaling 'YARN'"),
    ({'rope_type': None, 'factor': 2.0}, 'RoPE scaling None'),
    ({'rope_type': ['yarn']}, "RoPE scaling ['yarn']"),
    ({'factor': 2.0}, "factor=2.0 in rope_scaling of the kind 'default'"),
    ({'rope_type': 'default', 'factor': 2.0}, 'factor=2.0'),
    ({'type': 'linear', 'rope_type': 'yarn', 'factor': 2.0},
     "rope_type 'yarn' and type 'linear'"),
    ({'type': 'default', 'rope_type': 'yarn', 'factor': 2.0},
     "rope_type 'yarn' and type 'default'"),
    ({'rope_type': 'linear', 'factor': 2.0, 'beta_fast': 32},
     "beta_fast=32 in rope_scaling of the kind 'linear'"),
    (YARN | {'attn_factor': 0.7}, 'attn_factor=0.7'),
    (YARN | {'low_freq_factor': 1.0}, 'low_freq_factor=1.0'),
    (YARN | {'partial_rotary_factor': 0.5}, 'partial_rotary_factor=0.5'),
    (YARN | {'mrope_section': [2, 2, 2]}, 'mrope_section='),
    ({'rope_type': 'yarn'}, 'factor of RoPE must be a number, got None'),
    (YARN | {'factor': 0.5}, 'factor is 0.5; it must be at least 1'),
    (YARN | {'factor': '4'}, "factor of RoPE must be a number, got '4'"),
    (YARN | {'factor': True}, 'factor of RoPE must be a number, got True'),
    (YARN | {'attention_factor': 0}, 'attention_factor=0'),
    (YARN | {'attention_factor': -1.0}, 'attention_factor=-1.0'),
    (YARN | {'beta_fast': 1, 'beta_slow': 2}, 'beta_slow 2.0 must be above 0'),
    (YARN | {'truncate': 1}, 'truncate of RoPE (rope_scaling) must be bool'),
    (YARN | {'truncate': None}, 'truncate of RoPE (rope_scaling) must be bool'),
    (YARN | {'original_max_position_embeddings': 16.5},
     'original_max_position_embeddings=16.5'),
    (YARN | {'original_max_position_embeddings': 0},
     'original_positions is 0'),
    (YARN | {'original_max_position_embeddings': None},
     'original_max_position_embeddings of RoPE must be a number'),
    (YARN | {'rope_theta': 1.0}, 'the base of its layers is 1.0'),
    (YARN | {'rope_theta': None}, 'rope_theta of RoPE must be a number'),
    ({FULL: YARN}, 'rope_scaling.full_attention, RoPE by kind of layer'),
    ({FULL: YARN, NEAR: THETA}, 'RoPE by kind of layer'),
    ({'linear': {'factor': 2.0}}, 'rope_scaling.linear'),
    ([], 'rope_scaling must be dict'),
    ('yarn', 'rope_scaling must be dict'),
])
def test_what_is_not_computed_is_refused(group, words):
  assert words in _refusal('qwen2', rope_scaling=group)
  if group:  # The other name is no way around it.
    words = words.replace('rope_scaling', 'rope_parameters')
    words = words.replace('RoPE (rope_scaling)', 'RoPE (rope_parameters)')
    assert words in _refusal('llama', rope_parameters=group)


@pytest.mark.parametrize('changes, words', [
    (dict(rope_theta=None), 'lacks rope_theta (it is null)'),
    (dict(rope_theta='1e4'), "rope_theta must be float, got '1e4'"),
    (dict(rope_theta=0), 'rope_base is 0'),
    (dict(partial_rotary_factor=0.5), 'partial_rotary_factor=0.5'),
    (dict(partial_rotary_factor=0.5, rope_scaling=YARN),
     'partial_rotary_factor=0.5'),
    (dict(rope_scaling=YARN, original_max_position_embeddings=32),
     'original_max_position_embeddings=32 next to rope_scaling'),
    (dict(rope_interleaved=True), 'rope_interleaved=True'),
    (dict(rope_local_base_freq=1e4), 'the field rope_local_base_freq=10000.0'),
])
def test_other_fields_about_rope_are_refused(changes, words):
  assert words in _refusal('llama', **changes)


def test_a_length_outside_of_the_group_is_that_of_the_scaling():
  group = {'rope_type': 'yarn', 'factor': 2.0}
  outside = {'original_max_position_embeddings': 32}
  for group_too in ({}, outside):
    assert _read('llama', rope_scaling=group | group_too, **outside) == (
        1e4, SCALED('yarn', 2.0, original_positions=32))
  # Nothing asks for it.
  assert _read('llama', **outside) == (1e4, SCALED())


@pytest.mark.parametrize('changes, far, near', [
    ({}, (1e6, SCALED()), (1e4, SCALED())),
    (dict(rope_theta=50.0, rope_local_base_freq=5.0), (50.0, SCALED()),
     (5.0, SCALED())),
    (dict(rope_scaling=YARN), (1e6, SCALED('yarn', 4.0, original_positions=16)),
     (1e4, SCALED())),
    (dict(rope_parameters={FULL: YARN, NEAR: {'rope_theta': 7.0}},
          rope_theta=50.0),
     (50.0, SCALED('yarn', 4.0, original_positions=16)), (7.0, SCALED())),
    (dict(rope_parameters={FULL: THETA, NEAR: {
        'type': 'yarn', 'factor': 2.0}}, rope_local_base_freq=9.0),
     (500.0, SCALED()), (9.0, SCALED('yarn', 2.0, original_positions=64))),
    # Laid over the group of layers without a window, unlike in the others.
    (dict(rope_parameters={FULL: THETA, NEAR: THETA}, rope_scaling={
        'rope_type': 'linear', 'factor': 2.0}),
     (500.0, SCALED('linear', 2.0)), (500.0, SCALED())),
    (dict(rope_parameters={FULL: None, NEAR: None}), (1e6, SCALED()),
     (1e4, SCALED())),
    (dict(rope_parameters={}), (1e6, SCALED()), (1e4, SCALED())),
])
def test_both_kinds_of_layers_of_gemma_3(changes, far, near):
  fields = families.fields(_values('gemma3', **changes), 'x/config.json')
  assert (fields['rope_base'], fields['rope_scaling']) == far
  assert (fields['local_rope_base'], fields['local_rope_scaling']) == near


@pytest.mark.parametrize('changes, words', [
    (dict(rope_parameters=THETA),
     'rope_parameters without full_attention and sliding_attention'),
    (dict(rope_parameters={FULL: THETA, 'rope_theta': 5.0}),
     'rope_parameters.rope_theta is not supported'),
    (dict(rope_parameters={FULL: THETA, 'chunked_attention': THETA}),
     'rope_parameters.chunked_attention'),
    (dict(rope_parameters={FULL: 3}),
     'rope_parameters.full_attention must be dict, got 3'),
    (dict(rope_parameters={NEAR: {'rope_type': 'dynamic', 'factor': 2.0}}),
     "RoPE scaling 'dynamic' (rope_parameters.sliding_attention)"),
    (dict(rope_parameters={NEAR: {'rope_type': 'linear'}}),
     'got None in rope_parameters.sliding_attention'),
    (dict(rope_scaling={FULL: YARN}), 'RoPE by kind of layer'),
    (dict(rope_scaling={'type': 'linear', 'factor': 2.0},
          rope_parameters={FULL: THETA}),
     "rope_type 'default' and type 'linear'"),
    (dict(rope_scaling=YARN, rope_parameters={NEAR: THETA}),
     'rope_scaling next to rope_parameters without full_attention'),
    (dict(rope_scaling=YARN, original_max_position_embeddings=None),
     'original_max_position_embeddings=None next to rope_scaling'),
    # Transformers leaves the `type` unread, unlike in other families.
    (dict(rope_scaling={'type': 'linear', 'factor': 2.0}),
     'rope_scaling with type and without rope_type'),
    (dict(rope_scaling={'type': 'yarn', 'factor': 2.0}, rope_parameters=None),
     'rope_scaling with type and without rope_type'),
    # Transformers takes `truncate` from the outer group, where it is not.
    (dict(rope_scaling=YARN | {'truncate': False}), 'truncate=False'),
    (dict(rope_local_base_freq=None), 'lacks rope_local_base_freq'),
    (dict(rope_scaling=YARN, original_max_position_embeddings=16),
     'original_max_position_embeddings=16 next to rope_scaling'),
])
def test_what_is_not_computed_of_gemma_3_is_refused(changes, words):
  assert words in _refusal('gemma3', **changes)


@pytest.mark.parametrize('family', ['llama', 'qwen2', 'qwen3', 'gemma2',
                                    'gemma3'])
@pytest.mark.parametrize('scaling', [
    SCALED('linear', 3.0), SCALED('llama3', 8.0, 1.5, 3.0, 32),
    SCALED('yarn', 4.0, original_positions=16),
    SCALED('yarn', 4.0, original_positions=16, beta_fast=8.0, beta_slow=0.5),
    SCALED('yarn', 4.0, original_positions=16, attention_factor=1.25),
    SCALED('yarn', 4.0, original_positions=16, mscale=2.0,
           mscale_all_dim=0.5)])
def test_every_scaling_is_exported_and_read_again(family, scaling):
  read = lambda values: config_lib.ModelConfig(
      **families.fields(json.loads(json.dumps(values)), 'x'))
  group = {'rope_scaling': scaling}
  config = read(_values(family, rope_theta=77.0))
  config = dataclasses.replace(config, **group)
  assert read(families.config_json(config, 'float32')) == config
  if family == 'gemma3':
    config = dataclasses.replace(
        config, local_rope_scaling=scaling, local_rope_base=33.0)
    values = families.config_json(config, 'float32')
    assert {*values['rope_parameters']} == {FULL, NEAR}
    assert 'rope_scaling' not in values and 'rope_theta' not in values
    assert read(values) == config


def test_what_a_model_without_a_window_base_cannot_have_is_refused():
  config = config_lib.ModelConfig(local_rope_scaling=SCALED('linear', 2.0))
  with pytest.raises(ValueError, match='local_rope_scaling.kind is .linear., '
                     'but config.model.local_rope_base is 0'):
    config_lib.check_model(config)
