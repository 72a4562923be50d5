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


def _log_softmax(hidden, head_DV, temperature, softcap):
  scores = jnp.matmul(hidden, head_DV.astype(hidden.dtype),
                      preferred_element_type=jnp.float32)
  if softcap:
    scores = softcap * jnp.tanh(scores / softcap)
  return jax.nn.log_softmax(scores / temperature)


def _pick(logp_BTV, tokens_BT):
  return jnp.take_along_axis(logp_BTV, tokens_BT[..., None], axis=-1)[..., 0]


def token_logps(
    hidden_BTD: jax.Array,
    head_DV: jax.Array,
    tokens_BT: jax.Array,
    *,
    softcap: float = 0.0,
) -> jax.Array:
  """log pi(token), float32 [B, T], at temperature 1: for cross-entropy."""
  return _pick(_log_softmax(hidden_BTD, head_DV, 1.0, softcap), tokens_BT)


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
  logp_BTV = _log_softmax(hidden_BTD, head_DV, temperature, softcap)
  ref_logp_BTV = jax.lax.stop_gradient(
      _log_softmax(ref_hidden_BTD, ref_head_DV, temperature, softcap))
  p_BTV = jnp.exp(logp_BTV)
  return TokenStatistics(
      logp=_pick(logp_BTV, tokens_BT),
      entropy=-jnp.sum(p_BTV * logp_BTV, axis=-1),
      ref_logp=_pick(ref_logp_BTV, tokens_BT),
      kl=jnp.sum(p_BTV * (logp_BTV - ref_logp_BTV), axis=-1))
