"""GSM8K: rows, splits and what is said about files that are not as expected."""

import pytest

from score_jax import config as config_lib
from score_jax import tasks
from tests.datasets import mini


def _row(n, answer='So <<1+1=2>>2.\n#### 2'):
  return {'question': f'Ann has {n} {{eggs}}. How many?', 'answer': answer}


@pytest.fixture(name='folder')
def _folder(tmp_path):
  mini.write(tmp_path / 'train.jsonl', [_row(n) for n in range(400)])
  mini.write(tmp_path / 'test.jsonl', [
      _row(1000, '#### 1,234'), _row(1001, '#### -5'),
      _row(1002, 'x ####\n$7')])
  return tmp_path


def _task(folder):
  return tasks.make(config_lib.TaskConfig(name='gsm8k', data_dir=str(folder)))


def test_rows_hold_question_and_final_number(folder):
  assert list(_task(folder).rows('test')) == [
      {'id': 'gsm8k-test-1', 'prompt': 'Ann has 1000 {eggs}. How many?',
       'answer': '1234'},
      {'id': 'gsm8k-test-2', 'prompt': 'Ann has 1001 {eggs}. How many?',
       'answer': '-5'},
      {'id': 'gsm8k-test-3', 'prompt': 'Ann has 1002 {eggs}. How many?',
       'answer': '7'}]


def test_validation_is_a_fixed_part_that_train_leaves_out(folder):
  task = _task(folder)
  train, validation = list(task.rows('train')), list(task.rows('validation'))
  assert len(train) + len(validation) == 400
  assert 10 < len(validation) < 45  # 400 * 473 / 7473 = 25, +- 4 deviations.
  held_out = {row['prompt'] for row in validation}
  assert not held_out & {row['prompt'] for row in train}
  # It hangs on the texts alone, not on what else is in the file.
  mini.write(folder / 'train.jsonl', [_row(n) for n in range(300, 200, -1)])
  for row in _task(folder).rows('train'):
    assert row['prompt'] not in held_out


def test_a_few_rows_do_without_a_validation_split(folder):
  share = len(list(_task(folder).rows('validation'))) / 400
  assert 0 < share < 1
  mini.write(folder / 'train.jsonl', [_row(1)])
  task = _task(folder)
  assert task.splits == ('train', 'test')
  with pytest.raises(ValueError, match="no split 'validation'; it has train, "):
    task.rows('validation')


def test_ids_name_the_line_blank_lines_counted(folder):
  mini.write(folder / 'test.jsonl', [_row(0), b'', _row(1), b'  '])
  mini.write(folder / 'train.jsonl', [_row(2)])
  assert [row['id'] for row in _task(folder).rows('test')] == [
      'gsm8k-test-1', 'gsm8k-test-3']


def test_the_fingerprint_follows_the_files(folder):
  before = _task(folder).fingerprint
  assert _task(folder).fingerprint == before
  mini.write(folder / 'test.jsonl', [_row(1000, '#### 1,235')])
  assert _task(folder).fingerprint != before


def test_prompts_and_grader(folder):
  task = _task(folder)
  question = task.question.replace('{problem}', 'P')
  assert question.startswith('You are a math expert. When you respond, ')
  assert question.endswith('I hope it is correct."\n\nProblem: P')
  assert task.instruction.startswith('There might be an error in the solution ')
  good = 'It is 8. Final Answer: The final answer is $7$. I hope it is correct.'
  assert task.grading == 'here'
  assert task.grade('7', good) == 1
  assert task.grade('8', good) == 0
  assert task.answer(good) == '7'


@pytest.mark.parametrize('line, message', [
    (b'{"question": "a"', 'not JSON'),
    (b'\xff\xfe', 'not JSON'),
    (b'[' * 100_000, 'train.jsonl, line 2: '),
    (b'[]', 'not a JSON object'),
    (b'{"answer": "#### 1"}', "the field 'question' is not a text"),
    (b'{"question": "a"}', "the field 'answer' is not a text"),
    (b'{"question": 5, "answer": "#### 1"}', "'question' is not a text"),
    (b'{"question": " ", "answer": "#### 1"}', "'question' is not a text"),
    (b'{"question": "\\ud800", "answer": "#### 1"}', 'surrogates'),
    (b'{"question": "a", "answer": "It is 5"}', "not end in '#### NUMBER'"),
    (b'{"question": "a", "answer": "#### five"}', "not end in '#### NUMBER'"),
    (b'{"question": "a", "answer": "#### 3 or 4"}', "not end in '#### NUMBER'"),
])
def test_a_bad_line_is_named_with_the_way_out(folder, line, message):
  mini.write(folder / 'train.jsonl', [_row(0), line, _row(1)])
  with pytest.raises(ValueError) as error:
    _task(folder)
  text = str(error.value)
  assert message in text and '\n' not in text
  assert text.startswith(f'{folder / "train.jsonl"}, line 2: ')
  assert '--config.task.data_dir=FOLDER' in text


@pytest.mark.parametrize('name', ['train', 'test'])
@pytest.mark.parametrize('content', [b'', b'\n \n'])
def test_an_empty_file_is_named(folder, name, content):
  path = folder / f'{name}.jsonl'
  path.write_bytes(content)
  with pytest.raises(ValueError, match=f'{path} is empty; .*data_dir=FOLDER'):
    _task(folder)


@pytest.mark.parametrize('name', ['train', 'test'])
def test_a_missing_file_is_named(folder, name):
  path = folder / f'{name}.jsonl'
  path.unlink()
  with pytest.raises(
      ValueError, match=f'{path}: No such file; .*data_dir=FOLDER'):
    _task(folder)


def test_a_missing_folder_is_named(tmp_path):
  with pytest.raises(ValueError) as error:
    _task(tmp_path / 'nowhere')
  assert str(error.value) == (
      f'{tmp_path / "nowhere"} has no gsm8k: neither the folder gsm8k/ of '
      'python -m score_jax.prepare_data nor the original files (train.jsonl '
      'and test.jsonl); name the folder that has with '
      '--config.task.data_dir=FOLDER')
