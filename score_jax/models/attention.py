"""Attention over a sequence: plain, or on TPUs by the splash kernel.

Plain attention holds scores of nearly every pair of a query and a key. The
kernel holds those of one block at a time, forwards and backwards, and leaves
out blocks that no query of theirs may see. It is given what it can: whole
sequences, in training also those that share a prompt, and prompts that are
read. Decoding, whose queries are few, and splices are plain.

The kernel knows slots, not positions. The two keep step where valid tokens
stand next to each other, so a window needs `compacted` rows.
"""

from collections.abc import Callable
import functools

import jax
from jax.experimental.pallas.ops.tpu import splash_attention
import jax.numpy as jnp

from score_jax import config as config_lib
from score_jax import sharding
from score_jax.models import branches as branches_lib
from score_jax.models import held as held_lib

_MASKED = -1e30  # Finite, so that a row without any key gives no NaN.
# Plain attention takes long sequences in parts, none of which meets keys that
# come after all of its queries: up to 3 of 8 scores are left out.
_PARTS, _PART = 4, 48  # At most, and least queries of each.
# Most samples of a prompt that are cut out one by one; every layer has an
# operation for each of them, which a compiler takes minutes for at 1,000.
_SLICES = 16

# (is_global, q_BTNH, k_BKSH, v_BKSH) -> mixed_BTNH; `is_global` may be traced.
# What attends plainly takes `prompt=` too, see `plain`.
Attend = Callable[..., jax.Array]


def softcap(scores: jax.Array, cap: float) -> jax.Array:
  """cap * tanh(scores / cap), or `scores` where there is no cap (0)."""
  return cap * jnp.tanh(scores / cap) if cap else scores


def attend_fn(
    config: config_lib.ModelConfig,
    positions_BT: jax.Array,
    valid_BS: jax.Array,
    slot: jax.Array | int,
    held: held_lib.Held | None = None,
) -> Attend:
  """What all layers attend with: tokens in slots from `slot` to S slots.

  Args:
    config: the model.
    positions_BT: int32, of the tokens.
    valid_BS: bool, slots that may be attended to. Where the kernel is used and
      a window binds, those of a row must stand side by side.
    slot: first slot of the tokens.
    held: the rows that there are keys and values of; None for all.
  """
  T, S = positions_BT.shape[1], valid_BS.shape[1]
  if T == S and uses_kernel(config):
    return functools.partial(_by_kernel, config, valid_BS)
  return _attend_plainly(config, positions_BT, valid_BS, slot, held)


def attend_branches_fn(
    config: config_lib.ModelConfig,
    positions_NT: jax.Array,
    valid_NT: jax.Array,
    branches: branches_lib.Branches,
) -> Attend:
  """What all layers attend with in sequences of `branches.join`.

  Args:
    config: the model.
    positions_NT: int32, of the tokens, each counted in its row.
    valid_NT: bool, slots that may be attended to. Where the kernel is used and
      a window binds, those of a row must stand side by side.
    branches: what the rows share.
  """
  P = branches.prompt
  of_prompt = attend_fn(config, positions_NT[:, :P], valid_NT[:, :P], 0)
  valid_BS = branches_lib.rows(valid_NT, branches)
  if uses_kernel(config):
    of_each = functools.partial(_by_kernel, config, valid_BS)
  else:
    of_each = _attend_plainly(
        config, branches_lib.each(positions_NT, branches), valid_BS, P)

  def attend(is_global, q_NTNH, k_NKTH, v_NKTH):
    prompt = of_prompt(is_global, q_NTNH[:, :P], k_NKTH[:, :, :P],
                       v_NKTH[:, :, :P])
    keys, values = (
        branches_lib.rows(x.swapaxes(1, 2), branches).swapaxes(1, 2)
        for x in (k_NKTH, v_NKTH))
    rest = of_each(is_global, branches_lib.each(q_NTNH, branches), keys, values)
    rest = rest.reshape(len(prompt), -1, *rest.shape[2:])
    return jnp.concatenate([prompt, rest], axis=1)

  return attend


