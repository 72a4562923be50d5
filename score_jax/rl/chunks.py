"""A loss over chunks of positions, whose gradient is made on the way.

Scores over the vocabulary exist for a few positions at a time; nothing of
shape [B, T, V] is ever made. The gradient of a chunk is taken right behind its
loss, while its scores are there, so that each is computed once: what is left
to a backward pass is to scale.

Chunks go from the last position to the first, and hand on what the tokens
before them have to know of those behind.
"""

from collections.abc import Callable
import functools
from typing import Any

import jax
import jax.numpy as jnp

# (hidden_BCD, head_DV, of_tokens, fixed, behind) -> (loss, (behind, found)):
# a chunk's share of the loss, float32; what the chunk before it is handed; and
# what is to be known of its tokens, a pytree of [B, C] or None.
OfChunk = Callable[..., tuple[jax.Array, tuple[Any, Any]]]


def loss(
    of_chunk: OfChunk,
    hidden_BTD: jax.Array,
    head_DV: jax.Array,
    of_tokens: Any,
    fixed: Any = (),
    behind: Any = (),
    *,
    chunk: int,
) -> tuple[jax.Array, Any]:
  """The sum of `of_chunk` over all positions, and what was found of each.

  Gradients flow into `hidden_BTD` and `head_DV`, from the loss alone. The
  positions that fill up the last chunk have zeros in `of_tokens`, and must add
  nothing.

  Args:
    of_chunk: see `OfChunk`. May hold no array that is traced.
    hidden_BTD: hidden states; those at t predict token t.
    head_DV: the output matrix.
    of_tokens: a pytree of [B, T, ...], of which a chunk is given its own.
    fixed: a pytree that every chunk is given.
    behind: what the last chunk is handed.
    chunk: positions whose scores exist at one time.

  Returns:
    The loss, a float32 scalar, and all that was found, [B, T].
  """
  return _loss(of_chunk, chunk, hidden_BTD, head_DV, of_tokens, fixed, behind)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _loss(of_chunk, chunk, hidden_BTD, head_DV, of_tokens, fixed, behind):

  def step(so_far, given):
    total, behind = so_far
    hidden_BCD, of_tokens = given
    part, (behind, found) = of_chunk(
        hidden_BCD, head_DV, of_tokens, fixed, behind)
    return (total + part, behind), found

  (total, _), found = _over_chunks(
      step, (jnp.float32(0), behind), (hidden_BTD, of_tokens), chunk)
  return total, found


def _loss_and_gradient(
    of_chunk, chunk, hidden_BTD, head_DV, of_tokens, fixed, behind):
  of_both = jax.value_and_grad(of_chunk, argnums=(0, 1), has_aux=True)

  def step(so_far, given):
    total, d_head_DV, behind = so_far
    hidden_BCD, of_tokens = given
    (part, (behind, found)), (d_hidden_BCD, d_part_DV) = of_both(
        hidden_BCD, head_DV, of_tokens, fixed, behind)
    return (total + part, d_head_DV + d_part_DV, behind), (d_hidden_BCD, found)

  nothing_DV = jnp.zeros(head_DV.shape, jnp.float32)
  (total, d_head_DV, _), (d_hidden_BTD, found) = _over_chunks(
      step, (jnp.float32(0), nothing_DV, behind), (hidden_BTD, of_tokens),
      chunk)
  return (total, found), (d_hidden_BTD, d_head_DV.astype(head_DV.dtype))


def _scaled(unused_of_chunk, unused_chunk, gradient, of_result):
  of_loss, _ = of_result
  return *(of_loss.astype(d.dtype) * d for d in gradient), None, None, None


_loss.defvjp(_loss_and_gradient, _scaled)


def _over_chunks(step, start, arrays, chunk):
  """Scans chunks of positions (axis 1) of [B, T, ...], the last one first."""
  T = jax.tree.leaves(arrays)[0].shape[1]
  chunk = min(chunk, T)

  def split(x):
    x = jnp.pad(x, [(0, 0), (0, -T % chunk)] + [(0, 0)] * (x.ndim - 2))
    return jnp.moveaxis(x.reshape(len(x), -1, chunk, *x.shape[2:]), 1, 0)

  def join(x):
    x = jnp.moveaxis(x, 0, 1)
    return x.reshape(len(x), -1, *x.shape[3:])[:, :T]

  end, found = jax.lax.scan(
      step, start, jax.tree.map(split, arrays), reverse=True)
  return end, jax.tree.map(join, found)
