"""Shapes and places of what the stages keep."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec as P
import optax
import pytest

from score_jax import config as config_lib
from score_jax import sharding
from score_jax import states

MODEL = {'vocab_size': 260, 'num_layers': 2, 'width': 128, 'mlp_width': 192,
         'num_heads': 2, 'num_kv_heads': 2, 'head_dim': 128}


def _states(**values) -> states.States:
  config = config_lib.from_dict({'model': MODEL} | values)
  return states.States(
      config, sharding.make_mesh(config_lib.MeshConfig(2, 2, 2)))


def _of_kernels(state, field):
  """Shape and spec of an optimizer's arrays beside three parameters."""
  tree = optax.tree.get(state.opt_state, field)
  leaves = (tree['embed']['embedding'], tree['blocks']['mlp']['up']['kernel'],
            tree['blocks']['attention']['query']['kernel'],
            tree['blocks']['mlp_norm']['scale'])
  return [(leaf.shape, tuple(leaf.sharding.spec)) for leaf in leaves]


def test_moments_of_adam_lie_as_their_parameters():
  state = _states().state('stage1')
  for field in ('mu', 'nu'):
    assert _of_kernels(state, field) == [
        ((260, 128), ('tensor', 'fsdp')),
        ((2, 128, 192), (None, 'fsdp', 'tensor')),
        ((2, 128, 2, 128), (None, 'fsdp', 'tensor', None)),
        ((2, 128), (None, 'fsdp'))]


def test_means_of_adafactor_lie_as_the_axes_that_they_keep():
  state = _states(stage1={'optimizer': {'name': 'adafactor'}}).state('stage1')
  assert _of_kernels(state, 'v_row') == [
      ((128,), ('fsdp',)), ((2, 128), (None, 'fsdp')),
      ((2, 128, 2), (None, 'fsdp', 'tensor')), ((1,), ())]
  assert _of_kernels(state, 'v_col') == [
      ((260,), ('tensor',)), ((2, 192), (None, 'tensor')),
      ((2, 2, 128), (None, 'tensor', None)), ((1,), ())]
  assert _of_kernels(state, 'v')[3] == ((2, 128), (None, 'fsdp'))
  square = _states(model=MODEL | {'mlp_width': 128},
                   stage1={'optimizer': {'name': 'adafactor'}}).state('stage1')
  for field in ('v_row', 'v_col'):  # Which axis is gone cannot be told.
    assert _of_kernels(square, field)[1] == ((2, 128), ())


def test_adapters_alone_are_trained_after_the_base():
  lora = _states(model=MODEL | {'lora': {'rank': 4, 'targets': '.*/query'}},
                 stage1={'optimizer': {'moments_dtype': 'bfloat16'}})
  base, stage1 = lora.state('base'), lora.state('stage1')
  assert jax.tree.structure(base.params) == jax.tree.structure(
      _states().params('stage1'))
  a, b = jax.tree.leaves(stage1.params)
  assert (a.shape, b.shape) == ((2, 128, 4), (2, 4, 2, 128))
  assert a.sharding.spec == P(None, 'fsdp', None)
  assert len(jax.tree.leaves(stage1)) == 1 + 2 + 2 + 2 + 2  # Steps and moments.
  assert {x.dtype for x in jax.tree.leaves(stage1.opt_state) if x.ndim} == {
      jnp.dtype('bfloat16')}


def test_a_reference_in_bfloat16_keeps_norms():
  half = _states(memory={'reference_dtype': 'bfloat16'}).reference()
  assert half['embed']['embedding'].dtype == jnp.bfloat16
  assert half['final_norm']['scale'].dtype == jnp.float32
  assert half['embed']['embedding'].sharding.spec == P('tensor', 'fsdp')
  assert jax.tree.map(str, _states().reference()) == jax.tree.map(
      str, _states().params('base'))


@pytest.mark.parametrize('names', [(), ('reference',), ('optimizer',),
                                   ('reference', 'optimizer')])
def test_offloaded_parts_alone_lie_on_the_host(names):
  made = _states(memory={'offload': names})
  places = made.state_places('stage2')
  kinds = lambda tree: {where.memory_kind for where in jax.tree.leaves(tree)}
  at = lambda name: {'pinned_host' if name in names else 'device'}
  assert kinds(places.opt_state) == at('optimizer')
  assert kinds((places.params, places.step)) == {'device'}
  assert kinds(states.shardings(made.reference())) == at('reference')
  # Checkpoints hold device arrays, whatever is offloaded.
  assert kinds(states.shardings(made.state('stage2'))) == {'device'}


def test_a_platform_without_host_memory_is_refused():
  device = SimpleNamespace(platform='cpu', addressable_memories=lambda: [
      SimpleNamespace(kind='device'), SimpleNamespace(kind='unpinned_host')])
  states.check_offload(config_lib.MemoryConfig(), [device])
  message = r"'optimizer'.*'cpu' has no pinned_host .*device, unpinned_host"
  with pytest.raises(ValueError, match=message):
    states.check_offload(config_lib.MemoryConfig(offload=('optimizer',)),
                         [device])
