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
  noise = lambda key: jax.random.gumbel(key, logp_BV.shape[1:], logp_BV.dtype)
  tokens_B = first_largest(logp_BV + jax.vmap(noise)(keys_B))
  logp_B = jnp.take_along_axis(logp_BV, tokens_B[:, None], axis=1)[:, 0]
  return tokens_B, logp_B


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
