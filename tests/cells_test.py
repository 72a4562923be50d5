"""Which cells a sweep has, what they share, and what is not to be compared."""

import dataclasses
import json

import pytest

from score_jax import cells as cells_lib
from score_jax import config as config_lib
from score_jax.recipes import sweep_embedded
from tests import sweep_tiny


def _cells(folder, form='quick', change=lambda values: None):
  values = sweep_tiny.get_config(form).to_dict()
  change(values)
  sweep = config_lib.sweep_from_dict(values.pop('sweep'))
  return cells_lib.of_sweep(values, sweep, folder)


def _set(**fields):
  return lambda values: values['sweep'].update(fields)


def _named(cells):
  return {(cell.name, cell.seed, cell.value): cell for cell in cells}


def test_what_is_shared_runs_first_and_what_can_be_begins_there(tmp_path):
  cells = _cells(tmp_path, 'full', _set(only=()))
  of_seed = [cell for cell in cells if cell.seed == 1]
  names = [cell.name for cell in of_seed]
  assert names[:3] == ['base', 'stage1', 'score']
  assert set(names) == {'base', 'stage1', *sweep_embedded.ALL}
  starts = {cell.name: cell.start and cell.start.name for cell in of_seed}
  assert starts['base'] is None and starts['stage1'] == 'base'
  for name in ('score', 'no_bonus', 'return_to_go', 'factored', 'star_stage2',
               'no_online', 'offline_mix'):
    assert starts[name] == 'stage1'
  # Without Stage I; with one of its own; with feedback in it; without any.
  for name in ('no_stage1', 'plain_sum', 'star', 'three_attempts',
               'feedback_verdict', 'self_refine'):
    assert starts[name] == 'base'
  assert all(cell.start.seed == 1 for cell in of_seed if cell.start)
  assert of_seed[3].folder == tmp_path / 'cells' / '1' / of_seed[3].name


def test_samples_in_parallel_are_studied_of_score_alone(tmp_path):
  for cell in _cells(tmp_path, 'full'):
    studies = cell.config.evaluation.studies
    assert ('scaling' in studies) == (cell.name == 'score')
    assert 'swapped' in studies


def test_a_dial_has_no_part_in_the_base(tmp_path):
  cells = _cells(tmp_path, 'problems', _set(seeds=2, only=('score', 'star')))
  found = _named(cells)
  assert len(found) == len(cells) == 2 * (1 + 4 * 3)
  assert found['base', 0, None].folder == tmp_path / 'cells/0/base'
  cell = found['score', 0, 256]
  assert cell.folder == tmp_path / 'cells/0/256/score'
  assert cell.config.task.train_problems == 256
  assert cell.start is found['stage1', 0, 256]
  assert cell.start.start is found['base', 0, None]
  assert found['star', 0, 256].start is found['base', 0, None]


def test_a_dial_of_the_base_has_a_base_for_each_value(tmp_path):
  found = _named(_cells(tmp_path, 'quick', _set(
      dial=('base.optimizer.learning_rate',), values=(0.5, 0.25))))
  assert found['score', 1, 0.5].start.start is found['base', 1, 0.5]
  assert found['base', 1, 0.25].folder == tmp_path / 'cells/1/0.25/base'


@pytest.mark.parametrize('fields,message', [
    ({'seeds': 1}, r'config.sweep.seeds .* is 1; it must be at least 2'),
    ({'only': ('score', 'no_bonos')}, "'no_bonos'.*did you mean 'no_bonus'"),
    ({'only': ('no_bonus',)}, "only leaves out 'score'"),
    ({'against': 'scor'}, "did you mean 'score'"),
    ({'studies': ('scalin',)}, "did you mean 'scaling'"),
    ({'dial': ('stage2.alpha',)}, 'give both or neither'),
    ({'dial': ('stage2.alhpa',), 'values': (1.0, 2.0)},
     'there is no field config.stage2.alhpa'),
    ({'seed': 3}, "unknown field config.sweep.seed; did you mean 'seeds'"),
    ({'cells': {'score': {}, 'x': {'stage2': {'alhpa': 1.0}}}, 'only': ()},
     "cells.x: unknown field config.stage2.alhpa; did you mean 'alpha'"),
    ({'cells': {'score': {}, 'base': {}}, 'only': ()}, 'choose another name'),
    ({'cells': {'score': {}, 'x': 3}, 'only': ()}, 'must be a group of fields'),
    # Rows that would not be compared at equal settings.
    ({'cells': {'score': {}, 'x': {'stage2': {'beta1': 0.2}}}, 'only': ()},
     r'cells.x: config.stage2.beta1 is 0.2, and 0.1 in score'),
    ({'cells': {'score': {}, 'x': {'stage2': {'optimizer': {
        'learning_rate': 1.0}}}}, 'only': ()}, 'equal data, budgets, learning'),
    ({'cells': {'score': {}, 'x': {'stage1': {'steps': 0}}}, 'only': ()},
     'cells.x has 3 steps, and score 6'),
    ({'cells': {'score': {}, 'x': {
        'stage1': {'steps': 1}, 'stage1b': {'steps': 2}}}, 'only': ()},
     r'cells.x: config.stage1b.beta1 is 0.01, and 0.1 in score'),
])
def test_bad_sweeps_are_refused_in_a_line(tmp_path, fields, message):
  with pytest.raises(ValueError, match=message) as error:
    _cells(tmp_path, 'quick', _set(**fields))
  assert '\n' not in str(error.value)


