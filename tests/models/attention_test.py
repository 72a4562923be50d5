"""The splash kernel, interpreted, against plain attention; and who uses it."""

import dataclasses
import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_jax import config as config_lib
from score_jax import run as run_lib
from score_jax import sharding
from score_jax import tpu_slices
from score_jax import update
from score_jax.models import attention
from score_jax.models import branches as branches_lib
from score_jax.models import decoder
from score_jax.models import held as held_lib
from tests import folders
from tests import testing

N, K, H = 4, 2, 6


def _config(**changes):
  return testing.model_config(num_heads=N, num_kv_heads=K, head_dim=H,
                              **changes)


def _inputs(B, T, seed=0):
  """Queries, keys and values, and weights for what comes out."""
  rng = np.random.default_rng(seed)
  draw = lambda *shape: jnp.asarray(2 * rng.normal(size=shape), jnp.float32)
  return draw(B, T, N, H), draw(B, K, T, H), draw(B, K, T, H), draw(B, T, N, H)


def _valid(B, T, gap):
  """Padding in front, more in each row, and dead slots `gap` in all rows."""
  valid = np.arange(T) >= np.arange(B)[:, None] * T // (2 * B)
  valid[:, gap] = False
  return jnp.asarray(valid)


def _mask(valid, window):
  at = np.arange(valid.shape[1])
  behind = at[:, None] - at
  return valid[:, None] & ((behind >= 0) & (behind < window))[None]


def _value_and_grads(attend, valid, q, k, v, weights):
  """What comes out of valid slots, and gradients of a weighted sum of it."""

  def loss(q, k, v):
    out = jnp.where(valid[:, :, None, None], attend(q, k, v), 0)
    return jnp.sum(out * weights), out

  grads, out = jax.jit(jax.grad(loss, (0, 1, 2), has_aux=True))(q, k, v)
  return out, *grads


def _assert_the_kernel_is_plain_attention(config, B, T, gap, window):
  *given, weights = _inputs(B, T)
  valid = _valid(B, T, gap)
  mask = _mask(valid, window or T)
  expected = _value_and_grads(
      lambda *qkv: attention.plain(config, *qkv, mask), valid, *given, weights)
  found = _value_and_grads(
      lambda *qkv: attention.splash(config, *qkv, valid, window), valid, *given,
      weights)
  for a, b in zip(found, expected, strict=True):
    assert np.abs(b).max() > 1
    np.testing.assert_allclose(a, b, atol=5e-5)


@pytest.mark.parametrize('T,gap,window,cap', [
    (12, slice(7, 9), 0, 0.0), (200, slice(90, 140), 0, 3.0),
    (200, slice(0), 37, 3.0), (200, slice(0), 150, 0.0)])
def test_the_kernel_attends_as_plain_attention_does(T, gap, window, cap):
  # 200 slots are two blocks of 128, the last with room behind it.
  config = _config(attention_softcap=cap, attention_scale=0.3)
  _assert_the_kernel_is_plain_attention(config, 2, T, gap, window)


@pytest.mark.parametrize('T,S,window', [(300, 300, 0), (101, 300, 0),
                                        (101, 300, 150), (95, 95, 0)])
def test_long_sequences_in_parts_are_attended_alike(T, S, window):
  # The last T of S slots: of 300 in 4 parts, of 101 in 2, of 95 in one.
  changes = dict(global_every=2, window=window) if window else {}
  config = _config(attention_softcap=3.0, **changes)
  valid = _valid(2, S, slice(S - 60, S - 40))
  q, k, v, weights = _inputs(2, S)
  q, weights = q[:, -T:], weights[:, -T:]
  positions = jnp.cumsum(valid, axis=1) - 1
  behind = positions[:, :, None] - positions[:, None]
  mask = (_mask(valid, S) & (behind < (window or S)))[:, -T:]
  positions = positions[:, -T:]
  attend = attention.attend_fn(config, positions, valid, S - T)
  expected = _value_and_grads(
      lambda *qkv: attention.plain(config, *qkv, mask), valid[:, -T:], q, k, v,
      weights)
  found = _value_and_grads(
      lambda *qkv: attend(not window, *qkv), valid[:, -T:], q, k, v, weights)
  for a, b in zip(found, expected, strict=True):
    assert np.abs(b).max() > 0.5
    np.testing.assert_allclose(a, b, atol=5e-5)


def test_keys_behind_all_queries_of_a_part_are_left_out():
  config, given = _config(), _inputs(1, 200)[:3]
  valid = jnp.ones((1, 200), bool)
  text = str(jax.make_jaxpr(functools.partial(attention.attend_fn(
      config, jnp.arange(200)[None], valid, 0), True))(*given))
  # 50 queries of each of 2 heads that share a key.
  scores = re.findall(r'f32\[1,2,100,(\d+)\] = exp', text)
  assert scores == ['50', '100', '150', '200']


