"""Optimizers: Adam and Adafactor, and few bits that still add up.

Every sum is float32. Weights and moments that are kept in bfloat16 (8 bits of
precision) change in a step by less than they can show: Adam's second moment by
a part in 1000 (b2 0.999), a weight by its learning rate. Rounded to the nearest
number they would stand still for ever. They are rounded stochastically, up or
down with chances that make the mean right, so that small changes add up.
"""

import jax
import jax.numpy as jnp
import optax

from score_jax import config as config_lib
from score_jax import types


def make_optimizer(
    config: config_lib.OptimizerConfig, steps: int
) -> optax.GradientTransformationExtraArgs:
  """The optimizer, its schedule and clipping.

  Args:
    config: its settings.
    steps: of the whole stage, for the schedule.

  Returns:
    Its `update` gives float32 changes, and takes `key`: random, new at every
    step, for moments in bfloat16.
  """
  rule = {'adam': _adam, 'adafactor': _adafactor}[config.name]
  # Always two links, so that the state has one form with and without clipping.
  clip = (optax.clip_by_global_norm(config.clip_norm) if config.clip_norm
          else optax.identity())
  return _in_float32(optax.chain(clip, rule(config, _schedule(config, steps))),
                     config.moments_dtype)


def _schedule(config, steps) -> optax.Schedule:
  peak, warmup = config.learning_rate, config.warmup_steps
  if config.schedule == 'cosine':
    after = optax.cosine_decay_schedule(peak, max(steps - warmup, 1))
  else:
    after = optax.constant_schedule(peak)
  return optax.join_schedules(
      [optax.linear_schedule(peak / (warmup + 1), peak, max(warmup, 1)), after],
      [warmup])


def _adam(config, schedule):
  """Adam with decoupled weight decay (Loshchilov and Hutter, 1711.05101)."""
  return optax.adamw(schedule, config.b1, config.b2, config.eps,
                     weight_decay=config.weight_decay)


def _adafactor(config, schedule):
  """Adafactor (Shazeer and Stern, 1804.04235), with Adam's learning rates.

  The second moment is kept as means over rows and over columns. No momentum,
  and no step in proportion to a parameter's size: a learning rate then means
  what it means for Adam, and adapters that begin at zero can move. Weight decay
  is that of `_adam`. Decay of the moment (1 - t ** -0.8) and clipping of each
  parameter's step (RMS 1) are the paper's. b1, b2 and eps are not read.

  optax factors the two largest axes of a parameter if both have 128 or more.
  With fewer than 128 layers stacked, that is never the axis of layers; a
  kernel [L, D, N, H] is factored in D and H, apart for each layer and head.
  """
  return optax.chain(
      optax.scale_by_factored_rms(), optax.clip_by_block_rms(1.0),
      optax.add_decayed_weights(config.weight_decay),
      optax.scale_by_learning_rate(schedule))


def _in_float32(inner, moments_dtype):
  """`inner` computed in float32, its moments kept in `moments_dtype`."""

  def init(params):
    return _cast(inner.init(_cast(params, jnp.float32)), moments_dtype)

  def update(grads, state, params, *, key=None, **unused):
    grads, wide, params = (
        _cast(tree, jnp.float32) for tree in (grads, state, params))
    changes, new = inner.update(grads, wide, params)
    return changes, _rounded_like(state, new, key)

  return optax.GradientTransformationExtraArgs(init, update)


def _cast(tree, dtype):
  """The tree with its fractional numbers in `dtype`; counts stay."""
  is_fractional = lambda x: jnp.issubdtype(x.dtype, jnp.floating)
  return jax.tree.map(
      lambda x: x.astype(dtype) if is_fractional(x) else x, tree)


def apply_changes(
    params: types.Params, changes: types.Params, key: jax.Array
) -> types.Params:
  """The weights after a step, in the dtypes that they had.

  Args:
    params: float32 or bfloat16.
    changes: float32, to be added.
    key: random, new at every step.
  """
  moved = jax.tree.map(lambda w, change: w.astype(jnp.float32) + change,
                       params, changes)
  return _rounded_like(params, moved, key)


def _rounded_like(old, new, key):
  """`new` in the dtypes of `old`, each array rounded by a key of its own."""
  leaves, treedef = jax.tree.flatten(new)
  return treedef.unflatten([
      round_stochastically(x, jax.random.fold_in(key, number))
      if was.dtype == jnp.bfloat16 else x
      for number, (was, x) in enumerate(zip(jax.tree.leaves(old), leaves,
                                            strict=True))])


def round_stochastically(x: jax.Array, key: jax.Array) -> jax.Array:
  """float32 to bfloat16, with a mean that is exact.

  Of the two neighbours in bfloat16 the one that is a part p of their distance
  away is taken with chance 1 - p. A number that is its own neighbour stays.
  The draws depend on the key and an element's place, not on the mesh.
  """
  # bfloat16 is the upper half of a float32. A random number below 2 ** 16,
  # added to the lower half, carries with just that chance.
  bits = jax.lax.bitcast_convert_type(x, jnp.uint32)
  noise = jax.random.bits(key, x.shape, jnp.uint16).astype(jnp.uint32)
  upper = ((bits + noise) >> 16).astype(jnp.uint16)
  rounded = jax.lax.bitcast_convert_type(upper, jnp.bfloat16)
  # A carry would turn some NaNs into numbers.
  return jnp.where(jnp.isfinite(x), rounded, x.astype(jnp.bfloat16))
