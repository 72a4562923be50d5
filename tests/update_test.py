"""The update: accumulation, what is learned, and equality on a mesh."""

import dataclasses
import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from score_jax import config as config_lib
from score_jax import optimizers
from score_jax import sharding
from score_jax import types
from score_jax import update
from score_jax.models import decoder
from score_jax.rl import rewards
from tests import testing

OPTIMIZER = config_lib.OptimizerConfig(learning_rate=0.01)


def _batch(rollout, advantages=None):
  rows = rollout.tokens_BS.shape[0]
  if advantages is None:
    rng = np.random.default_rng(0)
    advantages = rng.normal(size=(rows, 2)).astype(np.float32)
  return types.TrainBatch(rollout.tokens_BS, rollout.valid_BS,
                          rollout.attempt_BS, rollout.logp_BS,
                          jnp.asarray(advantages), rollout.layout)


@functools.cache
def _step(micro_batches=1, samples=1, **settings):
  """A jitted update with plain gradient descent, so that changes are linear."""
  settings = {'kl_baseline': 'none'} | settings
  stage = config_lib.StageConfig(micro_batches=micro_batches, **settings)
  return jax.jit(functools.partial(
      update.rl_update, model=testing.model_config(), stage=stage,
      credit=rewards.stage2(2, 10.0, 0.3), optimizer=optax.sgd(1.0),
      temperature=1.0, head_chunk=4, samples=samples))


def _all_logps(config, tree, rollout, temperature):
  """log-probs [B, T, V] of every id at the attempts' slots, all at once."""
  hidden, _ = decoder.forward(config, tree, rollout.tokens_BS,
                              update.positions(rollout.valid_BS),
                              rollout.valid_BS)
  hidden = update.of_attempts(hidden, rollout.layout, -1)
  scores = np.asarray(hidden) @ np.asarray(decoder.head(config, tree))
  if config.final_softcap:
    scores = config.final_softcap * np.tanh(scores / config.final_softcap)
  return np.asarray(jax.nn.log_softmax(scores / temperature))


@pytest.mark.parametrize('kl,kl_credit,normalisation,softcap', [
    ('k2', 'token', 'token', 0.0), ('k2', 'sequence', 'token', 0.7),
    ('exact', 'sequence', 'sequence', 0.0),
    ('exact', 'token', 'sequence', 0.7), ('exact', 'sequence', 'token', 0.7)])
def test_loss_and_metrics_by_hand(kl, kl_credit, normalisation, softcap):
  # An untied head, two weights of the KL, capped scores.
  config = testing.model_config(tied_head=False, rope_base=100.0, num_layers=1,
                                final_softcap=softcap)
  tree, reference = (testing.params(config, seed) for seed in (0, 1))
  rollout = testing.sample(config, temperature=0.6)
  batch = _batch(rollout)  # As if the sampler had been off by half a nat.
  batch = dataclasses.replace(batch, logp_BS=batch.logp_BS - 0.5)
  state, metrics = jax.jit(functools.partial(
      update.rl_update, model=config, optimizer=optax.sgd(1.0),
      stage=config_lib.StageConfig(kl=kl, kl_credit=kl_credit,
                                   kl_baseline='none',
                                   normalisation=normalisation),
      credit=rewards.stage1(2, beta1=0.3, beta2=0.7), temperature=0.6,
      head_chunk=4))(_state(tree), reference, batch)
  logp, ref = (_all_logps(config, p, rollout, 0.6) for p in (tree, reference))
  tokens = np.asarray(update.of_attempts(rollout.tokens_BS, rollout.layout))
  attempt = np.asarray(update.of_attempts(rollout.attempt_BS, rollout.layout))
  pick = lambda x: np.take_along_axis(x, tokens[..., None], axis=-1)[..., 0]
  loss = 0.0
  for a, beta in ((1, 0.7), (2, 0.3)):
    mask = attempt == a
    credit = np.asarray(batch.advantages_BA)[:, a - 1, None]
    exact = (np.exp(logp) * (logp - ref)).sum(-1)
    later_of = exact if kl == 'exact' else pick(logp) - pick(ref)
    penalty = exact if kl == 'exact' else 0.5 * later_of**2
    if kl_credit == 'sequence':
      later = np.where(mask, later_of, 0)[:, ::-1].cumsum(1)[:, ::-1]
      penalty = penalty + pick(logp) * (later - later_of)
    total = np.sum((-credit * pick(logp) + beta * penalty)[mask])
    loss += total / (12 if normalisation == 'sequence' else mask.sum())
    np.testing.assert_allclose(
        metrics[f'kl_t{a}'],
        np.sum((np.exp(logp) * (logp - ref)).sum(-1)[mask]) / 12, rtol=1e-4)
    np.testing.assert_allclose(
        metrics[f'entropy_t{a}'],
        np.mean(-(np.exp(logp) * logp).sum(-1)[mask]), rtol=1e-4)
    np.testing.assert_allclose(metrics[f'logp_gap_t{a}'], 0.5, rtol=1e-4)
  np.testing.assert_allclose(metrics['loss'], loss, rtol=1e-4)
  assert int(state.step) == 1