@pytest.mark.parametrize('axes', [(4, 1, 2), (2, 2, 2)])
def test_every_device_takes_its_rows_and_heads(axes):
  config = _config(attention_softcap=3.0)
  with jax.set_mesh(sharding.make_mesh(config_lib.MeshConfig(*axes))):
    _assert_the_kernel_is_plain_attention(config, 8, 12, slice(0), 5)


@pytest.mark.parametrize('T,P,S,window', [
    (1, 7, 12, 0), (5, 7, 12, 4), (101, 150, 300, 0), (101, 190, 300, 140)])
@pytest.mark.parametrize('live', [None, [0, 1, 0, 0, 1, 0]])
def test_samples_attend_to_one_prompt_as_to_their_own(T, P, S, window, live):
  # Two prompts of P slots, three rows of each; the last T of S slots attend,
  # 101 of them in 2 parts. Of the rows that are live there are keys alone.
  changes = dict(global_every=2, window=window) if window else {}
  config = _config(attention_softcap=3.0, **changes)
  valid = jnp.repeat(_valid(2, S, slice(S - T - 3, S - T - 1)), 3, axis=0)
  q, k, v, _ = _inputs(6, S)
  prompt = k[::3, :, :P], v[::3, :, :P]
  whole = (jnp.concatenate([jnp.repeat(x, 3, axis=0), own[:, :, P:]], axis=2)
           for x, own in zip(prompt, (k, v)))
  positions = (jnp.cumsum(valid, axis=1) - 1)[:, -T:]
  rows = np.arange(6) if live is None else np.flatnonzero(live)
  held = (None if live is None
          else held_lib.choose(jnp.array(live, bool), len(rows)))
  expected = attention.attend_fn(config, positions, valid, S - T)(
      not window, q[:, -T:], *whole)
  found = attention.attend_fn(config, positions, valid, S - T, held)(
      not window, q[:, -T:], *(x[rows, :, P:] for x in (k, v)), prompt=prompt)
  assert np.abs(expected).max() > 0.5
  np.testing.assert_allclose(found[rows], expected[rows], atol=5e-6)


def test_what_prompt_and_row_add_is_rounded_once():
  config = _config(dtype='bfloat16')
  q, k, v = (x.astype(jnp.bfloat16) for x in _inputs(64, 40)[:3])
  q, mask = q[:, -1:], jnp.ones((64, 1, 40), bool)
  prompt = k[::8, :, :20], v[::8, :, :20]
  whole = (jnp.concatenate([jnp.repeat(x, 8, axis=0), own[:, :, 20:]], axis=2)
           for x, own in zip(prompt, (k, v)))
  expected = attention.plain(config, q, *whole, mask)
  found = attention.plain(config, q, k[:, :, 20:], v[:, :, 20:], mask,
                          prompt=prompt)
  assert found.dtype == jnp.bfloat16
  # A sum in another order may be on the other side; each part rounded by
  # itself would make many of them differ.
  assert np.mean(found != expected) < 0.01


def test_rows_of_padding_alone_are_finite():
  valid = jnp.zeros((2, 12), bool)
  given = _inputs(2, 12)
  everywhere = jnp.ones_like(valid)
  for x in _value_and_grads(
      lambda *qkv: attention.splash(_config(), *qkv, valid, 5), everywhere,
      *given):
    assert np.isfinite(x).all()


def test_no_scores_of_all_pairs_are_held():
  config = _config(attention_softcap=3.0)
  given = _inputs(2, 200)
  valid = _valid(2, 200, slice(0))

  def shapes(attend):
    return str(jax.make_jaxpr(functools.partial(
        _value_and_grads, attend, valid))(*given))

  mask = _mask(valid, 200)
  assert ',200,200]' in shapes(
      lambda *qkv: attention.plain(config, *qkv, mask))
  text = shapes(lambda *qkv: attention.splash(config, *qkv, valid))
  assert ',200,200]' not in text and '256,256]' not in text
  assert text.count('pallas_call') == 3  # Forwards, and two of the gradient.


@pytest.mark.parametrize('slots,block', [
    (12, 128), (512, 512), (513, 128), (2560, 512), (2625, 384)])
def test_blocks_by_hand(slots, block):
  # 2625 = 7 * 384 - 63; with blocks of 512 it would be 447 slots of nothing.
  assert attention.block_size(slots) == block


def test_valid_slots_first_and_back():
  valid = jnp.array([[False, True, False, True], [True, True, True, True]])
  there, back = attention.compacted(valid)
  slots = jnp.arange(8).reshape(2, 4)
  first = attention.pick(slots, there)
  np.testing.assert_array_equal(first, [[1, 3, 0, 2], [4, 5, 6, 7]])
  np.testing.assert_array_equal(attention.pick(first, back), slots)