def _finish(cell, **results):
  """Writes the folder of a cell as if it had run."""
  cell.folder.mkdir(parents=True)
  (cell.folder / 'config.json').write_text(json.dumps(
      {'config': dataclasses.asdict(cell.config)}))
  (cell.folder / 'results.json').write_text(json.dumps({'stages': results}))
  (cell.folder / 'metrics.jsonl').write_text('x\n')


def test_a_run_begins_as_a_copy_without_the_config_of_the_other(tmp_path):
  found = _named(_cells(tmp_path))
  base, cell = found['base', 0, None], found['no_stage1', 0, None]
  _finish(base, base={'step': 3})
  torn = cell.folder.with_name('no_stage1.partial')
  torn.mkdir()
  (torn / 'left').touch()  # By a kill in the middle of a copy.
  cells_lib.begin(cell)
  assert sorted(path.name for path in cell.folder.iterdir()) == [
      'metrics.jsonl', 'results.json']
  assert not torn.exists()
  (cell.folder / 'metrics.jsonl').write_text('y\n')
  cells_lib.begin(cell)  # It is there: it goes on.
  assert (cell.folder / 'metrics.jsonl').read_text() == 'y\n'


def test_results_are_not_taken_over_where_feedback_would_change_them(tmp_path):
  found = _named(_cells(tmp_path, 'full', _set(only=())))
  cell = found['feedback_verdict', 0, None]
  _finish(found['base', 0, None], base={'step': 3})
  cells_lib.begin(cell)
  assert [path.name for path in cell.folder.iterdir()] == ['metrics.jsonl']


def test_a_cell_is_finished_when_its_last_stage_is_evaluated(tmp_path):
  found = _named(_cells(tmp_path))
  _finish(found['base', 0, None], base={'step': 3})
  _finish(found['base', 1, None], base={'step': 2})
  _finish(found['score', 0, None], base={'step': 3}, stage1={'step': 3})
  _finish(found['score', 1, None], stage2={'step': 3})
  assert found['base', 0, None].result() == {'step': 3}
  assert found['base', 1, None].result() is None
  assert found['score', 0, None].result() is None
  assert found['score', 1, None].result() == {'step': 3}
  assert found['no_bonus', 0, None].result() is None


def test_a_folder_of_another_sweep_is_refused(tmp_path):
  cells = _cells(tmp_path)
  _finish(_named(cells)['score', 1, None])
  cells_lib.check_folders(cells)
  others = _cells(tmp_path, change=lambda values: values['stage2'].update(
      alpha=5.0))
  with pytest.raises(ValueError, match='config.stage2.alpha is 10.0 there'):
    cells_lib.check_folders(others)


def test_steps_of_all_cells_reach_methods_without_stage_1(tmp_path):
  def shorten(values):
    values['sweep']['only'] = ()
    values['stage1']['steps'], values['stage2']['steps'] = 5, 7
  found = _named(_cells(tmp_path, 'full', shorten))
  steps = {name: (cell.config.stage1.steps, cell.config.stage1b.steps,
                  cell.config.stage2.steps)
           for (name, seed, _), cell in found.items() if seed == 0}
  assert steps['score'] == steps['no_bonus'] == (5, 0, 7)
  for name in ('no_stage1', 'single_turn', 'plain_last', 'star', 'pair_sft'):
    assert steps[name] == (0, 0, 12)
  assert steps['three_attempts'] == (3, 2, 7)


def test_learning_rates_of_all_cells_reach_every_method(tmp_path):
  def change(values):
    values['sweep']['only'] = ()
    values['stage2']['optimizer']['learning_rate'] = 7e-5
    values['stage1']['optimizer']['learning_rate'] = 7e-5
  for cell in _cells(tmp_path, 'full', change):
    assert cell.config.stage2.optimizer.learning_rate == 7e-5
    if cell.config.stage1b.steps:
      assert cell.config.stage1b.optimizer.learning_rate == 7e-5


def test_a_method_that_is_not_known_is_named(tmp_path):
  with pytest.raises(ValueError, match="cells.x is 'no_bonnus'; did you mean "
                                       "'no_bonus'"):
    _cells(tmp_path, 'quick', _set(
        cells={'score': 'score', 'x': 'no_bonnus'}, only=()))
