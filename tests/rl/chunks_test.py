"""A loss over chunks against the same loss of all tokens at once."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_jax.rl import chunks
from score_jax.rl import logprobs

B, T, D, V = 3, 11, 8, 29


def _arrays(seed=0):
  rng = np.random.default_rng(seed)
  normal = lambda *shape: rng.normal(size=shape).astype(np.float32)
  return (normal(B, T, D), normal(D, V), normal(B, T, D), normal(D, V),
          rng.integers(0, V, (B, T)).astype(np.int32), normal(B, T))


def _of_chunk(hidden, head, of_tokens, ref_head, behind_B):
  """Each token is charged with the KL behind it, as in the objective."""
  ref_hidden, tokens, weight = of_tokens
  stats = logprobs.token_statistics(
      hidden, head, ref_hidden, ref_head, tokens, temperature=0.7)
  kl = jnp.where(weight != 0, stats.kl, 0)
  total_B = jnp.sum(kl, axis=1)
  later = behind_B[:, None] + total_B[:, None] - jnp.cumsum(kl, axis=1)
  loss = jnp.sum(weight * stats.logp * jax.lax.stop_gradient(later) + kl)
  return loss, (behind_B + jax.lax.stop_gradient(total_B), stats)


def _given(arrays):
  hidden, head, ref_hidden, ref_head, tokens, weight = arrays
  return hidden, head, (ref_hidden, tokens, weight), ref_head, jnp.zeros(B)


def _of_all(hidden, head, *given):
  loss, (_, stats) = _of_chunk(hidden, head, *given)
  return loss, stats


def _in_chunks(chunk, *given):
  return chunks.loss(_of_chunk, *given, chunk=chunk)


@pytest.mark.parametrize('chunk', [1, 4, 11, 64])
def test_loss_gradient_and_findings_are_those_of_all_tokens(chunk):
  given = _given(_arrays())
  of = lambda f: jax.jit(jax.value_and_grad(f, (0, 1), has_aux=True))(*given)
  expected = of(_of_all)
  found = of(functools.partial(_in_chunks, chunk))
  alone = jax.jit(functools.partial(_in_chunks, chunk))(*given)
  for tree in (found, (alone, found[1])):
    for a, b in zip(jax.tree.leaves(tree), jax.tree.leaves(expected),
                    strict=True):
      assert np.abs(b).max() > 0.1
      np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-5)


def test_gradient_is_scaled_by_what_the_loss_is_part_of():
  hidden, *given = _given(_arrays())
  grad = lambda scale: jax.grad(
      lambda hidden: scale * _in_chunks(4, hidden, *given)[0])(hidden)
  np.testing.assert_allclose(grad(-3.0), -3 * grad(1.0), rtol=1e-6)


def test_no_gradient_into_anything_else():
  hidden, head, (ref_hidden, tokens, weight), ref_head, behind = _given(
      _arrays())
  loss = lambda ref_hidden, ref_head, weight: _in_chunks(
      4, hidden, head, (ref_hidden, tokens, weight), ref_head, behind)[0]
  for grad in jax.grad(loss, (0, 1, 2))(ref_hidden, ref_head, weight):
    np.testing.assert_array_equal(grad, 0)


def test_gradient_of_a_bfloat16_head_is_summed_in_float32():
  # 512 positions that add 1 each: bfloat16 stops counting at 256.
  def of_chunk(hidden, head, *_):
    return jnp.sum(hidden @ head.astype(jnp.float32)), ((), None)

  grad = jax.grad(lambda head: chunks.loss(
      of_chunk, jnp.ones((1, 512, 1)), head, (), chunk=1)[0])(
          jnp.ones((1, 1), jnp.bfloat16))
  assert grad.dtype == jnp.bfloat16 and grad.item() == 512


def _compiled(chunk, argnums):
  given = _given(_arrays())
  return jax.jit(jax.grad(lambda *given: _in_chunks(chunk, *given)[0], argnums)
                 ).lower(*given).compile().as_text()


def _sizes_with_vocabulary(text):
  shapes = re.findall(r'[fsu]\d+\[([\d,]+)\]', text)
  sizes = [np.array(shape.split(','), int) for shape in shapes]
  return [np.prod(size) for size in sizes if V in size]


def test_nothing_as_large_as_all_scores_is_compiled():
  # The head itself is D * V; scores of one chunk of 2 are 2 * B * V.
  assert max(_sizes_with_vocabulary(_compiled(2, (0, 1)))) == D * V
  # What it would be.
  assert max(_sizes_with_vocabulary(_compiled(T, (0, 1)))) == B * T * V


@pytest.mark.parametrize('argnums,products', [((0, 1), 4), ((0,), 3)])
def test_scores_are_computed_once(argnums, products):
  # Of policy and reference; then gradients of states and, if asked for, head.
  assert len(re.findall(r' dot\(', _compiled(4, argnums))) == products