def _sequences(rows, seed=0):
  """Sequences as sampled: padding in front, dead slots behind attempt 1."""
  rng = np.random.default_rng(seed)
  tokens = rng.integers(0, testing.VOCAB, (rows, 17)).astype(np.int32)
  at = np.arange(17)
  padding, dead = rng.integers(0, 5, (rows, 1)), rng.integers(0, 6, (rows, 1))
  valid = (at >= padding) & ~((at >= 11 - dead) & (at < 11))
  return tokens, valid


@functools.cache
def _lively(form):
  """A small model of two layers or three, all of whose parts matter."""
  changes = folders.SMALL[form] if form != 'llama' else {}
  config = testing.model_config(
      **changes | {'num_layers': 3 if form == 'gemma3' else 2,
                   'vocab_size': 24})
  if config.global_every > 1:
    config = dataclasses.replace(config, global_every=2)
  rng = np.random.default_rng(1)
  draw = lambda x: x + jnp.asarray(0.3 * rng.normal(size=x.shape), x.dtype)
  tree = testing.params(config)
  # Not the embedding: rows of one choice would all be of one length.
  return config, jax.tree.map(draw, tree) | {'embed': tree['embed']}


def _states_and_grads(config, tree, tokens, valid, weights):
  """Hidden states at valid slots, and the gradient of all parameters."""

  def loss(tree):
    hidden, _ = decoder.forward(config, tree, tokens, update.positions(valid),
                                valid)
    hidden = jnp.where(valid[..., None], hidden, 0)
    return jnp.sum(hidden * weights), hidden

  return jax.jit(jax.grad(loss, has_aux=True))(tree)


@pytest.mark.parametrize('form,axes', [
    ('llama', None), ('gemma2', None), ('gemma3', (2, 2, 2))])
def test_a_model_computes_the_same_by_the_kernel(form, axes):
  # Windows of 4 positions, among dead slots that take none.
  config, tree = _lively(form)
  tokens, valid = _sequences(8)
  weights = np.random.default_rng(2).normal(size=(8, 17, 16))
  weights = jnp.asarray(weights, jnp.float32)
  by = lambda kind: _states_and_grads(
      dataclasses.replace(config, attention=kind), tree, tokens,
      jnp.asarray(valid), weights)
  expected = by('plain')
  if axes:
    with jax.set_mesh(sharding.make_mesh(config_lib.MeshConfig(*axes))):
      found = by('splash')
  else:
    found = by('splash')
  for a, b in zip(*map(jax.tree.leaves, (found, expected)), strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)


BRANCHES = branches_lib.Branches(prompt=7, count=4)


def _samples(rows):
  """`_sequences` of which each four have one prompt, and weights of states."""
  tokens, valid = _sequences(rows)
  P, G = BRANCHES
  for x in (tokens, valid):
    x[:, :P] = np.repeat(x[::G, :P], G, axis=0)
  weights = np.random.default_rng(2).normal(size=(rows, 17 - P + 1, 16))
  return tokens, jnp.asarray(valid), jnp.asarray(weights, jnp.float32)


def _from_the_prompt_on(config, tree, tokens, valid, weights, together):
  """What `_states_and_grads` finds of slots from the prompt's last one on."""

  def loss(tree):
    given = config, tree, tokens, update.positions(valid), valid
    if together:
      hidden = decoder.forward_branches(*given, BRANCHES)
    else:
      hidden = decoder.forward(*given)[0][:, BRANCHES.prompt - 1 :]
    hidden = jnp.where(valid[:, BRANCHES.prompt - 1 :, None], hidden, 0)
    return jnp.sum(hidden * weights), hidden

  return jax.jit(jax.grad(loss, has_aux=True))(tree)


@pytest.mark.parametrize('kind', ['plain', 'splash'])
@pytest.mark.parametrize('form,axes', [
    ('llama', None), ('gemma2', None), ('gemma3', (2, 1, 2))])