def _state(tree):
  return update.init_state(optax.sgd(1.0), tree)


def _other(seed=1):
  return testing.params(testing.model_config(), seed)


def _close(a, b, atol):
  for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
    np.testing.assert_allclose(x, y, atol=atol)


def test_at_step_0_kl_is_zero_and_log_probs_agree():
  tree = testing.params(testing.model_config())
  _, metrics = _step()(_state(tree), tree, _batch(testing.sample()))
  for a in (1, 2):
    assert abs(float(metrics[f'kl_t{a}'])) < 1e-5
    assert float(metrics[f'logp_gap_t{a}']) < 1e-5
    assert float(metrics[f'entropy_t{a}']) > 0.1


@pytest.mark.parametrize('normalisation', ['sequence', 'token'])
def test_micro_batches_give_the_gradient_of_the_batch(normalisation):
  tree, reference = _other(0), _other(1)
  batch = _batch(testing.sample(rows=4, samples=3))
  whole, metrics = _step(1, normalisation=normalisation)(
      _state(tree), reference, batch)
  parts, part_metrics = _step(3, normalisation=normalisation)(
      _state(tree), reference, batch)
  _close(whole.params, parts.params, atol=1e-5)
  _close(metrics, part_metrics, atol=1e-4)


@pytest.mark.parametrize('parts,kl', [(1, 'exact'), (3, 'exact'), (2, 'k2')])
def test_prompts_that_are_read_together_change_nothing(parts, kl):
  tree, reference = _other(0), _other(1)
  batch = _batch(testing.sample(rows=3, samples=4))
  step = lambda samples: _step(parts, samples=samples, kl=kl)
  alone, metrics = step(1)(_state(tree), reference, batch)
  state, its_metrics = step(4)(_state(tree), reference, batch)
  _close(state.params, alone.params, atol=1e-5)
  _close(metrics, its_metrics, atol=1e-4)


def test_rows_that_read_their_prompt_together_by_hand():
  # 16 rows on each device, in parts of 16, 4, 2 and 1; or of 12 and 6.
  together = [update.rows_together(8, 64, 4, parts) for parts in (1, 4, 8, 16)]
  assert together == [8, 4, 2, 1]
  assert [update.rows_together(8, 48, 4, parts) for parts in (1, 2)] == [4, 2]
  assert update.rows_together(1, 64, 4, 1) == 1


def test_a_shared_prompt_is_computed_once():
  tree = _other(0)
  batch = _batch(testing.sample(rows=2, samples=8, prompt=testing.prompts(
      2, slots=40)))
  flops = lambda samples: _step(1, samples=samples).lower(
      _state(tree), tree, batch).cost_analysis()['flops']
  # Of 40 slots of a prompt and 15 others each row has 5 and 15.
  assert flops(8) < 0.45 * flops(1)


