"""All attempts of a batch in ONE program: what SCoRe samples from.

    prefill the prompt once per problem; the G samples attend to its cache
    decode attempt 1
    splice in the correction instruction, on the same cache
    decode attempt 2
    ... and so on for more attempts

Attempt 1 is never read again: its keys and values stay where decoding put them.
Nothing comes back to the host in between.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp

from score_jax import config as config_lib
from score_jax import keys as keys_lib
from score_jax import sharding
from score_jax import types
from score_jax.models import cache as cache_lib
from score_jax.models import decoder
from score_jax.rollout import decode
from score_jax.rollout import stops as stops_lib


@jax.named_scope('sampler')
def sample_attempts(
    config: config_lib.ModelConfig,
    params: types.Params,
    prompts_NP: jax.Array,
    prompt_valid_NP: jax.Array,
    splices: tuple[jax.Array, ...],
    key: jax.Array,
    step: jax.Array,
    rows_B: jax.Array,
    stops: stops_lib.Stops | None = None,
    *,
    samples: int,
    attempt_tokens: tuple[int, ...],
    temperature: float,
    stop_ids: tuple[int, ...],
    pad_id: int,
) -> types.Rollout:
  """Samples every attempt of `samples` rows for each problem.

  Args:
    config: the model.
    params: its parameters, layers stacked.
    prompts_NP: int32, left-padded ids of the first prompt of N problems.
    prompt_valid_NP: bool, false in the padding.
    splices: for each attempt but the first the ids of its instruction (int32,
      rank 1, everything that stands between the stop token of the attempt
      before and the first token of this one).
    key: the run's key for rollouts.
    step: int32, folded into the keys.
    rows_B: int32, numbers of the rows in the global batch (B = N * samples,
      problem-major), folded into the keys.
    stops: strings that end an attempt too; None for none.
    samples: rows a problem (G).
    attempt_tokens: most tokens of each attempt.
    temperature: of sampling; 0 decodes greedily.
    stop_ids: ids that end an attempt; the first closes one that ran out.
    pad_id: the id in slots that are not valid.

  Returns:
    The rollout, rows problem-major.
  """
  layout = types.Layout(
      prompts_NP.shape[1], attempt_tokens,
      tuple(1 + ids.shape[0] for ids in splices))
  params = decoder.cast(config, params)
  if config.unroll_decode:
    params = decoder.unroll(config, params)
  keys_B = keys_lib.row_keys(key, step, rows_B)
  with jax.named_scope('prefill'):
    prompts, rows = _prefill(config, params, prompts_NP, prompt_valid_NP,
                             samples, layout, pad_id)
  ended, cuts = [], []
  for index, start in enumerate(layout.starts):
    if index:
      with jax.named_scope(f'splice_{index}'):
        rows = _splice(config, params, prompts, rows,
                       _closed(ended[-1], cuts[-1]), splices[index - 1], start,
                       start + attempt_tokens[index], stop_ids[0], pad_id)
    with jax.named_scope(f'attempt_{index + 1}'):
      rows, ended_B, cut = decode.decode_attempt(
          config, params, prompts, rows, keys_B, attempt=index + 1,
          start=start, length=attempt_tokens[index], temperature=temperature,
          stop_ids=stop_ids, pad_id=pad_id, stops=stops,
          state_B=stops_lib.start_states(stops, index + 1, samples))
    ended.append(ended_B)
    cuts.append(cut)
  numbers = jnp.arange(1, len(attempt_tokens) + 1)
  of_attempt_BSA = rows.attempt_BS[:, :, None] == numbers[None, None]
  return types.Rollout(
      tokens_BS=rows.tokens_BS, valid_BS=rows.valid_BS,
      attempt_BS=rows.attempt_BS, logp_BS=rows.logp_BS,
      length_BA=jnp.sum(of_attempt_BSA, axis=1, dtype=jnp.int32),
      truncated_BA=~jnp.stack(ended, axis=1), layout=layout,
      stop_token_BA=_of_all(cuts, 'token_B'),
      stop_bytes_BA=_of_all(cuts, 'bytes_B'))


def _closed(ended_B, cut):
  """Rows whose attempt ended with a stop token, which is in them."""
  return ended_B if cut is None else ended_B & (cut.token_B < 0)


def _of_all(cuts, name):
  """A field of what was cut from each attempt, [B, A]; None without any."""
  if cuts[0] is None:
    return None
  return jnp.stack([getattr(cut, name) for cut in cuts], axis=1)


def _prefill(config, params, prompts_NP, valid_NP, samples, layout, pad_id):
  """Reads each prompt once; its cache, and a row for every sample."""
  N, P = prompts_NP.shape
  position_NP = jnp.maximum(jnp.cumsum(valid_NP, axis=1) - 1, 0)
  empty = functools.partial(cache_lib.empty, config, params['blocks'])
  hidden_NPD, prompts = decoder.forward(
      config, params, prompts_NP, position_NP, valid_NP, empty(N, P), 0)
  share = lambda x: jnp.repeat(x, samples, axis=0)
  room = ((0, 0), (0, layout.slots - P))
  prompts_NP = jnp.where(valid_NP, prompts_NP, pad_id)
  shape = (N * samples, layout.slots)
  rows = decode.Sequences(
      cache=empty(N * samples, layout.attempts[0]),
      hidden_BD=share(hidden_NPD[:, -1]),
      position_B=share(jnp.sum(valid_NP, axis=1, dtype=jnp.int32)),
      tokens_BS=jnp.pad(share(prompts_NP), room, constant_values=pad_id),
      valid_BS=jnp.pad(share(valid_NP), room),
      attempt_BS=jnp.zeros(shape, jnp.int32),
      logp_BS=jnp.zeros(shape, jnp.float32))
  return prompts, dataclasses.replace(
      rows, hidden_BD=sharding.constrain(rows.hidden_BD, 'batch', None),
      tokens_BS=sharding.constrain(rows.tokens_BS, 'batch', None))


def _splice(config, params, prompts, rows, closed_B, instruction_I, end, slots,
            stop_id, pad_id):
  """Puts the end of turn, where it is missing, and the instruction.

  It ends before slot `end`. The cache gets room for `slots`: what would be read
  of slots that the attempts before have no use for is saved.
  """
  B, I = rows.tokens_BS.shape[0], instruction_I.shape[0]
  start = end - I - 1
  missing_B1 = ~closed_B[:, None]
  valid_BI = jnp.concatenate([missing_B1, jnp.ones((B, I), bool)], axis=1)
  tokens_BI = jnp.concatenate(
      [jnp.where(missing_B1, stop_id, pad_id),
       jnp.broadcast_to(instruction_I[None], (B, I))], axis=1)
  offset_BI = jnp.cumsum(valid_BI, axis=1, dtype=jnp.int32)
  position_BI = rows.position_B[:, None] + jnp.maximum(offset_BI - 1, 0)
  put = lambda old, new: jax.lax.dynamic_update_slice_in_dim(
      old, new.astype(old.dtype), start, axis=1)
  valid_BS = put(rows.valid_BS, valid_BI)
  cache = cache_lib.widened(rows.cache, slots - cache_lib.slots(prompts))
  hidden_BID, cache = decoder.forward(
      config, params, tokens_BI, position_BI, valid_BS[:, :slots], cache, start,
      prompts=prompts)
  return dataclasses.replace(
      rows, cache=cache, hidden_BD=hidden_BID[:, -1],
      position_B=rows.position_B + offset_BI[:, -1],
      tokens_BS=put(rows.tokens_BS, tokens_BI), valid_BS=valid_BS)
