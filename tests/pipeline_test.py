"""The whole run on a tiny model: files, resume, reference, failures."""

import dataclasses
import json
import shutil

import jax
import numpy as np
import pytest

from score_jax import checkpoint
from score_jax import config as config_lib
from score_jax import evaluations
from score_jax import hosts
from score_jax import pipeline
from score_jax import run as run_lib
from score_jax import shutdown
from score_jax import train
from score_jax import trained
from score_jax.recipes import base_recipes
from score_jax.tasks import chain
from score_jax.text import prompts
from tests import tiny_run

STEPS = {'base': 4, 'stage1': 3, 'stage2': 3}


def _config(**changes) -> config_lib.Config:
  values = base_recipes.make('chain', 'stage2')
  values.model.update(num_layers=1, width=16, num_heads=2, num_kv_heads=1,
                      head_dim=8, mlp_width=16)
  values.task.update(train_problems=64, transcripts=64)
  values.rollout.update(prompts=8, samples=2)
  values.base.update(batch_size=16, micro_batches=2)
  values.stage1.micro_batches = values.stage2.micro_batches = 2
  values.evaluation.update(problems=20, batch_size=8)
  values.checkpoints.every = 2
  for stage, steps in STEPS.items():
    values[stage].steps = steps
  config = config_lib.from_dict(values)
  for path, value in changes.items():
    config = _replace(config, path.split('__'), value)
  return config


def _replace(config, path, value):
  if len(path) > 1:
    value = _replace(getattr(config, path[0]), path[1:], value)
  return dataclasses.replace(config, **{path[0]: value})


def _open(folder, config=None, evaluating=False):
  return run_lib.open_run(config or _config(), folder, shutdown.StopRequest(),
                          evaluating)


def _train(run):
  with jax.set_mesh(run.mesh):
    return pipeline.train_all(run)


def _params(run, stage):
  with checkpoint.Checkpoints(run.folder / 'checkpoints' / stage, 2) as saved:
    state, _ = saved.restore(run.states.state(stage))
  return jax.device_get(state.params)


@pytest.fixture(scope='module', autouse=True)
def _graded():
  with pytest.MonkeyPatch.context() as patch:
    tiny_run.grade_by_chance(patch)
    yield


@pytest.fixture(scope='module', name='finished')
def _finished(tmp_path_factory):
  """A run that nothing interrupted."""
  run = _open(tmp_path_factory.mktemp('finished'))
  _train(run)
  return run


def _lines(folder, name):
  return [json.loads(line) for line in (folder / name).read_text().splitlines()]


def test_the_folder_holds_what_the_readme_says(finished):
  folder = finished.folder
  names = {path.name for path in folder.iterdir()}
  assert names >= {'config.json', 'metrics.jsonl', 'timings.jsonl',
                   'tensorboard', 'transcripts.jsonl', 'results.json',
                   'checkpoints'}
  rows = _lines(folder, 'metrics.jsonl')
  assert [(r['stage'], r['step']) for r in rows] == [
      (stage, step + 1) for stage, n in STEPS.items() for step in range(n)]
  for name in ('accuracy_t1', 'accuracy_t2', 'delta', 'unchanged', 'kl_t1',
               'kl_t2', 'entropy_t1', 'logp_gap_t2', 'grad_norm', 'length_t1',
               'truncated_t2'):
    assert name in rows[-1], name
  record = json.loads((folder / 'config.json').read_text())
  assert record['config']['stage2']['alpha'] == 10.0
  assert record['versions']['jax'] == jax.__version__


def test_results_keep_their_contract(finished):
  results = json.loads((finished.folder / 'results.json').read_text())
  assert results['task'] == 'chain'
  assert list(results['stages']) == list(STEPS)
  assert {*STEPS} <= set(results['wall_s'])
  for stage in results['stages'].values():
    assert set(stage) >= {
        'n', 'accuracy_t1', 'accuracy_t2', 'delta', 'delta_ci95', 'i_to_c',
        'c_to_i', 'unchanged', 'truncated_t1', 'truncated_t2'}
    assert stage['n'] == 20  # Not 24: the last batch was filled, then cut.
    assert stage['delta'] == stage['i_to_c'] - stage['c_to_i']
    low, high = stage['delta_ci95']
    assert -1 <= low <= stage['delta'] <= high <= 1


