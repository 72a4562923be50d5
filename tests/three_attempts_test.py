"""Stage I(a), Stage I(b) and Stage II of three attempts, end to end."""

import json

import jax
import numpy as np
import pytest

from tests import tiny_run


@pytest.fixture(scope='module', autouse=True)
def _graded():
  with pytest.MonkeyPatch.context() as patch:
    tiny_run.grade_by_chance(patch)
    yield


@pytest.fixture(scope='module', name='whole')
def _whole(tmp_path_factory):
  run = tiny_run.start(
      tmp_path_factory.mktemp('whole'), tiny_run.config(
          'three_attempts', stage1={'steps': 2}, stage1b={'steps': 2},
          stage2={'steps': 1}))
  return run, tiny_run.train(run)


def _rows(folder):
  return [json.loads(line)
          for line in (folder / 'metrics.jsonl').read_text().splitlines()]


@pytest.mark.slow
def test_each_stage_is_held_against_its_own_reference(whole):
  run, _ = whole
  rows = {(row['stage'], row['step']): row for row in _rows(run.folder)}
  # I(a) starts at the base and I(b) at I(a), which is what they are held to;
  # Stage II is held to the base again.
  for start in (('stage1', 1), ('stage1b', 1)):
    assert abs(rows[start]['kl_t1']) < 1e-5 and abs(rows[start]['kl_t2']) < 1e-5
  assert rows['stage1b', 2]['kl_t3'] > 1e-7
  assert rows['stage2', 1]['kl_t1'] > 1e-6
  assert 'kl_t3' in rows['stage1b', 1] and 'kl_t3' not in rows['stage1', 1]


@pytest.mark.slow
def test_each_stage_is_evaluated_with_all_attempts(whole):
  _, results = whole
  assert list(results['stages']) == ['base', 'stage1', 'stage1b', 'stage2']
  for found in results['stages'].values():
    assert len(found['accuracy']) == len(found['tokens']) == 3
    assert found['accuracy'][0] == found['accuracy_t1']
    assert found['accuracy'] == [found[f'accuracy_t{a}'] for a in (1, 2, 3)]
    assert found['accuracy_first'] == found['accuracy_t1']
    assert found['accuracy_last'] == found['accuracy_t3']


@pytest.mark.slow
def test_stopped_and_resumed_equals_never_stopped(whole, tmp_path, monkeypatch):
  whole, _ = whole
  # After the first step of Stage I(b), whose reference has to come back.
  tiny_run.train_stopping_after(tiny_run.start(tmp_path, whole.config), 5,
                                monkeypatch)
  run = tiny_run.start(tmp_path, whole.config)
  tiny_run.train(run)
  assert ((tmp_path / 'metrics.jsonl').read_bytes()
          == (whole.folder / 'metrics.jsonl').read_bytes())
  for stage in ('stage1b', 'stage2'):
    jax.tree.map(np.testing.assert_array_equal, tiny_run.params(run, stage),
                 tiny_run.params(whole, stage))
