"""What the compiler is told of an update."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_jax import compiler
from score_jax import config as config_lib
from score_jax import sharding

MESH = config_lib.MeshConfig()


@pytest.mark.parametrize('platform,asked,told', [
    ('tpu', False, 2), ('tpu', True, 0), ('gpu', False, 0)])
def test_weights_come_whole_on_tpus_unless_asked_otherwise(
    platform, asked, told):
  mesh = types.SimpleNamespace(
      devices=np.array([[types.SimpleNamespace(platform=platform)]]))
  config = config_lib.MeshConfig(collective_matmul=asked)
  options = compiler.options(config, mesh)
  assert len(options) == told and not any(options.values())


@pytest.mark.parametrize('of,stays', [
    (lambda q, k: jnp.einsum('bkqh,bksh->bkqs', q, k), False),
    (lambda q, k: jax.nn.softmax(q), True)])
def test_products_with_a_batch_are_not_left_to_one_core(of, stays):
  given = jnp.ones((8, 2, 177, 64)), jnp.ones((8, 2, 305, 64))
  text = lambda options: jax.jit(
      of, compiler_options=options).lower(*given).compile().as_text()
  options = compiler.options(MESH, sharding.make_mesh(MESH))
  # The library with a single core for products, and a good one for sums.
  assert 'ynn_fusion' in text({})
  assert ('ynn_fusion' in text(options)) == stays