def test_prompt_and_instruction_tokens_get_no_credit():
  # With every attempt id at 0 nothing is left to learn from.
  tree, reference = _other(0), _other(1)
  batch = _batch(testing.sample())
  none = dataclasses.replace(batch, attempt_BS=jnp.zeros_like(batch.attempt_BS))
  state, metrics = _step()(_state(tree), reference, none)
  assert float(metrics['loss']) == 0 and float(metrics['grad_norm']) == 0
  _close(state.params, tree, atol=0)


def test_rows_with_first_attempts_of_the_base_leave_the_others_as_they_are():
  # Two problems of three samples; of the second the base drew attempt 1.
  tree, reference = _other(0), _other(1)
  batch = _batch(testing.sample(rows=2, samples=3))
  attempt = np.array(batch.attempt_BS)
  attempt[3:][attempt[3:] == 1] = 0
  mixed = dataclasses.replace(batch, attempt_BS=jnp.asarray(attempt))
  only_first = dataclasses.replace(
      batch, attempt_BS=jnp.where(batch.attempt_BS == 1, 1, 0))
  own = jax.tree.map(lambda x: x[:3], only_first)
  settings = {'samples': 3, 'kl_baseline': 'leave_one_out'}
  _, mixed_metrics = _step(**settings)(_state(tree), reference, mixed)
  _, own_metrics = _step(**settings)(_state(tree), reference, own)
  _, all_metrics = _step(**settings)(_state(tree), reference, batch)
  for name in ('kl_t1', 'entropy_t1'):
    np.testing.assert_allclose(mixed_metrics[name], own_metrics[name],
                               rtol=1e-5)
  np.testing.assert_allclose(mixed_metrics['kl_t2'], all_metrics['kl_t2'],
                             rtol=1e-5)
  # Attempt 1 has a loss over the online rows, attempt 2 over all rows.
  second = dataclasses.replace(
      batch, attempt_BS=jnp.where(batch.attempt_BS == 2, 2, 0))
  _, second_metrics = _step(**settings)(_state(tree), reference, second)
  np.testing.assert_allclose(
      mixed_metrics['loss'], own_metrics['loss'] + second_metrics['loss'],
      rtol=1e-5)


def test_padding_and_dead_slots_do_not_matter():
  tree, reference = _other(0), _other(1)
  batch = _batch(testing.sample())
  state, metrics = _step()(_state(tree), reference, batch)
  noisy = dataclasses.replace(
      batch, tokens_BS=jnp.where(batch.valid_BS, batch.tokens_BS, 17),
      logp_BS=jnp.where(batch.attempt_BS > 0, batch.logp_BS, 5.0))
  again, again_metrics = _step()(_state(tree), reference, noisy)
  _close(state.params, again.params, atol=0)
  _close(metrics, again_metrics, atol=0)


def test_a_rewarded_attempt_becomes_likelier_and_the_other_does_not():
  tree = _other(0)
  rollout = testing.sample(rows=1, samples=2)
  credit = np.zeros((2, 2), np.float32)
  credit[0, 1] = 0.05  # Row 0, attempt 2.
  step = jax.jit(functools.partial(
      update.rl_update, model=testing.model_config(),
      stage=config_lib.StageConfig(), credit=rewards.stage2(2, 10.0, 0.0),
      optimizer=optax.sgd(1.0), temperature=1.0, head_chunk=4))
  state, _ = step(_state(tree), tree, _batch(rollout, credit))

  def logps(params):
    hidden, _ = decoder.forward(
        testing.model_config(), params, rollout.tokens_BS,
        update.positions(rollout.valid_BS), rollout.valid_BS)
    hidden = update.of_attempts(hidden, rollout.layout, -1)
    logp = jax.nn.log_softmax(decoder.logits(
        testing.model_config(), hidden,
        decoder.head(testing.model_config(), params)))
    tokens = update.of_attempts(rollout.tokens_BS, rollout.layout)
    attempt = update.of_attempts(rollout.attempt_BS, rollout.layout)
    picked = jnp.take_along_axis(logp, tokens[..., None], -1)[..., 0]
    return jnp.sum(jnp.where(attempt == 2, picked, 0), axis=1)

  assert logps(state.params)[0] > logps(tree)[0] + 0.01


