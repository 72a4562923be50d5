"""A user's own files: mathematics or programs, by config alone."""

import json

import pytest

from score_jax import config as config_lib
from score_jax import tasks
from score_jax.grading import maths as maths_grading
from score_jax.grading import programs
from tests.datasets import mini

MATHS = [{'problem': 'What is $2^{5}$?', 'answer': '32'},
         {'problem': 'What is $3!$?', 'answer': '6', 'id': 'six',
          'tags': {'level': 'easy'}}]
PROGRAMS = [{'prompt': 'Write f.', 'tests': ['assert f(1)']},
            {'prompt': 'Write g.', 'tests': ['assert g(1)', 'assert g(2)'],
             'setup': 'import re', 'entry_point': 'g'}]


def _write(folder, train, test, validation=None):
  mini.write(folder / 'train.jsonl', train)
  mini.write(folder / 'test.jsonl', test)
  if validation:
    mini.write(folder / 'validation.jsonl', validation)


def _task(folder):
  return tasks.make(config_lib.TaskConfig(name='own', data_dir=str(folder)))


def _complaint(folder):
  with pytest.raises(ValueError) as error:
    _task(folder)
  line, _, way_out = str(error.value).rpartition('; mend the file, or ')
  assert way_out == 'name another folder with --config.task.data_dir=FOLDER'
  assert '\n' not in line
  return line


def test_mathematics(tmp_path):
  _write(tmp_path, MATHS, [{'problem': 'p', 'answer': 'x'}])
  task = _task(tmp_path)
  assert task.splits == ('train', 'test')
  assert list(task.rows('train')) == [
      {'id': 'train-1', 'prompt': 'What is $2^{5}$?', 'answer': '32',
       'tags': '{}'},
      {'id': 'six', 'prompt': 'What is $3!$?', 'answer': '6',
       'tags': '{"level": "easy"}'}]
  assert task.question.endswith('\n\nProblem: {problem}')
  assert (task.grading, task.grade) == ('pool', maths_grading.grade)


def test_programs(tmp_path):
  _write(tmp_path, PROGRAMS[:1], PROGRAMS[1:], [
      {'prompt': 'Write h.', 'tests': ['assert h']}])
  task = _task(tmp_path)
  assert task.splits == ('train', 'validation', 'test')
  [first], [last] = task.rows('train'), task.rows('test')
  assert (first['id'], first['prompt']) == ('train-1', 'Write f.')
  assert json.loads(first['answer']) == {
      'tests': ['assert f(1)'], 'setup': '', 'entry_point': None, 'prefix': ''}
  assert json.loads(last['answer']) == {
      'tests': ['assert g(1)', 'assert g(2)'], 'setup': 'import re',
      'entry_point': 'g', 'prefix': ''}
  assert task.question == '{problem}'
  assert (task.grading, task.grade) == ('sandbox', programs.grade)


def test_the_fingerprint_follows_the_rows(tmp_path):
  _write(tmp_path, MATHS, MATHS[:1])
  before = _task(tmp_path).fingerprint
  _write(tmp_path, MATHS, [MATHS[0] | {'answer': '31'}])
  assert _task(tmp_path).fingerprint != before


def test_problems_that_are_held_out_are_not_trained_on(tmp_path):
  _write(tmp_path, MATHS, [{'problem': 'what is $3!$? ', 'answer': '6'}])
  task = _task(tmp_path)
  assert [row['id'] for row in task.rows('train')] == ['train-1']
  assert task.notes == ('1 left out of train, held out as well: six = test-1',)


@pytest.mark.parametrize('change, message', [
    ({'answer': 5}, "the field 'answer' is not a text"),
    ({'problem': None}, "the field 'problem' is not a text"),
    ({'id': 5}, "the field 'id' is not a text"),
    ({'tags': ['a']}, "the field 'tags' is not an object of texts"),
    ({'tags': {'level': 3}}, "the field 'level' is not a text"),
])
def test_a_bad_row_is_named(tmp_path, change, message):
  _write(tmp_path, MATHS, [MATHS[0], MATHS[1] | change])
  assert _complaint(tmp_path) == f'{tmp_path / "test.jsonl"}, line 2: {message}'


@pytest.mark.parametrize('change, message', [
    ({'tests': 'assert f'}, "the field 'tests' is not a list of texts"),
    ({'tests': []}, "the field 'tests' is not a list of texts"),
    ({'setup': 1}, "the field 'setup' is not a text"),
    ({'entry_point': ''}, "the field 'entry_point' is not a text"),
    ({'tests': ['assert 1 + 1 == 2']},
     "the field 'tests' uses nothing of a program"),
    ({'tests': ['import math', 'assert math.gcd(4, 6) == x'],
      'setup': 'x = 2'}, "the field 'tests' uses nothing of a program"),
    # Passed by every program that has a function g.
    ({'tests': ['assert abs(-1) == 1'], 'entry_point': 'g'},
     "the field 'tests' uses nothing of a program, as 'g'"),
    ({'tests': ['assert f(1) ==']},
     "the field 'tests' is not Python (invalid syntax (tests, line 1))"),
    ({'setup': 'return'}, "the field 'setup' is not Python ('return' outside "
     'function (setup, line 1))'),
])
def test_a_bad_program_is_named(tmp_path, change, message):
  _write(tmp_path, PROGRAMS, [PROGRAMS[0] | change])
  assert _complaint(tmp_path) == f'{tmp_path / "test.jsonl"}, line 1: {message}'


@pytest.mark.parametrize('change', [
    {'tests': ['assert f(1)'], 'entry_point': 'g'},  # By a helper of g.
    {'tests': ['assert abs(-1) == 1']},  # That abs is to be written.
    {'tests': ['assert abs(-1) == 1'], 'entry_point': 'abs'},
    {'tests': ['assert x == 2'], 'setup': 'x = f(1)'},
    {'tests': [r'assert f("\d")']},
])
def test_tests_that_use_something_of_a_program_are_taken(tmp_path, change):
  _write(tmp_path, PROGRAMS, [PROGRAMS[0] | change])
  assert len(list(_task(tmp_path).rows('test'))) == 1


def test_every_bad_row_of_every_file_is_named(tmp_path):
  _write(tmp_path, [MATHS[0], b'x', PROGRAMS[0]], [b'[]'])
  parts = _complaint(tmp_path).split('; ')
  assert [part.split(': ')[0] for part in parts] == [
      f'{tmp_path / "train.jsonl"}, line 2',
      f'{tmp_path / "train.jsonl"}, line 3',
      f'{tmp_path / "test.jsonl"}, line 1']


def test_an_id_that_is_there_twice_is_named(tmp_path):
  _write(tmp_path, MATHS, [row | {'id': 'a'} for row in MATHS])
  path = tmp_path / 'test.jsonl'
  assert _complaint(tmp_path) == (
      f"{path}, line 2: the id 'a' is also in {path}, line 1")


@pytest.mark.parametrize('name', ['train', 'test'])
def test_a_missing_or_empty_file_is_named(tmp_path, name):
  _write(tmp_path, MATHS, MATHS)
  path = tmp_path / f'{name}.jsonl'
  path.write_text('')
  assert _complaint(tmp_path) == f'{path} is empty'
  path.unlink()
  assert _complaint(tmp_path) == f'{path}: No such file or directory'
