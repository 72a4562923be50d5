"""The tables, charts and page of a sweep, from results written by hand."""

import json
from xml.etree import ElementTree

import html5lib
import pytest

from score_jax import config as config_lib
from score_jax.report import sweep_charts
from score_jax.report import sweeps

_SWAPPED = {'n': 10, 'accuracy_own': 0.5, 'accuracy': 0.25, 'same': 0.25,
            'copied': 0.125}


def _result(name, seed, t2, value=None, steps=2, **fields):
  found = {
      'n': 10, 'feedback': 'none', 'accuracy_t1': 0.25, 'accuracy_t2': t2,
      'delta': t2 - 0.25, 'i_to_c': 0.5, 'c_to_i': 0.25, 'unchanged': 0.5,
      'changed_wrong': 0.75, 'changed_right': 0.125,
      'edit_distance': {'edges': [0, 0.5, 1], 'counts': [8 + seed, 1]}}
  logged = [{'stage': 'stage2', 'step': step, 'accuracy_t1': 0.25,
             'accuracy_t2': t2, 'unchanged': 0.75}
            for step in range(1, steps + 1)]
  return sweeps.Result(name, seed, value, found | fields, logged)


def _sweep(results, **settings):
  return sweeps.Sweep(
      'made', config_lib.SweepConfig(**settings),
      {'score': [], 'plain': ['stage2.alpha 0.0']}, results)


@pytest.fixture(name='sweep')
def _made():
  scaling = {'budget': [2, 4], 'parallel': [0.25, 0.5],
             'corrected': [0.5, 0.75]}
  return _sweep([
      _result('base', 0, 0.25, steps=0), _result('base', 1, 0.25, steps=0),
      _result('score', 0, 0.5, swapped=_SWAPPED, scaling=scaling),
      _result('score', 1, 0.75, swapped=_SWAPPED, scaling=scaling),
      _result('plain', 0, 0.25), _result('plain', 1, 0.375),
      _result('told', 0, 1.0, feedback='verdict'),
      _result('told', 1, 1.0, feedback='verdict', changed_right=None)])


def _texts(table):
  return [[f'{cell.text} {cell.below}'.strip() for cell in row]
          for row in table.rows]


def test_rows_are_means_over_seeds_with_t_intervals(sweep):
  results, differences, *_ = sweeps.all_tables(sweep)
  # 0.625 +- 12.706 * 0.125; 12.706 is t(0.975, 1), 0.125 is s / sqrt(2).
  # Shares end at 0 and 100.
  base, score, plain = _texts(results)
  assert score == [
      'score', '2', '25.0% [25.0, 25.0]', '62.5% [0.0, 100.0]',
      '+37.5 [-121.3, +196.3]', '50.0% [50.0, 50.0]', '25.0% [25.0, 25.0]',
      '50.0% [50.0, 50.0]', '75.0% [75.0, 75.0]', '12.5% [12.5, 12.5]']
  # Pairs: 0.25 - 0.5 and 0.375 - 0.75: -0.3125 +- 12.706 * 0.0625.
  assert (base[0], plain[0]) == ('base', 'plain')
  assert _texts(differences)[1] == [
      'plain', '2', '+0.0 [+0.0, +0.0]', '-31.2 [-110.7, +48.2]',
      '-31.2 [-110.7, +48.2]']
  assert differences.title == 'Results: difference to score'


def test_rows_with_feedback_are_in_a_table_of_their_own(sweep):
  found = {table.title: table for table in sweeps.all_tables(sweep)}
  told, = _texts(found['With feedback'])
  assert told[0] == 'told' and told[-1] == '–'  # No right one in a seed.
  assert 'not intrinsic' in found['With feedback'].note
  assert 'told' not in {row[0] for row in _texts(found['Results'])}
  swapped, = _texts(found["Attempt 2 after another problem's attempt 1"])
  assert swapped == ['score', '2', '50.0% [50.0, 50.0]', '25.0% [25.0, 25.0]',
                     '25.0% [25.0, 25.0]', '12.5% [12.5, 12.5]']
  assert _texts(found['Rows']) == [
      ['score', 'none'], ['plain', 'stage2.alpha 0.0']]


