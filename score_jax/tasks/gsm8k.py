"""GSM8K: grade-school problems in words (Cobbe et al., arXiv 2110.14168).

The folder holds the original files, `train.jsonl` (7,473 rows) and `test.jsonl`
(1,319), from https://github.com/openai/grade-school-math. A row:

    {"question": "Natalia sold clips to 48 of her friends in April, and ...",
     "answer": "Natalia sold 48/2 = <<48/2=24>>24 clips in May.\n...\n#### 72"}

The prompts are the paper's for MATH, word for word (SCoRe, arXiv 2409.12917);
that the problem follows the first of them after an empty line is our choice.
"""

from collections.abc import Iterator
import json
import pathlib

from score_jax import config as config_lib
from score_jax.grading import answers
from score_jax.tasks import base

NAME = 'gsm8k'
SPLITS = ('train', 'validation', 'test')
FILES = ('train', 'test')

VALIDATION_SHARE = 473 / 7473
"""Part of train.jsonl, about 473 rows, that the training split leaves out."""

_FORM = (
    'At the end of the Solution, when you give your final answer, write it in '
    'the form "Final Answer: The final answer is $answer$. I hope it is '
    'correct."'
)
QUESTION = (
    'You are a math expert. When you respond, respond only with the Solution '
    f'of the final Problem, thinking step by step. {_FORM}\n\n'
    'Problem: {problem}'
)
INSTRUCTION = (
    'There might be an error in the solution above because of lack of '
    'understanding of the question. Please correct the error, if any, and '
    f'rewrite the solution. Only output the final solution! {_FORM}'
)


def task(config: config_lib.TaskConfig) -> base.Task:
  """GSM8K from the folder `config.data_dir`, read and checked here and now.

  Raises:
    ValueError: a file is missing, empty or not readable, or a line in it is not
      as above; the message names file and line.
  """
  folder = _folder(config)
  contents = {name: _read(folder / f'{name}.jsonl') for name in FILES}
  split_rows = _split({
      name: list(_parse(folder / f'{name}.jsonl', name, content))
      for name, content in contents.items()})

  def rows(split: str) -> Iterator[dict[str, str]]:
    base.require_split(NAME, split, SPLITS)
    return iter(split_rows[split])

  return base.Task(
      name=NAME, question=QUESTION, instruction=INSTRUCTION, splits=SPLITS,
      rows=rows, grade=answers.equal_numbers, answer=answers.final_number,
      fingerprint=base.fingerprint('1', *contents.values()))


def _folder(config):
  if not config.data_dir:
    raise ValueError(
        f'the task {NAME!r} reads train.jsonl and test.jsonl of a folder; name '
        'it with --config.task.data_dir=FOLDER')
  return pathlib.Path(config.data_dir)


def _read(path: pathlib.Path) -> bytes:
  try:
    content = path.read_bytes()
  except OSError as error:
    raise ValueError(
        f'{path}: {error.strerror}; name the folder that holds it with '
        '--config.task.data_dir=FOLDER') from error
  if not content.strip():
    raise ValueError(f'{path} is empty; name the folder of the original files '
                     'with --config.task.data_dir=FOLDER')
  return content


def _parse(path, file, content) -> Iterator[dict[str, str]]:
  for number, line in enumerate(content.split(b'\n'), 1):
    if line.strip():
      try:
        prompt, answer = _problem(line)
      except (ValueError, RecursionError) as error:  # Deep nesting.
        raise ValueError(
            f'{path}, line {number}: {error}; mend the file, or name another '
            'folder with --config.task.data_dir=FOLDER') from error
      yield {'id': f'{NAME}-{file}-{number}', 'prompt': prompt,
             'answer': answer}


def _problem(line: bytes) -> tuple[str, str]:
  """Question and final number of a line."""
  try:
    row = json.loads(line)
  except ValueError as error:  # Of JSON, or of UTF-8.
    raise ValueError(f'not JSON ({error})') from error
  if not isinstance(row, dict):
    raise ValueError('not a JSON object')
  for field in ('question', 'answer'):
    if not isinstance(row.get(field), str) or not row[field].strip():
      raise ValueError(f'the field {field!r} is not a text')
    row[field].encode()  # A lone surrogate raises, as a ValueError.
  _, mark, final = row['answer'].rpartition('####')
  number = answers.final_number(final) if mark else None
  if number is None:
    raise ValueError("the answer does not end in '#### NUMBER'")
  return row['question'], number


def _split(read: dict[str, list[dict[str, str]]]):
  """The three splits from the rows of the two files."""
  splits = {'train': [], 'validation': [], 'test': read['test']}
  for row in read['train']:
    held_out = base.text_share(row['prompt']) < VALIDATION_SHARE
    splits['validation' if held_out else 'train'].append(row)
  return splits