def test_every_evaluated_problem_has_a_transcript(finished):
  rows = _lines(finished.folder, 'transcripts.jsonl')
  assert [r['stage'] for r in rows] == [s for s in STEPS for _ in range(20)]
  results = json.loads((finished.folder / 'results.json').read_text())
  for stage, result in results['stages'].items():
    mine = [r for r in rows if r['stage'] == stage]
    assert len({r['id'] for r in mine}) == 20
    np.testing.assert_allclose(np.mean([r['grades'][0] for r in mine]),
                               result['accuracy_t1'])
    assert all(len(r['attempts']) == 2 and r['problem'] and r['answer']
               for r in mine)


def test_a_second_start_skips_everything(finished, capsys):
  before = (finished.folder / 'results.json').read_bytes()
  again = _open(finished.folder)
  _train(again)
  said = capsys.readouterr().out
  for stage in STEPS:
    assert f'{stage}: finished in' in said
    assert f'{stage}: already evaluated' in said
  assert (finished.folder / 'results.json').read_bytes() == before


@pytest.mark.parametrize('stops', [
    [('base', 1), ('stage1', 1), ('stage2', 2)],
    [('base', 3), ('stage1', 2), ('stage2', 1)],
])
def test_stopped_and_resumed_equals_never_stopped(finished, tmp_path, stops,
                                                  monkeypatch):
  for stage, step in stops:
    run = _open(tmp_path)
    log = run.writer.metrics

    def stop_there(name, number, row, log=log, run=run, at=(stage, step)):
      log(name, number, row)
      run.stop.requested = (name, number) == at

    monkeypatch.setattr(run.writer, 'metrics', stop_there)
    with pytest.raises(shutdown.Stopped,
                       match=f'{stage}: stopped after step {step} of '
                             f'{STEPS[stage]}, saved'):
      _train(run)
  run = _open(tmp_path)
  _train(run)
  for name in ('metrics.jsonl', 'transcripts.jsonl'):
    assert ((tmp_path / name).read_bytes()
            == (finished.folder / name).read_bytes())
  for stage in STEPS:
    for a, b in zip(jax.tree.leaves(_params(run, stage)),
                    jax.tree.leaves(_params(finished, stage))):
      np.testing.assert_array_equal(a, b)


def test_work_after_the_last_checkpoint_is_done_again_alike(finished, tmp_path,
                                                            monkeypatch):
  # As after SIGKILL: step 3 of the base was logged and never saved.
  run = _open(tmp_path)
  log = run.writer.metrics

  def die(name, number, row):
    log(name, number, row)
    if number == 3:
      raise KeyboardInterrupt

  monkeypatch.setattr(run.writer, 'metrics', die)
  with pytest.raises(KeyboardInterrupt):
    _train(run)
  assert len(_lines(tmp_path, 'metrics.jsonl')) == 3
  _train(_open(tmp_path))
  assert ((tmp_path / 'metrics.jsonl').read_bytes()
          == (finished.folder / 'metrics.jsonl').read_bytes())


def test_the_reference_is_the_base_in_both_stages(finished):
  rows = {(r['stage'], r['step']): r
          for r in _lines(finished.folder, 'metrics.jsonl')}
  # Stage I starts from the reference itself; Stage II from Stage I's weights.
  for name in ('kl_t1', 'kl_t2'):
    assert abs(rows['stage1', 1][name]) < 1e-5
    assert rows['stage2', 1][name] > 1e-6
  base, stage1 = (_params(finished, s) for s in ('base', 'stage1'))
  assert any((a != b).any() for a, b in zip(jax.tree.leaves(base),
                                            jax.tree.leaves(stage1)))
  for stage in ('stage1', 'stage2'):
    assert all(rows[stage, step]['grad_norm'] > 1e-4 for step in (1, 2, 3))


