"""Optimizers: what few bits keep, on average and to the bit, and Adafactor."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from score_jax import config as config_lib
from score_jax import optimizers
from score_jax import sharding
from score_jax import update

MANY = 20_000
HALF = jnp.bfloat16


def _steps(config, weight, grad, steps, seed=0):
  """The state after some steps with one gradient, of `MANY` equal weights."""
  optimizer = optimizers.make_optimizer(config, steps)
  params = {'w': jnp.full((MANY,), weight)}
  grads = {'w': jnp.full((MANY,), grad, jnp.float32)}
  step = jax.jit(functools.partial(update.apply_gradients, optimizer),
                 static_argnames='seed')
  state = update.init_state(optimizer, params)
  for _ in range(steps):
    state = step(state, grads, seed=seed)
  return state


def _moments(state):
  return (optax.tree.get(state.opt_state, 'mu')['w'],
          optax.tree.get(state.opt_state, 'nu')['w'])


def _on_average(few_bits, exact):
  """Equal within five standard errors, and these are small."""
  x = np.asarray(few_bits, np.float64)
  error = x.std() / len(x) ** 0.5
  assert 0 < error < 1e-3 * abs(exact)
  assert abs(x.mean() - exact) < 5 * error


def test_moments_in_bfloat16_are_right_on_average():
  config = config_lib.OptimizerConfig()
  full = _steps(config, 0.5, 1.25, 40)
  half = _steps(dataclasses.replace(config, moments_dtype='bfloat16'),
                0.5, 1.25, 40)
  for few_bits, exact in zip(_moments(half), _moments(full)):
    assert few_bits.dtype == HALF and exact.dtype == jnp.float32
    _on_average(few_bits, float(exact[0]))


def test_a_second_moment_would_stand_still_if_rounded_to_the_nearest():
  # b2 0.999, at v = 1 and a gradient of 1.5: v grows by a part in 800.
  after = 0.999 * 1.0 + 0.001 * 1.5**2
  assert jnp.float32(after).astype(HALF) == 1.0
  x = jnp.full((MANY,), after, jnp.float32)
  rounded = optimizers.round_stochastically(x, jax.random.key(0))
  _on_average(rounded, after)
  assert set(np.asarray(rounded, np.float64)) == {1.0, 1.0 + 2**-7}


def test_weights_in_bfloat16_move_by_the_learning_rate_on_average():
  config = config_lib.OptimizerConfig(learning_rate=5e-6)
  assert jnp.float32(1 - 5e-6).astype(HALF) == 1.0  # Nearest: none would move.
  full = _steps(config, jnp.float32(1.0), 2.0, 60).params['w']
  half = _steps(config, HALF(1.0), 2.0, 60).params['w']
  assert half.dtype == HALF
  np.testing.assert_allclose(full[0], 1 - 60 * 5e-6, atol=1e-6)
  _on_average(half, float(full[0]))
  assert 1 - np.asarray(half, np.float64).mean() > 2e-4


def test_only_the_two_neighbours_are_taken_and_their_own_stay():
  key = jax.random.key(1)
  held = jax.random.normal(key, (MANY,)).astype(HALF)
  held = jnp.concatenate([held, jnp.array([0, -0.0, 1e-40, -3e38], HALF)])
  same = optimizers.round_stochastically(held.astype(jnp.float32), key)
  np.testing.assert_array_equal(same, held)
  assert (jnp.signbit(same) == jnp.signbit(held)).all()
  x = jax.random.normal(jax.random.key(2), (MANY,))
  got = np.asarray(optimizers.round_stochastically(x, key), np.float32)
  lower = np.asarray(x).view(np.uint32) & 0xFFFF0000
  upper = (lower + 0x10000).view(np.float32)
  down = got == lower.view(np.float32)
  assert (down | (got == upper)).all() and 0.45 < down.mean() < 0.55


def test_what_is_not_finite_stays_so():
  bits = np.array([0x7F800000, 0xFF800000, 0x7FFFFFFF, 0xFFFFFFFF, 0x7F800001],
                  np.uint32)
  for seed in range(20):
    got = np.asarray(optimizers.round_stochastically(
        jnp.asarray(bits.view(np.float32)), jax.random.key(seed)), np.float32)
    assert got[0] == np.inf and got[1] == -np.inf and np.isnan(got[2:]).all()


def test_rounding_depends_on_seed_and_step_and_not_on_the_mesh():
  config = config_lib.OptimizerConfig(moments_dtype='bfloat16')
  optimizer = optimizers.make_optimizer(config, 9)
  rng = np.random.default_rng(0)
  tree = {name: jnp.asarray(rng.normal(size=(16, 8)), HALF) for name in 'ab'}
  grads = {name: jnp.asarray(rng.normal(size=(16, 8)), jnp.float32)
           for name in 'ab'}
  step = jax.jit(functools.partial(update.apply_gradients, optimizer),
                 static_argnames='seed')
  state = step(update.init_state(optimizer, tree), grads)
  mesh = sharding.make_mesh(config_lib.MeshConfig(2, 2, 2))
  place = functools.partial(
      jax.tree.map, lambda x: jax.device_put(x, sharding.named(
          mesh, *(('embed', 'mlp') if x.ndim else ()))))
  spread = step(place(update.init_state(optimizer, tree)), place(grads))
  for a, b in zip(jax.tree.leaves(state), jax.tree.leaves(spread)):
    np.testing.assert_array_equal(a, b)
  other = step(update.init_state(optimizer, tree), grads, seed=1)
  later = step(dataclasses.replace(update.init_state(optimizer, tree),
                                   step=jnp.int32(1)), grads)
  for changed in (other, later):
    assert (changed.params['a'] != state.params['a']).any()
  # Two arrays of one tree are rounded by draws of their own.
  twins = {name: jnp.full((MANY,), 1.001) for name in 'ab'}
  zeros = jax.tree.map(lambda w: w.astype(HALF), twins)
  rounded = optimizers.apply_changes(
      zeros, jax.tree.map(lambda w: w - 1, twins), jax.random.key(0))
  assert (rounded['a'] != rounded['b']).any()


@pytest.mark.parametrize('clip_norm', [0.0, 0.5])
def test_float32_is_optax_to_the_bit(clip_norm):
  config = config_lib.OptimizerConfig(
      learning_rate=0.1, weight_decay=0.3, clip_norm=clip_norm)
  clip = (optax.clip_by_global_norm(clip_norm) if clip_norm
          else optax.identity())
  expected = optax.chain(clip, optax.adamw(
      optimizers._schedule(config, 5), 0.9, 0.999, 1e-8, weight_decay=0.3))
  ours = optimizers.make_optimizer(config, 5)
  tree = {'w': jax.random.normal(jax.random.key(0), (7, 5))}
  state, plain = update.init_state(ours, tree), expected.init(tree)
  assert jax.tree.structure(state.opt_state) == jax.tree.structure(plain)
  for n in range(3):
    grads = {'w': jax.random.normal(jax.random.key(n + 1), (7, 5))}
    state = update.apply_gradients(ours, state, grads)
    changes, plain = expected.update(grads, plain, tree)
    tree = optax.apply_updates(tree, changes)
    for a, b in zip(jax.tree.leaves((state.params, state.opt_state)),
                    jax.tree.leaves((tree, plain)), strict=True):
      np.testing.assert_array_equal(a, b)


def test_adafactor_is_optax_without_parameter_scale():
  config = config_lib.OptimizerConfig(name='adafactor', learning_rate=0.01)
  ours = optimizers.make_optimizer(config, 5)
  expected = optax.adafactor(0.01, multiply_by_parameter_scale=False)
  tree = {'w': jax.random.normal(jax.random.key(0), (3, 130, 140)),
          'b': jnp.ones((9,))}
  state, plain = ours.init(tree), expected.init(tree)
  for n in range(3):
    grads = jax.tree.map(
        lambda w: jax.random.normal(jax.random.key(n), w.shape), tree)
    got, state = ours.update(grads, state, tree)
    wanted, plain = expected.update(grads, plain, tree)
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(wanted)):
      np.testing.assert_allclose(a, b, rtol=1e-5)


def test_adafactor_step_and_decay_by_hand():
  # The squares of a gradient that is a row times a column are the product of
  # their means: every step has the size of the learning rate.
  config = config_lib.OptimizerConfig(
      name='adafactor', learning_rate=0.5, weight_decay=0.1)
  rng = np.random.default_rng(0)
  row, column = rng.normal(size=(2, 128))
  grads = {'w': jnp.asarray(np.outer(row, column), jnp.float32)}
  tree = {'w': jnp.full((128, 128), 2.0)}
  optimizer = optimizers.make_optimizer(config, 5)
  changes, _ = optimizer.update(grads, optimizer.init(tree), tree)
  np.testing.assert_allclose(
      changes['w'], -0.5 * (np.sign(grads['w']) + 0.1 * 2.0), rtol=1e-4)


def test_adafactor_never_factors_over_layers():
  tree = {'kernel': jnp.zeros((62, 200, 8, 128)), 'scale': jnp.zeros((62, 300)),
          'embedding': jnp.zeros((400, 150))}
  config = config_lib.OptimizerConfig(name='adafactor')
  state = jax.eval_shape(optimizers.make_optimizer(config, 5).init, tree)
  shape = lambda field, name: optax.tree.get(state, field)[name].shape
  assert shape('v_row', 'kernel') == (62, 8, 128)
  assert shape('v_col', 'kernel') == (62, 200, 8)
  assert shape('v', 'scale') == (62, 300)
  assert {shape('v_row', 'embedding'), shape('v_col', 'embedding')} == {
      (400,), (150,)}


def test_a_gradient_of_bfloat16_weights_is_summed_in_float32():
  # 1 and 256 times 2 ** -9: each alone is lost beside 1 in bfloat16.
  params = {'w': HALF(1.0)}
  parts = jnp.array([1.0] + [2.0**-9] * 256)
  loss_fn = lambda params, x: (jnp.sum(params['w'].astype(jnp.float32) * x), {})
  _, _, grads = update.accumulate(loss_fn, params, parts, len(parts))
  assert grads['w'].dtype == jnp.float32 and float(grads['w']) == 1.5


@pytest.mark.parametrize('name', ['adam', 'adafactor'])
@pytest.mark.parametrize('decay', [0.1, 0.37])
def test_the_decay_of_bfloat16_weights_is_computed_in_float32(name, decay):
  config = config_lib.OptimizerConfig(
      name=name, learning_rate=0.013, weight_decay=decay)
  half = {'w': jax.random.normal(jax.random.key(3), (300,)).astype(HALF)}
  full = {'w': half['w'].astype(jnp.float32)}
  grads = {'w': jax.random.normal(jax.random.key(4), (300,))}
  optimizer = optimizers.make_optimizer(config, 5)
  of_half, of_full = (
      optimizer.update(grads, optimizer.init(tree), tree)[0]['w']
      for tree in (half, full))
  assert of_half.dtype == jnp.float32
  np.testing.assert_array_equal(of_half, of_full)


def test_weights_and_moments_are_rounded_by_keys_of_their_own(monkeypatch):
  keys = []

  def recorded(old, new, key):
    keys.append(tuple(np.asarray(jax.random.key_data(key)).tolist()))
    return new

  monkeypatch.setattr(optimizers, '_rounded_like', recorded)
  optimizer = optimizers.make_optimizer(config_lib.OptimizerConfig(), 5)
  state = update.init_state(optimizer, {'w': jnp.ones((3,))})
  for seed in (0, 1):
    for step in (0, 1, 2):
      update.apply_gradients(
          optimizer, dataclasses.replace(state, step=jnp.int32(step)),
          {'w': jnp.ones((3,))}, seed)
  assert len(keys) == len(set(keys)) == 12
