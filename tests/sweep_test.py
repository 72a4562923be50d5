"""A sweep through the command: sharing, stopping, going on; failures."""

import contextlib
import json
import pathlib
import shutil
import signal

import pytest

from score_jax import lock
from score_jax import shutdown
from score_jax import sweep
from tests import door
from tests import sweep_tiny

CONFIG = '--config=tests/sweep_tiny.py'
CELLS = ('base', 'stage1', 'score', 'no_bonus', 'no_stage1')


@pytest.fixture(scope='module', name='whole')
def _whole(tmp_path_factory):
  """The workdir of a sweep that nothing interrupted, and its output."""
  folder = tmp_path_factory.mktemp('sweep')
  ended = door.call([CONFIG, f'--workdir={folder / "whole"}'], folder)
  assert ended.code == 0, ended.err
  return folder / 'whole', ended


def _runs(folder: pathlib.Path):
  """What must be the same of every cell of equal sweeps."""
  return {
      str(path.parent.relative_to(folder)): (
          path.read_bytes(), (path.parent / 'transcripts.jsonl').read_bytes(),
          json.loads((path.parent / 'results.json').read_text())['stages'])
      for path in folder.glob('cells/*/*/metrics.jsonl')}


@pytest.mark.slow
def test_base_and_stage_1_are_trained_once_a_seed(whole):
  folder, ended = whole
  assert set(_runs(folder)) == {
      f'cells/{seed}/{name}' for seed in (0, 1) for name in CELLS}
  assert ended.out.count('base: language modelling') == 2
  assert ended.out.count('stage1: 3 steps') == 2
  assert ended.out.count('stage2: 3 steps') == 4
  assert ended.out.count('stage2: 6 steps') == 2
  assert '  no_bonus: stage2.alpha 0.0\n' in ended.out
  assert '  no_stage1: stage1.steps 0, stage2.steps 6\n' in ended.out


@pytest.mark.slow
def test_a_cell_is_what_its_config_comes_to_alone(whole, tmp_path):
  folder, _ = whole
  ended = door.call(
      [f'{CONFIG}:+no_bonus', '--config.seed=1', f'--workdir={tmp_path}'],
      folder.parent)
  assert ended.code == 0, ended.err
  cell = folder / 'cells/1/no_bonus'
  for name in ('metrics.jsonl', 'transcripts.jsonl'):
    assert (tmp_path / name).read_bytes() == (cell / name).read_bytes()


@pytest.mark.slow
def test_killed_and_stopped_it_goes_on_as_if_nothing_had_been(whole, tmp_path):
  folder, _ = whole
  shutil.copytree(folder / 'cells', tmp_path / 'cells')
  for cell in ('0/stage1', '0/no_bonus', '0/no_stage1', '1/base'):
    shutil.rmtree(tmp_path / 'cells' / cell)  # The others are finished.
  args = [CONFIG, f'--workdir={tmp_path}']
  for path, what in (
      ('cells/0/stage1/metrics.jsonl$', signal.SIGKILL),
      (r'cells/0/no_bonus\.partial/metrics', signal.SIGKILL),
      ('cells/0/no_stage1/results.json.partial', signal.SIGKILL),
      ('cells/1/base/metrics.jsonl$', signal.SIGTERM)):
    ended = door.call(args, folder.parent, door.Fault(path, 1, what))
    code = 143 if what == signal.SIGTERM else -what
    assert ended.code == code, (path, ended)
  assert ended.err.splitlines()[-1] == (
      'score_jax: base: stopped after step 1 of 3, saved; the same command '
      'goes on from there')
  assert not (tmp_path / 'table.md').exists()
  ended = door.call(args, folder.parent)
  assert ended.code == 0, ended.err
  assert 'base: goes on from step 1\n' in ended.out
  assert ended.out.count('\ncell ') == 1
  assert '10 cells, 9 of them finished' in ended.out
  assert _runs(tmp_path) == _runs(folder)
  for name in ('table.md', 'table.json', 'report.html'):
    assert (tmp_path / name).read_bytes() == (folder / name).read_bytes()


@pytest.mark.slow
def test_processes_share_the_seeds_and_the_last_writes_the_whole_table(
    whole, tmp_path):
  folder, _ = whole
  shutil.copytree(folder / 'cells', tmp_path / 'cells')
  for cell in ('0/no_bonus', '1/no_stage1'):
    shutil.rmtree(tmp_path / 'cells' / cell)
  args = [CONFIG, f'--workdir={tmp_path}']
  with lock.held(tmp_path / 'cells/0') as mine:  # As another process has it.
    assert mine
    ended = door.call(args, folder.parent)
    assert ended.code == 0, ended.err
    assert ended.out.count('\ncell ') == 1
    assert '\ncell 10 of 10: seed 1, no_stage1' in ended.out
    assert 'other processes are at work on seed 0; the one that' in ended.out
    rows = json.loads((tmp_path / 'table.json').read_text())['tables'][0][
        'rows']
    assert rows['no_bonus']['seeds'] == [1]
  ended = door.call(args, folder.parent)
  assert ended.code == 0, ended.err
  assert 'other processes' not in ended.out
  assert _runs(tmp_path) == _runs(folder)
  assert (tmp_path / 'table.md').read_bytes() == (
      folder / 'table.md').read_bytes()


