"""Attempts that follow first ones which are there already.

The sampler writes all attempts in one program, of one policy, with one
instruction for all rows. Where a first attempt is of another policy, or what
stands between the attempts differs from row to row, the first attempts become
prompts of the same sampler, and its rollouts are put into the slots in which
one program would have written all of it. What a first attempt has left of its
cache is computed again.
"""

from collections.abc import Sequence
import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np

from score_jax import actor as actor_lib
from score_jax import keys
from score_jax import sharding
from score_jax import types
from score_jax.text import prompts


def follow(
    actor: actor_lib.Actor,
    params: types.Params,
    problems: Sequence[types.Problem],
    first: types.Rollout,
    splices: Sequence[Sequence[int]],
    asked: actor_lib.Conversation,
    key: jax.Array,
    step: int,
    first_row: int,
    temperature: float,
) -> types.Rollout:
  """The attempts after the first, of every row.

  Args:
    actor: of the task.
    params: the policy, see `Actor.copied`.
    problems: of the rows, in their order; a problem may have several rows.
    first: first attempts alone, on the mesh.
    splices: for each row the ids behind its first attempt.
    asked: what all attempts are asked by; its first splice tells how many
      slots the ids of `splices` get.
    key, step, first_row, temperature: see `Actor.sample`. Attempts are numbered
      from 1 here too, so the key must not be that of the first ones.

  Returns:
    All attempts, as `Actor.sample` would return them.
  """
  split = lambda x: sharding.put_rows(x, actor.mesh)
  tokens_BI, valid_BI = prompts.pad_left(
      splices, len(asked.splices[0]), actor.tokenizer.pad_id)
  join = _joined(actor.mesh, actor.tokenizer.stop_ids[0],
                 actor.tokenizer.pad_id)
  prefix, packed = join(first, split(tokens_BI), split(valid_BI))
  rows = np.arange(first_row, first_row + len(splices), dtype=np.int32)
  samples, attempts = len(splices) // len(problems), asked.attempt_tokens[1:]
  stops = actor.stops([problem for problem in problems for _ in range(samples)],
                      len(attempts), corrects=True)
  rest = actor.program(
      params, *packed, asked.splices[1:], key, np.int32(step), split(rows),
      stops, samples=1, attempt_tokens=attempts, temperature=temperature)
  return _whole(actor.mesh)(first, prefix, rest)


def sample(
    actor: actor_lib.Actor,
    params: types.Params,
    problems: Sequence[types.Problem],
    key: jax.Array,
    step: int,
    *,
    temperature: float,
    first_row: int,
    swap: bool,
    samples: int = 1,
    conversation: actor_lib.Conversation | None = None,
) -> list[types.Rollout]:
  """As `Actor.sample`, in two programs: attempt 1, and what follows it.

  Args:
    actor, params, problems, key, step, temperature, first_row, samples,
      conversation: see `Actor.sample`.
    swap: whether the rows go on from the attempt 1 of the row behind them (the
      last from that of the first).
  """
  asked = (conversation or actor.conversation).of_one_length(problems)
  first, = actor.sample(
      params, problems, key, step, samples=samples, temperature=temperature,
      first_row=first_row, conversation=asked.first_attempts(1))
  if swap:
    first = _swapped(actor.mesh)(first)
  splices = [asked.splices[0]] * len(first.tokens_BS)
  return [follow(actor, params, problems, first, splices, asked,
                 keys.second_key(key), step, first_row, temperature)]


def _of_attempts(rollout):
  """Names of the arrays [B, A] that a rollout has."""
  names = ('length_BA', 'truncated_BA', 'stop_token_BA', 'stop_bytes_BA')
  return [name for name in names if getattr(rollout, name) is not None]


@functools.cache
def _swapped(mesh):
  """The program (first) -> with the attempt of the row behind each."""

  def program(first):
    behind = lambda x_B: jnp.roll(x_B, -1, axis=0)
    P = first.layout.prompt
    attempt = lambda x_BS: jnp.concatenate(
        [x_BS[:, :P], behind(x_BS[:, P:])], axis=1)
    return dataclasses.replace(
        first, tokens_BS=attempt(first.tokens_BS),
        valid_BS=attempt(first.valid_BS), attempt_BS=behind(first.attempt_BS),
        logp_BS=behind(first.logp_BS), **{
            name: behind(getattr(first, name)) for name in _of_attempts(first)})

  return jax.jit(program, out_shardings=sharding.named(mesh, 'batch'))


@functools.cache
def _joined(mesh, stop_id, pad_id):
  """The program (first, ids, valid) -> prefix in its slots, and packed.

  Packed, valid slots stand side by side, as in the prompts that the sampler
  takes.
  """

  def program(first, tokens_BI, valid_BI):
    missing_B1 = first.truncated_BA
    if first.stop_token_BA is not None:
      missing_B1 |= first.stop_token_BA >= 0
    end_B1 = jnp.where(missing_B1, stop_id, pad_id)
    tokens_BP = jnp.concatenate([first.tokens_BS, end_B1, tokens_BI], axis=1)
    valid_BP = jnp.concatenate([first.valid_BS, missing_B1, valid_BI], axis=1)
    order_BP = jnp.argsort(valid_BP, axis=1, stable=True)
    pick = lambda x_BP: jnp.take_along_axis(x_BP, order_BP, axis=1)
    return (tokens_BP, valid_BP), (pick(tokens_BP), pick(valid_BP))

  return jax.jit(program, out_shardings=sharding.named(mesh, 'batch'))


@functools.cache
def _whole(mesh):
  """The program (first, prefix, rest) -> a rollout of all attempts."""

  def program(first, prefix, rest):
    P = prefix[0].shape[1]
    behind = lambda x_BS, before: jnp.concatenate([before, x_BS[:, P:]], axis=1)
    room = ((0, 0), (0, P - first.layout.slots))
    later_BS = jnp.where(rest.attempt_BS > 0, rest.attempt_BS + 1, 0)
    beside = lambda name: jnp.concatenate(
        [getattr(first, name), getattr(rest, name)], axis=1)
    return types.Rollout(
        tokens_BS=behind(rest.tokens_BS, prefix[0]),
        valid_BS=behind(rest.valid_BS, prefix[1]),
        attempt_BS=behind(later_BS, jnp.pad(first.attempt_BS, room)),
        logp_BS=behind(rest.logp_BS, jnp.pad(first.logp_BS, room)),
        **{name: beside(name) for name in _of_attempts(first)},
        layout=types.Layout(
            first.layout.prompt, first.layout.attempts + rest.layout.attempts,
            (P - first.layout.slots, *rest.layout.splices)))

  return jax.jit(program, out_shardings=sharding.named(mesh, 'batch'))
