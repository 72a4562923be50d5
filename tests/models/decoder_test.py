"""The decoder: causality, caches, masks and shapes."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_jax import config as config_lib
from score_jax import sharding
from score_jax.models import attention
from score_jax.models import cache as cache_lib
from score_jax.models import decoder
from score_jax.models import layers
from score_jax.models import rope
from tests import folders
from tests import testing

B, T = 2, 9

FAMILIES = {
    'llama': {},
    'gemma2': folders.SMALL['gemma2'],  # Window 4, every second layer.
    'gemma3': folders.SMALL['gemma3'] | {'num_layers': 3, 'global_every': 2},
    'qwen2': {'qkv_bias': True},
    'qwen3': {'qk_norm': True},
}
FAMILY = pytest.mark.parametrize('family', FAMILIES)
# Those that differ in what a layer sees.
MASKS = pytest.mark.parametrize('family', ['llama', 'gemma2', 'gemma3'])

_forward = jax.jit(decoder.forward, static_argnums=0)


def _model(family, **changes):
  """A small model, and parameters among which no bias or norm is idle."""
  config = testing.model_config(**FAMILIES[family] | changes)
  plain = dataclasses.replace(config, dtype='float32')
  leaves, tree = jax.tree.flatten(testing.params(plain))
  rng = np.random.default_rng(0)
  draw = lambda x: x + 0.3 * rng.normal(size=x.shape).astype(np.float32)
  return config, tree.unflatten([draw(leaf) for leaf in leaves])


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


@MASKS
def test_padding_on_the_left_changes_nothing(family):
  config, tree = _model(family)
  tokens, positions, valid = _inputs()
  plain, _ = _forward(config, tree, tokens, positions, valid)
  padded = jnp.pad(tokens, ((0, 0), (3, 0)), constant_values=11)
  there = jnp.pad(valid, ((0, 0), (3, 0)))
  at = jnp.pad(positions, ((0, 0), (3, 0)))
  shifted, _ = _forward(config, tree, padded, at, there)
  np.testing.assert_allclose(shifted[:, 3:], plain, atol=1e-5)
  assert np.isfinite(shifted).all()


@pytest.mark.parametrize('family', ['gemma2', 'gemma3'])
def test_dead_slots_within_a_window_take_no_room(family):
  # As behind a short attempt 1: three slots that nothing may attend to.
  config, tree = _model(family)
  tokens, positions, valid = _inputs()
  plain, _ = _forward(config, tree, tokens, positions, valid)
  gap = lambda x, fill: jnp.insert(x, jnp.full(3, 3), fill, axis=1)
  spread, _ = _forward(
      config, tree, gap(tokens, 11), gap(positions, 2), gap(valid, False))
  live = np.r_[:3, 6:12]
  np.testing.assert_allclose(spread[:, live], plain, atol=1e-5)


def test_a_window_by_gradient():
  # One layer, which sees 4 positions: token 7 sees 4, 5, 6 and itself.
  config, tree = _model('gemma2', num_layers=1)
  tokens, positions, valid = _inputs()
  table = tree['embed']['embedding'][tokens]

  @jax.jit
  @jax.grad
  def grad(inputs):
    own = {**tree, 'embed': {'embedding': inputs.reshape(B * T, -1)}}
    ids = jnp.arange(B * T).reshape(B, T)
    hidden, _ = decoder.forward(config, own, ids, positions, valid)
    return jnp.sum(hidden[0, 7] * jnp.arange(1.0, 17.0))

  seen = np.abs(grad(table)).max(axis=-1)[0] > 0
  assert seen.tolist() == [False] * 4 + [True] * 4 + [False]


@pytest.mark.parametrize('unroll', [True, False])
@MASKS
def test_cache_in_pieces_equals_one_pass(family, unroll):
  config, tree = _model(family)
  tokens, positions, valid = _inputs()
  whole, _ = _forward(config, tree, tokens, positions, valid)
  if unroll:
    tree = decoder.unroll(config, tree)
  cache = cache_lib.empty(config, tree['blocks'], B, T)
  parts = []
  for first, last in ((0, 4), (4, 5), (5, 9)):
    part, cache = _forward(
        config, tree, tokens[:, first:last], positions[:, first:last], valid,
        cache, first)
    parts.append(part)
  np.testing.assert_allclose(jnp.concatenate(parts, axis=1), whole, atol=1e-5)


@pytest.mark.parametrize('unroll', [True, False])
@MASKS
def test_rows_go_on_from_the_cache_of_their_prompt(family, unroll):
  # Rows 0 and 1 have one prompt of 4 tokens, rows 2 and 3 another.
  config, tree = _model(family)
  tokens, positions, valid = (
      jnp.concatenate(x) for x in zip(_inputs(), _inputs(1)))
  tokens = tokens.at[:, :4].set(jnp.repeat(tokens[::2, :4], 2, axis=0))
  whole, _ = _forward(config, tree, tokens, positions, valid)
  if unroll:
    tree = decoder.unroll(config, tree)
  empty = functools.partial(cache_lib.empty, config, tree['blocks'])
  read, prompts = _forward(
      config, tree, tokens[::2, :4], positions[::2, :4], valid[::2, :4],
      empty(2, 4), 0)
  np.testing.assert_allclose(read, whole[::2, :4], atol=1e-5)
  cache = empty(4, 3)
  for first, last in ((4, 5), (5, 9)):
    if last == 9:
      cache = cache_lib.widened(cache, 5)
    part, cache = _forward(
        config, tree, tokens[:, first:last], positions[:, first:last],
        valid[:, : 4 + cache_lib.slots(cache)], cache, first, prompts=prompts)
    np.testing.assert_allclose(part, whole[:, first:last], atol=1e-5)


def _view(at):
  config = testing.model_config(head_dim=8)
  return layers.View(*rope.global_angles(config, jnp.array([[at]])))


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


def test_rms_norm_plus_one_by_hand():
  config = testing.model_config(norm_eps=0.0, norm_plus_one=True)
  norm = layers.RMSNorm(config, 2)
  np.testing.assert_array_equal(norm.scale[...], 0)
  norm.scale[...] = jnp.array([1.0, -0.5])
  np.testing.assert_allclose(
      norm(jnp.array([[3.0, 4.0]])), [[6 / 12.5**0.5, 2 / 12.5**0.5]],
      rtol=1e-6)


def test_rms_norm_of_one_sequence_is_that_of_two():
  norm = layers.RMSNorm(testing.model_config(), 4)
  norm.scale[...] = jnp.arange(1.0, 5.0)
  x = jax.random.normal(jax.random.key(0), (2, 3, 4))
  for one in (x, x[:, :, None]):  # Hidden states, and those of heads.
    normed, back = jax.vjp(norm, one[:1])
    expected, back_of_two = jax.vjp(norm, one)
    np.testing.assert_allclose(normed, expected[:1], rtol=1e-6)
    weights = jnp.cos(one)
    np.testing.assert_allclose(
        back(weights[:1])[0], back_of_two(weights)[0][:1], rtol=1e-5)


def test_softcap_by_hand():
  # 2 tanh(1 / 2) and 2 tanh(-4).
  np.testing.assert_allclose(
      attention.softcap(jnp.array([1.0, -8.0]), 2.0), [0.9242343, -1.9986586],
      rtol=1e-6)
  assert attention.softcap(jnp.array([1e9]), 0.0)[0] == 1e9


def test_waves_by_hand():
  # Base 10^4 and 8 dimensions: 1, 1/10, 1/100 and 1/1000 radians a position.
  waves = rope.frequencies(1e4, 8)
  np.testing.assert_allclose(waves, [1, 0.1, 0.01, 0.001])
  linear = config_lib.RopeScaling('linear', 8.0)
  np.testing.assert_allclose(rope.frequencies(1e4, 8, linear), waves / 8)
  # Over 128 positions they turn 20.4, 2.04, 0.204 and 0.02 times: the first
  # is kept, the second mixed at (2.04 - 1) / 3 and the others slowed.
  llama3 = config_lib.RopeScaling('llama3', 8.0, original_positions=128)
  kept = (12.8 / (2 * np.pi) - 1) / 3
  np.testing.assert_allclose(
      rope.frequencies(1e4, 8, llama3),
      [1, 0.1 * kept + 0.1 / 8 * (1 - kept), 0.01 / 8, 0.001 / 8])


@FAMILY
def test_bfloat16_of_every_family(family):
  config, tree = _model(family, dtype='bfloat16')
  hidden, _ = _forward(config, tree, *_inputs())
  assert hidden.dtype == jnp.bfloat16
  scores = jax.eval_shape(lambda: decoder.logits(
      config, hidden, decoder.head(config, tree)))
  assert scores.dtype == jnp.float32
  exact, _ = _forward(
      dataclasses.replace(config, dtype='float32'), tree, *_inputs())
  error = np.linalg.norm(hidden.astype(jnp.float32) - exact)
  # bfloat16 keeps 8 bits, and each of a few layers adds its own rounding.
  assert 1e-4 < error / np.linalg.norm(exact) < 0.03
  config = dataclasses.replace(config, param_dtype='bfloat16')
  stored = {leaf.dtype for path, leaf in jax.tree_util.tree_leaves_with_path(
      decoder.abstract(config)) if path[-1].key != 'scale'}
  assert stored == {jnp.dtype('bfloat16')}


@pytest.mark.parametrize('mesh', [(8, 1, 1), (2, 2, 2)])
def test_eight_devices_compute_what_one_does(mesh):
  # With a window, two bases, norms of queries and keys and of branches.
  config, tree = _model('gemma3', vocab_size=24)
  parts = [_inputs(seed) for seed in range(4)]
  batch = [jnp.concatenate(xs) for xs in zip(*parts, strict=True)]

  def loss(tree, tokens, positions, valid):
    hidden, _ = decoder.forward(config, tree, tokens, positions, valid)
    scores = decoder.logits(config, hidden, decoder.head(config, tree))
    logp_B = jnp.mean(jax.nn.log_softmax(scores)[..., 0], axis=1)
    return jnp.sum(logp_B * jnp.arange(8.0))  # Each row counts otherwise.

  expected = jax.jit(jax.value_and_grad(loss))(tree, *batch)
  mesh = sharding.make_mesh(config_lib.MeshConfig(*mesh))
  where = sharding.tree_shardings(mesh, decoder.logical_axes(config))
  with jax.set_mesh(mesh):
    found = jax.jit(jax.value_and_grad(loss))(
        jax.tree.map(jax.device_put, tree, where),
        *(sharding.put_rows(np.asarray(x), mesh) for x in batch))
  for a, b in zip(*map(jax.tree.leaves, (found, expected)), strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


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


@MASKS
def test_a_layer_that_attends_nowhere_gives_no_nan(family):
  config, tree = _model(family)
  tokens, positions, valid = _inputs()
  hidden, _ = _forward(config, tree, tokens, positions,
                              jnp.zeros_like(valid))
  assert np.isfinite(hidden).all()


def test_default_config_is_valid():
  config_lib.from_dict({})
