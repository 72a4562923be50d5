"""Stop strings on the devices: matched in the decode loop, then cut off.

While an attempt decodes each row has one number: the state of the automaton
(`automaton.Table`), which a token changes by one lookup. A row whose stop
string is complete ends. When all rows have ended, the tokens that contain any
byte of the string, and those after them, are taken out of the row: their slots
are not valid, they belong to no attempt, and positions count on as if the row
had ended before them. The keys and values in these slots are never read.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp

from score_jax import sharding


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=['next_SV', 'size_V', 'start_NA'], meta_fields=[])
@dataclasses.dataclass(frozen=True)
class Stops:
  """Stop strings of the rows of a batch.

  Attributes:
    next_SV, size_V: see `automaton.Table`; the same on every device.
    start_NA: int32, the state in which each attempt of each problem begins.
  """

  next_SV: jax.Array
  size_V: jax.Array
  start_NA: jax.Array


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=['token_B', 'bytes_B'], meta_fields=[])
@dataclasses.dataclass(frozen=True)
class Cut:
  """Where stop strings begin in the rows of an attempt.

  Attributes:
    token_B: int32, the id of the token that contains the first byte of the stop
      string; -1 in rows that no stop string has ended.
    bytes_B: int32, bytes of that token before the stop string.
  """

  token_B: jax.Array
  bytes_B: jax.Array


def start_states(
    stops: Stops | None, attempt: int, samples: int
) -> jax.Array | None:
  """Return the states [B] of all rows before an attempt (from 1)."""
  if stops is None:
    return None
  return sharding.constrain(
      jnp.repeat(stops.start_NA[:, attempt - 1], samples), 'batch')


def next_states(
    stops: Stops, state_B: jax.Array, token_B: jax.Array, live_B: jax.Array
) -> jax.Array:
  """Return the states [B] after a token; those of ended rows stay.

  A state below 0 is that of a row that a stop string has ended.
  """
  next_B = stops.next_SV[jnp.maximum(state_B, 0), token_B].astype(jnp.int32)
  return jnp.where(live_B, next_B, state_B)


def cut_mask(
    stops: Stops, state_B: jax.Array, tokens_BT: jax.Array, there_BT: jax.Array
) -> tuple[jax.Array, Cut]:
  """Find the tokens of an attempt that its stop string takes away.

  Args:
    stops: of the batch.
    state_B: int32, after the last token of each row.
    tokens_BT: int32 ids of the attempt's slots.
    there_BT: bool, slots that hold a token of the attempt.

  Returns:
    Bool [B, T], true for the token with the first byte of the stop string and
    for all after it; and what was cut.
  """
  size_BT = jnp.where(there_BT, stops.size_V[tokens_BT], 0)
  back_B = jnp.maximum(-state_B, 0)  # Bytes from the stop string on.
  so_far_BT = jnp.cumsum(size_BT, axis=1)
  after_BT = so_far_BT[:, -1:] - so_far_BT
  cut_BT = there_BT & (after_BT < back_B[:, None])
  first_B1 = jnp.argmax(cut_BT, axis=1)[:, None]
  token_B = jnp.take_along_axis(tokens_BT, first_B1, axis=1)[:, 0]
  kept_B = jnp.sum(size_BT * cut_BT, axis=1) - back_B
  is_cut_B = back_B > 0
  return cut_BT, Cut(jnp.where(is_cut_B, token_B, -1),
                     jnp.where(is_cut_B, kept_B, 0))
