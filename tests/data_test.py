"""Data sets round-trip, and a step's rows are a pure function of its number."""

import subprocess
import sys

import numpy as np
import pytest

from score_jax import data
from score_jax.datasets import storage
from score_jax.tasks import base

ROWS = {
    'train': [{'id': f't{i}', 'prompt': f'{i} + {{x}} = «é»?\n',
               'answer': str(i)} for i in range(7)],
    'tagged': [{'id': 'g', 'prompt': 'p', 'answer': '1', 'given': 'first\n',
                'tags': '{"level": "Level 3"}'}],
    'base': [{'id': 'b0', 'prompt': 'p', 'answer': '1', 'attempt_1': 'one',
              'attempt_2': ''}],
    'none': [],
}


def _task(splits=('train', 'base'), fingerprint='f'):
  return base.Task(
      name='toy', question='{problem}', instruction='again', splits=splits,
      rows=lambda split: iter(ROWS[split]), grade=lambda gold, text: 0,
      answer=lambda text: None, fingerprint=fingerprint)


def _prepared(directory, task=None):
  task = task or _task()
  data.prepare(task, directory, task.splits)
  return data.open_split(task, 'train', directory)


def test_rows_come_back_in_order_and_at_random_access(tmp_path):
  data.prepare(_task(), tmp_path, ('train', 'base'))
  problems = data.open_split(_task(), 'train', tmp_path)
  assert len(problems) == 7
  assert [(p.id, p.prompt, p.answer) for p in problems] == [
      (r['id'], r['prompt'], r['answer']) for r in ROWS['train']]
  assert problems[-1] == problems[6]
  assert problems[1:6:2] == [problems[1], problems[3], problems[5]]
  assert problems[7:] == []
  for index in (7, -8):
    with pytest.raises(IndexError):
      problems[index]
  assert list(data.open_transcripts(_task(), tmp_path)) == ROWS['base']


def test_tags_and_given_attempts_come_back_and_may_be_absent(tmp_path):
  task = _task(('train', 'tagged'))
  data.prepare(task, tmp_path, task.splits)
  [problem] = data.open_split(task, 'tagged', tmp_path)
  assert problem.tags == {'level': 'Level 3'}
  assert problem.given == 'first\n'
  plain = data.open_split(task, 'train', tmp_path)[0]
  assert (plain.tags, plain.given) == ({}, '')


def test_a_long_split_is_read_in_chunks_and_in_order(tmp_path, monkeypatch):
  monkeypatch.setattr(storage, '_CHUNK', 3)
  assert [p.id for p in _prepared(tmp_path)] == [r['id'] for r in ROWS['train']]


def test_a_changed_task_never_reads_old_rows(tmp_path, monkeypatch):
  assert len(_prepared(tmp_path)) == 7
  monkeypatch.setitem(ROWS, 'train', ROWS['train'][:2])
  assert len(_prepared(tmp_path, _task(fingerprint='g'))) == 2
  assert len(_prepared(tmp_path)) == 7  # Prepared once, and kept.


def test_an_interrupted_preparation_is_done_again(tmp_path, monkeypatch):
  def torn(self):
    yield 0, self._rows[0]
    raise KeyboardInterrupt

  with monkeypatch.context() as patch:
    patch.setattr(data.ProblemSet, '_generate_examples', torn)
    with pytest.raises(KeyboardInterrupt):
      _prepared(tmp_path)
  with pytest.raises(ValueError, match="'train' of task 'toy' is not prepared"):
    data.open_split(_task(), 'train', tmp_path)
  assert len(_prepared(tmp_path)) == 7


def test_another_process_may_prepare_the_same_folder(tmp_path, monkeypatch):
  generate = data.ProblemSet._generate_examples

  def overtaken(self):
    yield from generate(self)
    with monkeypatch.context() as patch:
      patch.setattr(data.ProblemSet, '_generate_examples', generate)
      _prepared(tmp_path)  # The other one is done first.

  monkeypatch.setattr(data.ProblemSet, '_generate_examples', overtaken)
  assert len(_prepared(tmp_path)) == 7


