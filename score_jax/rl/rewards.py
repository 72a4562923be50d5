"""Which attempt is paid for what: SCoRe's two stages as one small table.

With gamma = 0 (paper section 5.2) every attempt sees only its own reward, and
the bonus alpha * (r2 - r1) goes to the second attempt alone. So the shaped
reward of attempt a is a fixed combination of the raw rewards, row a of a
matrix, and each attempt has one weight on its KL to the reference:

    Stage I  (Eq. 3)      r1  r2   KL     Stage II (Eq. 4, 5)    r1  r2   KL
      attempt 1            0   0  beta2     attempt 1             1   0  beta1
      attempt 2            0   1  beta1     attempt 2        -alpha  1+alpha
                                                                      beta1

With more than two attempts, Stage I pays the last and pins all others, and
Stage II gives each attempt the bonus against the one just before (appendix A).
The paper leaves open whether attempt 1 carries beta1 beside beta2 in Stage I;
here it carries beta2 alone, as Eq. 3 is written.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np


@dataclasses.dataclass(frozen=True)
class Credit:
  """A stage's coefficients.

  Attributes:
    reward_AA: entry [a, b] is what the raw reward of attempt b adds to the
      shaped reward of attempt a.
    kl_A: weight of each attempt's KL to the reference.
  """

  reward_AA: tuple[tuple[float, ...], ...]
  kl_A: tuple[float, ...]


def stage1(attempts: int, beta1: float, beta2: float) -> Credit:
  """Eq. 3: only the last attempt is paid; those before it are pinned."""
  reward = np.zeros((attempts, attempts))
  reward[-1, -1] = 1.0
  return _credit(reward, [beta2] * (attempts - 1) + [beta1])


def stage2(attempts: int, alpha: float, beta1: float) -> Credit:
  """Eq. 4 with the bonus of Eq. 5: each attempt is paid, progress more."""
  reward = np.eye(attempts)
  for a in range(1, attempts):
    reward[a, a] += alpha
    reward[a, a - 1] -= alpha
  return _credit(reward, [beta1] * attempts)


def _credit(reward, kl):
  return Credit(tuple(tuple(map(float, row)) for row in reward),
                tuple(map(float, kl)))


def shaped_rewards(rewards_BA: jax.Array, credit: Credit) -> jax.Array:
  """Each attempt's shaped reward, float32 [B, A], from raw rewards [B, A]."""
  reward_1AA = jnp.asarray([credit.reward_AA], jnp.float32)
  # No matrix product, which a TPU would round to bfloat16.
  return (jnp.asarray(rewards_BA)[:, None, :] * reward_1AA).sum(axis=-1)
