"""The parts of a decoder layer, as Flax NNX modules.

Every parameter carries the logical names of its axes (`axes=`), which
`score_jax.sharding` maps to the mesh. Norms, rotary angles and softmax are in
float32; matrix products run in the dtype of the activations. Letters of shapes
are listed in `score_jax.types`.
"""

from collections.abc import Callable
import functools
import math
import re
from typing import NamedTuple

from flax import nnx
import jax
import jax.numpy as jnp

from score_jax import config as config_lib

_ACTIVATIONS = {
    'silu': jax.nn.silu,
    'gelu': jax.nn.gelu,
    'gelu_exact': functools.partial(jax.nn.gelu, approximate=False),
}


class View(NamedTuple):
  """What one kind of layer, global or local, sees of a sequence.

  Attributes:
    sin_BTH, cos_BTH: float32, rotary angles of the tokens, H half a head.
    attend: from queries [B, T, N, H], keys and values [B, K, S, H] to what
      the queries find, [B, T, N, H].
  """

  sin_BTH: jax.Array
  cos_BTH: jax.Array
  attend: Callable[..., jax.Array] | None = None


def rotate(x_BTNH: jax.Array, view: View) -> jax.Array:
  """Rotary position embedding, half-rotation form (Su et al., 2104.09864)."""
  sin, cos = view.sin_BTH[:, :, None], view.cos_BTH[:, :, None]
  first, second = jnp.split(x_BTNH.astype(jnp.float32), 2, axis=-1)
  return jnp.concatenate(
      [first * cos - second * sin, second * cos + first * sin], axis=-1
  ).astype(x_BTNH.dtype)


def linear(x: jax.Array, weight: jax.Array, outs: int) -> jax.Array:
  """Contracts the last axes of `x` with the first of `weight`.

  As one product of two matrices, which XLA's CPU backend runs about twice as
  fast, forwards and backwards, as the same einsum over [B, T].

  Args:
    x: [B, T, ...], in the dtype of the activations.
    weight: as many axes of `x` in front, then `outs` axes.
    outs: axes of the result after [B, T].
  """
  B, T = x.shape[:2]
  shape = weight.shape[weight.ndim - outs :]
  matrix = weight.astype(x.dtype).reshape(-1, math.prod(shape))
  return (x.reshape(B * T, -1) @ matrix).reshape(B, T, *shape)


def _normal(rngs: nnx.Rngs, shape, axes, variance: float) -> nnx.Param:
  value = jax.random.normal(rngs.params(), shape, jnp.float32)
  return nnx.Param(value * variance**0.5, axes=axes)


def _zeros(shape, axes) -> nnx.Param:
  return nnx.Param(jnp.zeros(shape, jnp.float32), axes=axes)


class Projection(nnx.Module):
  """A weight, with a bias and low-rank adapters where the model has them.

  y = x kernel + bias + (alpha / rank) * (x lora_a) lora_b. `lora_b` begins at
  zero, so that a fresh adapter changes nothing, to the bit.
  """

  def __init__(
      self,
      name: str,
      config: config_lib.ModelConfig,
      rngs: nnx.Rngs,
      ins: dict[str, int],
      outs: dict[str, int],
      *,
      bias: bool = False,
      branches: int = 1,
  ):
    """Makes the weight.

    Args:
      name: such as 'attention/query', for `config.lora.targets`.
      config: the model.
      rngs: random keys.
      ins, outs: contracted and resulting axes, logical name to size.
      bias: whether it has one.
      branches: how many outputs are added to the residual stream in all, for
        weights that write to it (GPT-2's rule).
    """
    in_axes, in_shape = tuple(ins), tuple(ins.values())
    out_axes, out_shape = tuple(outs), tuple(outs.values())
    fan_in, rank = math.prod(in_shape), config.lora.rank
    self.kernel = _normal(rngs, in_shape + out_shape, in_axes + out_axes,
                          1 / (fan_in * branches))
    if bias:
      self.bias = _zeros(out_shape, out_axes)
    if is_adapted(config.lora, name):
      self.lora_a = _normal(rngs, in_shape + (rank,), in_axes + (None,),
                            1 / fan_in)
      self.lora_b = _zeros((rank,) + out_shape, (None,) + out_axes)
      self.lora_weight = config.lora.alpha / rank
    self.outs = len(outs)

  def __call__(self, x: jax.Array) -> jax.Array:
    y = linear(x, self.kernel[...], self.outs)
    if hasattr(self, 'bias'):
      bias = self.bias[...].astype(x.dtype)
      y += jnp.broadcast_to(bias, y.shape)
    if hasattr(self, 'lora_a'):
      low = linear(x, self.lora_a[...], 1)
      y += self.lora_weight * linear(low, self.lora_b[...], self.outs)
    return y


def is_adapted(lora: config_lib.LoraConfig, name: str) -> bool:
  """Whether the weight `name` has adapters."""
  return bool(lora.rank and re.fullmatch(lora.targets, name))


