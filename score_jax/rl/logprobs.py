"""Log-probability, entropy and exact KL of tokens, from hidden states.

Scores of all positions that are given exist at once: see `chunks`.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp


class TokenStatistics(NamedTuple):
  """What the loss needs to know of each token; all float32 [B, T], in nats.

  Attributes:
    logp: log pi(token).
    entropy: of pi at that position.
    ref_logp: log pi_ref(token).
    kl: KL(pi || pi_ref) over the whole vocabulary at that position.
  """

  logp: jax.Array
  entropy: jax.Array
  ref_logp: jax.Array
  kl: jax.Array


def _scores(hidden, head_DV, temperature, softcap):
  """The logits of which log-probabilities are the log-softmax, float32."""
  scores = jnp.matmul(hidden, head_DV.astype(hidden.dtype),
                      preferred_element_type=jnp.float32)
  if softcap:
    scores = softcap * jnp.tanh(scores / softcap)
  return scores / temperature


@jax.custom_vjp
def exact_kl(scores_BTV: jax.Array, ref_logp_BTV: jax.Array) -> jax.Array:
  """Compute KL(softmax(scores) || pi_ref) at every position, float32 [B, T].

  The gradient with respect to the scores is written out,

      d KL / d scores_v = p_v * (log(p_v / q_v) - KL),

  so that it is exactly zero where both distributions are equal. Automatic
  differentiation of sum(p * log(p / q)) leaves rounding errors there, and Adam
  scales these up to steps of the size of the learning rate.

  Args:
    scores_BTV: float32, logits of the policy.
    ref_logp_BTV: float32, log-probabilities of the reference; no gradient.
  """
  return _kl_and_slope(scores_BTV, ref_logp_BTV)[0]


def _kl_and_slope(scores_BTV, ref_logp_BTV):
  logp_BTV = jax.nn.log_softmax(scores_BTV)
  p_BTV, log_ratio_BTV = jnp.exp(logp_BTV), logp_BTV - ref_logp_BTV
  kl_BT = jnp.sum(p_BTV * log_ratio_BTV, axis=-1)
  return kl_BT, p_BTV * (log_ratio_BTV - kl_BT[..., None])


exact_kl.defvjp(
    _kl_and_slope, lambda slope_BTV, d_BT: (d_BT[..., None] * slope_BTV, None))


def _pick(logp_BTV, tokens_BT):
  return jnp.take_along_axis(logp_BTV, tokens_BT[..., None], axis=-1)[..., 0]


def without_kl(stats: TokenStatistics, differs: jax.Array) -> TokenStatistics:
  """Set the KL to exactly zero, with its gradients, unless the models differ.

  Where policy and reference are one function, compilers may still round their
  log-probabilities differently.

  Args:
    stats: of every token.
    differs: bool scalar, whether policy and reference have different weights.
  """
  return stats._replace(
      kl=jnp.where(differs, stats.kl, 0),
      ref_logp=jnp.where(
          differs, stats.ref_logp, jax.lax.stop_gradient(stats.logp)))


def token_logps(
    hidden_BTD: jax.Array,
    head_DV: jax.Array,
    tokens_BT: jax.Array,
    *,
    softcap: float = 0.0,
) -> jax.Array:
  """log pi(token), float32 [B, T], at temperature 1: for cross-entropy."""
  logp_BTV = jax.nn.log_softmax(_scores(hidden_BTD, head_DV, 1.0, softcap))
  return _pick(logp_BTV, tokens_BT)


def token_statistics(
    hidden_BTD: jax.Array,
    head_DV: jax.Array,
    ref_hidden_BTD: jax.Array,
    ref_head_DV: jax.Array,
    tokens_BT: jax.Array,
    *,
    temperature: float,
    softcap: float = 0.0,
) -> TokenStatistics:
  """Statistics of policy and reference at every position.

  Args:
    hidden_BTD: the policy's hidden states; those at t predict token t.
    head_DV: its output matrix.
    ref_hidden_BTD: the reference's; no gradient flows into it.
    ref_head_DV: the reference's output matrix.
    tokens_BT: int32 ids.
    temperature: of the distribution that was sampled; both models' scores are
      divided by it, so that pi here is the pi that acted.
    softcap: c of c * tanh(scores / c), before the temperature; 0 for none.
  """
  scores_BTV = _scores(hidden_BTD, head_DV, temperature, softcap)
  logp_BTV = jax.nn.log_softmax(scores_BTV)
  ref_logp_BTV = jax.lax.stop_gradient(jax.nn.log_softmax(
      _scores(ref_hidden_BTD, ref_head_DV, temperature, softcap)))
  return TokenStatistics(
      logp=_pick(logp_BTV, tokens_BT),
      entropy=-jnp.sum(jnp.exp(logp_BTV) * logp_BTV, axis=-1),
      ref_logp=_pick(ref_logp_BTV, tokens_BT),
      kl=exact_kl(scores_BTV, ref_logp_BTV))
