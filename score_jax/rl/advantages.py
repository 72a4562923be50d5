"""The baseline."""

import jax
import jax.numpy as jnp


def leave_one_out(rewards_BA: jax.Array, samples: int) -> jax.Array:
  """Reward less the mean of the problem's other samples, per attempt.

  RLOO (Ahmadian et al., 2402.14740), kept apart for each attempt:

      A_ga = R_ga - 1 / (G - 1) * sum over g' != g of R_g'a

  Args:
    rewards_BA: float32, shaped rewards, the G samples of a problem adjacent.
    samples: G, at least 2.

  Returns:
    advantages_BA: float32. They sum to 0 over the samples of a problem.
  """
  rewards_BA = jnp.asarray(rewards_BA, jnp.float32)
  grouped_NGA = rewards_BA.reshape(-1, samples, rewards_BA.shape[1])
  total_N1A = grouped_NGA.sum(axis=1, keepdims=True)
  others_NGA = (total_N1A - grouped_NGA) / (samples - 1)
  return (grouped_NGA - others_NGA).reshape(rewards_BA.shape)
