"""Keys and values of slots that have been read.

Stacked: a pair of keys and values, [L, B, K, S, H]. Unrolled, faster on CPUs: a
pair for each layer, keys [B, K, H, S] and values [B, K, S, H], which XLA's CPU
backend multiplies as they stand (docs/performance.md).

Samples of a problem have one cache of its prompt together, and each its own of
the slots after it.
"""

from typing import Any

import jax
import jax.numpy as jnp

from score_jax import config as config_lib
from score_jax import sharding


def empty(
    config: config_lib.ModelConfig, blocks: Any, rows: int, slots: int
) -> Any:
  """A cache without anything in it, in the form that fits `blocks`."""
  K, H = config.num_kv_heads, config.head_dim
  zeros = lambda *shape: laid_out(jnp.zeros(shape, config.dtype))
  if isinstance(blocks, tuple):
    return tuple((zeros(rows, K, H, slots), zeros(rows, K, slots, H))
                 for _ in blocks)
  zero = zeros(config.num_layers, rows, K, slots, H)
  return (zero, zero)


def laid_out(x: jax.Array) -> jax.Array:
  """Keys or values, of a layer or of all, where a mesh has them."""
  names = ('layers', 'batch', 'kv_heads', None, None)
  return sharding.constrain(x, *names[-x.ndim :])


def slot_axes(cache: Any) -> Any:
  """Which axis of each array has the slots."""
  if isinstance(cache[0], tuple):
    return tuple((-1, -2) for _ in cache)
  return (-2, -2)


def slots(cache: Any) -> int:
  """Slots of a cache; 0 for None."""
  return 0 if cache is None else jax.tree.leaves(cache)[-1].shape[-2]


def widened(cache: Any, slots: int) -> Any:
  """The cache with room for so many slots."""

  def widen(x, axis):
    room = [(0, 0)] * x.ndim
    room[axis] = (0, slots - x.shape[axis])
    return jnp.pad(x, room)

  return jax.tree.map(widen, cache, slot_axes(cache))


def layer_of(cache: Any, index: int) -> tuple[jax.Array, jax.Array] | None:
  """Keys and values [B, K, S, H] of a layer of an unrolled cache, or None."""
  if cache is None:
    return None
  keys, values = cache[index]
  return keys.swapaxes(2, 3), values


def keep(k, v):
  """Without a cache, the new keys and values are all there are."""
  return k, v, None


def append(cache, slot):
  """Writes into a layer's pair of an unrolled cache."""

  def store(k, v):
    put = jax.lax.dynamic_update_slice_in_dim
    keys = put(cache[0], k.swapaxes(2, 3), slot, axis=3)
    values = put(cache[1], v, slot, axis=2)
    return keys.swapaxes(2, 3), values, (keys, values)

  return store


def append_stacked(cache, slot, index):
  """Writes into layer `index` of a stacked cache."""

  def store(k, v):
    new_cache = tuple(
        jax.lax.dynamic_update_slice(old, new[None], (index, 0, 0, slot, 0))
        for old, new in zip(cache, (k, v)))
    keys, values = (
        jax.lax.dynamic_index_in_dim(c, index, keepdims=False)
        for c in new_cache)
    return keys, values, new_cache

  return store