def test_rows_that_share_a_prompt_are_read_as_if_they_did_not(
    form, axes, kind):
  config, tree = _lively(form)
  given = _samples(8)
  expected = _from_the_prompt_on(config, tree, *given, together=False)
  of_kind = dataclasses.replace(config, attention=kind)
  if axes:
    devices = jax.devices()[: axes[0] * axes[2]]
    mesh = sharding.make_mesh(config_lib.MeshConfig(*axes), devices)
    with jax.set_mesh(mesh):
      found = _from_the_prompt_on(of_kind, tree, *given, together=True)
  else:
    found = _from_the_prompt_on(of_kind, tree, *given, together=True)
  for a, b in zip(*map(jax.tree.leaves, (found, expected)), strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize('form,unroll', [('llama', True), ('gemma2', False)])
def test_prompts_that_the_kernel_reads_are_answered_the_same(form, unroll):
  config, tree = _lively(form)
  config = dataclasses.replace(config, unroll_decode=unroll)
  sample = lambda kind: testing.sample(
      dataclasses.replace(config, attention=kind), tree=tree, temperature=0.0,
      samples=1, rows=6)
  plain, splash = sample('plain'), sample('splash')
  assert len(np.unique(plain.length_BA)) > 1
  np.testing.assert_array_equal(splash.tokens_BS, plain.tokens_BS)
  np.testing.assert_allclose(splash.logp_BS, plain.logp_BS, atol=1e-5)


def test_a_sampler_uses_the_kernel_for_its_prompts_alone():
  config = testing.model_config(attention='splash', unroll_decode=False)
  tree = testing.params(config)
  text = str(jax.make_jaxpr(lambda: testing.sample(config, tree=tree))())
  assert text.count('pallas_call') == 1


TPUS = jax.sharding.AbstractMesh(
    (2, 2, 2), sharding.AXES, abstract_device=jax.sharding.AbstractDevice(
        'TPU v5 lite', 1, platform='tpu'))


def test_the_devices_of_the_mesh_choose_unless_the_config_does():
  by = lambda kind: attention.uses_kernel(testing.model_config(attention=kind))
  assert not by('auto') and by('splash')
  with jax.set_mesh(sharding.make_mesh(config_lib.MeshConfig())):
    assert not by('auto') and by('splash')
  with jax.sharding.use_abstract_mesh(TPUS):
    assert by('auto') and not by('plain')


@pytest.mark.parametrize('precision,dtypes', [
    (None, 'float32 bfloat16'), ('default', 'float32 bfloat16'),
    ('bfloat16', 'float32 bfloat16'), ('highest', 'float32'),
    ('float32', 'float32'), ('high', ''), ('tensorfloat32', '')])
def test_a_precision_that_the_kernel_has_not_is_refused(precision, dtypes):
  # As the compilers of v5e and v6e had them.
  here = sharding.make_mesh(config_lib.MeshConfig())
  with jax.default_matmul_precision(precision):
    for dtype in config_lib.DTYPES:
      config = testing.model_config(dtype=dtype)
      attention.check_precision(
          dataclasses.replace(config, attention='splash'), here)
      plain = dataclasses.replace(config, attention='plain')
      attention.check_precision(plain, TPUS)
      if dtype in dtypes.split():
        attention.check_precision(config, TPUS)
      else:
        with pytest.raises(ValueError, match=f"precision is '{precision}', .*"
                           f"dtype '{dtype}'.*attention='plain'"):
          attention.check_precision(config, TPUS)


def test_the_precision_is_checked_with_the_devices():
  with pytest.raises(ValueError, match='jax_default_matmul_precision'):
    run_lib.check_devices(config_lib.from_dict(
        {'model': {'dtype': 'bfloat16', 'vocab_size': 28}}), TPUS)


def test_an_unknown_kernel_is_refused():
  with pytest.raises(ValueError, match="config.model.attention.*'splash'"):
    config_lib.from_dict({'model': {'attention': 'flash'}})


@pytest.mark.tpu_compiler
@pytest.mark.parametrize('topology', ['v4:2x2x1', 'v5e:2x2', 'v5p:2x2x1',
                                      'v6e:2x2'])
@pytest.mark.parametrize('head_dim,window', [(64, 0), (128, 0), (256, 700)])
def test_the_kernel_compiles_for_every_kind_of_chip(topology, head_dim, window):
  config = testing.model_config(num_heads=8, num_kv_heads=4, head_dim=head_dim,
                                attention_softcap=50.0)
  mesh = sharding.make_mesh(config_lib.MeshConfig(1, 2, 2),
                            tpu_slices.devices(topology, 1))
  array = lambda shape, dtype, *names: jax.ShapeDtypeStruct(
      shape, dtype, sharding=sharding.named(mesh, *names))
  q = array((4, 2625, 8, head_dim), jnp.bfloat16, 'batch', None, 'heads')
  k = array((4, 4, 2625, head_dim), jnp.bfloat16, 'batch', 'kv_heads')
  valid = array((4, 2625), jnp.bool, 'batch')
  loss = lambda q, k, v, valid: jnp.sum(
      attention.splash(config, q, k, v, valid, window), dtype=jnp.float32)
  # The tests' own precision is one that the kernel has not in bfloat16.
  with jax.set_mesh(mesh), jax.default_matmul_precision('default'):
    text = jax.jit(jax.grad(loss, (0, 1, 2))).lower(
        q, k, k, valid).compile().as_text()
  assert text.count('custom_call_target="tpu_custom_call"') == 3
