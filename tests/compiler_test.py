"""What the compiler is told of an update."""

import types

import jax
import numpy as np
import pytest

from score_jax import compiler
from score_jax import config as config_lib
from score_jax import sharding

MESH = config_lib.MeshConfig()


@pytest.mark.parametrize('platform,asked,told', [
    ('tpu', False, 2), ('tpu', True, 0), ('cpu', False, 0), ('gpu', False, 0)])
def test_weights_come_whole_on_tpus_unless_asked_otherwise(
    platform, asked, told):
  mesh = types.SimpleNamespace(
      devices=np.array([[types.SimpleNamespace(platform=platform)]]))
  config = config_lib.MeshConfig(collective_matmul=asked)
  options = compiler.options(config, mesh)
  assert len(options) == told and not any(options.values())


def test_other_compilers_take_what_they_are_told():
  options = compiler.options(MESH, sharding.make_mesh(MESH))
  assert jax.jit(lambda x: x + 1, compiler_options=options)(1) == 2
