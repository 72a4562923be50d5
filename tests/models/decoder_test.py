"""The decoder: causality, caches, masks and shapes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_jax import config as config_lib
from score_jax.models import decoder
from score_jax.models import layers
from tests import testing

B, T = 2, 9


def _inputs(seed=0):
  rng = np.random.default_rng(seed)
  tokens = jnp.asarray(rng.integers(0, testing.VOCAB, (B, T)), jnp.int32)
  positions = jnp.broadcast_to(jnp.arange(T)[None], (B, T))
  return tokens, positions, jnp.ones((B, T), bool)


def test_parameters_by_hand():
  # embed 23 * 16; per layer: q 16*4*6, k and v 16*2*6 each, out 4*6*16,
  # mlp 3 * 16*20, two norms of 16; one final norm.
  layer = 16 * 24 + 2 * 16 * 12 + 24 * 16 + 3 * 16 * 20 + 2 * 16
  assert (decoder.num_params(testing.model_config())
          == 23 * 16 + 2 * layer + 16)
  untied = testing.model_config(tied_head=False)
  assert decoder.num_params(untied) == 2 * 23 * 16 + 2 * layer + 16


def test_axes_name_every_dimension():
  config = testing.model_config(tied_head=False)
  is_axes = lambda x: isinstance(x, tuple)
  shapes = jax.tree.map(lambda leaf: leaf.ndim, decoder.abstract(config))
  names = jax.tree.map(len, decoder.logical_axes(config), is_leaf=is_axes)
  assert shapes == names


def test_causality_by_gradient():
  # Before t: a gradient; at the token itself: a gradient; after: exactly 0.
  config = testing.model_config()
  tree = testing.params(config)
  tokens, positions, valid = _inputs()
  table = tree['embed']['embedding'][tokens]

  def state_at_5(inputs):
    # An embedding of its own for every token of the batch.
    own = {**tree, 'embed': {'embedding': inputs.reshape(B * T, -1)}}
    ids = jnp.arange(B * T).reshape(B, T)
    hidden, _ = decoder.forward(config, own, ids, positions, valid)
    return jnp.sum(hidden[0, 5] * jnp.arange(1.0, 17.0))

  grad = np.abs(jax.jit(jax.grad(state_at_5))(table)).max(axis=-1)
  assert (grad[0, :6] > 1e-6).all()
  np.testing.assert_array_equal(grad[0, 6:], 0)
  np.testing.assert_array_equal(grad[1], 0)  # Nor across rows.


def test_padding_on_the_left_changes_nothing():
  config = testing.model_config()
  tree = testing.params(config)
  tokens, positions, valid = _inputs()
  plain, _ = decoder.forward(config, tree, tokens, positions, valid)
  padded = jnp.pad(tokens, ((0, 0), (3, 0)), constant_values=11)
  there = jnp.pad(valid, ((0, 0), (3, 0)))
  at = jnp.pad(positions, ((0, 0), (3, 0)))
  shifted, _ = decoder.forward(config, tree, padded, at, there)
  np.testing.assert_allclose(shifted[:, 3:], plain, atol=1e-5)
  assert np.isfinite(shifted).all()


@pytest.mark.parametrize('unroll', [True, False])
def test_cache_in_pieces_equals_one_pass(unroll):
  config = testing.model_config()
  tree = testing.params(config)
  tokens, positions, valid = _inputs()
  whole, _ = decoder.forward(config, tree, tokens, positions, valid)
  if unroll:
    tree = decoder.unroll(config, tree)
  cache = decoder.init_cache(config, tree['blocks'], B, T)
  parts = []
  for first, last in ((0, 4), (4, 5), (5, 9)):
    part, cache = decoder.forward(
        config, tree, tokens[:, first:last], positions[:, first:last], valid,
        cache, first)
    parts.append(part)
  np.testing.assert_allclose(jnp.concatenate(parts, axis=1), whole, atol=1e-5)


def test_shared_cache_repeats_rows_and_makes_room():
  cache = (jnp.arange(12.0).reshape(2, 1, 3, 2),)
  shared = decoder.share_cache(cache, samples=2, slots=5)[0]
  assert shared.shape == (4, 1, 5, 2)
  np.testing.assert_array_equal(shared[0], shared[1])
  np.testing.assert_array_equal(shared[2, :, :3], cache[0][1])
  np.testing.assert_array_equal(shared[:, :, 3:], 0)


def _view(at):
  config = testing.model_config(head_dim=8)
  return layers.global_view(config, jnp.array([[at]]), jnp.ones((1, 1, 1), bool))


def test_rotation_keeps_length_and_depends_on_distance():
  rng = np.random.default_rng(0)
  q, k = (jnp.asarray(rng.normal(size=(1, 1, 1, 8)), jnp.float32)
          for _ in range(2))

  def score(q_at, k_at):
    turn = lambda x, at: layers.rotate(x, _view(at))
    return float(jnp.sum(turn(q, q_at) * turn(k, k_at)))

  np.testing.assert_allclose(score(3, 1), score(103, 101), rtol=1e-4)
  assert abs(score(3, 1) - score(3, 2)) > 1e-3
  turned = layers.rotate(q, _view(7))
  np.testing.assert_allclose(jnp.linalg.norm(turned), jnp.linalg.norm(q),
                             rtol=1e-5)


def test_rms_norm_by_hand():
  # rms of (3, 4) is sqrt(12.5); scale (1, 2).
  norm = layers.RMSNorm(testing.model_config(norm_eps=0.0), 2)
  norm.scale[...] = jnp.array([1.0, 2.0])
  np.testing.assert_allclose(
      norm(jnp.array([[3.0, 4.0]])), [[3 / 12.5**0.5, 8 / 12.5**0.5]],
      rtol=1e-6)


def test_bfloat16_activations_and_float32_scores():
  config = testing.model_config(dtype='bfloat16')
  tree = testing.params(config)
  hidden, _ = decoder.forward(config, tree, *_inputs())
  assert hidden.dtype == jnp.bfloat16
  assert decoder.logits(config, hidden, decoder.head(config, tree)).dtype == jnp.float32
  exact, _ = decoder.forward(testing.model_config(), tree, *_inputs())
  # bfloat16 keeps 8 bits: errors of a few parts in 256 of values near 1.
  np.testing.assert_allclose(hidden.astype(jnp.float32), exact, atol=0.1)


def test_cast_parameters_compute_the_same():
  # The sampler decodes with cast parameters, the update with their masters.
  config = testing.model_config(dtype='bfloat16')
  tree = jax.tree.map(lambda w: 1.1 * w, testing.params(config))
  cast = decoder.cast(config, tree)
  assert cast['blocks']['mlp']['up']['kernel'].dtype == jnp.bfloat16
  forward = jax.jit(lambda p: decoder.forward(config, p, *_inputs())[0])
  np.testing.assert_array_equal(forward(cast), forward(tree))


def test_random_layers_differ_and_have_their_scales():
  config = testing.model_config(width=64, num_heads=8, num_kv_heads=8,
                                head_dim=16, mlp_width=96, num_layers=2)
  blocks = testing.params(config)['blocks']
  for name, scale in (('query', 64), ('key', 64), ('value', 64),
                      ('out', 8 * 16 * 4)):  # Two branches in two layers.
    weight = blocks['attention'][name]['kernel']
    np.testing.assert_allclose(weight.std(), scale**-0.5, rtol=0.05)
    assert np.abs(weight[0] - weight[1]).max() > 0.1 * weight.std()
  for name, scale in (('gate', 64), ('up', 64), ('down', 96 * 4)):
    np.testing.assert_allclose(blocks['mlp'][name]['kernel'].std(), scale**-0.5,
                               rtol=0.05)


def test_remat_keeps_no_layer_and_changes_no_gradient():
  tree = testing.params(testing.model_config())

  def grads(remat):
    config = testing.model_config(remat=remat)
    grad = jax.jit(jax.grad(lambda p: jnp.sum(
        decoder.forward(config, p, *_inputs())[0] ** 2)))
    assert ('checkpoint' in grad.lower(tree).as_text(debug_info=True)) == (
        remat == 'block')
    return grad(tree)

  for a, b in zip(jax.tree.leaves(grads('none')),
                  jax.tree.leaves(grads('block'))):
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


def test_queries_and_keys_are_turned_by_the_base_of_the_config():
  tokens, positions, valid = _inputs()
  tree = testing.params(testing.model_config())

  def last_state(config, positions):
    return decoder.forward(config, tree, tokens, positions, valid)[0][:, -1]

  config = testing.model_config(rope_base=100.0)
  # Attention sees distances alone, whatever the base.
  np.testing.assert_allclose(last_state(config, positions),
                             last_state(config, positions + 5), atol=1e-5)
  other = last_state(testing.model_config(), positions)
  assert np.abs(last_state(config, positions) - other).max() > 1e-3


def test_a_layer_that_attends_nowhere_gives_no_nan():
  config = testing.model_config()
  tokens, positions, valid = _inputs()
  hidden, _ = decoder.forward(config, testing.params(config), tokens,
                              positions, jnp.zeros_like(valid))
  assert np.isfinite(hidden).all()


def test_default_config_is_valid():
  config_lib.from_dict({})