def test_without_rewards_nothing_moves(tmp_path, monkeypatch):
  # The policy is the reference and no reward differs: the gradient is zero.
  monkeypatch.setattr(chain, 'grade', lambda answer, text: 0)
  run = _open(tmp_path, _config(stage='stage1'))
  _train(run)
  for row in _lines(tmp_path, 'metrics.jsonl'):
    if row['stage'] == 'stage1':
      assert row['grad_norm'] == row['kl_t1'] == row['kl_t2'] == 0
  jax.tree.map(np.testing.assert_array_equal, _params(run, 'base'),
               _params(run, 'stage1'))


def _evaluate(folder, config=None, name=''):
  """The results of `--mode=eval`, and the folder that they are in."""
  run = _open(folder, config, evaluating=True)
  there = set(folder.glob('evaluations/*'))
  with jax.set_mesh(run.mesh):
    results = pipeline.evaluate_all(run, name)
  new = set(folder.glob('evaluations/*')) - there
  run.close()
  return results, new.pop() if new else None


def _kept(folder):
  """Return what no evaluation may change."""
  return {path: path.read_bytes() for path in folder.rglob('*')
          if path.is_file() and path.name in (
              'results.json', 'transcripts.jsonl', 'metrics.jsonl',
              'timings.jsonl')}


def test_evaluation_alone_repeats_the_results(finished, capsys):
  before = _kept(finished.folder)
  results, folder = _evaluate(finished.folder)
  assert results['stages'] == json.loads(
      (finished.folder / 'results.json').read_text())['stages']
  assert (folder / 'transcripts.jsonl').read_bytes() == (
      finished.folder / 'transcripts.jsonl').read_bytes()
  assert folder.name.startswith('test_20_stage2_3_')
  assert before.items() <= _kept(finished.folder).items()
  before = _kept(finished.folder)
  again, new = _evaluate(finished.folder)  # It is there already.
  assert (again, new, _kept(finished.folder)) == (results, None, before)
  assert capsys.readouterr().out.count(f'already evaluated in {folder}') == 3


@pytest.mark.parametrize('name', ['', 'mine'])
def test_no_evaluation_overwrites_another(finished, tmp_path, name):
  folder = tmp_path / 'run'
  shutil.copytree(finished.folder, folder, ignore=shutil.ignore_patterns(
      'evaluations'))
  before = _kept(folder)
  for number, changes in enumerate((
      {'evaluation__problems': 8}, {'evaluation__problems': 16},
      {'evaluation__split': 'validation', 'evaluation__problems': 8},
      {'stage': 'stage1', 'evaluation__problems': 8},
      {'evaluation__batch_size': 16, 'evaluation__problems': 8})):
    _, new = _evaluate(folder, _config(**changes), name and f'{name}{number}')
    assert new is not None and before.items() <= _kept(folder).items()
    before = _kept(folder)
    if name and number:
      with pytest.raises(ValueError) as error:
        _evaluate(folder, _config(**changes), f'{name}0')
      line = str(error.value)
      assert '--evaluation_name' in line and '\n' not in line
      assert _kept(folder) == before
    if name and number == 2:
      break


@pytest.mark.parametrize('name', [
    '../x', 'a/b', '.', '..', '.hidden', ' ', 'a b', 'x' * 101, 'ä', '-x',
    'a\n'])
def test_a_name_that_is_no_folder_is_refused(name):
  with pytest.raises(ValueError, match='--evaluation_name='):
    evaluations.check_name(name)


def test_results_of_other_problems_are_kept_before_new_ones(
    finished, tmp_path, capsys):
  folder = shutil.copytree(finished.folder, tmp_path / 'run')
  path = folder / 'results.json'
  results = json.loads(path.read_text())
  for stage in results['stages'].values():  # As an earlier version left it.
    stage['split'] = 'validation'
  path.write_text(json.dumps(results))
  before = _kept(folder)
  run = _open(folder)
  _train(run)
  assert json.loads(path.read_text())['stages'] == json.loads(
      (finished.folder / 'results.json').read_text())['stages']
  kept = folder / 'evaluations' / 'earlier_1'
  for name in ('results.json', 'transcripts.jsonl'):
    assert (kept / name).read_bytes() == before[folder / name]
  assert f'are kept in {kept}' in capsys.readouterr().out


