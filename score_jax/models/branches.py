"""Rows that share a prompt as one sequence: the prompt, and a branch of each.

    [prompt | branch 1 | branch 2 | ...]

All of a layer but attention takes tokens one by one, so what these rows have in
common is computed once, forwards and backwards. A branch attends to the prompt
and to itself; its positions are those of its row.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp


class Branches(NamedTuple):
  """What rows share.

  Attributes:
    prompt: slots of the prompt (P); a row has R more.
    count: neighbours in the batch that have the same prompt (G).
  """

  prompt: int
  count: int


def join(x_BS: jax.Array, branches: Branches) -> jax.Array:
  """Rows [B, P + R, ...] as sequences [B / G, P + G * R, ...].

  The prompt is taken from the first of the rows that share it.
  """
  P, G = branches
  x = x_BS.reshape(-1, G, *x_BS.shape[1:])
  rest = x[:, :, P:].reshape(len(x), -1, *x.shape[3:])
  return jnp.concatenate([x[:, 0, :P], rest], axis=1)


def each(x_NT: jax.Array, branches: Branches) -> jax.Array:
  """The branches of [B / G, P + G * R, ...] alone, as rows [B, R, ...]."""
  P, G = branches
  return x_NT[:, P:].reshape(len(x_NT) * G, -1, *x_NT.shape[2:])


def prompt(x_NT: jax.Array, branches: Branches) -> jax.Array:
  """What each row has in its prompt, [B, P, ...]."""
  return jnp.repeat(x_NT[:, : branches.prompt], branches.count, axis=0)


def rows(x_NT: jax.Array, branches: Branches) -> jax.Array:
  """The rows that were joined, [B, P + R, ...]."""
  return jnp.concatenate([prompt(x_NT, branches), each(x_NT, branches)], axis=1)
