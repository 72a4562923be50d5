"""LoRA: one base for policy and reference, and adapters that alone are learned.
"""

import dataclasses
import functools
import gc
import json
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from score_jax import config as config_lib
from score_jax import pipeline
from score_jax import shutdown
from score_jax import types
from score_jax import update
from score_jax.models import decoder
from score_jax.rl import rewards
from tests import pipeline_test
from tests import testing
from tests import tiny_run

LORA = config_lib.LoraConfig(rank=3, alpha=6.0)
MODEL = testing.model_config(lora=LORA)
BASE = testing.model_config()


@functools.cache
def _params():
  """Base, and adapters of which no factor is zero."""
  tree = testing.params(MODEL)
  base, adapters = decoder.base(tree), decoder.trained(MODEL, tree)
  leaves, treedef = jax.tree.flatten(adapters)
  noise = [0.3 * jax.random.normal(jax.random.key(n), x.shape)
           for n, x in enumerate(leaves)]
  return base, treedef.unflatten(noise)


def _step(model):
  return jax.jit(functools.partial(
      update.rl_update, model=model, stage=config_lib.StageConfig(
          micro_batches=2, beta1=0.5, kl_baseline='none'),
      credit=rewards.stage2(2, 10.0, 0.5), optimizer=optax.sgd(1.0),
      temperature=1.0, head_chunk=4))


@functools.cache
def _batch():
  rollout = testing.sample()
  rng = np.random.default_rng(0)
  return types.TrainBatch(
      rollout.tokens_BS, rollout.valid_BS, rollout.attempt_BS, rollout.logp_BS,
      rng.normal(size=(12, 2)).astype(np.float32), rollout.layout)


def _hidden(model, tree):
  tokens, valid = testing.prompts(4)
  return jax.jit(functools.partial(decoder.forward, model))(
      tree, tokens, update.positions(jnp.asarray(valid)), valid)[0]


def test_fresh_adapters_change_nothing_to_the_bit():
  tree = testing.params(MODEL)
  np.testing.assert_array_equal(_hidden(MODEL, tree),
                                _hidden(BASE, decoder.base(tree)))
  alone, adapted = (
      testing.sample(config, tree=tree) for config, tree in (
          (BASE, decoder.base(tree)), (MODEL, tree)))
  for a, b in zip(jax.tree.leaves(alone), jax.tree.leaves(adapted)):
    np.testing.assert_array_equal(a, b)


def test_merged_weights_compute_the_same():
  base, adapters = _params()
  tree = decoder.policy(MODEL, base, adapters)
  merged = decoder.merge_adapters(MODEL, tree)
  assert jax.tree.structure(merged) == jax.tree.structure(base)
  adapted = _hidden(MODEL, tree)
  np.testing.assert_allclose(_hidden(BASE, merged), adapted, atol=1e-5)
  assert np.abs(adapted - _hidden(BASE, base)).max() > 0.1


def test_gradient_of_adapters_is_that_of_the_merged_weights():
  # W + w a b, so da = w dW b^T and db = w a^T dW; steps of plain descent.
  base, adapters = _params()
  state = update.init_state(optax.sgd(1.0), adapters)
  after, metrics = _step(MODEL)(state, base, _batch())
  merged = decoder.merge_adapters(
      MODEL, decoder.policy(MODEL, base, adapters))
  whole, expected = _step(BASE)(
      update.init_state(optax.sgd(1.0), merged), base, _batch())
  for name in ('loss', 'kl_t1', 'entropy_t2'):
    np.testing.assert_allclose(metrics[name], expected[name], rtol=1e-4)
  assert metrics['kl_t1'] > 0.01  # The reference is without them.
  weight = LORA.alpha / LORA.rank
  for part, name in (('attention', 'query'), ('attention', 'out'),
                     ('mlp', 'gate'), ('mlp', 'down')):
    of = lambda tree: {leaf: np.asarray(x, np.float64) for leaf, x in
                       tree['blocks'][part][name].items()}
    old, new = of(adapters), of(after.params)
    rank, layers = LORA.rank, MODEL.num_layers
    a = old['lora_a'].reshape(layers, -1, rank)
    b = old['lora_b'].reshape(layers, rank, -1)
    change = of(merged)['kernel'] - of(whole.params)['kernel']
    change = change.reshape(layers, a.shape[1], b.shape[2])
    for leaf, gradient in (
        ('lora_a', weight * change @ b.swapaxes(1, 2)),
        ('lora_b', weight * a.swapaxes(1, 2) @ change)):
      got = (old[leaf] - new[leaf]).reshape(gradient.shape)
      np.testing.assert_allclose(got, gradient, rtol=1e-4, atol=1e-4)
      assert np.abs(gradient).max() > 0.1, (name, leaf)


