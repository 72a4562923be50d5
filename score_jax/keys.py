"""Random keys: one for every purpose, step, row, attempt and token.

A key is folded from these numbers and never split or reused, so a row's samples
depend neither on its neighbours, nor on the number of devices or hosts, nor on
whether the run was interrupted.
"""

import zlib

import jax


def purpose_key(seed: int, purpose: str) -> jax.Array:
  """The key of one purpose, such as 'rollout/stage1', of a run's seed."""
  return jax.random.fold_in(jax.random.key(seed), zlib.crc32(purpose.encode()))


def purpose_seed(seed: int, purpose: str) -> int:
  """The same as a number below 2 ** 31, for libraries other than jax."""
  return int(jax.random.bits(purpose_key(seed, purpose), dtype='uint32')) >> 1


def second_key(key: jax.Array) -> jax.Array:
  """The key of what is sampled in a second program, after one with `key`."""
  return jax.random.fold_in(key, zlib.crc32(b'second'))


def row_keys(key: jax.Array, step: jax.Array, rows_B: jax.Array) -> jax.Array:
  """Keys [B] of global rows `rows_B` at a step."""
  at_step = jax.random.fold_in(key, step)
  return jax.vmap(lambda row: jax.random.fold_in(at_step, row))(rows_B)


def token_keys(
    keys_B: jax.Array, attempt: int, position: jax.Array
) -> jax.Array:
  """Keys [B] of one token: its attempt, and its position in that attempt."""
  fold = jax.random.fold_in
  return jax.vmap(lambda key: fold(fold(key, attempt), position))(keys_B)