def test_the_record_has_every_seed(sweep):
  record, = sweeps.record(sweep)['tables']
  row = record['rows']['plain']
  assert row['seeds'] == [0, 1] and row['n'] == [10, 10]
  assert row['accuracy_t2']['values'] == [0.25, 0.375]
  assert row['difference']['delta']['values'] == [-0.25, -0.375]
  assert record['rows']['score']['swapped']['copied']['mean'] == 0.125
  assert record['rows']['told']['feedback'] == 'verdict'
  json.dumps(record, allow_nan=False)


def test_charts_of_training_edits_and_scaling(sweep):
  drawn = sweep_charts.drawn(sweep)
  title, training = drawn['training']
  assert 'a line a seed' in title
  assert [chart.title for chart in training] == ['score', 'plain', 'told']
  assert [(series, [mark.last for mark in marks])
          for series, marks in training[0].legend()] == [
              ('first attempt', ['25.0%', '25.0%']),
              ('last attempt', ['50.0%', '75.0%']),
              ('another answer', ['25.0%', '25.0%'])]
  _, edits = drawn['edits']
  assert [words for *_, words in edits[0].bars] == [
      '17 from 0 to 0.5', '2 from 0.5 to 1']  # 8 + 9, 1 + 1.
  _, (scaling,) = drawn['scaling']
  assert [mark.last for mark in scaling.marks] == ['50.0%', '75.0%']
  assert 'dial' not in drawn


def test_steps_of_stage_1_come_before_those_of_stage_2():
  result = _result('score', 0, 0.5)
  result.logged.insert(0, result.logged[0] | {'stage': 'stage1'})
  _, (chart,) = sweep_charts.drawn(_sweep([result]))['training']
  assert [tick.text for tick in chart.x_ticks] == ['1', '2', '3']


def test_a_dial_has_a_table_for_each_value_and_charts_over_it():
  sweep = _sweep(
      [_result('base', seed, 0.25, steps=0) for seed in (0, 1)]
      + [_result('score', seed, t2, value) for seed in (0, 1)
         for value, t2 in ((64, 0.5), (256, 0.75))],
      dial=('task.train_problems',), values=(64, 256))
  titles = [table.title for table in sweeps.all_tables(sweep)]
  assert titles[0] == 'Results, task.train_problems 64'
  assert titles[2] == 'Results, task.train_problems 256'
  rows = sweeps.record(sweep)['tables'][1]['rows']
  assert rows['base']['difference']['accuracy_t2']['values'] == [-0.5, -0.5]
  _, (delta, *_) = sweep_charts.drawn(sweep)['dial']
  assert [(mark.series, mark.last) for mark in delta.marks] == [
      ('base', '+0.0'), ('score', '+50.0')]
  assert [tick.text for tick in delta.x_ticks] == ['64', '256']
  assert sweep_charts.drawn(sweep)['training'][1][0].title == (
      'score, train_problems 64')


def test_files_are_whole_pages_pictures_and_tables(sweep, tmp_path):
  sweeps.write(tmp_path, sweep)
  text = (tmp_path / 'table.md').read_text()
  assert text.startswith('# made\n\n## Results\n\n|  | seeds | acc@t1 |')
  assert '| score | 2 | 25.0% [25.0, 25.0] | 62.5% [0.0, 100.0] |' in text
  assert json.loads((tmp_path / 'table.json').read_text())['name'] == 'made'
  page = (tmp_path / 'report.html').read_text()
  html5lib.HTMLParser(strict=True).parse(page)
  assert '<script' not in page and '62.5%' in page
  assert page.count('<svg viewBox') == 3 + 4 + 1
  plots = {path.name for path in (tmp_path / 'plots').iterdir()}
  assert plots == {
      'training_score.svg', 'training_plain.svg', 'training_told.svg',
      'edits_base.svg', 'edits_score.svg', 'edits_plain.svg', 'edits_told.svg',
      'scaling_score.svg'}
  for path in (tmp_path / 'plots').iterdir():
    root = ElementTree.parse(path).getroot()
    assert root.tag == '{http://www.w3.org/2000/svg}svg'
  picture = (tmp_path / 'plots' / 'training_score.svg').read_text()
  assert 'last attempt: 50.0%, 75.0%' in picture
