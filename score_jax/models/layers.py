"""The parts of a decoder layer, as Flax NNX modules.

Every parameter carries the logical names of its axes (`axes=`), which
`score_jax.sharding` maps to the mesh. Norms, rotary angles and softmax are in
float32; matrix products run in the dtype of the activations. Letters of shapes
are listed in `score_jax.types`.
"""

from collections.abc import Callable
import math

from flax import nnx
import jax
import jax.numpy as jnp

from score_jax import config as config_lib

_MASKED = -1e30  # Finite, so that a row without any key gives no NaN.


def _param(
    rngs: nnx.Rngs, shape, axes, fan_in: int, branches: int = 1
) -> nnx.Param:
  """A float32 weight, normal with variance 1 / (fan_in * branches).

  `branches`: how many outputs are added to the residual stream in all, for
  weights that write to it (GPT-2's rule).
  """
  value = jax.random.normal(rngs.params(), shape, jnp.float32)
  return nnx.Param(value * (fan_in * branches) ** -0.5, axes=axes)


def linear(x: jax.Array, weight: jax.Array, outs: int) -> jax.Array:
  """Contracts the last axes of `x` with the first of `weight`.

  As one product of two matrices, which XLA's CPU backend runs about twice as
  fast, forwards and backwards, as the same einsum over [B, T].

  Args:
    x: [B, T, ...], in the dtype of the activations.
    weight: float32, as many axes of `x` in front, then `outs` axes.
    outs: axes of the result after [B, T].
  """
  B, T = x.shape[:2]
  shape = weight.shape[weight.ndim - outs :]
  matrix = weight.astype(x.dtype).reshape(-1, math.prod(shape))
  return (x.reshape(B * T, -1) @ matrix).reshape(B, T, *shape)


class RMSNorm(nnx.Module):
  """x / rms(x) * scale over the last axis (Zhang and Sennrich, 1910.07467)."""

  def __init__(self, width: int, eps: float):
    self.scale = nnx.Param(jnp.ones((width,), jnp.float32), axes=('embed',))
    self.eps = eps

  def __call__(self, x: jax.Array) -> jax.Array:
    x32 = x.astype(jnp.float32)
    mean_square = jnp.mean(jnp.square(x32), axis=-1, keepdims=True)
    scale = jnp.broadcast_to(self.scale[...], x.shape)
    return (x32 * jax.lax.rsqrt(mean_square + self.eps) * scale).astype(x.dtype)


def rotate(x_BTNH: jax.Array, positions_BT: jax.Array, base: float):
  """Rotary position embedding, half-rotation form (Su et al., 2104.09864)."""
  half = x_BTNH.shape[-1] // 2
  frequency = base ** (-jnp.arange(half, dtype=jnp.float32) / half)
  angle = positions_BT[..., None].astype(jnp.float32) * frequency[None, None]
  sin, cos = jnp.sin(angle)[:, :, None], jnp.cos(angle)[:, :, None]
  first, second = jnp.split(x_BTNH.astype(jnp.float32), 2, axis=-1)
  return jnp.concatenate(
      [first * cos - second * sin, second * cos + first * sin], axis=-1
  ).astype(x_BTNH.dtype)


