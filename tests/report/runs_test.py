"""Reading the folder of a run, whole, begun or damaged."""

import json

import pytest

from score_jax.report import page
from score_jax.report import runs as runs_lib
from tests import door
from tests.report import made


def _read(*folders):
  return runs_lib.read([str(folder) for folder in folders])


def test_metrics_and_timings_of_a_step_are_one_row(tmp_path):
  run, = _read(made.run(tmp_path / 'a'))
  assert [row['step'] for row in run.logged['stage1']] == [1, 2]
  assert run.logged['stage1'][1]['step_s'] == 60.5
  assert run.logged['stage1'][1]['kl_t1'] == 0.02
  assert run.logged['base'] == []


def test_a_torn_last_line_is_left_out(tmp_path):
  folder = made.run(tmp_path / 'a')
  for name in ('metrics.jsonl', 'transcripts.jsonl'):
    with open(folder / name, 'a') as file:
      file.write('{"stage": "stage2", "st')
  run, = _read(folder)
  assert len(run.logged['stage2']) == 2 and len(run.transcripts) == 8


def test_runs_of_one_name_are_told_apart(tmp_path):
  runs = _read(made.run(tmp_path / 'x' / 'run'),
               made.run(tmp_path / 'y' / 'run'))
  assert [run.label for run in runs] == [
      str(tmp_path / 'x' / 'run'), str(tmp_path / 'y' / 'run')]


@pytest.mark.parametrize('name, content, message', [
    ('config.json', '{"a"', 'config.json is not JSON'),
    ('config.json', '[]', 'config.json is no record of a run'),
    ('config.json', '{"config": {}}', "is not as a run writes it (KeyError"),
    ('config.json', '{"config": 3}', 'config.json is not as a run writes it'),
    ('metrics.jsonl', '{"stage": "base"}\n', 'metrics.jsonl line 1 is not as'),
    ('metrics.jsonl', '{"stage": "base", "step": 1, "loss": "x"}\n',
     'metrics.jsonl is not as a run writes it'),
    ('timings.jsonl', '{}\n', 'timings.jsonl line 1 is not as'),
    ('results.json', '[]', 'results.json is not as'),
    ('results.json', '{"stages": {"base": {"n": "x"}}}',
     'results.json is not as'),
    ('transcripts.jsonl', '{}\n', 'transcripts.jsonl line 1 is no transcript'),
])
def test_a_damaged_file_is_named(tmp_path, name, content, message):
  folder = made.run(tmp_path / 'a')
  (folder / name).write_text(content)
  with pytest.raises(ValueError) as error:
    page.page(_read(folder))
  text = str(error.value)
  assert message in text and str(folder / name) in text and '\n' not in text


@pytest.mark.parametrize('fields', [
    {'stage': 'stage3'}, {'id': 3}, {'problem': None}, {'attempts': []},
    {'attempts': 'ab'}, {'attempts': ['a', 3]}, {'grades': [1]},
    {'grades': [1, 2]}, {'truncated': [False]}, {'tags': []},
])
def test_a_damaged_transcript_is_named_by_its_line(tmp_path, fields):
  rows = [made.transcript(1), made.transcript(2) | fields]
  folder = made.run(tmp_path / 'a', transcripts=rows)
  with pytest.raises(ValueError, match='jsonl line 2 is no transcript; mend'):
    _read(folder)


def test_what_a_real_run_leaves_is_read(tmp_path_factory):
  folder, _ = door.finished(tmp_path_factory.getbasetemp())
  run, *_ = _read(folder)  # Others may have evaluated it again.
  assert {stage: len(rows) for stage, rows in run.logged.items()
          if rows} == door.STEPS
  assert len(run.transcripts) == 60  # 20 problems after each of 3 stages.
  results = json.loads((folder / 'results.json').read_text())
  assert run.results == {
      stage: found | {'grading': results['grading'][stage]}
      for stage, found in results['stages'].items()}
  for said in ('Stage II', 'KL to the reference', 'chain-test-'):
    assert said in page.page([run])


def test_evaluations_follow_their_run_as_runs(tmp_path):
  folder = made.run(tmp_path / 'a')
  for name in ('b_2', 'a_1'):
    made.run(folder / 'evaluations' / name)
    for log in ('metrics.jsonl', 'timings.jsonl'):
      (folder / 'evaluations' / name / log).unlink()
  (folder / 'evaluations' / 'begun').mkdir()
  runs = _read(folder)
  assert [run.label for run in runs] == ['a', 'a/a_1', 'a/b_2']
  assert not any(runs[1].logged.values()) and runs[1].results
  assert len(runs[1].transcripts) == len(runs[0].transcripts)
  text = page.page(runs)
  assert 'a/a_1' in text and 'a/b_2' in text
  (folder / 'evaluations' / 'a_1' / 'results.json').write_text('{')
  with pytest.raises(ValueError, match='evaluations/a_1/results.json is not'):
    _read(folder)