def test_no_gradient_of_the_base_is_computed():
  base, adapters = _params()
  D, F = MODEL.width, MODEL.mlp_width

  def products(model, params):
    """Matrix products in the update that give an array like an MLP weight."""
    state = update.init_state(optax.sgd(1.0), params)
    text = _step(model).lower(state, base, _batch()).compile().as_text()
    return re.findall(rf'f32\[(?:{D},{F}|{F},{D})\]\S* (?:dot|custom-call)\(',
                      text)

  assert len(products(BASE, base)) >= 3  # Gate, up and down, in the scan.
  assert not products(MODEL, adapters)


# The whole pipeline. Sizes that no other array has, to tell arrays apart.
WIDE = {'model__mlp_width': 40,
        'model__lora': config_lib.LoraConfig(rank=4, alpha=8.0),
        'stage1__optimizer__moments_dtype': 'bfloat16',
        'stage2__optimizer__moments_dtype': 'bfloat16',
        'stage1__optimizer__learning_rate': 0.01,
        'stage2__optimizer__learning_rate': 0.01}


def _config(**changes):
  return pipeline_test._config(**(WIDE | changes))


def buffers(shape, dtype) -> int:
  """Arrays of this kind in the memory of the first device."""
  gc.collect()
  first = jax.devices()[0]
  return len({shard.data.unsafe_buffer_pointer() for x in jax.live_arrays()
              if x.shape == shape and x.dtype == dtype
              for shard in x.addressable_shards
              if shard.device == first
              and shard.data.sharding.memory_kind == 'device'})


@pytest.fixture(scope='module', autouse=True)
def _graded():
  with pytest.MonkeyPatch.context() as patch:
    tiny_run.grade_by_chance(patch)
    yield


@pytest.fixture(scope='module', name='finished')
def _finished(tmp_path_factory):
  """A run, its base as every rollout saw it, and weights there were then."""
  run = pipeline_test._open(tmp_path_factory.mktemp('lora'), _config())
  sample, seen = run.actor.sample, []

  def watched(params, problems, key, step, **settings):
    like = params['blocks']['mlp']['gate']['kernel']
    seen.append((settings['samples'] > 1, jax.device_get(decoder.base(params)),
                 buffers(like.shape, like.dtype)))
    return sample(params, problems, key, step, **settings)

  run.actor.sample = watched
  pipeline_test._train(run)
  return run, seen


@pytest.mark.slow
def test_the_base_stays_one_and_the_same(finished):
  run, seen = finished
  base = pipeline_test._params(run, 'base')
  assert sum(trains for trains, _, _ in seen) == 6
  for trains, during, kernels in seen:
    jax.tree.map(np.testing.assert_array_equal, during, base)
    # Gate and up have this shape: policy and reference share them.
    assert not trains or kernels == 2


@pytest.mark.slow
def test_checkpoints_hold_adapters_alone(finished):
  run, _ = finished
  expected = decoder.trained(
      run.config.model, decoder.abstract(run.config.model))
  for stage in ('stage1', 'stage2'):
    folder = run.folder / 'checkpoints' / stage / '3'
    body = (folder / 'SEAL').read_bytes().partition(b'\n')[2]
    names = json.loads(body)['arrays']
    kept = [name for name in names if name.startswith('.params')]
    assert len(kept) == len(jax.tree.leaves(expected)) == 14
    assert all("['lora_" in name for name in names
               if name.startswith('.params') or 'mu' in name or 'nu' in name)
    assert len(names) == 3 * 14 + 3
    saved = pipeline_test._params(run, stage)
    assert jax.tree.map(np.shape, saved) == jax.tree.map(np.shape, expected)
    assert all((x != 0).any() for x in jax.tree.leaves(saved))