class Attention(nnx.Module):
  """Grouped-query attention, with keys and values kept by the caller."""

  def __init__(self, config: config_lib.ModelConfig, rngs: nnx.Rngs):
    D, N, K, H = (config.width, config.num_heads, config.num_kv_heads,
                  config.head_dim)
    self.query = _param(rngs, (D, N, H), ('embed', 'heads', 'head_dim'), D)
    self.key = _param(rngs, (D, K, H), ('embed', 'kv_heads', 'head_dim'), D)
    self.value = _param(rngs, (D, K, H), ('embed', 'kv_heads', 'head_dim'), D)
    self.out = _param(rngs, (N, H, D), ('heads', 'head_dim', 'embed'), N * H,
                      branches=2 * config.num_layers)
    self.rope_base = config.rope_base

  def project(self, x_BTD: jax.Array, positions_BT: jax.Array):
    """Query [B, T, N, H], key and value [B, K, T, H] of these tokens."""
    q, k, v = (linear(x_BTD, weight[...], 2)
               for weight in (self.query, self.key, self.value))
    q = rotate(q, positions_BT, self.rope_base)
    k = rotate(k, positions_BT, self.rope_base)
    return q, k.swapaxes(1, 2), v.swapaxes(1, 2)

  def mix(self, q_BTNH, k_BKSH, v_BKSH, mask_BTS) -> jax.Array:
    """Attends where `mask_BTS` is true; returns [B, T, D]."""
    B, T, N, H = q_BTNH.shape
    K = k_BKSH.shape[1]
    q = q_BTNH.reshape(B, T, K, N // K, H)
    scores = jnp.einsum('btkgh,bksh->bkgts', q, k_BKSH,
                        preferred_element_type=jnp.float32) * H**-0.5
    scores = jnp.where(mask_BTS[:, None, None], scores, _MASKED)
    weights = jax.nn.softmax(scores, axis=-1).astype(v_BKSH.dtype)
    mixed = jnp.einsum('bkgts,bksh->btkgh', weights, v_BKSH)
    return linear(mixed.reshape(B, T, N * H), self.out[...], 1)


class MLP(nnx.Module):
  """down(silu(gate(x)) * up(x)) (Shazeer, 2002.05202)."""

  def __init__(self, config: config_lib.ModelConfig, rngs: nnx.Rngs):
    D, F = config.width, config.mlp_width
    self.gate = _param(rngs, (D, F), ('embed', 'mlp'), D)
    self.up = _param(rngs, (D, F), ('embed', 'mlp'), D)
    self.down = _param(rngs, (F, D), ('mlp', 'embed'), F,
                       branches=2 * config.num_layers)

  def __call__(self, x_BTD: jax.Array) -> jax.Array:
    gate, up = (linear(x_BTD, w[...], 1) for w in (self.gate, self.up))
    return linear(jax.nn.silu(gate) * up, self.down[...], 1)


class Block(nnx.Module):
  """One layer: attention and MLP, each behind a norm, added to the stream."""

  def __init__(self, config: config_lib.ModelConfig, rngs: nnx.Rngs):
    self.attention_norm = RMSNorm(config.width, config.norm_eps)
    self.attention = Attention(config, rngs)
    self.mlp_norm = RMSNorm(config.width, config.norm_eps)
    self.mlp = MLP(config, rngs)

  def __call__(self, x_BTD, positions_BT, mask_BTS, store: Callable):
    """The layer's output and what `store` returns as the new cache.

    Args:
      x_BTD: activations.
      positions_BT: int32.
      mask_BTS: bool, whether token t may attend to slot s.
      store: takes the new keys and values [B, K, T, H] and returns all keys
        and all values [B, K, S, H] and the cache that now holds them.
    """
    q, k, v = self.attention.project(self.attention_norm(x_BTD), positions_BT)
    keys, values, cache = store(k, v)
    x_BTD = x_BTD + self.attention.mix(q, keys, values, mask_BTS)
    return x_BTD + self.mlp(self.mlp_norm(x_BTD)), cache


class Embedding(nnx.Module):
  """Token vectors [V, D]."""

  def __init__(self, config: config_lib.ModelConfig, rngs: nnx.Rngs):
    self.embedding = _param(rngs, (config.vocab_size, config.width),
                            ('vocab', 'embed'), config.width)


class Head(nnx.Module):
  """An output matrix [D, V] of its own, where the head is not tied."""

  def __init__(self, config: config_lib.ModelConfig, rngs: nnx.Rngs):
    self.kernel = _param(rngs, (config.width, config.vocab_size),
                         ('embed', 'vocab'), config.width)
