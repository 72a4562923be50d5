"""Choices of memory: what they cost, and whole runs with each."""

import dataclasses
import subprocess
import sys
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_jax import config as config_lib
from score_jax import memory
from score_jax import shutdown
from score_jax import train
from tests import lora_test
from tests import pipeline_test
from tests import tiny_run

MESH = config_lib.MeshConfig(data=4, fsdp=2)
HALF = jnp.dtype('bfloat16')


def _config(**changes):
  return pipeline_test._config(
      **({'mesh': MESH, 'model__mlp_width': 40, 'stage': 'stage1'} | changes))


def _watched(folder, config):
  """A finished run, and what each rollout of its training saw.

  That is the policy, and how many buffers there were of the shape of an MLP
  kernel, gate or up, in float32 and in bfloat16.
  """
  run = pipeline_test._open(folder, config)
  sample, seen = run.actor.sample, []

  def watched(params, problems, key, step, **settings):
    shape = params['blocks']['mlp']['gate']['kernel'].shape
    if settings['samples'] > 1:
      seen.append((jax.device_get(params), *(
          lora_test.buffers(shape, dtype) for dtype in (np.float32, HALF))))
    return sample(params, problems, key, step, **settings)

  run.actor.sample = watched
  pipeline_test._train(run)
  return run, seen


def _stop_after(run, stage, step, monkeypatch):
  """Trains until then."""
  log = run.writer.metrics

  def stop_there(name, number, row):
    log(name, number, row)
    run.stop.requested = (name, number) == (stage, step)

  monkeypatch.setattr(run.writer, 'metrics', stop_there)
  with pytest.raises(shutdown.Stopped):
    pipeline_test._train(run)


def _log(run):
  return (run.folder / 'metrics.jsonl').read_bytes()


def _same(a, b):
  jax.tree.map(np.testing.assert_array_equal, a, b)


@pytest.fixture(scope='module', name='plain')
def _plain(tmp_path_factory):
  """A run with everything in float32 on the devices."""
  return _watched(tmp_path_factory.mktemp('plain'), _config(stage='stage2'))


def _command(monkeypatch, capsys, *, write):
  """What the command prints."""
  monkeypatch.setattr(memory.flags, 'FLAGS', types.SimpleNamespace(write=write))
  memory.main()
  return capsys.readouterr().out


def test_the_page_holds_the_table_of_the_command(monkeypatch, capsys):
  table = _command(monkeypatch, capsys, write=False)
  assert table.splitlines()[2].split('|')[2:-1] == [
      f' {x:.2f} ' for x in (4, 8, 4, 4, 2, 20, 18, 0)]
  assert (memory.BEGIN + table + memory.END) in memory.PAGE.read_text(), (
      'run python -m score_jax.memory --write')


def test_the_command_writes_the_page(monkeypatch, capsys, tmp_path):
  page = memory.PAGE.read_text()
  row = page.split(memory.BEGIN)[1].splitlines(keepends=True)[5]
  monkeypatch.setattr(memory, 'PAGE', tmp_path / 'memory.md')
  memory.PAGE.write_text(page.replace(row, ''))
  _command(monkeypatch, capsys, write=False)
  assert memory.PAGE.read_text() != page
  _command(monkeypatch, capsys, write=True)
  assert memory.PAGE.read_text() == page


