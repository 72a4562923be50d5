"""Data sets round-trip, and a step's rows are a pure function of its number."""

import subprocess
import sys

import numpy as np
import pytest

from score_jax import data
from score_jax.tasks import base

ROWS = {
    'train': [{'id': f't{i}', 'prompt': f'{i} + {{x}} = «é»?\n', 'answer': str(i)}
              for i in range(7)],
    'base': [{'id': 'b0', 'prompt': 'p', 'answer': '1', 'attempt_1': 'one',
              'attempt_2': ''}],
    'none': [],
}


def _task(splits=('train', 'base'), fingerprint='f'):
  return base.Task(
      name='toy', question='{problem}', instruction='again', splits=splits,
      rows=lambda split: iter(ROWS[split]), grade=lambda gold, text: 0,
      answer=lambda text: None, fingerprint=fingerprint)


def test_rows_come_back_in_order_and_at_random_access(tmp_path):
  data.prepare(_task(), tmp_path)
  problems = data.open_split(_task(), 'train', tmp_path)
  assert len(problems) == 7
  assert [(p.id, p.prompt, p.answer) for p in problems] == [
      (r['id'], r['prompt'], r['answer']) for r in ROWS['train']]
  assert problems[-1] == problems[6]
  with pytest.raises(IndexError):
    problems[7]
  assert list(data.open_transcripts(_task(), tmp_path)) == ROWS['base']


def test_a_changed_task_never_reads_old_rows(tmp_path):
  data.prepare(_task(), tmp_path)
  changed = _task(fingerprint='g')
  kept, ROWS['train'] = ROWS['train'], ROWS['train'][:2]
  try:
    assert len(data.open_split(changed, 'train', tmp_path)) == 2
    assert len(data.open_split(_task(), 'train', tmp_path)) == 7
  finally:
    ROWS['train'] = kept


def test_an_interrupted_preparation_is_done_again(tmp_path):
  def torn(split):
    yield ROWS['train'][0]
    raise KeyboardInterrupt

  with pytest.raises(KeyboardInterrupt):
    data.prepare(base.Task(**{**_task(('train',)).__dict__, 'rows': torn}),
                 tmp_path)
  assert len(data.open_split(_task(('train',)), 'train', tmp_path)) == 7


def test_bad_splits_are_refused(tmp_path):
  with pytest.raises(ValueError, match="has no split 'tset'"):
    data.open_split(_task(), 'tset', tmp_path)
  with pytest.raises(ValueError, match="split 'none' of task 'toy' is empty"):
    data.prepare(_task(('none',)), tmp_path)


def test_an_epoch_covers_every_row_once_and_epochs_differ():
  steps = [data.indices_of_step(12, 5, step, 4) for step in range(6)]
  first, second = np.concatenate(steps[:3]), np.concatenate(steps[3:])
  assert sorted(first) == sorted(second) == list(range(12))
  assert (first != second).any()


def test_a_step_does_not_depend_on_those_before_it():
  asked_in_order = [data.indices_of_step(12, 5, s, 4) for s in range(6)]
  data._endless.cache_clear()
  np.testing.assert_array_equal(data.indices_of_step(12, 5, 4, 4),
                                asked_in_order[4])
  assert (data.indices_of_step(1000, 6, 0, 40)
          != data.indices_of_step(1000, 5, 0, 40)).any()


@pytest.mark.parametrize('size', [3, 12, 13])
def test_hosts_take_parts_of_one_global_batch(size):
  for step in range(5):
    whole = data.indices_of_step(size, 5, step, 8)
    parts = [data.indices_of_step(size, 5, step, 8, host, 4)
             for host in range(4)]
    np.testing.assert_array_equal(np.concatenate(parts), whole)
  with pytest.raises(ValueError, match='8 rows is not divisible by the 3'):
    data.indices_of_step(size, 5, 0, 8, 0, 3)


def test_tensorflow_is_not_imported(tmp_path):
  code = ('import sys; from tests import data_test as t; from score_jax import '
          f'data; data.prepare(t._task(), {str(tmp_path)!r}); '
          'list(data.open_split(t._task(), "train", '
          f'{str(tmp_path)!r})); assert "tensorflow" not in sys.modules')
  subprocess.run([sys.executable, '-c', code], check=True)