def test_a_seed_is_tried_again_when_another_process_is_gone(
    tmp_path, monkeypatch):
  ran, others = [], contextlib.ExitStack()
  place = tmp_path / 'cells/0'
  place.mkdir(parents=True)
  others.enter_context(lock.held(place))

  def run_seed(seed, cells, stop, say, allow_gaps):
    ran.append(seed)
    others.close()  # Dies while this one has another seed.
    return []

  monkeypatch.setattr(sweep, '_run_seed', run_seed)
  sweep.run_all(sweep_tiny.get_config().to_dict(), tmp_path,
                shutdown.StopRequest(), lambda line: None)
  assert ran == [1, 0]


@pytest.mark.parametrize('arg,message', [
    ('--config.sweep.seeds=1', 'config.sweep.seeds (an interval needs more '
     'than one) is 1; it must be at least 2'),
    ('--config.sweep.only=("score","bonus")', "did you mean 'no_bonus'?"),
    ('--config.sweep.sedes=3', 'unknown field config.sweep.sedes; did you mean '
     "'seeds'?"),
    ('--mode=eval', '--mode=eval is of single runs'),
])
def test_bad_input_is_one_line_and_nothing_is_done(arg, message, tmp_path):
  folder = tmp_path / 'new'
  ended = door.call([CONFIG, f'--workdir={folder}', arg], tmp_path)
  assert ended.code == 2
  assert ended.err.startswith('score_jax: ') and ended.err.count('\n') == 1
  assert message in ended.err
  assert not folder.exists()


def _found(t1, t2, **fields):
  """A stage's entry in results.json."""
  return {'n': 10, 'step': 3, 'feedback': 'none', 'accuracy_t1': t1,
          'accuracy_t2': t2, 'delta': t2 - t1, 'i_to_c': 0.5, 'c_to_i': 0.25,
          'unchanged': 0.5, 'changed_wrong': None, 'changed_right': 0.0,
          'edit_distance': {'edges': [0, 0.5, 1], 'counts': [9, 1]}} | fields


def test_a_cell_that_fails_leaves_a_gap_and_the_others_go_on(
    tmp_path, monkeypatch):
  def run(cell, stop, allow_gaps):
    if (cell.name, cell.seed) == ('no_bonus', 1):
      raise FloatingPointError('stage2 step 2: loss is nan')
    cell.folder.mkdir(parents=True, exist_ok=True)
    (cell.folder / 'metrics.jsonl').write_text('')
    t2 = {'score': 0.75, 'no_bonus': 0.5}.get(cell.name, 0.25) + cell.seed / 8
    steps = 6 if cell.name == 'no_stage1' else 3
    (cell.folder / 'results.json').write_text(json.dumps({'stages': {
        cell.stage: _found(0.25, t2, step=steps)}}))

  monkeypatch.setattr(sweep, '_run', run)
  said = []
  values = sweep_tiny.get_config().to_dict()
  values['sweep']['studies'] = ('scaling',)  # Of score: no part of a method.
  failed = sweep.run_all(values, tmp_path, shutdown.StopRequest(), said.append)
  assert failed == ['seed 1, no_bonus: stage2 step 2: loss is nan']
  record = json.loads((tmp_path / 'table.json').read_text())
  assert record['own'] == {
      'score': [], 'no_bonus': ['stage2.alpha 0.0'],
      'no_stage1': ['stage1.steps 0', 'stage2.steps 6']}
  rows = record['tables'][0]['rows']
  assert list(rows) == list(CELLS)
  assert rows['no_bonus']['seeds'] == [0]
  # (0.75 + 0.875) / 2; differences are -0.5 in both seeds, -0.25 in one.
  assert rows['score']['accuracy_t2']['mean'] == 0.8125
  assert rows['no_stage1']['difference']['delta']['ci95'] == [-0.5, -0.5]
  assert rows['no_bonus']['difference']['accuracy_t2'] == {
      'mean': -0.25, 'ci95': None, 'values': [-0.25]}
  assert 'changed_wrong' not in rows['score']
  # A base that fails ends the sweep: nothing can begin there.
  for path in (tmp_path / 'cells/1/base').iterdir():
    path.unlink()

  def fail(cell, stop, allow_gaps):
    raise FloatingPointError('loss is nan')

  monkeypatch.setattr(sweep, '_run', fail)
  with pytest.raises(FloatingPointError, match='seed 1, base: loss is nan'):
    sweep.run_all(values, tmp_path, shutdown.StopRequest(), said.append)