def _attend_plainly(config, positions_BT, valid_BS, slot, held=None):
  positions_BT, valid_BS = (
      held_lib.there(held, x) for x in (positions_BT, valid_BS))
  T, S = positions_BT.shape[1], valid_BS.shape[1]
  causal_TS = jnp.arange(S)[None] <= slot + jnp.arange(T)[:, None]
  mask_BTS = valid_BS[:, None] & causal_TS[None]
  near_BTS = None
  if window_binds(config, S):
    key_positions_BS = jnp.cumsum(valid_BS, axis=1, dtype=jnp.int32) - 1
    behind_BTS = positions_BT[:, :, None] - key_positions_BS[:, None]
    near_BTS = mask_BTS & (behind_BTS < config.window)
  return functools.partial(_by_mask, config, mask_BTS, near_BTS, slot, held)


def uses_kernel(config: config_lib.ModelConfig) -> bool:
  """Whether whole sequences go through the kernel; 'auto': on TPUs."""
  if config.attention == 'auto':
    return _on_tpus()
  return config.attention == 'splash'


def check_precision(config: config_lib.ModelConfig, mesh: jax.sharding.Mesh):
  """ValueError if the kernel has no products of jax's default precision.

  The compiler refuses them with words that name neither.
  """
  precision = jax.config.jax_default_matmul_precision
  known = (None, 'default', 'bfloat16')
  if config.dtype == 'float32':
    known += ('highest', 'float32')
  with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
    if precision not in known and uses_kernel(config) and _on_tpus():
      raise ValueError(
          f'jax_default_matmul_precision is {precision!r}, which the attention '
          f'kernel has not for config.model.dtype {config.dtype!r}; leave '
          'JAX_DEFAULT_MATMUL_PRECISION out, or set '
          "config.model.attention='plain'")


def window_binds(config: config_lib.ModelConfig, slots: int) -> bool:
  """Whether local layers see less of so many slots than global ones."""
  return config.global_every > 1 and config.window < slots


def wants_compact(config: config_lib.ModelConfig, slots: int) -> bool:
  """Whether a window of slots has to be the window of positions."""
  return uses_kernel(config) and window_binds(config, slots)


def _on_tpus():
  # Of the mesh, whose devices need not be those of this process.
  device = jax.sharding.get_abstract_mesh().abstract_device
  return device is not None and device.platform == 'tpu'


