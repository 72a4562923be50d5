"""Problems of mathematics: MATH, GSM8K and SVAMP.

See `score_jax.datasets` for their files, splits and sources. Answers of GSM8K
and SVAMP are numbers and compared exactly; those of MATH are expressions, which
a pool of processes compares.
"""

from collections.abc import Callable
import json
from typing import Any

from score_jax import config as config_lib
from score_jax.datasets import base as datasets_base
from score_jax.grading import answers
from score_jax.grading import maths as maths_grading
from score_jax.tasks import base
from score_jax.tasks import folders
from score_jax.tasks import maths_prompts

GSM8K_VALIDATION_SHARE = 473 / 7473
"""Part of GSM8K's train.jsonl, about 473 rows, that training leaves out.

MATH has no validation split: the paper trains on all of the 12,000.
"""

_NUMBERS = {'grade': answers.equal_numbers, 'answer': answers.final_number,
            'is_stated': answers.is_stated}


def expressions(config: config_lib.TaskConfig) -> dict[str, Any]:
  """Return the fields of a task whose answers are expressions.

  The paper's question asks for a form of the answer. A question of the user may
  ask for another, or for none: usual phrases count then too.
  """
  if config.question:
    return {'grade': maths_grading.grade_usual,
            'answer': maths_grading.answer_usual, 'grading': 'pool',
            'is_stated': maths_grading.is_stated}
  return {'grade': maths_grading.grade, 'answer': maths_grading.answer,
          'grading': 'pool', 'is_stated': maths_grading.is_stated}


def math(config: config_lib.TaskConfig) -> base.Task:
  """MATH: 12,000 problems to train on, the 500 of MATH-500 to test.

  Raises:
    ValueError: see `folders.load`.
  """
  def row(found):
    tags = {'level': found['level'], 'subject': found['subject']}
    return {'id': found['id'], 'prompt': found['problem'],
            'answer': found['answer'], 'tags': json.dumps(tags)}

  return _task('math', folders.load(config, 'math'), row, expressions(config),
               maths_grading.check_gold)


def svamp(config: config_lib.TaskConfig) -> base.Task:
  """SVAMP, see `score_jax.datasets.svamp` for its splits.

  Raises:
    ValueError: see `folders.load`.
  """
  def row(found):
    return {'id': found['id'], 'prompt': found['problem'],
            'answer': found['number'], 'tags': json.dumps(
                {'type': found['type']})}

  return _task('svamp', folders.load(config, 'svamp'), row, _NUMBERS,
               answers.check_gold)


def gsm8k(config: config_lib.TaskConfig) -> base.Task:
  """GSM8K; a part of its training file is the validation split.

  Raises:
    ValueError: see `folders.load`.
  """
  def row(found):
    return {'id': found['id'], 'prompt': found['question'],
            'answer': found['number']}

  contents = folders.load(config, 'gsm8k')
  train, validation = [], []
  for found in contents.splits.get('train', ()):
    share = base.text_share(found['question'])
    (validation if share < GSM8K_VALIDATION_SHARE else train).append(found)
  splits = {'train': train, 'validation': validation,
            'test': contents.splits.get('test', ())}
  return _task('gsm8k', contents._replace(splits=splits), row, _NUMBERS,
               answers.check_gold)


def _task(
    name: str,
    contents: datasets_base.Contents,
    row: Callable[[datasets_base.Row], dict[str, str]],
    grader: dict[str, Any],
    check_gold: Callable[[str], None],
) -> base.Task:
  made = {split: list(map(row, rows))
          for split, rows in contents.splits.items()}
  _check_golds(name, made, check_gold)
  return base.from_rows(
      name, made,
      question=maths_prompts.QUESTION, instruction=maths_prompts.INSTRUCTION,
      critique=maths_prompts.CRITIQUE,
      stops=(base.Stops(maths_prompts.STOPS, maths_prompts.STOPS),),
      fingerprint=base.fingerprint('2', contents.fingerprint),
      notes=contents.notes, **grader)


def _check_golds(name, splits, check_gold):
  """Raises ValueError on a row whose gold answer equals no answer."""
  good = set()
  for split, rows in splits.items():
    for row in rows:
      if row['answer'] not in good:
        try:
          check_gold(row['answer'])
        except ValueError as error:
          raise ValueError(
              f'the row {row["id"]!r} of {name}, {split}: {error}; correct the '
              'file, or name another folder with --config.task.data_dir=FOLDER'
          ) from None
        good.add(row['answer'])
