"""Programs: prompts, what graders are told, splits that may not be there."""

import json
import pickle
import shutil

import pytest

from score_jax import config as config_lib
from score_jax import data
from score_jax import tasks
from score_jax.grading import programs
from tests import real_data
from tests.datasets import mini

END = (
    'You are an expert Python programmer, and here is your task: Write a '
    'function to add 601. Your code should pass these tests:\n\n'
    'assert add(0) == 601\nassert add\n\n[BEGIN]\n')


@pytest.fixture(name='root')
def _root(tmp_path):
  return mini.write_all(tmp_path / 'root')


def _task(folder, name='code', **fields):
  return tasks.make(
      config_lib.TaskConfig(name=name, data_dir=str(folder), **fields))


def test_a_task_of_mbpp_follows_three_shots(root):
  task = _task(root)
  [row] = task.rows('train')
  assert row['id'] == 'mbpp-601'
  shots, end = row['prompt'][:-len(END)], row['prompt'][-len(END):]
  assert end == END
  assert shots.count('[BEGIN]') == shots.count('[DONE]\n\n') == 3
  assert shots.startswith(
      'You are an expert Python programmer, and here is your task: Write a '
      'function to find the similar elements from the given two tuple lists. '
      'Your code should pass these tests:\n\nassert similar_elements((3, 4, 5, '
      '6),(5, 7, 4, 10)) == (4, 5)\n')
  assert '[BEGIN]\ndef similar_elements(test_tup1, test_tup2):\n  res' in shots
  assert json.loads(row['answer']) == {
      'tests': ['assert add(0) == 601', 'assert add\n'], 'setup': '',
      'entry_point': None, 'prefix': ''}


def test_a_question_of_ones_own_takes_the_place_of_the_shots(root):
  task = _task(root, question='Do this: {problem}')
  [row] = task.rows('train')
  assert row['prompt'] == (
      'Write a function to add 601. Your code should pass these tests:\n\n'
      'assert add(0) == 601\nassert add\n')
  assert task.question == 'Do this: {problem}'
  assert task.fingerprint != _task(root).fingerprint


def test_humaneval_is_the_bare_signature_and_docstring(root):
  row = next(_task(root).rows('humaneval'))
  prompt = 'def f(x):\n    """ Adds 0.\n    >>> f(0)\n    """\n'
  assert row['prompt'] == prompt
  assert json.loads(row['answer']) == {
      'test': 'def check(candidate):\n    assert candidate(0)\n', 'setup': '',
      'entry_point': 'f', 'prefix': prompt}


def test_repair_is_given_the_broken_program(root, tmp_path):
  task = _task(root)
  data.prepare(task, tmp_path, ['repair'])
  [problem] = data.open_split(task, 'repair', tmp_path)
  assert problem.given == 'def f(x):\n    return x\n'
  assert problem.prompt == next(task.rows('humaneval'))['prompt']
  assert problem.tags == {'bug_type': 'value misuse'}


def test_the_instruction_and_the_grader(root):
  task = _task(root)
  assert task.question == '{problem}'
  assert task.instruction == (
      '# There might be an error in the code above because of lack of '
      'understanding of the question. Please correct the error, if any, and '
      'rewrite the solution. Only output the final correct Python program!')
  assert task.grading == 'sandbox'
  assert pickle.loads(pickle.dumps(task.grade)) is programs.grade


def test_the_sanitized_set_is_a_task_of_its_own(root):
  task = _task(root, 'code_sanitized')
  assert task.name == 'code_sanitized'
  assert [row['id'] for row in task.rows('train')] == ['mbpp-601']
  assert json.loads(next(task.rows('train'))['answer'])['setup'] == 'import re'
  assert task.fingerprint != _task(root).fingerprint


def test_what_is_not_there_is_no_split_and_is_said(root):
  shutil.rmtree(root / 'humaneval')
  task = _task(root)
  assert task.splits == ('train', 'validation', 'test', 'repair')
  assert (f"humaneval: not in {root}, so there is no split 'humaneval' "
          '(HumanEval.jsonl or HumanEval.jsonl.gz)') in task.notes
  (root / 'mbpp' / 'mbpp.jsonl').unlink()
  with pytest.raises(ValueError, match=r'no mbpp: .*original files \(mbpp.js'):
    _task(root)


def test_a_task_that_humaneval_has_as_well_is_left_out_of_training(root):
  rows = mini.FILES['mbpp/mbpp.jsonl']
  mini.write(root / 'mbpp' / 'mbpp.jsonl', [
      *rows, rows[0] | {'task_id': 602, 'text': 'adds 1. '}])
  task = _task(root)
  assert [row['id'] for row in task.rows('train')] == ['mbpp-601']
  assert task.notes[-1] == (
      '1 left out of train, held out as well: mbpp-602 = HumanEval/1')


def test_the_real_sets():
  task = _task(real_data.folder())
  rows = {split: list(task.rows(split)) for split in task.splits}
  assert {split: len(found) for split, found in rows.items()} == {
      'train': 370, 'validation': 90, 'test': 500, 'humaneval': 124,
      'repair': 124}
  assert all(('given' in row) == (split == 'repair')
             for split, found in rows.items() for row in found)
  assert 'mbpp-927' not in {row['id'] for row in rows['train']}
  assert 'mbpp-367' in {row['id'] for row in rows['test']}