def test_costs_by_hand():
  # One layer of width 2 with one head of 2: an embedding of 3 x 2, three norms
  # of 2, and 7 kernels of 2 x 2; adapters of rank 1 on the query, 2 + 2.
  sizes = {'vocab_size': 3, 'num_layers': 1, 'width': 2, 'num_heads': 1,
           'num_kv_heads': 1, 'head_dim': 2, 'mlp_width': 2, 'tied_head': True}

  def cost(memory_fields=None, **model):
    return memory.cost(config_lib.from_dict({
        'model': sizes | model, 'memory': memory_fields or {},
        'stage1': {'optimizer': {'moments_dtype': 'bfloat16'}}}))

  norms, rest, counts = 6, 6 + 28, 8  # Counts: two int32 of steps.
  assert cost(dtype='bfloat16') == memory.Cost(
      weights=160, optimizer=160 + counts, reference=160, gradient=160,
      sampler=2 * rest, step=648, sampling=160 + 168 + 160 + 68, host=0)
  half = 2 * rest + 4 * norms
  assert cost({'reference_dtype': 'bfloat16', 'offload': ('reference',)}) == (
      memory.Cost(weights=160, optimizer=168, reference=half, gradient=160,
                  sampler=0, step=488 + half, sampling=328, host=half))
  lora = {'rank': 1, 'targets': 'attention/query'}
  assert cost({'offload': ('optimizer',)}, param_dtype='bfloat16',
              dtype='bfloat16', lora=lora) == memory.Cost(
      weights=half + 16, optimizer=16 + counts, reference=0, gradient=16,
      sampler=2 * 4, step=half + 56, sampling=half + 24, host=24)


@pytest.mark.slow
def test_a_plain_stage_keeps_the_base_and_no_more(plain):
  _, seen = plain
  # Gate and up: of the policy, the reference, two moments and, whole along
  # their width, the sampler's copy.
  assert [(wide, half) for _, wide, half in seen] == [(10, 0)] * 6


@pytest.mark.slow
def test_a_reference_in_bfloat16_beside_a_policy_from_the_base_in_full(
    plain, tmp_path, monkeypatch):
  whole, _ = plain
  config = _config(memory__reference_dtype='bfloat16')
  run, seen = _watched(tmp_path / 'whole', config)
  base = pipeline_test._params(whole, 'base')
  _same(pipeline_test._params(run, 'base'), base)
  _same(seen[0][0], base)
  # The base in full is gone: policy, two moments and the sampler's copy, and
  # half a reference.
  assert [(wide, half) for _, wide, half in seen] == [(8, 2)] * 3
  first = pipeline_test._lines(run.folder, 'metrics.jsonl')[4]
  assert (first['stage'], first['step']) == ('stage1', 1)
  assert all(0 < first[name] < 1e-3 for name in ('kl_t1', 'kl_t2'))
  _stop_after(pipeline_test._open(tmp_path / 'again', config), 'stage1', 1,
              monkeypatch)
  again, seen = _watched(tmp_path / 'again', config)
  assert _log(again) == _log(run)
  assert [(wide, half) for _, wide, half in seen] == [(8, 2)] * 2


@pytest.mark.slow
def test_offloaded_is_the_same_to_the_bit(plain, tmp_path, monkeypatch):
  whole, _ = plain
  config = _config(stage='stage2', memory__offload=('reference', 'optimizer'))
  kinds, really = [], train._jitted

  def jitted(run, stage, update_fn):
    step = really(run, stage, update_fn)
    kind_of = lambda tree: {x.sharding.memory_kind
                            for x in jax.tree.leaves(tree)}

    def watched(state, *rest):
      kinds.append((stage, kind_of(state.params), kind_of(state.opt_state),
                    kind_of(rest[0])))
      return step(state, *rest)

    return watched

  monkeypatch.setattr(train, '_jitted', jitted)
  for stage, step in (('base', 3), ('stage1', 1), ('stage2', 2)):
    _stop_after(pipeline_test._open(tmp_path, config), stage, step, monkeypatch)
  run = pipeline_test._open(tmp_path, config)
  pipeline_test._train(run)
  for stage, params, opt_state, rest in kinds:
    assert params == {'device'} and opt_state == {'pinned_host'}
    assert rest == {'device' if stage == 'base' else 'pinned_host'}
  assert len(kinds) == 10
  assert _log(run) == _log(whole)
  for stage in ('base', 'stage1', 'stage2'):
    _same(pipeline_test._params(run, stage),
          pipeline_test._params(whole, stage))


