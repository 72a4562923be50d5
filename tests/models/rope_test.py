"""Rotary frequencies and activations by hand."""

import dataclasses

from flax import nnx
import jax.numpy as jnp
import numpy as np
import pytest

from score_jax import config as config_lib
from score_jax.models import layers
from score_jax.models import rope
from tests import testing


def test_yarn_by_hand():
  # Of 128 positions a wave of 1e4**-(i/4) has 32 turns at i = -0.2 and one at
  # i = 1.3, between which, rounded to 0 and 2, the waves are mixed.
  yarn = config_lib.RopeScaling('yarn', 4.0, original_positions=128)
  np.testing.assert_allclose(
      rope.frequencies(1e4, 8, yarn), [1, 0.0625, 0.0025, 0.00025])
  exact = dataclasses.replace(yarn, truncate=False)
  at = 4 * np.log(128 / (2 * np.pi)) / np.log(1e4)
  np.testing.assert_allclose(
      rope.frequencies(1e4, 8, exact),
      [1, (1 - 1 / at) * 0.1 + 1 / at * 0.025, 0.0025, 0.00025])
  # Both ends at one pair: what is above it is slowed.
  narrow = dataclasses.replace(yarn, original_positions=1)
  np.testing.assert_allclose(rope.frequencies(1e4, 8, narrow),
                             [1, 0.025, 0.0025, 0.00025])


@pytest.mark.parametrize('fields, factor', [
    ({'kind': 'linear', 'factor': 4.0}, 1.0),
    ({'kind': 'llama3', 'factor': 4.0, 'attention_factor': 3.0}, 1.0),
    ({'kind': 'yarn', 'factor': 1.0}, 1.0),
    ({'kind': 'yarn', 'factor': 4.0}, 1.1386294),
    ({'kind': 'yarn', 'factor': 40.0, 'mscale': 1.0, 'mscale_all_dim': 1.0},
     1.0),
    ({'kind': 'yarn', 'factor': 40.0, 'mscale': 1.0}, 1.3688879),
    ({'kind': 'yarn', 'factor': 40.0, 'mscale_all_dim': 2.0}, 1.3688879),
    ({'kind': 'yarn', 'factor': 4.0, 'mscale': 2.0, 'mscale_all_dim': 0.5},
     1.2772589 / 1.0693147),
    ({'kind': 'yarn', 'factor': 4.0, 'attention_factor': 0.5, 'mscale': 2.0,
      'mscale_all_dim': 0.5}, 0.5),
])
def test_sines_and_cosines_are_multiplied_by_the_attention_factor(
    fields, factor):
  scaling = config_lib.RopeScaling(**fields)
  np.testing.assert_allclose(rope.attention_factor(scaling), factor, 1e-6)
  config = testing.model_config(rope_scaling=scaling)
  sin, cos = rope.global_angles(config, jnp.array([[0, 3]]))
  np.testing.assert_allclose(sin**2 + cos**2, factor**2, 1e-5)


def test_layers_with_a_window_have_another_scaling():
  linear = config_lib.RopeScaling('linear', 2.0)
  yarn = config_lib.RopeScaling('yarn', 4.0)
  config = testing.model_config(
      rope_base=100.0, rope_scaling=yarn, local_rope_base=50.0,
      local_rope_scaling=linear)
  at = jnp.array([[5]])
  plain = testing.model_config(rope_base=50.0, rope_scaling=linear)
  for a, b in zip(rope.local_angles(config, at), rope.global_angles(plain, at)):
    np.testing.assert_array_equal(a, b)
  # Without a base they turn as the others.
  same = dataclasses.replace(config, local_rope_base=0.0,
                             local_rope_scaling=config_lib.RopeScaling())
  for a, b in zip(rope.local_angles(same, at), rope.global_angles(same, at)):
    np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize('activation, at_one', [
    ('silu', 0.7310586), ('gelu', 0.8411920), ('gelu_exact', 0.8413447)])
def test_activations_by_hand(activation, at_one):
  config = testing.model_config(width=2, mlp_width=2, activation=activation)
  mlp = layers.MLP(config, nnx.Rngs(0))
  for part in (mlp.gate, mlp.up, mlp.down):
    part.kernel[...] = jnp.eye(2)
  np.testing.assert_allclose(mlp(jnp.ones((1, 1, 2)))[0, 0], at_one, 1e-6)
