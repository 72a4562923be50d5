"""Batches that no device can hold are refused before anything is compiled."""

import jax
import pytest

from score_jax import config as config_lib
from score_jax import sharding
from score_jax import size_checks
from score_jax import types

_LAYOUT = types.Layout(12, (14, 16), (9,))


def _check(monkeypatch, gib=1.0, devices=1, **fields):
  monkeypatch.setattr(size_checks, 'device_bytes',
                      lambda mesh: int(gib * 2**30))
  config = config_lib.from_dict(fields)
  mesh = sharding.make_mesh(config.mesh, jax.devices()[:devices])
  size_checks.check(config, _LAYOUT, mesh)


def test_keys_and_values_are_counted_by_hand(monkeypatch):
  # 3 layers, 2 heads of 16 numbers, keys and values, 4 bytes: 768 a slot; 39
  # slots follow the prompt. 2^20 rows need 29.25 GiB.
  assert _LAYOUT.slots - _LAYOUT.prompt == 39
  fields = {'rollout': {'prompts': 2**17, 'samples': 8},
            'stage1': {'micro_batches': 2**10},
            'stage2': {'micro_batches': 2**10}}
  _check(monkeypatch, gib=29.26, **fields)
  with pytest.raises(ValueError, match='1048576 rows need at least 29.2 GiB'):
    _check(monkeypatch, gib=29.24, **fields)
  # Rows are spread over devices, heads over the axis `tensor`.
  for mesh in ({'data': 4}, {'fsdp': 4, 'data': 1}, {'tensor': 2, 'data': 2}):
    _check(monkeypatch, gib=29.26 / 4, devices=4, mesh=mesh, **fields)
    with pytest.raises(ValueError, match='need at least 7.31 GiB'):
      _check(monkeypatch, gib=29.24 / 4, devices=4, mesh=mesh, **fields)
  half = {'model': {'dtype': 'bfloat16'}}
  _check(monkeypatch, gib=29.26 / 2, **fields, **half)


@pytest.mark.parametrize('fields,named', [
    ({'rollout': {'prompts': 10**8}}, 'config.rollout.prompts x samples'),
    ({'rollout': {'samples': 10**8}}, 'config.rollout.prompts x samples'),
    ({'rollout': {'prompts': 10**8, 'parts': 10**7}},
     'config.rollout.prompts x samples'),
    ({'evaluation': {'batch_size': 10**8}}, 'config.evaluation.batch_size'),
    ({'base': {'batch_size': 10**8}}, 'config.base.micro_batches'),
    ({'rollout': {'prompts': 2**17, 'parts': 2**10}},
     'config.stage1.micro_batches'),
])
def test_the_field_is_named(monkeypatch, fields, named):
  with pytest.raises(ValueError) as error:
    _check(monkeypatch, **fields)
  text = str(error.value)
  assert named in text and 'a device has 1 GiB' in text and '\n' not in text


def test_a_stage_that_does_not_run_needs_nothing(monkeypatch):
  fields = {'base': {'batch_size': 10**8}}
  with pytest.raises(ValueError, match=r'base\.micro_batches'):
    _check(monkeypatch, **fields)
  _check(monkeypatch, model={'checkpoint': 'DIR'}, **fields)


def test_the_memory_of_this_machine_is_known():
  mesh = sharding.make_mesh(config_lib.MeshConfig(), jax.devices())
  assert 2**27 < size_checks.device_bytes(mesh) < 2**45
