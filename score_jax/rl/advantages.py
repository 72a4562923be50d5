"""Leave-one-out baselines, of rewards and of the KL to go."""

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
  # Differences first: the advantages of equal rewards are exactly zero. A mean
  # of fractions such as 0.2 would leave rounding, which Adam scales up.
  gaps_NGGA = grouped_NGA[:, :, None] - grouped_NGA[:, None]
  return (gaps_NGGA.sum(axis=2) / (samples - 1)).reshape(rewards_BA.shape)


def baseline_to_go(
    to_go_BT: jax.Array, alive_BT: jax.Array, samples: int
) -> jax.Array:
  """Predict a quantity to go, at each position, from the other samples.

      b_gt = sum over alive g' != g of x_g't / (1 + number of alive g' != g)

  A sample is alive at t if its attempt has not ended there. The result of a row
  depends on no token of that row, so that it is a baseline: subtracting it
  leaves the expected gradient as it is. The 1 shrinks the mean of few samples
  towards 0: of the mean over alive samples, over all samples, this one, and the
  sum over the whole attempt, this one had the least variance, or nearly so, for
  attempts of 3 to 1,000 tokens.

  Args:
    to_go_BT: float32, the samples of a problem adjacent.
    alive_BT: float32, 1 or 0.
    samples: G, at least 2.

  Returns:
    baseline_BT: float32.
  """
  def others(x_BT):
    grouped_NGT = x_BT.reshape(-1, samples, x_BT.shape[1])
    total_N1T = grouped_NGT.sum(axis=1, keepdims=True)
    return (total_N1T - grouped_NGT).reshape(x_BT.shape)

  return others(alive_BT * to_go_BT) / (1 + others(alive_BT))
