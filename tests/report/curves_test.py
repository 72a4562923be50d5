"""Which charts are drawn of which files."""

import json

import pytest

from score_jax.report import curves
from score_jax.report import runs as runs_lib
from tests.report import made


def _read(*folders):
  return runs_lib.read([str(folder) for folder in folders])


def _by_title(charts):
  return {chart.title: chart for chart in charts}


def test_every_metric_of_both_attempts_is_drawn(tmp_path):
  runs = _read(made.run(tmp_path / 'a'))
  (stage1, charts), (stage2, _) = curves.training(runs)
  assert (stage1, stage2) == ('Stage I', 'Stage II')
  drawn = {chart.title: [(mark.series, mark.last) for mark in chart.marks]
           for chart in charts}
  assert drawn == {
      'Accuracy': [('attempt 1', '25.0%'), ('attempt 2', '50.0%')],
      'Delta, points': [('delta', '+25.0')],
      'Transitions': [('i→c', '25.0%'), ('c→i', '12.5%'),
                      ('unchanged', '50.0%')],
      'KL to the reference, nats': [('attempt 1', '0.02'),
                                    ('attempt 2', '0.5')],
      'Length, tokens': [('attempt 1', '100'), ('attempt 2', '100')],
      'Truncated': [('attempt 1', '0.0%'), ('attempt 2', '10.0%')],
      'Loss': [('loss', '-1')],
  }


def test_a_line_is_of_the_logged_steps(tmp_path):
  folder = made.run(tmp_path / 'a')
  rows = [{'stage': 'base', 'step': step, 'loss': loss}
          for step, loss in ((1, 1.0), (2, None), (5, 0.5))]
  (folder / 'metrics.jsonl').write_text(
      ''.join(json.dumps(row) + '\n' for row in rows))
  (_, [chart]), = curves.training(_read(folder))
  assert chart.marks[0].path == 'M40,8L310,80'


def test_several_runs_lie_over_each_other(tmp_path):
  runs = _read(made.run(tmp_path / 'a'), made.run(tmp_path / 'b'))
  accuracy = _by_title(curves.training(runs)[0][1])['Accuracy']
  assert [(mark.series, mark.run, mark.style) for mark in accuracy.marks] == [
      ('attempt 1', 'a', 'c0 d0'), ('attempt 1', 'b', 'c1 d0'),
      ('attempt 2', 'a', 'c0 d1'), ('attempt 2', 'b', 'c1 d1')]


def test_studies_are_drawn_where_there_are_any(tmp_path):
  (stage, charts), = curves.studies(_read(made.run(tmp_path / 'a')))
  assert stage == 'Stage II'
  drawn = _by_title(charts)
  votes = drawn['Majority vote']
  assert [(mark.series, mark.last) for mark in votes.marks] == [
      ('parallel', '55.0%'), ('corrected', '65.0%')]
  assert [tick.text for tick in votes.x_ticks] == ['2', '4', '8']
  assert votes.y_ticks[0].text == '30%'  # Not from zero, with the intervals.
  # One of the curves has intervals: an area of three points, there and back.
  (area, style), = votes.bands
  assert style == 'c0' and area.startswith('M') and area.endswith('Z')
  assert area.count('L') == 5
  assert [tick.text for tick in drawn['Attempts in a row'].x_ticks] == [
      '1', '2', '3']
  assert [words for *_, words in drawn['Edits between attempts'].bars][0] == (
      '7 from 0 to 0.25')


@pytest.mark.parametrize('key, study', [
    ('scaling', {'budget': [2], 'parallel': ['x'], 'corrected': [1]}),
    ('attempts_in_a_row', {'accuracy': 3}),
    ('edit_distance', {'edges': [0, 1], 'counts': [1, 2]}),
    ('edit_distance', {'edges': [0, 1]}),
])
def test_a_study_of_another_shape_is_named(tmp_path, key, study):
  folder = made.run(tmp_path / 'a', results={'base': {key: study}})
  with pytest.raises(ValueError, match='results.json is not as a run writes'):
    curves.studies(_read(folder))