def plain(
    config: config_lib.ModelConfig,
    q_BTNH: jax.Array,
    k_BKSH: jax.Array,
    v_BKSH: jax.Array,
    mask_BTS: jax.Array,
    held: held_lib.Held | None = None,
    prompt: tuple[jax.Array, jax.Array] | None = None,
) -> jax.Array:
  """Attends where `mask_BTS` is true; returns [B, T, N, H].

  Args:
    config: the model.
    q_BTNH: of all rows.
    k_BKSH, v_BKSH: of the rows that are held, without those of `prompt`.
    mask_BTS: bool, of the rows that are held, the prompt's slots first.
    held: the rows that there are keys and values of; None for all.
    prompt: keys and values of the first slots, [M, K, P, H]: each is that of
      B / M rows, neighbours, which read it together.
  """
  B, T, N, H = q_BTNH.shape
  K = k_BKSH.shape[1]
  # Heads that share a key are queries side by side: gradients of keys contract
  # one axis, and over two XLA's CPU backend turns the scores around first.
  q_BKQH = q_BTNH.reshape(B, T, K, N // K, H).transpose(0, 2, 3, 1, 4).reshape(
      B, K, -1, H)
  mask_BQS = jnp.tile(mask_BTS, (1, N // K, 1))
  scores = _scores(held_lib.there(held, q_BKQH), k_BKSH)
  if prompt is not None:
    # Of all rows, held or not: one product has those of a prompt.
    of_prompt = _apart(_scores(_together(q_BKQH, len(prompt[0])), prompt[0]), B)
    scores = jnp.concatenate(
        [held_lib.there(held, of_prompt), scores], axis=-1)
  scores = softcap(scores * _scale(config), config.attention_softcap)
  scores = jnp.where(mask_BQS[:, None], scores, _MASKED)
  weights = jax.nn.softmax(scores, axis=-1).astype(v_BKSH.dtype)
  # In the order of the operands: in another XLA's CPU backend makes of it a
  # product that is 3 times as slow, and 40 times with a single query.
  mix = functools.partial(jnp.einsum, 'bkqs,bksh->bkqh')
  if prompt is None:
    mixed = held_lib.back(held, mix(weights, v_BKSH))
  else:
    M, _, P, _ = prompt[1].shape
    mix = functools.partial(mix, preferred_element_type=jnp.float32)
    of_prompt = mix(
        _together(held_lib.back(held, weights[..., :P]), M), prompt[1])
    mixed = held_lib.back(held, mix(weights[..., P:], v_BKSH))
    mixed += _apart(of_prompt, B)
    mixed = mixed.astype(v_BKSH.dtype)  # Rounded once, as without a prompt.
  return mixed.reshape(B, K, N // K, T, H).transpose(0, 3, 1, 2, 4).reshape(
      B, T, N, H)


def _scores(q_BKQH, k_BKSH):
  return jnp.einsum('bkqh,bksh->bkqs', q_BKQH, k_BKSH,
                    preferred_element_type=jnp.float32)


def _together(x_BKQX, M):
  """[M, K, B / M * Q, X]: the queries of the rows of each prompt as one."""
  B, K, Q, X = x_BKQX.shape
  return x_BKQX.reshape(M, B // M, K, Q, X).swapaxes(1, 2).reshape(M, K, -1, X)


def _apart(x_MKQX, B):
  """[B, K, Q, X]: the inverse."""
  M, K, _, X = x_MKQX.shape
  if B // M > _SLICES:
    x = x_MKQX.reshape(M, K, B // M, -1, X)
    return x.swapaxes(1, 2).reshape(B, K, -1, X)
  # Not by swapped axes: where both are short the TPU compiler slices along one
  # that a mesh splits, and gathers it.
  rows = jnp.split(x_MKQX, B // M, axis=2)
  return jnp.stack(rows, axis=1).reshape(B, K, -1, X)


def splash(
    config: config_lib.ModelConfig,
    q_BTNH: jax.Array,
    k_BKSH: jax.Array,
    v_BKSH: jax.Array,
    valid_BS: jax.Array,
    window: int = 0,
) -> jax.Array:
  """Causal attention among valid slots, by a kernel; returns [B, T, N, H].

  Every device takes its rows and heads. Slots that are not valid see one
  another: their outputs are finite, and mean nothing.

  Args:
    config: the model.
    q_BTNH: of the last T slots of the sequence.
    k_BKSH, v_BKSH: of all of them.
    valid_BS: bool, slots that may be attended to.
    window: slots that are seen, the query's own included; 0 for all.
  """
  T, S = q_BTNH.shape[1], valid_BS.shape[1]
  queries, keys = block_size(T), block_size(S)
  room_T, room_S = -T % queries, -S % keys
  shape = T + room_T, S + room_S
  mask = (splash_attention.LocalMask(shape, (window - 1, 0), S - T)
          if window else splash_attention.CausalMask(shape, S - T))
  sizes = splash_attention.BlockSizes(
      block_q=queries, block_kv=keys, block_q_dkv=queries, block_kv_dkv=keys,
      block_q_dq=queries, block_kv_dq=keys)

  def on_a_device(q_BNTH, k_BKSH, v_BKSH, valid_BT, valid_BS):
    kernel = splash_attention.make_splash_mha(
        splash_attention.MultiHeadMask([mask] * q_BNTH.shape[1]),
        block_sizes=sizes, head_shards=1, q_seq_shards=1,
        attn_logits_soft_cap=config.attention_softcap or None,
        interpret=not _on_tpus())
    # The name is all that a compiled program says of the mask: see `hlo.flops`.
    with jax.named_scope(f'slots_{T}_of_{S}_window_{window or S}'
                         f'_blocks_{queries}_by_{keys}'):
      return jax.vmap(kernel)(q_BNTH, k_BKSH, v_BKSH,
                              splash_attention.SegmentIds(valid_BT, valid_BS))

  if not jax.sharding.get_abstract_mesh().empty:
    of_heads, of_kv_heads = (sharding.spec('batch', name, None, None)
                             for name in ('heads', 'kv_heads'))
    of_rows = sharding.spec('batch', None)
    on_a_device = jax.shard_map(
        on_a_device, out_specs=of_heads, check_vma=False,
        in_specs=(of_heads, of_kv_heads, of_kv_heads, of_rows, of_rows))
  widen = lambda x, room: jnp.pad(x, ((0, 0), (0, 0), (0, room), (0, 0)))
  # The kernel has no factor of its own.
  q = (q_BTNH * _scale(config)).astype(q_BTNH.dtype).swapaxes(1, 2)
  segments = lambda valid, room: jnp.pad(
      valid, ((0, 0), (0, room))).astype(jnp.int32)
  mixed = on_a_device(
      widen(q, room_T), widen(k_BKSH, room_S), widen(v_BKSH, room_S),
      segments(valid_BS[:, S - T :], room_T), segments(valid_BS, room_S))
  return mixed[:, :, :T].swapaxes(1, 2)


def block_size(slots: int) -> int:
  """The largest block whose multiples exceed `slots` by an eighth at most."""
  return next((block for block in (512, 384, 256)
               if -slots % block <= slots / 8), 128)


def compacted(valid_BT: jax.Array) -> tuple[jax.Array, jax.Array]:
  """The orders in which to `pick` valid slots first, and to put them back."""
  there_BT = jnp.argsort(~valid_BT, axis=1, stable=True)
  return there_BT, jnp.argsort(there_BT, axis=1)


def pick(x_BT: jax.Array, order_BT: jax.Array) -> jax.Array:
  """The slots of each row of [B, T, ...] in a new order, int32 [B, T]."""
  of_row = lambda x, order: x.at[order].get(unique_indices=True,
                                            mode='promise_in_bounds')
  return jax.vmap(of_row)(x_BT, order_BT)


def _scale(config):
  return config.attention_scale or config.head_dim**-0.5


def _by_mask(config, far_BTS, near_BTS, slot, held, is_global, q, k, v,
             prompt=None):
  mask_BTS = (far_BTS if near_BTS is None
              else jnp.where(is_global, far_BTS, near_BTS))
  T = q.shape[1]
  parts = min(T // _PART, _PARTS)
  if parts < 2:
    return plain(config, q, k, v, mask_BTS, held, prompt)
  ahead = 0 if prompt is None else prompt[0].shape[2]
  size = -(-T // parts)
  mixed = []
  for first in range(0, T, size):
    end = min(first + size, T)
    seen = slot + end
    mixed.append(plain(
        config, q[:, first:end], k[:, :, : seen - ahead],
        v[:, :, : seen - ahead], mask_BTS[:, first:end, :seen], held, prompt))
  return jnp.concatenate(mixed, axis=1)


def _by_kernel(config, valid_BS, is_global, q, k, v):
  far = lambda *qkv: splash(config, *qkv, valid_BS)
  near = lambda *qkv: splash(config, *qkv, valid_BS, config.window)
  if is_global is True or not window_binds(config, valid_BS.shape[1]):
    return far(q, k, v)
  if is_global is False:
    return near(q, k, v)
  return jax.lax.cond(is_global, far, near, q, k, v)