@pytest.mark.parametrize('shape', [(8, 1, 1), (2, 2, 2), (1, 4, 2)])
def test_a_whole_step_on_a_mesh_equals_one_device(shape):
  config = testing.model_config(vocab_size=26)
  tree = testing.params(config)
  prompt = testing.prompts(8)
  alone = testing.sample(config, prompt=prompt, samples=4, tree=tree)
  expected, expected_metrics = _mesh_step(config, tree, alone)

  mesh = sharding.make_mesh(config_lib.MeshConfig(*shape))
  where = sharding.tree_shardings(mesh, decoder.logical_axes(config))
  with jax.set_mesh(mesh):
    placed = jax.tree.map(jax.device_put, tree, where)
    arrays = tuple(sharding.put_rows(x, mesh) for x in prompt)
    rows = sharding.put_rows(np.arange(32, dtype=np.int32), mesh)
    sample = jax.jit(functools.partial(
        testing.attempts.sample_attempts, config, samples=4,
        attempt_tokens=(6, 5), temperature=1.0, stop_ids=testing.STOPS,
        pad_id=testing.PAD))
    given = (placed, *arrays, (jnp.array([7, 8, 9], jnp.int32),),
             testing.keys.purpose_key(0, 'rollout'), np.int32(0), rows)
    compiled = sample.lower(*given).compile()
    # No device ever collects the activations of all 32 rows.
    assert not re.findall(r'f32\[32,.*? all-gather\(', compiled.as_text())
    together = compiled(*given)
    np.testing.assert_array_equal(together.tokens_BS, alone.tokens_BS)
    np.testing.assert_allclose(together.logp_BS, alone.logp_BS, atol=1e-5)
    state, metrics = _mesh_step(config, placed, together)
  # Sums over devices run in another order.
  _close(metrics, expected_metrics, atol=1e-4)
  _close(jax.device_get(state.params), expected.params, atol=1e-4)


def _mesh_step(config, tree, rollout):
  step = jax.jit(functools.partial(
      update.rl_update, model=config, stage=config_lib.StageConfig(
          micro_batches=2),
      credit=rewards.stage2(2, 10.0, 0.3), optimizer=optax.sgd(0.1),
      temperature=1.0, head_chunk=4, samples=4))
  reference = jax.tree.map(lambda w: 0.9 * w, tree)
  return step(update.init_state(optax.sgd(0.1), tree), reference,
              _batch(rollout))


def _unmoved(model, kl, micro_batches):
  """Metrics and state of an update whose policy is the reference."""
  tree = testing.params(model)
  rollout = testing.sample(model, rows=2, samples=4, tree=tree)
  params = decoder.trained(model, tree)
  reference = decoder.base(tree) if model.lora.rank else tree
  step = jax.jit(functools.partial(
      update.rl_update, model=model, optimizer=optax.sgd(1.0), samples=4,
      stage=config_lib.StageConfig(micro_batches=micro_batches, kl=kl),
      credit=rewards.stage2(2, 10.0, 0.3), temperature=0.7, head_chunk=4))
  state, metrics = step(_state(params), reference,
                        _batch(rollout, np.zeros((8, 2), np.float32)))
  _close(state.params, params, atol=0)
  return metrics


@pytest.mark.parametrize('kl,micro_batches,changes', [
    ('k2', 1, {}), ('exact', 2, {'final_softcap': 3.0}),
    ('exact', 1, {'dtype': 'bfloat16'}), ('k2', 2, {'dtype': 'bfloat16'}),
    ('exact', 1, {'lora': config_lib.LoraConfig(rank=2)})])