class RMSNorm(nnx.Module):
  """x / rms(x) * scale over the last axis (Zhang and Sennrich, 1910.07467).

  Gemma stores the scale less one (`norm_plus_one`).
  """

  def __init__(
      self, config: config_lib.ModelConfig, size: int, axis: str = 'embed'
  ):
    self.offset = float(config.norm_plus_one)
    self.scale = nnx.Param(
        jnp.full((size,), 1 - self.offset, jnp.float32), axes=(axis,))
    self.eps = config.norm_eps

  def __call__(self, x: jax.Array) -> jax.Array:
    if x.ndim > 2 and len(x) == 1:
      # Samples that share a prompt are one sequence. With such a first axis
      # XLA's CPU backend takes ten times as long for sums along the last.
      return self(x[0])[None]
    x32 = x.astype(jnp.float32)
    mean_square = jnp.mean(jnp.square(x32), axis=-1, keepdims=True)
    scale = self.scale[...].astype(jnp.float32) + self.offset
    normed = x32 * jax.lax.rsqrt(mean_square + self.eps)
    return (normed * jnp.broadcast_to(scale, x.shape)).astype(x.dtype)


class Attention(nnx.Module):
  """Grouped-query attention, with keys and values kept by the caller."""

  def __init__(self, config: config_lib.ModelConfig, rngs: nnx.Rngs):
    D, H = config.width, config.head_dim
    heads = {'heads': config.num_heads, 'head_dim': H}
    kv_heads = {'kv_heads': config.num_kv_heads, 'head_dim': H}
    for name, outs in (('query', heads), ('key', kv_heads),
                       ('value', kv_heads)):
      setattr(self, name, Projection(
          f'attention/{name}', config, rngs, {'embed': D}, outs,
          bias=config.qkv_bias))
    self.out = Projection('attention/out', config, rngs, heads, {'embed': D},
                          branches=2 * config.num_layers)
    if config.qk_norm:
      self.query_norm = RMSNorm(config, H, 'head_dim')
      self.key_norm = RMSNorm(config, H, 'head_dim')

  def project(self, x_BTD: jax.Array, view: View):
    """Query [B, T, N, H], key and value [B, K, T, H] of these tokens."""
    q, k, v = self.query(x_BTD), self.key(x_BTD), self.value(x_BTD)
    if hasattr(self, 'query_norm'):
      q, k = self.query_norm(q), self.key_norm(k)
    q, k = rotate(q, view), rotate(k, view)
    return q, k.swapaxes(1, 2), v.swapaxes(1, 2)


class MLP(nnx.Module):
  """down(activation(gate(x)) * up(x)) (Shazeer, 2002.05202)."""

  def __init__(self, config: config_lib.ModelConfig, rngs: nnx.Rngs):
    embed, mlp = {'embed': config.width}, {'mlp': config.mlp_width}
    self.gate = Projection('mlp/gate', config, rngs, embed, mlp)
    self.up = Projection('mlp/up', config, rngs, embed, mlp)
    self.down = Projection('mlp/down', config, rngs, mlp, embed,
                           branches=2 * config.num_layers)
    self.activation = config.activation

  def __call__(self, x_BTD: jax.Array) -> jax.Array:
    gate = _ACTIVATIONS[self.activation](self.gate(x_BTD))
    return self.down(gate * self.up(x_BTD))


class Block(nnx.Module):
  """One layer: attention and MLP, each behind a norm, added to the stream."""

  def __init__(self, config: config_lib.ModelConfig, rngs: nnx.Rngs):
    norm = lambda: RMSNorm(config, config.width)
    self.attention_norm = norm()
    self.attention = Attention(config, rngs)
    self.mlp_norm = norm()
    self.mlp = MLP(config, rngs)
    if config.post_norms:
      self.attention_post_norm = norm()
      self.mlp_post_norm = norm()

  def __call__(self, x_BTD, view: View, store: Callable):
    """The layer's output and what `store` returns as the new cache.

    Args:
      x_BTD: activations.
      view: what this layer sees.
      store: takes the new keys and values [B, K, T, H] and returns all keys
        and all values [B, K, S, H] and the cache that now holds them.
    """
    q, k, v = self.attention.project(self.attention_norm(x_BTD), view)
    keys, values, cache = store(k, v)
    mixed = self.attention.out(view.attend(q, keys, values))
    x_BTD = x_BTD + self._normed('attention_post_norm', mixed)
    mixed = self.mlp(self.mlp_norm(x_BTD))
    return x_BTD + self._normed('mlp_post_norm', mixed), cache

  def _normed(self, name, x_BTD):
    """Through the norm `name`, where the model has it."""
    return getattr(self, name)(x_BTD) if hasattr(self, name) else x_BTD


class Embedding(nnx.Module):
  """Token vectors [V, D]."""

  def __init__(self, config: config_lib.ModelConfig, rngs: nnx.Rngs):
    self.embedding = _normal(rngs, (config.vocab_size, config.width),
                             ('vocab', 'embed'), 1 / config.width)


class Head(nnx.Module):
  """An output matrix [D, V] of its own, where the head is not tied."""

  def __init__(self, config: config_lib.ModelConfig, rngs: nnx.Rngs):
    self.kernel = _normal(rngs, (config.width, config.vocab_size),
                          ('embed', 'vocab'), 1 / config.width)
