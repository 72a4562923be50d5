"""Log-probability, entropy and exact KL from hidden states, in chunks.

Scores over the vocabulary exist for a few positions at a time, forwards and
backwards; nothing of shape [B, T, V] is ever made.
"""

import functools
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


def _over_positions(chunk_fn, arrays, chunk):
  """`chunk_fn` over slices of `chunk` positions (axis 1) of [B, T, ...]."""
  T = jax.tree.leaves(arrays)[0].shape[1]
  chunk = min(chunk, T)
  pad = -T % chunk

  def split(x):
    x = jnp.pad(x, [(0, 0), (0, pad)] + [(0, 0)] * (x.ndim - 2))
    x = x.reshape(x.shape[0], -1, chunk, *x.shape[2:])
    return jnp.moveaxis(x, 1, 0)

  def join(x):
    x = jnp.moveaxis(x, 0, 1)
    return x.reshape(x.shape[0], -1)[:, :T]

  body = jax.checkpoint(lambda _, xs: (None, chunk_fn(*xs)))
  _, out = jax.lax.scan(body, None, jax.tree.map(split, arrays))
  return jax.tree.map(join, out)


def token_logps(hidden_BTD, head_DV, tokens_BT, *, chunk: int, softcap=0.0):
  """log pi(token), float32 [B, T], at temperature 1: for cross-entropy."""

  def of_chunk(hidden, tokens):
    return _pick(_log_softmax(hidden, head_DV, 1.0, softcap), tokens)

  return _over_positions(of_chunk, (hidden_BTD, tokens_BT), chunk)


def token_statistics(
    hidden_BTD: jax.Array,
    head_DV: jax.Array,
    ref_hidden_BTD: jax.Array,
    ref_head_DV: jax.Array,
    tokens_BT: jax.Array,
    *,
    temperature: float,
    chunk: int,
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
    chunk: positions whose scores exist at one time.
    softcap: c of c * tanh(scores / c), before the temperature; 0 for none.
  """
  ref_hidden_BTD, ref_head_DV = jax.lax.stop_gradient(
      (ref_hidden_BTD, ref_head_DV))
  log_softmax = functools.partial(
      _log_softmax, temperature=temperature, softcap=softcap)

  def of_chunk(hidden, ref_hidden, tokens):
    logp = log_softmax(hidden, head_DV)
    ref_logp = log_softmax(ref_hidden, ref_head_DV)
    p = jnp.exp(logp)
    return TokenStatistics(
        logp=_pick(logp, tokens),
        entropy=-jnp.sum(p * logp, axis=-1),
        ref_logp=_pick(ref_logp, tokens),
        kl=jnp.sum(p * (logp - ref_logp), axis=-1))

  arrays = (hidden_BTD, ref_hidden_BTD, tokens_BT)
  return _over_positions(of_chunk, arrays, chunk)
