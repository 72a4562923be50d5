"""The mesh and its table: what fits, and what is said when it does not."""

import jax
import numpy as np
import pytest

from score_jax import config as config_lib
from score_jax import sharding
from score_jax.models import decoder
from tests import testing


def test_a_free_axis_takes_the_devices_that_are_left():
  mesh = sharding.make_mesh(config_lib.MeshConfig(data=-1, fsdp=2, tensor=2))
  assert dict(mesh.shape) == {'data': 2, 'fsdp': 2, 'tensor': 2}


@pytest.mark.parametrize('axes', [(3, 1, 1), (-1, 3, 1), (16, 1, 1)])
def test_a_mesh_that_does_not_fit_the_devices_is_refused(axes):
  with pytest.raises(ValueError, match='does not fit 8 devices'):
    sharding.make_mesh(config_lib.MeshConfig(*axes))


@pytest.mark.parametrize('axes', [(-1, -1, 1), (0, 1, 1), (-2, 1, 1)])
def test_impossible_axes_are_refused(axes):
  with pytest.raises(ValueError, match='axes must be positive'):
    sharding.make_mesh(config_lib.MeshConfig(*axes))


def test_a_batch_that_cannot_be_split_names_those_that_can():
  mesh = sharding.make_mesh(config_lib.MeshConfig(4, 2, 1))
  sharding.check_batch(mesh, 'rows', 16)
  with pytest.raises(ValueError, match='rows 12 is not divisible by 8.*'
                                       'use 8 or 16'):
    sharding.check_batch(mesh, 'rows', 12)
  with pytest.raises(ValueError, match='use 8$'):
    sharding.check_batch(mesh, 'rows', 3)


def test_heads_that_cannot_be_split_are_named():
  mesh = sharding.make_mesh(config_lib.MeshConfig(1, 2, 4))
  config = testing.model_config(vocab_size=24)
  with pytest.raises(ValueError, match="attention/key.*'kv_heads' of size 2"):
    sharding.check_params(mesh, decoder.abstract(config),
                          decoder.logical_axes(config))
  mesh = sharding.make_mesh(config_lib.MeshConfig(2, 2, 2))
  sharding.check_params(mesh, decoder.abstract(config),
                        decoder.logical_axes(config))


def test_parameters_are_split_as_the_table_says():
  mesh = sharding.make_mesh(config_lib.MeshConfig(2, 2, 2))
  config = testing.model_config(vocab_size=24, tied_head=False)
  where = sharding.tree_shardings(mesh, decoder.logical_axes(config))
  shapes = jax.tree.map(lambda leaf, to: to.shard_shape(leaf.shape),
                        decoder.abstract(config), where)
  # 2 layers, width 16, 4 and 2 heads of 6, MLP 20; halved as the table says.
  assert shapes == {
      'embed': {'embedding': (12, 8)},
      'head': {'kernel': (8, 12)},
      'final_norm': {'scale': (8,)},
      'blocks': {
          'attention': {'query': {'kernel': (2, 8, 2, 6)},
                        'key': {'kernel': (2, 8, 1, 6)},
                        'value': {'kernel': (2, 8, 1, 6)},
                        'out': {'kernel': (2, 2, 6, 8)}},
          'attention_norm': {'scale': (2, 8)},
          'mlp': {'gate': {'kernel': (2, 8, 10)}, 'up': {'kernel': (2, 8, 10)},
                  'down': {'kernel': (2, 10, 8)}},
          'mlp_norm': {'scale': (2, 8)}}}


def test_rows_are_split_over_data_and_fsdp():
  mesh = sharding.make_mesh(config_lib.MeshConfig(2, 2, 2))
  x = sharding.put_rows(np.arange(8).reshape(4, 2), mesh)
  assert {s.data.shape for s in x.addressable_shards} == {(1, 2)}
  np.testing.assert_array_equal(x, np.arange(8).reshape(4, 2))


def test_every_logical_axis_is_a_known_mesh_axis():
  for axes in sharding.LOGICAL_AXES.values():
    names = axes if isinstance(axes, tuple) else (axes,)
    assert set(names) <= {*sharding.AXES, None}


def test_the_sampler_holds_weights_whole_along_their_width():
  mesh = sharding.make_mesh(config_lib.MeshConfig(2, 2, 2))
  config = testing.model_config(vocab_size=24, tied_head=False)
  where = sharding.tree_shardings(mesh, decoder.logical_axes(config),
                                  sharding.SAMPLER_AXES)
  shapes = jax.tree.map(lambda leaf, to: to.shard_shape(leaf.shape),
                        decoder.abstract(config), where)
  assert shapes['embed'] == {'embedding': (12, 16)}
  assert shapes['head'] == {'kernel': (16, 12)}
  assert shapes['blocks']['attention']['out'] == {'kernel': (2, 2, 6, 16)}
  assert shapes['blocks']['mlp']['gate'] == {'kernel': (2, 16, 10)}
  assert shapes['final_norm'] == {'scale': (16,)}