def _files(directory, end):
  return [path for path in directory.rglob(f'*{end}')
          if 'train' in path.as_posix().removeprefix(directory.as_posix())]


@pytest.mark.parametrize('end', ['array_record-00000-of-00001',
                                 'dataset_info.json', 'features.json'])
@pytest.mark.parametrize('damage', ['missing', 'empty', 'cut'])
def test_a_damaged_file_is_named(tmp_path, end, damage):
  _prepared(tmp_path)
  [file] = _files(tmp_path, end)
  content = file.read_bytes()
  if damage == 'missing':
    file.unlink()
  else:
    file.write_bytes(content[: len(content) // 2 if damage == 'cut' else 0])
  with pytest.raises(ValueError, match='is damaged .*; delete this folder'):
    list(data.open_split(_task(), 'train', tmp_path))


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
  file = tmp_path / 'file'
  file.write_text('')
  with pytest.raises(ValueError, match=f'{file}.* cannot be written'):
    _prepared(file)


def test_bad_splits_are_refused(tmp_path):
  with pytest.raises(ValueError, match="has no split 'tset'"):
    data.open_split(_task(), 'tset', tmp_path)
  with pytest.raises(ValueError, match="has no split 'tset'"):
    data.prepare(_task(), tmp_path, ('tset',))
  with pytest.raises(ValueError, match="split 'none' of task 'toy' is empty"):
    data.prepare(_task(('none',)), tmp_path, ('none',))


def test_nothing_is_said_on_the_console(tmp_path, capfd):
  _prepared(tmp_path)
  assert capfd.readouterr() == ('', '')


def test_an_epoch_covers_every_row_once_and_epochs_differ():
  steps = [data.indices_of_step(12, 5, step, 4) for step in range(6)]
  first, second = np.concatenate(steps[:3]), np.concatenate(steps[3:])
  assert sorted(first) == sorted(second) == list(range(12))
  assert (first != second).any()


def test_a_step_does_not_depend_on_those_before_it():
  asked_in_order = [data.indices_of_step(12, 5, s, 4) for s in range(6)]
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


def test_a_batch_may_be_larger_than_the_set():
  epochs = data.indices_of_step(3, 0, 0, 9).reshape(3, 3)
  assert (np.sort(epochs) == [0, 1, 2]).all()


def test_the_order_is_the_same_in_every_process_and_version():
  # Golden: a resumed run goes on in this order. If a new grain changes it, say
  # so in the change log.
  assert data.indices_of_step(1000, 7, 123456, 4).tolist() == [
      903, 159, 300, 120]


@pytest.mark.parametrize('wrong, message', [
    ({'size': 0}, 'size is 0'), ({'seed': -1}, 'seed is -1'),
    ({'seed': 2**32}, 'seed is 4294967296'), ({'step': -1}, 'step is -1'),
    ({'batch': 0}, 'batch is 0'), ({'process_index': 2}, 'process_index 2'),
    ({'process_index': -1}, 'process_index -1'),
    ({'process_count': 0}, r'is not in \[0, 0\)'),
])
def test_arguments_out_of_range_are_named(wrong, message):
  arguments = {'size': 9, 'seed': 0, 'step': 0, 'batch': 4, 'process_index': 0,
               'process_count': 2}
  with pytest.raises(ValueError, match=message):
    data.indices_of_step(**(arguments | wrong))


def test_tensorflow_is_not_imported(tmp_path):
  code = ('import sys; from tests import data_test as t; from score_jax import '
          f'data; data.prepare(t._task(), {str(tmp_path)!r}, ("train",)); '
          'list(data.open_split(t._task(), "train", '
          f'{str(tmp_path)!r})); assert "tensorflow" not in sys.modules')
  subprocess.run([sys.executable, '-c', code], check=True)


def test_a_full_disk_is_said_in_one_line(tmp_path, monkeypatch):
  def full(self, **kwargs):
    raise RuntimeError('RESOURCE_EXHAUSTED: write failed:\nNo space left')

  monkeypatch.setattr(data.ProblemSet, 'download_and_prepare', full)
  with pytest.raises(ValueError, match='written: .*No space') as error:
    data.prepare(_task(), tmp_path, ('train',))
  assert '\n' not in str(error.value)