@pytest.mark.slow
def test_bfloat16_weights_and_moments_move_and_resume(plain, tmp_path,
                                                      monkeypatch):
  tiny_run.grade_by_chance(monkeypatch)
  # A learning rate that no weight above 2e-3 would feel, rounded to nearest.
  config = _config(
      model__param_dtype='bfloat16',
      stage1__optimizer=config_lib.OptimizerConfig(
          learning_rate=5e-6, moments_dtype='bfloat16'))
  whole, _ = _watched(tmp_path / 'whole', config)
  base, after = (pipeline_test._params(whole, s) for s in ('base', 'stage1'))
  old, new = (x['blocks']['mlp']['gate']['kernel'] for x in (base, after))
  assert old.dtype == new.dtype == HALF
  large = np.abs(old.astype(np.float32)) > 2e-2
  moved = (old != new)[large]
  assert 0 < moved.mean() < 0.2
  optimizer = whole.states.state('stage1').opt_state
  assert {x.dtype for x in jax.tree.leaves(optimizer) if x.ndim} == {HALF}
  _stop_after(pipeline_test._open(tmp_path / 'again', config), 'stage1', 1,
              monkeypatch)
  again = pipeline_test._open(tmp_path / 'again', config)
  pipeline_test._train(again)
  assert _log(again) == _log(whole)
  _same(pipeline_test._params(again, 'stage1'), after)


@pytest.mark.slow
def test_adafactor_trains_and_resumes(tmp_path, monkeypatch):
  settings = config_lib.OptimizerConfig(
      name='adafactor', learning_rate=1e-3, weight_decay=0.01)
  config = _config(model__width=128, model__mlp_width=160,
                   base__optimizer=settings, stage1__optimizer=settings)
  whole, _ = _watched(tmp_path / 'whole', config)
  state = whole.states.state('stage1')
  sizes = [sum(x.size for x in jax.tree.leaves(tree))
           for tree in (state.opt_state, state.params)]
  assert sizes[0] < 0.2 * sizes[1]
  rows = pipeline_test._lines(whole.folder, 'metrics.jsonl')
  assert rows[3]['loss'] < rows[0]['loss'] - 0.05
  _stop_after(pipeline_test._open(tmp_path / 'again', config), 'stage1', 1,
              monkeypatch)
  again = pipeline_test._open(tmp_path / 'again', config)
  pipeline_test._train(again)
  assert _log(again) == _log(whole)


@pytest.mark.parametrize('changes,message', [
    ({'optimizer': {'name': 'adafactor', 'moments_dtype': 'bfloat16'}},
     "stage1.optimizer.moments_dtype is 'bfloat16'.*use 'float32'"),
    ({'optimizer': {'name': 'sgd'}}, "optimizer.name is 'sgd'; known: adam"),
])
def test_an_optimizer_that_is_not_there_is_refused(changes, message):
  with pytest.raises(ValueError, match=message):
    config_lib.from_dict({'stage1': changes})


def test_host_memory_that_is_not_there_is_refused_at_the_door(
    tmp_path, monkeypatch):
  monkeypatch.setattr('score_jax.states._HOST', 'far_host')
  config = dataclasses.replace(
      _config(), memory=config_lib.MemoryConfig(offload=('optimizer',)))
  with pytest.raises(ValueError, match='has no far_host memory'):
    pipeline_test._open(tmp_path, config)
  assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('args,said', [
    (['--foo'], "Unknown command line flag 'foo'"),
    (['x'], "unexpected argument 'x'; flags begin with --"),
    (['--write=maybe'], '--write=maybe'),
])
def test_the_command_refuses_in_a_line(args, said):
  done = subprocess.run([sys.executable, '-m', 'score_jax.memory', *args],
                        capture_output=True, text=True, check=False)
  assert done.returncode == 2 and done.stderr.startswith('score_jax: ')
  assert said in done.stderr and done.stderr.count('\n') == 1
  assert not done.stdout


def test_a_page_that_is_not_there_is_named(monkeypatch, tmp_path):
  monkeypatch.setattr(memory, 'PAGE', tmp_path / 'docs' / 'memory.md')
  monkeypatch.setattr(memory.flags, 'FLAGS', types.SimpleNamespace(write=True))
  with pytest.raises(ValueError, match='memory.md is not there; run the comma'):
    memory.main()
