"""The fused REINFORCE/KL loss of both stages.

The objective (paper Eq. 2 to 5), for row b and attempt a, with shaped reward R:

    maximise  E[ sum over a of  R_ba - kl_a * KL_a ],
    KL_a = KL(pi(.|x_a) || pi_ref(.|x_a)) over whole sequences y_a
         = E[ sum over t of KL_t ],  KL_t over the vocabulary at token t

The loss whose gradient is the negative of its gradient, on-policy, with
advantages A in place of R and sg() for stop_gradient:

    sum over a of 1 / Z_a * sum over b of [
        - A_ba * sum over t of logp_t
        + kl_a * sum over t of ( KL_t + logp_t * sg(sum over t' > t of KL_t') )
    ]

The last term is the effect of token t on the KL of the tokens after it; without
it ('token' credit) the gradient is not that of the sequence KL. Its sum of
later KL, the KL to go, is positive and grows with the length of the attempt.
With `group` = G > 1 it has a baseline: the KL to go of the problem's other
samples at the same position (`advantages.baseline_to_go`). That does not depend
on the row's own tokens, so the expected gradient is the same; its variance is
smaller, see `score_jax.baseline_variance`.

`kl='k2'` takes 0.5 * (log-ratio)^2 of the sampled token for KL_t, which has the
same expected gradient, and the log-ratio itself in the sum of later tokens. k1
and k3 are not offered: differentiated, k1 has expected gradient zero and k3
that of KL(pi_ref || pi).

Credit never crosses attempts (gamma = 0), and prompt and instruction tokens
belong to no attempt, so they get none.
"""

import jax
import jax.numpy as jnp

from score_jax.rl import advantages as advantages_lib
from score_jax.rl import logprobs


def fused_loss(
    stats: logprobs.TokenStatistics,
    attempt_BT: jax.Array,
    advantages_BA: jax.Array,
    kl_A: tuple[float, ...],
    normaliser_A: jax.Array,
    behind_BA: jax.Array | None = None,
    *,
    kl: str = 'exact',
    kl_credit: str = 'sequence',
    group: int = 1,
) -> tuple[jax.Array, jax.Array]:
  """The loss above, of all tokens or of a chunk of them.

  Args:
    stats: of every token.
    attempt_BT: int32, 1-based attempt that a token belongs to, 0 for none.
    advantages_BA: float32 credit; no gradient flows into it.
    kl_A: KL weight of each attempt.
    normaliser_A: float32, what each attempt's sum is divided by (Z_a).
    behind_BA: float32, the KL of the tokens behind the chunk; None for zeros.
    kl: 'exact' or 'k2'.
    kl_credit: 'sequence' or 'token'.
    group: adjacent rows that are samples of one problem, over which the KL to
      go has its leave-one-out baseline; 1: it has none.

  Returns:
    The loss, a float32 scalar, and `behind_BA` with the chunk's own KL: what
    the chunk before it is given.
  """
  advantages_BA = jax.lax.stop_gradient(advantages_BA)
  log_ratio_BT = stats.logp - stats.ref_logp
  if kl == 'exact':
    kl_BT, later_kl_BT = stats.kl, stats.kl
  else:
    kl_BT, later_kl_BT = 0.5 * jnp.square(log_ratio_BT), log_ratio_BT
  if behind_BA is None:
    behind_BA = jnp.zeros(advantages_BA.shape, jnp.float32)
  loss, own = jnp.float32(0), []
  for a, kl_weight in enumerate(kl_A):
    mask_BT = (attempt_BT == a + 1).astype(jnp.float32)
    policy = -jnp.sum(advantages_BA[:, a, None] * mask_BT * stats.logp)
    penalty_BT = kl_BT
    of_attempt_BT = jax.lax.stop_gradient(later_kl_BT) * mask_BT
    own.append(jnp.sum(of_attempt_BT, axis=1))
    if kl_credit == 'sequence':
      later_BT = _sum_of_later(of_attempt_BT) + behind_BA[:, a, None]
      if group > 1:
        later_BT -= advantages_lib.baseline_to_go(later_BT, mask_BT, group)
      penalty_BT += stats.logp * later_BT
    penalty = kl_weight * jnp.sum(mask_BT * penalty_BT)
    loss += (policy + penalty) / normaliser_A[a]
  return loss, behind_BA + jnp.stack(own, axis=1)


def normalisers(attempt_BT: jax.Array, attempts: int, kind: str) -> jax.Array:
  """Z_a, float32 [A]: rows ('sequence'), or tokens of the attempt ('token').

  Taken over the whole batch, before it is cut into micro-batches, so that
  accumulated gradients are those of the batch. 'sequence' is the paper's mean
  over rows of sums over tokens. Only rows with learned tokens of the attempt
  count: the first attempts that the frozen base draws (`offline`) and masked
  attempts are left out. At least 1.
  """
  is_of_BTA = attempt_BT[..., None] == jnp.arange(1, attempts + 1)[None, None]
  if kind == 'sequence':
    counts = jnp.sum(jnp.any(is_of_BTA, axis=1), axis=0)
  else:
    counts = jnp.sum(is_of_BTA, axis=(0, 1))
  return jnp.maximum(counts, 1).astype(jnp.float32)


def _sum_of_later(x_BT: jax.Array) -> jax.Array:
  """At t, the sum over t' > t."""
  return jnp.flip(jnp.cumsum(jnp.flip(x_BT, axis=1), axis=1), axis=1) - x_BT


def token_sums(
    stats: logprobs.TokenStatistics,
    attempt_BT: jax.Array,
    sampler_logp_BT: jax.Array,
    attempts: int,
) -> dict[str, jax.Array]:
  """Sums over tokens for the log, to be divided by counts at the end."""
  gap_BT = jnp.abs(stats.logp - sampler_logp_BT)
  sums = {}
  for a in range(1, attempts + 1):
    mask_BT = attempt_BT == a
    total = lambda x_BT, mask_BT=mask_BT: jnp.sum(jnp.where(mask_BT, x_BT, 0))
    sums[f'tokens_t{a}'] = jnp.sum(mask_BT, dtype=jnp.float32)
    sums[f'kl_t{a}'] = total(stats.kl)
    sums[f'entropy_t{a}'] = total(stats.entropy)
    sums[f'logp_gap_t{a}'] = total(gap_BT)
  return sums
