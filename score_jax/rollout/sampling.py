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
    tokens_B = jnp.argmax(logits_BV, axis=-1).astype(jnp.int32)
    return tokens_B, jnp.zeros(tokens_B.shape, jnp.float32)
  logp_BV = jax.nn.log_softmax(logits_BV / temperature)
  tokens_B = jax.vmap(jax.random.categorical)(keys_B, logp_BV)
  tokens_B = tokens_B.astype(jnp.int32)
  logp_B = jnp.take_along_axis(logp_BV, tokens_B[:, None], axis=1)[:, 0]
  return tokens_B, logp_B