def _resumed(folder, **options):
  run = run_lib.open_run(
      _config(), folder, shutdown.StopRequest(), False, **options)
  try:
    return _train(run)
  finally:
    run.close()


def _flip(path):
  data = bytearray(path.read_bytes())
  data[len(data) // 2] ^= 0x10
  path.write_bytes(data)


EARLIER = {
    'newest of stage1': lambda at: _flip(at / 'stage1/3/state/_METADATA'),
    'data of it': lambda at: _flip(max(
        (at / 'stage1/3/state/d').iterdir(), key=lambda p: p.stat().st_size)),
    'its seal': lambda at: (at / 'stage1/3/SEAL').unlink(),
    'all of stage1': lambda at: shutil.rmtree(at / 'stage1'),
    'all of base': lambda at: shutil.rmtree(at / 'base'),
    'newest of base': lambda at: _flip(at / 'base/4/SEAL'),
}


@pytest.mark.parametrize('damage', [
    pytest.param(damage, id=name, marks=pytest.mark.slow if name not in (
        'newest of stage1', 'all of base') else ())
    for name, damage in EARLIER.items()])
def test_a_damaged_earlier_stage_costs_no_row_of_later_ones(
    finished, tmp_path, damage, capsys):
  folder = shutil.copytree(finished.folder, tmp_path / 'run')
  damage(folder / 'checkpoints')
  results = _resumed(folder)
  for name in ('metrics.jsonl', 'transcripts.jsonl'):
    assert ((folder / name).read_bytes()
            == (finished.folder / name).read_bytes())
  steps = lambda where: [(row['stage'], row['step'])
                         for row in _lines(where, 'timings.jsonl')]
  assert steps(folder) == steps(finished.folder)
  assert results['stages'] == json.loads(
      (finished.folder / 'results.json').read_text())['stages']
  assert 'stage2: finished in' in capsys.readouterr().out
  _resumed(folder)


ROWS = {  # A change to the rows of a log, and words of the refusal.
    'base': (lambda rows: rows[1:], 'base step 1 is missing'),
    'stage1': (lambda rows: rows[:5] + rows[6:], 'stage1 step 2 is missing'),
    'end': (lambda rows: rows[:-2], 'stage2 steps 2 to 3 are missing'),
    'twice': (lambda rows: rows[:6] + rows[5:], 'stage1 step 2 is there more'),
    'order': (lambda rows: rows[:7] + [rows[8], rows[7], rows[9]],
              'stage2 step 1 is out of order'),
    'torn': (lambda rows: [*rows[:2], rows[2][:9] + '\n', *rows[3:]],
             'line 3 is not JSON'),
    'none': (lambda rows: [], 'base steps 1 to 4 are missing'),
}


@pytest.mark.parametrize('name', [
    'metrics.jsonl', pytest.param('timings.jsonl', marks=pytest.mark.slow)])
@pytest.mark.parametrize('change, words', ROWS.values(), ids=ROWS)
def test_rows_that_a_finished_run_lacks_are_named(
    finished, tmp_path, name, change, words):
  folder = shutil.copytree(finished.folder, tmp_path / 'run')
  path = folder / name
  path.write_text(''.join(change(path.read_text().splitlines(keepends=True))))
  before = _kept(folder)
  with pytest.raises(ValueError) as error:
    _resumed(folder)
  assert words in str(error.value) and str(path) in str(error.value)
  assert '\n' not in str(error.value) and '--allow_gaps' in str(error.value)
  assert _kept(folder) == before
  _resumed(folder, allow_gaps=True)
  assert json.loads((folder / 'results.json').read_text()) == json.loads(
      before[folder / 'results.json'])


def test_transcripts_that_a_finished_run_lacks_are_named(finished, tmp_path):
  folder = shutil.copytree(finished.folder, tmp_path / 'run')
  path = folder / 'transcripts.jsonl'
  lines = path.read_text().splitlines(keepends=True)
  left_out = json.loads(lines[25])['id']
  path.write_text(''.join(lines[:25] + lines[26:]))
  with pytest.raises(ValueError, match='stage1: transcripts of problem '
                     f"'{left_out}' are missing, and results.json has"):
    _resumed(folder)
  _resumed(folder, allow_gaps=True)
  path.write_text(''.join(lines).replace('"unchanged": false',
                                         '"unchanged": true', 1))
  with pytest.raises(ValueError, match='a transcript was changed'):
    _resumed(folder)


def _copy_stage1(at):
  shutil.rmtree(at / 'stage2')
  shutil.copytree(at / 'stage1', at / 'stage2')


def _rename(at):
  shutil.rmtree(at / 'stage1' / '2')
  (at / 'stage1' / '3').rename(at / 'stage1' / '2')


FOREIGN = {
    'stage1 as stage2': (_copy_stage1, 'stage2/3 was saved by stage1'),
    'a renamed step': (_rename, 'stage1/2 was saved at step 3'),
    'base as stage1': (
        lambda at: shutil.copytree(at / 'base/4', at / 'stage1/4'),
        'stage1/4 was saved by base'),
    'stage2 as stage1': (
        lambda at: (shutil.rmtree(at / 'stage1'), (at / 'stage2').rename(
            at / 'stage1')), 'stage1/3 was saved by stage2'),
}


@pytest.mark.parametrize('change, words', FOREIGN.values(), ids=FOREIGN)
@pytest.mark.parametrize('evaluating', [
    False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_checkpoint_of_another_place_is_refused(
    finished, tmp_path, change, words, evaluating):
  folder = shutil.copytree(finished.folder, tmp_path / 'run')
  change(folder / 'checkpoints')
  before = _kept(folder)
  with pytest.raises(ValueError) as error:
    _evaluate(folder, None, 'x') if evaluating else _resumed(folder)
  assert words in str(error.value) and '\n' not in str(error.value)
  assert before.items() <= _kept(folder).items()
  if 'stage2/' in words or 'stage1/3' in words:
    with pytest.raises(ValueError, match='was saved by'):
      trained.open_trained(folder)


@pytest.mark.parametrize('changes', [
    {'seed': 1}, {'base__optimizer__learning_rate': 0.5},
    {'model__rope_base': 5e4}, {'base__batch_size': 32, 'seed': 2}])
def test_a_checkpoint_of_another_run_is_refused(finished, tmp_path, changes):
  config = _config(**changes)
  other = _open(tmp_path / 'other', config)
  shutil.copytree(finished.folder / 'checkpoints', tmp_path / 'other' /
                  'checkpoints')
  with pytest.raises(ValueError, match='checkpoints/base/4 is of another run: '
                     'config.* there and .* here'):
    _train(other)


def test_evaluation_may_ask_for_more_than_training_did(finished, tmp_path):
  folder = shutil.copytree(finished.folder, tmp_path / 'run',
                           ignore=shutil.ignore_patterns('evaluations'))
  before = json.loads((folder / 'results.json').read_text())
  record = (folder / 'config.json').read_bytes()
  more = _config(evaluation__problems=24, evaluation__split='validation',
                 evaluation__studies=('scaling', 'in_a_row'),
                 evaluation__samples=2, evaluation__attempts=3)
  with pytest.raises(ValueError, match='config.evaluation.attempts is 10'):
    _open(folder, more)
  run = _open(folder, more, evaluating=True)
  with jax.set_mesh(run.mesh):
    after = pipeline.evaluate_all(run)
  assert (folder / 'config.json').read_bytes() == record
  for stage, found in after['stages'].items():
    assert set(before['stages'][stage]) < set(found)
    assert found['n'] == 24 and found['split'] == 'validation'
    assert found['scaling']['budget'] == [2, 4]
    assert len(found['attempts_in_a_row']['accuracy']) == 3
    # Both are greedy, so that their first two attempts are the same.
    np.testing.assert_allclose(found['attempts_in_a_row']['accuracy'][:2],
                               [found['accuracy_t1'], found['accuracy_t2']])
  assert json.loads((folder / 'results.json').read_text()) == before
  place, = (folder / 'evaluations').glob('validation_24_stage2_3_*')
  rows = _lines(place, 'transcripts.jsonl')
  assert len(rows) == 3 * 24 and {r['split'] for r in rows} == {'validation'}


def test_an_unfinished_stage_is_evaluated_as_it_is_and_again_at_its_end(
    finished, tmp_path, monkeypatch, capsys):
  run = _open(tmp_path)
  log = run.writer.metrics

  def stop_there(name, number, row):
    log(name, number, row)
    run.stop.requested = (name, number) == ('stage1', 2)

  monkeypatch.setattr(run.writer, 'metrics', stop_there)
  with pytest.raises(shutdown.Stopped):
    _train(run)
  run = _open(tmp_path, evaluating=True)
  with jax.set_mesh(run.mesh):
    found = pipeline.evaluate_all(run)['stages']
  assert 'stage1: as it is after step 2 of 3' in capsys.readouterr().out
  assert [(name, of['step']) for name, of in found.items()] == [
      ('base', 4), ('stage1', 2)]
  results = _train(_open(tmp_path))
  assert results['stages'] == json.loads(
      (finished.folder / 'results.json').read_text())['stages']


def test_evaluation_of_nothing_is_refused(tmp_path):
  with pytest.raises(ValueError, match='does not exist, so there is nothing'):
    _open(tmp_path / 'nowhere', evaluating=True)
  assert not (tmp_path / 'nowhere').exists()
  run = _open(tmp_path)
  with jax.set_mesh(run.mesh), pytest.raises(ValueError,
                                             match='no checkpoint to evaluate'):
    pipeline.evaluate_all(run)


def test_stage_1_weights_can_come_from_another_run(finished, tmp_path):
  source = str(finished.folder / 'checkpoints' / 'stage1')
  run = _open(tmp_path, _config(stage1__checkpoint=source))
  _train(run)
  mine = [r for r in _lines(tmp_path, 'metrics.jsonl') if r['stage'] != 'base']
  assert {r['stage'] for r in mine} == {'stage2'}
  theirs = _lines(finished.folder, 'metrics.jsonl')[-len(mine):]
  assert mine == theirs
  nowhere = str(tmp_path / 'x')
  missing = _open(tmp_path / 'b', _config(stage1__checkpoint=nowhere))
  with jax.set_mesh(missing.mesh), pytest.raises(ValueError,
                                                 match='holds no checkpoint'):
    pipeline.ready(missing, 'stage1')


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path):
  run = _open(tmp_path, _config(stage1__optimizer__learning_rate=1e38,
                                stage1__optimizer__warmup_steps=0,
                                stage1__steps=9, checkpoints__every=1))
  with pytest.raises(FloatingPointError,
                     match=r'stage1 step \d: \w+ is (nan|inf)'):
    _train(run)
  # What was saved before can still be read.
  assert _lines(tmp_path, 'metrics.jsonl')[-1]['stage'] in ('base', 'stage1')
  _params(run, 'base')


def test_a_folder_of_another_config_is_refused(finished):
  before = (finished.folder / 'config.json').read_bytes()
  with pytest.raises(ValueError, match='config.seed is 0 there and 1 here'):
    _open(finished.folder, _config(seed=1))
  assert (finished.folder / 'config.json').read_bytes() == before
  _open(finished.folder, _config(stage='stage1'))  # It only ends elsewhere.


def test_a_step_in_parts_is_the_same_step(finished, tmp_path):
  # 16 problems, 8 devices: each of the two parts fills the mesh.
  config = _config(rollout__prompts=16, stage='stage1', stage1__steps=1)
  whole = _open(tmp_path / 'whole', config)
  _train(whole)
  parts = _open(tmp_path / 'parts', _replace(config, ['rollout', 'parts'], 2))
  _train(parts)
  a, b = (_lines(tmp_path / name, 'metrics.jsonl')[-1]
          for name in ('whole', 'parts'))
  assert a.keys() == b.keys() and a['stage'] == 'stage1'
  for name in a.keys() - {'stage'}:
    np.testing.assert_allclose(a[name], b[name], rtol=2e-4, atol=2e-5,
                               err_msg=name)
  timing = _lines(tmp_path / 'parts', 'timings.jsonl')[-1]
  assert {'grade_wait_s', 'grades_per_s', 'grade_timeouts',
          'grade_crashes'} <= timing.keys()


def test_nothing_compiles_after_the_first_step_of_a_length(
    tmp_path, monkeypatch):
  config = _config(stage1__steps=8, stage2__steps=1, checkpoints__every=3,
                   rollout__prompt_buckets=(10, 12))
  run = _open(tmp_path, config)
  problems = run.problems('train')
  by_length = sorted(range(64), key=lambda n: len(problems[n].prompt))
  of_step, buckets, compiled = train.indices, [], []

  def indices(run, stage, size, step, batch):
    if stage == 'stage1' and step < 2:  # All long, then all short.
      return by_length[-batch:] if step == 0 else by_length[:batch]
    return of_step(run, stage, size, step, batch)

  def note(name, unused_s, **unused):
    if name.endswith('backend_compile_duration'):
      compiled.append(hosts.present.at)

  def pad(ids, length, pad_id):
    buckets.append((hosts.present.at, length, max(map(len, ids))))
    return pad_left(ids, length, pad_id)

  pad_left = prompts.pad_left
  monkeypatch.setattr(train, 'indices', indices)
  monkeypatch.setattr(prompts, 'pad_left', pad)
  jax.monitoring.register_event_duration_secs_listener(note)
  try:
    _train(run)
  finally:
    jax.monitoring.unregister_event_duration_listener(note)
  first, second, *later = [
      [bucket[1:] for bucket in buckets if bucket[0] == f'stage1 step {step}']
      for step in range(1, 9)]
  assert first == [(12, 12)] and second == [(10, 8)]
  assert len(set(sum(later, []))) > 1  # Lengths are mixed.
  count = [compiled.count(f'stage1 step {step}') for step in range(1, 9)]
  assert count[0] > 1 and count[1] > 1 and count[2:] == [0] * 6, count
  # Two programs sample in training; evaluations, all of one length, have one.
  assert run.actor.program._cache_size() == 3


@pytest.mark.parametrize('changes,message', [
    ({'rollout__prompts': 4}, 'config.rollout.prompts 4 is not divisible by 8'),
    ({'base__batch_size': 20}, r'\(see config.base.micro_batches\) 10 is not'),
    ({'evaluation__batch_size': 3}, 'config.evaluation.batch_size 3'),
    ({'rollout__prompt_buckets': (10,)}, 'longer than 10 tokens'),
    ({'rollout__attempt_tokens': (13, 16)}, 'attempt 1 has 14 tokens'),
    ({'model__max_positions': 40}, 'takes up to .* the model has 40'),
    ({'model__vocab_size': 20}, 'ids|vocab'),
    ({'evaluation__split': 'dev'}, "no split 'dev'; it has"),
    ({'evaluation__studies': ('repair',)}, "no split 'repair'; it has"),
    ({'task__name': 'sum'}, "'sum'; did you mean 'sums'"),
    ({'task__name': 'sums'}, 'no transcripts .* --config.model.checkpoint'),
    ({'model__checkpoint': 'absent.gguf'}, 'absent.gguf'),
    ({'model__tokenizer': 'absent.model'}, 'absent.model'),
])
def test_bad_input_is_refused_at_the_door(tmp_path, changes, message):
  with pytest.raises(ValueError, match=message) as error:
    config = run_lib.resolved(_config(**changes))
    _train(_open(tmp_path, config))
  assert '\n' not in str(error.value)
