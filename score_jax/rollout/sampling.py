"""One token a row from its scores."""

import jax
import jax.numpy as jnp


def sample(
    logits_BV: jax.Array, keys_B: jax.Array, temperature: float
) -> tuple[jax.Array, jax.Array]:
  """Draws a token from softmax(logits / temperature) in every row.

  Args:
    logits_BV: float32 scores.
    keys_B: a random key for each row.
    temperature: above 0; 0 takes the most likely token.

  Returns:
    tokens_B int32, and logp_B float32: the natural log-probability under the
    distribution drawn from, which at temperature 0 is a point mass (log 1).
  """
  if temperature == 0:
    tokens_B = first_largest(logits_BV)
    return tokens_B, jnp.zeros(tokens_B.shape, jnp.float32)
  logp_BV = jax.nn.log_softmax(logits_BV / temperature)
  noise = lambda key: gumbel(key, logp_BV.shape[1])
  tokens_B = first_largest(logp_BV + jax.vmap(noise)(keys_B))
  logp_B = jnp.take_along_axis(logp_BV, tokens_B[:, None], axis=1)[:, 0]
  return tokens_B, logp_B


def gumbel(key: jax.Array, size: int) -> jax.Array:
  """Draw standard Gumbel noise whose upper tail reaches rare tokens.

  `jax.random.gumbel` makes its noise of 23 random bits: it never exceeds 15.95,
  and tokens of a probability below about 1e-7 are drawn too rarely or never.
  Its mode 'high' draws twice as many bits, for twice the time. Here every token
  has 32 separate bits, and all tokens of a row share the fraction behind
  them, so that each tail is exact down to about 1e-16.

  Args:
    key: a random key.
    size: tokens (V).

  Returns:
    float32 [V].
  """
  bits_key, fraction_key = jax.random.split(key)
  # Never 0, of which the noise would be infinite.
  fraction = jax.random.uniform(fraction_key, minval=2.0**-24)
  return gumbel_of(jax.random.bits(bits_key, (size,), 'uint32'), fraction)


def gumbel_of(bits_V: jax.Array, fraction: jax.Array) -> jax.Array:
  """Return the noise that a uniform variate (bits + fraction) / 2**32 exceeds.

  Args:
    bits_V: uint32.
    fraction: float32 above 0 and below 1.

  Returns:
    float32 [V]: the quantile of the Gumbel distribution at one minus that.
  """
  above_V = (bits_V.astype(jnp.float32) + fraction) * jnp.float32(2.0**-32)
  # float32 rounds the largest up to 1, of which the noise would be infinite.
  above_V = jnp.minimum(above_V, jnp.float32(1 - 2.0**-24))
  return -jnp.log(-jnp.log1p(-above_V))


def first_largest(x_BV: jax.Array) -> jax.Array:
  """`argmax` along V, int32 [B]: the first of equals.

  Two plain reductions, where `argmax` is one of pairs, at which XLA's CPU
  backend is slow (docs/performance.md). A row with NaN gives the last index.
  """
  V = x_BV.shape[-1]
  index_BV = jax.lax.broadcasted_iota(jnp.int32, x_BV.shape, x_BV.ndim - 1)
  largest_B1 = jnp.max(x_BV, axis=-1, keepdims=True)
  first_B = jnp.min(jnp.where(x_BV == largest_B1, index_BV, V), axis=-1)
  return jnp.minimum(first_B, V - 1)
