"""A cache of some of the rows: those that still decode.

Keys and values of rows that have ended need not be read, but those of prompts,
which live rows share with them. All else of a layer goes on with every row: a
product with weights costs about the same with fewer rows, and its last bits
depend on how many there are, those of a row's attention do not.
"""

import functools
from typing import Any
from typing import NamedTuple

import jax
import jax.numpy as jnp

from score_jax import sharding
from score_jax.models import cache as cache_lib


class Held(NamedTuple):
  """Which rows of a batch a cache holds.

  A mesh splits the B rows into W parts. Each part holds N of its own, so that
  no keys or values travel.

  Attributes:
    there_WN: int32, their numbers within the part.
    back_WR: int32, for each of the R rows of the part where it is among those;
      of rows that are not held, the place of another.
  """

  there_WN: jax.Array
  back_WR: jax.Array


def of_parts(x_B: jax.Array) -> jax.Array:
  """[B] as [W, R]."""
  return x_B.reshape(sharding.ways('batch'), -1)


def choose(live_B: jax.Array, count: int) -> Held:
  """Holds `count` rows of each part: the live ones, if there are no more."""
  order_WR = jnp.argsort(~of_parts(live_B), axis=1, stable=True)
  back_WR = jnp.argsort(order_WR, axis=1)
  return Held(order_WR[:, :count], jnp.minimum(back_WR, count - 1))


def there(held: Held | None, x: jax.Array) -> jax.Array:
  """Of all rows [B, ...] those that are held; all where None is given."""
  return x if held is None else pick(x, held.there_WN)


def back(held: Held | None, x: jax.Array) -> jax.Array:
  """The inverse; rows that are not held get those of another."""
  return x if held is None else pick(x, held.back_WR)


def pick(x: jax.Array, index_WN: jax.Array, axis: int = 0) -> jax.Array:
  """Rows [..., W * N, ...] of [..., B, ...], each of its own part."""
  take = functools.partial(jnp.take, axis=axis, mode='clip')
  return _by_part(take, axis)(x, index_WN)


def cache_of(whole: Any, held: Held) -> Any:
  """Keys and values of the rows that are held."""
  return jax.tree.map(
      lambda x: cache_lib.laid_out(pick(x, held.there_WN, x.ndim - 4)), whole)


def put_back(whole: Any, cache: Any, held: Held, start: int, stop: int) -> Any:
  """`whole` with slots `start` to `stop` of the rows that are held."""

  def put(old, new, slots):
    axis = old.ndim - 4  # Of the rows.
    written = [slice(None)] * old.ndim
    written[slots] = slice(start, stop)
    behind = tuple(written[axis + 1 :])

    def of_part(old, index, new):
      place = (slice(None),) * axis + (index, *behind)
      return old.at[place].set(new[(..., *behind)], unique_indices=True)

    return cache_lib.laid_out(_by_part(of_part, axis)(old, held.there_WN, new))

  return jax.tree.map(put, whole, cache, cache_lib.slot_axes(whole))


def _by_part(function, axis):
  """`function(x, index, *more)` of each part alone."""

  def of_all(x, index_WN, *more):
    W = len(index_WN)
    split = lambda x: x.reshape(*x.shape[:axis], W, -1, *x.shape[axis + 1 :])
    each = jax.vmap(function, (axis, 0) + (axis,) * len(more), axis)
    found = each(split(x), index_WN, *map(split, more))
    return found.reshape(*x.shape[:axis], -1, *x.shape[axis + 1 :])

  return of_all