def test_where_the_policy_is_the_reference_the_kl_moves_nothing(
    kl, micro_batches, changes):
  metrics = _unmoved(testing.model_config(num_layers=1, **changes), kl,
                     micro_batches)
  for name in ('loss', 'grad_norm', 'kl_t1', 'kl_t2'):
    assert float(metrics[name]) == 0, name


def test_a_single_weight_that_differs_is_enough_for_a_kl():
  model = testing.model_config()
  tree = testing.params(model)
  other = jax.tree.map(lambda w: w, tree)
  other['embed'] = {'embedding': tree['embed']['embedding'].at[3, 2].add(0.1)}
  differs = lambda a, b: bool(update._differs(model, a, b))
  assert differs(tree, other) and not differs(tree, tree)
  _, metrics = _step()(_state(other), tree, _batch(testing.sample()))
  assert float(metrics['kl_t1']) > 1e-8


_KL_MODEL = testing.model_config(vocab_size=26, num_layers=1)


@functools.cache
def _kl_step(micro_batches, kl='exact', samples=4):
  """An update by the KL alone, with its baseline."""
  return jax.jit(functools.partial(
      update.rl_update, model=_KL_MODEL,
      stage=config_lib.StageConfig(micro_batches=micro_batches, kl=kl),
      credit=rewards.stage2(2, 10.0, 0.3), optimizer=optax.sgd(1.0),
      temperature=1.0, head_chunk=4, samples=samples))


def _kl_batch(rows=8, samples=4):
  config = _KL_MODEL
  tree, reference = (testing.params(config, seed) for seed in (0, 1))
  rollout = testing.sample(config, rows=rows, samples=samples, tree=tree)
  batch = _batch(rollout, np.zeros((rows * samples, 2), np.float32))
  return config, tree, reference, batch