@pytest.mark.slow
def test_stage_1_starts_at_the_reference_and_stage_2_at_stage_1(finished):
  run, _ = finished
  rows = {(r['stage'], r['step']): r for r in pipeline_test._lines(
      run.folder, 'metrics.jsonl')}
  for name in ('kl_t1', 'kl_t2'):
    assert rows['stage1', 1][name] == 0  # The same numbers, to the bit.
    assert rows['stage2', 1][name] > rows['stage1', 2][name] > 1e-4


@pytest.mark.slow
def test_stopped_and_resumed_equals_never_stopped(finished, tmp_path,
                                                  monkeypatch):
  whole, _ = finished
  for stage, step in (('stage1', 1), ('stage2', 2)):
    run = pipeline_test._open(tmp_path, _config())
    log = run.writer.metrics

    def stop_there(name, number, row, log=log, run=run, at=(stage, step)):
      log(name, number, row)
      run.stop.requested = (name, number) == at

    monkeypatch.setattr(run.writer, 'metrics', stop_there)
    with pytest.raises(shutdown.Stopped):
      pipeline_test._train(run)
  run = pipeline_test._open(tmp_path, _config())
  pipeline_test._train(run)
  for name in ('metrics.jsonl', 'transcripts.jsonl'):
    assert (tmp_path / name).read_bytes() == (whole.folder / name).read_bytes()
  for stage in ('stage1', 'stage2'):
    jax.tree.map(np.testing.assert_array_equal,
                 pipeline_test._params(run, stage),
                 pipeline_test._params(whole, stage))


@pytest.mark.slow
def test_evaluation_alone_and_a_second_start(finished):
  run, _ = finished
  path = run.folder / 'results.json'
  before = json.loads(path.read_text())
  again = pipeline_test._open(run.folder, _config())
  with jax.set_mesh(again.mesh):
    pipeline.evaluate_all(again)
  assert json.loads(path.read_text())['stages'] == before['stages']
  pipeline_test._train(again)
  assert json.loads(path.read_text())['stages'] == before['stages']


@pytest.mark.slow
def test_adapters_can_come_from_another_run(finished, tmp_path):
  whole, _ = finished
  source = str(whole.folder / 'checkpoints' / 'stage1')
  run = pipeline_test._open(tmp_path, _config(stage1__checkpoint=source))
  with jax.set_mesh(run.mesh), pytest.raises(ValueError, match='no checkpoint'):
    pipeline.evaluate_all(run)  # Adapters, but no base to put them on.
  pipeline_test._train(run)
  mine = [r for r in pipeline_test._lines(tmp_path, 'metrics.jsonl')
          if r['stage'] != 'base']
  assert {r['stage'] for r in mine} == {'stage2'}
  assert mine == pipeline_test._lines(whole.folder, 'metrics.jsonl')[-3:]


@pytest.mark.parametrize('changes,message', [
    ({'model__lora': dataclasses.replace(LORA, targets='attention/qurey')},
     "config.model.lora.targets 'attention/qurey' matches no weight; there "
     'are: attention/.*attention/query.*mlp/up'),
    ({'model__lora': dataclasses.replace(LORA, rank=1000)},
     'lora.rank is 1000, but matrices of width .*; lower it'),
    ({'model__lora': dataclasses.replace(LORA, alpha=0.0)},
     'lora.alpha is 0.0; .*above 0'),
    ({'memory__reference_dtype': 'bfloat16'},
     "reference_dtype is 'bfloat16'.*param_dtype='bfloat16'"),
    ({'memory__offload': ('reference',)}, "offload has 'reference'.*leave it"),
])
def test_what_adapters_cannot_be_is_refused(tmp_path, changes, message):
  with pytest.raises(ValueError, match=message) as error:
    config = config_lib.from_dict(dataclasses.asdict(_config(**changes)))
    pipeline_test._open(tmp_path, config)
  assert '\n' not in str(error.value) and not list(tmp_path.iterdir())
