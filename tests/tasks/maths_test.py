"""MATH and SVAMP: rows, prompts, graders, prepared or not."""

import json
import pickle

import pytest

from score_jax import config as config_lib
from score_jax import data
from score_jax import prepare_data
from score_jax import tasks
from score_jax.grading import answers
from score_jax.grading import maths as maths_grading
from score_jax.tasks import maths as tasks_maths
from tests import real_data
from tests.datasets import mini


@pytest.fixture(name='root')
def _root(tmp_path):
  return mini.write_all(tmp_path / 'root')


def _task(name, folder, **fields):
  return tasks.make(
      config_lib.TaskConfig(name=name, data_dir=str(folder), **fields))


def test_math_has_level_and_subject_and_is_graded_apart(root):
  task = _task('math', root)
  assert task.splits == ('train', 'test')
  row = next(task.rows('train'))
  assert row == {
      'id': 'train/algebra/1', 'prompt': 'Find $x$ if $x + 1 = 0$.',
      'answer': '-1', 'tags': '{"level": "Level 3", "subject": "Algebra"}'}
  assert task.grading == 'pool'
  assert pickle.loads(pickle.dumps(task.grade)) is maths_grading.grade
  assert any('of the 500 rows' in note for note in task.notes)


def test_svamp_is_graded_by_its_number(root):
  task = _task('svamp', root)
  assert task.splits == ('train', 'challenge', 'test')
  assert list(task.rows('test')) == [
      {'id': 'chal-701', 'prompt': 'Ann has 701 eggs. How many?',
       'answer': '1/2', 'tags': '{"type": "Addition"}'}]
  assert (task.grading, task.grade) == ('here', answers.equal_numbers)


@pytest.mark.parametrize('name', ['math', 'gsm8k', 'svamp', 'code',
                                  'code_sanitized'])
def test_prepared_folders_give_the_same_task(root, tmp_path, name):
  prepare_data.prepare_all(root, tmp_path / 'data')
  before, after = _task(name, root), _task(name, tmp_path / 'data')
  assert after.fingerprint == before.fingerprint
  assert after.splits == before.splits
  assert after.notes == before.notes
  for split in before.splits:
    assert list(after.rows(split)) == list(before.rows(split))


def test_tags_reach_the_problems_of_a_run(root, tmp_path):
  task = _task('math', root)
  data.prepare(task, tmp_path, task.splits)
  problem = data.open_split(task, 'test', tmp_path)[0]
  assert problem.tags == {'level': 'Level 3', 'subject': 'Algebra'}
  assert problem.given == ''


def test_the_prompts_are_the_papers_or_the_users(root):
  form = (
      'At the end of the Solution, when you give your final answer, write it '
      'in the form "Final Answer: The final answer is $answer$. I hope it is '
      'correct."')
  for name in ('math', 'gsm8k', 'svamp'):
    task = _task(name, root)
    assert task.question == (
        'You are a math expert. When you respond, respond only with the '
        'Solution of the final Problem, thinking step by step. ' + form
        + '\n\nProblem: {problem}')
    assert task.instruction == (
        'There might be an error in the solution above because of lack of '
        'understanding of the question. Please correct the error, if any, and '
        'rewrite the solution. Only output the final solution! ' + form)
  task = _task('math', root, question='Q: {problem}\nA:', instruction='Again.')
  assert (task.question, task.instruction) == ('Q: {problem}\nA:', 'Again.')
  with pytest.raises(ValueError, match='config.task.question has no {problem}'):
    _task('math', root, question='Q: ')


def test_the_real_math():
  task = _task('math', real_data.folder('math'))
  rows = {split: list(task.rows(split)) for split in task.splits}
  assert {split: len(found) for split, found in rows.items()} == {
      'train': 11_998, 'test': 250}
  levels = {json.loads(row['tags'])['level'] for row in rows['test']}
  assert levels == {f'Level {n}' for n in range(1, 6)}
  assert all(row['answer'].strip() for found in rows.values() for row in found)


def test_the_real_gsm8k_keeps_its_validation_split():
  task = _task('gsm8k', real_data.folder('gsm8k'))
  assert {split: len(list(task.rows(split))) for split in task.splits} == {
      'train': 6986, 'validation': 487, 'test': 1319}
  assert task.notes == ()


def test_a_gold_answer_that_can_never_be_right_is_named(root):
  rows = [json.loads(line) for line in (
      root / 'math' / 'train.jsonl').read_text().splitlines()]
  rows[0]['answer'] = r'\frac{'
  mini.write(root / 'math' / 'train.jsonl', rows)
  with pytest.raises(ValueError, match=(
      r"train.jsonl, line 1: the field 'answer' is '.*frac.', which")):
    list(_task('math', root).rows('train'))


def test_prepared_rows_are_checked_too():
  rows = {'train': [{'id': 'a', 'answer': '1'}, {'id': 'b', 'answer': '(1,2'}]}
  with pytest.raises(ValueError, match="the row 'b' of math, train: the field"):
    tasks_maths._check_golds('math', rows, maths_grading.check_gold)
  with pytest.raises(ValueError, match="the row 'b' of svamp, train: the gold"):
    tasks_maths._check_golds('svamp', rows, answers.check_gold)
