"""One attempt: a `while_loop` over tokens on a cache of static shape."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp

from score_jax import config as config_lib
from score_jax import keys as keys_lib
from score_jax import sharding
from score_jax import types
from score_jax.models import cache as cache_lib
from score_jax.models import decoder
from score_jax.models import held as held_lib
from score_jax.rollout import sampling
from score_jax.rollout import stops as stops_lib

LONG = 64
"""Tokens of an attempt from which on it pays to leave ended rows behind."""

_SCORES = 4096
"""Least scores of attention that a device has of a layer. XLA's CPU backend
sums fewer in another order, and last bits would tell how many rows there are.
"""


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=['cache', 'hidden_BD', 'position_B', 'tokens_BS', 'valid_BS',
                 'attempt_BS', 'logp_BS'],
    meta_fields=[],
)
@dataclasses.dataclass(frozen=True)
class Sequences:
  """Rows being written.

  Attributes:
    cache: keys and values of every slot written so far, but the prompt's.
    hidden_BD: final hidden state at the last slot, which predicts the next
      token; of no meaning in rows that have stopped.
    position_B: int32, the position of the next token.
    tokens_BS, valid_BS, attempt_BS, logp_BS: as in `types.Rollout`.
  """

  cache: Any
  hidden_BD: jax.Array
  position_B: jax.Array
  tokens_BS: jax.Array
  valid_BS: jax.Array
  attempt_BS: jax.Array
  logp_BS: jax.Array


def write_column(x_BS: jax.Array, column_B: jax.Array, slot) -> jax.Array:
  """`x_BS` with one slot of every row replaced."""
  column = column_B[:, None].astype(x_BS.dtype)
  return jax.lax.dynamic_update_slice_in_dim(x_BS, column, slot, axis=1)


def decode_attempt(
    config: config_lib.ModelConfig,
    params: types.Params,
    prompts: Any,
    rows: Sequences,
    keys_B: jax.Array,
    *,
    attempt: int,
    start: int,
    length: int,
    temperature: float,
    stop_ids: tuple[int, ...],
    pad_id: int,
    stops: stops_lib.Stops | None = None,
    state_B: jax.Array | None = None,
) -> tuple[Sequences, jax.Array, stops_lib.Cut | None]:
  """Samples one attempt into slots `start` to `start + length`.

  A row ends with the first of `stop_ids`, which is kept, with a stop string,
  whose tokens are cut off, or when `length` tokens are used up; the loop ends
  when every row has. Every sampled token, also the last, has been read into
  the cache by then.

  Rows that have ended are carried along, but when half of them have, their keys
  and values behind the prompt are no longer read (see `_fewer`); samples do not
  depend on it.

  Args:
    config: the model.
    params: its parameters, already in the dtype to decode in.
    prompts: the cache of the prompts, which samples have in common.
    rows: the sequences so far.
    keys_B: a random key for each row; attempt and token are folded in.
    attempt: 1-based number of the attempt.
    start: its first slot.
    length: its slots.
    temperature: see `sampling.sample`.
    stop_ids: ids that end an attempt.
    pad_id: the id written where a row has ended.
    stops: stop strings; None for none.
    state_B: int32, the state of their automaton in each row; None for none.

  Returns:
    The sequences; ended_B: bool, the row ended with a stop token or string;
    and what was cut, or None without stop strings.
  """
  stop, ahead = start + length, cache_lib.slots(prompts)
  head_DV = decoder.head(config, params)
  ids = jnp.asarray(stop_ids, jnp.int32)

  def running(fewer, carry):
    t, ended_B, _, _ = carry
    live_W = jnp.sum(~held_lib.of_parts(ended_B), axis=1)
    return (t < length) & (jnp.max(live_W) > fewer)

  def step(held, carry):
    t, ended_B, state_B, rows = carry
    slot = start + t
    scores_BV = decoder.logits(config, rows.hidden_BD, head_DV)
    scores_BV = sharding.constrain(scores_BV, 'batch', 'vocab')
    token_keys_B = keys_lib.token_keys(keys_B, attempt, t)
    token_B, logp_B = sampling.sample(scores_BV, token_keys_B, temperature)
    live_B = ~ended_B
    token_B = jnp.where(live_B, token_B, pad_id)
    rows = dataclasses.replace(
        rows,
        tokens_BS=write_column(rows.tokens_BS, token_B, slot),
        valid_BS=write_column(rows.valid_BS, live_B, slot),
        attempt_BS=write_column(rows.attempt_BS, live_B * attempt, slot),
        logp_BS=write_column(
            rows.logp_BS, jnp.where(live_B, logp_B, 0.0), slot),
    )
    hidden_B1D, cache = decoder.forward(
        config, params, token_B[:, None], rows.position_B[:, None],
        rows.valid_BS[:, :stop], rows.cache, slot, held, prompts)
    rows = dataclasses.replace(
        rows,
        cache=cache, hidden_BD=hidden_B1D[:, 0],
        position_B=rows.position_B + live_B)
    is_stop_B = jnp.any(token_B[:, None] == ids[None], axis=1)
    if stops is not None:
      state_B = stops_lib.next_states(stops, state_B, token_B, live_B)
      is_stop_B |= state_B < 0
    return t + 1, ended_B | (live_B & is_stop_B), state_B, rows

  def decode(carry, held, fewer):
    return jax.lax.while_loop(functools.partial(running, fewer),
                              functools.partial(step, held), carry)

  counts = _fewer(config, len(keys_B) // sharding.ways('batch'), stop, length)
  ended_B = jnp.zeros(rows.position_B.shape, bool)
  carry = decode((jnp.int32(0), ended_B, state_B, rows), None,
                 (*counts, 0)[0])
  for count, fewer in zip(counts, (*counts[1:], 0)):
    with jax.named_scope('fewer'):
      t, ended_B, state_B, rows = carry
      held, whole = held_lib.choose(~ended_B, count), rows.cache
      rows = dataclasses.replace(rows, cache=held_lib.cache_of(whole, held))
      t, ended_B, state_B, rows = decode((t, ended_B, state_B, rows), held,
                                         fewer)
      rows = dataclasses.replace(rows, cache=held_lib.put_back(
          whole, rows.cache, held, start - ahead, stop - ahead))
      carry = t, ended_B, state_B, rows
  _, ended_B, state_B, rows = carry
  if stops is None:
    return rows, ended_B, None
  rows, cut = _cut(stops, state_B, rows, start, length, pad_id)
  return rows, ended_B, cut


def _cut(stops, state_B, rows, start, length, pad_id):
  """Takes the stop strings out of the rows that they have ended."""
  of_attempt = lambda x_BS: x_BS[:, start : start + length]
  cut_BT, cut = stops_lib.cut_mask(
      stops, state_B, of_attempt(rows.tokens_BS), of_attempt(rows.valid_BS))

  def without(x_BS, fill):
    kept_BT = jnp.where(cut_BT, jnp.asarray(fill, x_BS.dtype), of_attempt(x_BS))
    return jax.lax.dynamic_update_slice_in_dim(x_BS, kept_BT, start, axis=1)

  return dataclasses.replace(
      rows, position_B=rows.position_B - jnp.sum(cut_BT, axis=1,
                                                 dtype=jnp.int32),
      tokens_BS=without(rows.tokens_BS, pad_id),
      valid_BS=without(rows.valid_BS, False),
      attempt_BS=without(rows.attempt_BS, 0),
      logp_BS=without(rows.logp_BS, 0)), cut


def _fewer(
    config: config_lib.ModelConfig, rows: int, slots: int, length: int
) -> tuple[int, ...]:
  """How many rows of each part are gone on with: a half, and an eighth.

  Each is a loop of its own to compile, and its rows are copied once. A quarter
  between the two would gain next to nothing (docs/performance.md).
  """
  if length < LONG:
    return ()
  scores = config.num_heads // sharding.ways('heads') * slots
  return tuple(rows // by for by in (2, 8)
               if rows % by == 0 and rows // by * scores >= _SCORES)