@pytest.mark.parametrize('kl', ['exact', 'k2'])
def test_the_baseline_of_the_kl_by_hand(kl):
  config, tree, reference, batch = _kl_batch(rows=2)
  state, metrics = _kl_step(1, kl)(_state(tree), reference, batch)
  tokens = np.asarray(update.of_attempts(batch.tokens_BS, batch.layout))
  attempt = np.asarray(update.of_attempts(batch.attempt_BS, batch.layout))
  logp, ref = (_all_logps(config, p, batch, 1.0) for p in (tree, reference))
  pick = lambda x: np.take_along_axis(x, tokens[..., None], axis=-1)[..., 0]
  ratio = pick(logp) - pick(ref)
  exact = (np.exp(logp) * (logp - ref)).sum(-1)
  penalty, later_of = (exact, exact) if kl == 'exact' else (ratio**2 / 2, ratio)
  loss = 0.0
  for b, t in np.argwhere(attempt > 0):
    a = attempt[b, t]
    to_go = lambda row: later_of[row, t + 1 :][attempt[row, t + 1 :] == a].sum()
    others = [row for row in range(b // 4 * 4, b // 4 * 4 + 4)
              if row != b and attempt[row, t] == a]
    weight = to_go(b) - sum(map(to_go, others)) / (1 + len(others))
    loss += 0.3 * (penalty[b, t] + pick(logp)[b, t] * weight) / 8
  np.testing.assert_allclose(metrics['loss'], loss, rtol=1e-4)


@pytest.mark.parametrize('micro_batches', [2, 8])
def test_micro_batches_of_whole_problems_have_the_baseline_of_the_batch(
    micro_batches):
  _, tree, reference, batch = _kl_batch()
  whole, metrics = _kl_step(1)(_state(tree), reference, batch)
  parts, part_metrics = _kl_step(micro_batches)(_state(tree), reference, batch)
  _close(whole.params, parts.params, atol=1e-5)
  _close(metrics, part_metrics, atol=1e-4)
  # Micro-batches that cut problems in two have baselines of two samples.
  halves, _ = _kl_step(1, samples=2)(_state(tree), reference, batch)
  cut, _ = _kl_step(16)(_state(tree), reference, batch)
  _close(halves.params, cut.params, atol=1e-5)
  gap = max(np.abs(a - b).max() for a, b in zip(
      jax.tree.leaves(halves.params), jax.tree.leaves(whole.params)))
  assert gap > 1e-3


# 32 rows of 8 problems. 8 devices with 4 rows, in one micro-batch or in two of
# 2 rows: each problem is then on two devices. Or 2 devices.
@pytest.mark.parametrize('shape,micro_batches', [
    ((8, 1, 1), 1), ((8, 1, 1), 2), ((4, 2, 1), 4), ((2, 2, 2), 4),
    ((1, 4, 2), 4)])
def test_the_baseline_of_the_kl_is_one_on_any_mesh(shape, micro_batches):
  config, tree, reference, batch = _kl_batch()
  expected, expected_metrics = _kl_step(1)(_state(tree), reference, batch)
  mesh = sharding.make_mesh(config_lib.MeshConfig(*shape))
  where = sharding.tree_shardings(mesh, decoder.logical_axes(config))
  with jax.set_mesh(mesh):
    place = lambda tree: jax.tree.map(jax.device_put, tree, where)
    given = (_state(place(tree)), place(reference), jax.tree.map(
        lambda x: sharding.put_rows(np.asarray(x), mesh), batch))
    compiled = _kl_step(micro_batches).lower(*given).compile()
    state, metrics = compiled(*given)
  _close(jax.device_get(state.params), expected.params, atol=1e-5)
  _close(metrics, expected_metrics, atol=1e-4)
  # Devices exchange ids and KL of their rows, and no activations.
  rows = 32 // micro_batches
  gathered = re.findall(rf'f32\[{rows},([\d,]+)\]\S* all-gather\(',
                        compiled.as_text())
  assert all(np.prod([int(n) for n in x.split(',')]) <= 11 for x in gathered)


def test_a_micro_batch_without_two_samples_of_a_problem_is_refused():
  _, tree, reference, batch = _kl_batch()
  with pytest.raises(ValueError, match='a micro-batch of 1 rows, 4 a problem'):
    _kl_step(32)(_state(tree), reference, batch)


def test_language_modelling_loss_by_hand():
  # Zero weights predict every id alike: the loss is log V on learned tokens.
  config = testing.model_config()
  tree = jax.tree.map(jnp.zeros_like, testing.params(config))
  rng = np.random.default_rng(0)
  tokens = rng.integers(0, testing.VOCAB, (4, 9)).astype(np.int32)
  valid = rng.random((4, 9)) < 0.7
  step = functools.partial(
      update.lm_update, model=config, optimizer=optax.sgd(1.0), head_chunk=4)
  state = update.init_state(optax.sgd(1.0), tree)
  for micro_batches in (1, 2):
    _, metrics = jax.jit(functools.partial(
        step, micro_batches=micro_batches))(state, tokens, valid)
    np.testing.assert_allclose(metrics['loss'], np.log(testing.VOCAB),
                               rtol=1e-6)


def test_language_modelling_learns_a_sequence():
  config = testing.model_config()
  tokens = np.tile(np.arange(3, 12, dtype=np.int32), (4, 1))
  there = np.ones(tokens.shape, bool)
  optimizer = optimizers.make_optimizer(OPTIMIZER, 60)
  step = jax.jit(functools.partial(
      update.lm_update, model=config, optimizer=optimizer, head_chunk=4,
      micro_batches=1))
  state = update.init_state(optimizer, testing.params(config))
  losses = []
  for _ in range(60):
    state, metrics = step(state, tokens, there)
    losses.append(float(metrics['loss']))
  assert losses[-1] < 0.05 < 2.0 < losses[0]


def test_learning_rate_schedule_by_hand():
  config = config_lib.OptimizerConfig(
      learning_rate=1.0, warmup_steps=4, schedule='cosine', eps=1e-12)
  optimizer = optimizers.make_optimizer(config, 14)
  params = {'w': jnp.zeros(())}
  opt_state, sizes = optimizer.init(params), []
  for _ in range(14):
    change, opt_state = optimizer.update({'w': jnp.ones(())}, opt_state, params)
    sizes.append(-float(change['w']))  # Adam's step is the learning rate.
  # 1/5 rising to 4/5; then 1 falling by half a cosine over 10 steps.
  expected = [0.2, 0.4, 0.6, 0.8] + [
      0.5 * (1 + np.cos(np.pi * t / 10)) for t in range(10)]
  np.testing.assert_allclose(sizes, expected, atol=1e-5)


def test_adam_clipping_and_decay_by_hand():
  optimizer = optimizers.make_optimizer(config_lib.OptimizerConfig(
      learning_rate=0.5, clip_norm=1.0, b1=0.5, b2=0.75, eps=1.0,
      weight_decay=0.1), 9)
  params = {'w': jnp.array([1.0, -2.0])}
  opt_state = optimizer.init(params)
  # The gradient (3, 4) has norm 5, so Adam sees g = (0.6, 0.8): m = g / 2 and
  # v = g^2 / 4, corrected to g and g^2.
  change, opt_state = optimizer.update({'w': jnp.array([3.0, 4.0])}, opt_state,
                                       params)
  np.testing.assert_allclose(
      change['w'], [-0.5 * (0.6 / 1.6 + 0.1), -0.5 * (0.8 / 1.8 - 0.2)],
      rtol=1e-5)
  # Then none: m = g / 4 and v = 3 g^2 / 16, corrected to g / 3 and 3 g^2 / 7.
  change, _ = optimizer.update({'w': jnp.zeros(2)}, opt_state, params)
  root = (3 / 7) ** 0.5
  np.testing.assert_allclose(
      change['w'], [-0.5 * (0.2 / (0.6 * root + 1) + 0.1),
                    -0.5 * (0.8 / 3 / (0.8 * root + 1) - 0.2)], rtol=1e-5)


def test_clipping_and_its_absence_have_one_form_of_state():
  tree = {'w': jnp.ones((2,))}
  with_clip = optimizers.make_optimizer(
      dataclasses.replace(OPTIMIZER, clip_norm=1.0), 5).init(tree)
  without = optimizers.make_optimizer(OPTIMIZER, 5).init(tree)
  assert jax.tree.structure(with_clip) == jax.tree.structure(without)


@pytest.mark.parametrize('softcap', [0.0, 0.7])
def test_language_modelling_learns_no_dead_slot(softcap):
  config = testing.model_config(num_layers=1, final_softcap=softcap)
  tree = testing.params(config)
  rng = np.random.default_rng(0)
  tokens = rng.integers(0, testing.VOCAB, (2, 9)).astype(np.int32)
  valid = np.ones((2, 9), bool)
  valid[0, :3] = valid[1, 4:6] = False
  step = jax.jit(functools.partial(
      update.lm_update, model=config, optimizer=optax.sgd(1.0), head_chunk=4,
      micro_batches=1))
  state, metrics = step(_state(tree), tokens, valid)
  noisy = np.where(valid, tokens, 19)
  again, again_metrics = step(_state(tree), noisy, valid)
  _close(state.params, again.params, atol=0)
  # Row 0 learns slots 4 to 8, row 1 slots 1 to 3, 7 and 8.
  hidden, _ = decoder.forward(config, tree, tokens, update.positions(
      jnp.asarray(valid)), jnp.asarray(valid))
  scores = np.asarray(hidden) @ np.asarray(decoder.head(config, tree))
  if softcap:
    scores = softcap * np.tanh(scores / softcap)
  logp = jax.nn.log_softmax(scores)
  learned = [(0, s) for s in range(4, 9)] + [(1, s) for s in (1, 2, 3, 7, 8)]
  expected = -np.mean([logp[b, s - 1, tokens[b, s]] for b, s in learned])
  np.testing.assert_allclose(metrics['loss'], expected, rtol=1e-5)
  assert float(again_metrics['loss']) == float(metrics['loss'])
