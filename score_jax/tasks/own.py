"""Problems of one's own: train.jsonl and test.jsonl in a folder.

With `--config.task.name=own --config.task.data_dir=FOLDER`. There may also be a
validation.jsonl. All rows are of one kind, problems of mathematics:

    {"problem": "What is $2^5$?", "answer": "32"}

or programs to write, with tests of which all have to pass:

    {"prompt": "Write a function double(x).",
     "tests": ["assert double(2) == 4", "assert double(0) == 0"]}

A gold answer that its grader cannot read is refused. All rows may have an `id`,
and `tags` by which results are told apart, such as {"level": "easy"}; programs
also a `setup`, which runs before the tests, and the `entry_point`, the function
that is tested. Tests that use nothing of a program are refused, and so is an
`entry_point` that no test uses. Rows of train.jsonl whose problem is also in
another file are left out.
"""

from collections.abc import Callable
import json
import pathlib
from typing import Any

from score_jax import config as config_lib
from score_jax.datasets import base as datasets_base
from score_jax.datasets import reading
from score_jax.grading import maths as maths_grading
from score_jax.grading import programs
from score_jax.tasks import base
from score_jax.tasks import code
from score_jax.tasks import code_prompts
from score_jax.tasks import folders
from score_jax.tasks import maths
from score_jax.tasks import maths_prompts

NAME = 'own'
_HELD_OUT = ('validation', 'test')

_MATHS = {
    'question': maths_prompts.QUESTION,
    'instruction': maths_prompts.INSTRUCTION,
    'critique': maths_prompts.CRITIQUE,
    'stops': (base.Stops(maths_prompts.STOPS, maths_prompts.STOPS),),
}
_PROGRAMS = {
    'question': code_prompts.QUESTION,
    'instruction': code_prompts.INSTRUCTION,
    'critique': code_prompts.CRITIQUE,
    'grade': programs.grade, 'answer': programs.answer, 'grading': 'sandbox',
}


def task(config: config_lib.TaskConfig) -> base.Task:
  """The task of the files in the folder `config.data_dir`.

  Raises:
    ValueError: a file is missing, or rows are bad; the message names them.
  """
  folder = pathlib.Path(config.data_dir)
  with folders.named_way_out():
    contents = {'train': reading.read_bytes(folder / 'train.jsonl')}
    for split in _HELD_OUT:
      path = folder / f'{split}.jsonl'
      if split == 'test' or path.exists():
        contents[split] = reading.read_bytes(path)
    is_maths = _is_maths(folder / 'train.jsonl', contents['train'])
    rows = _read(folder, contents, _maths if is_maths else _program)
  rows['train'], copies = datasets_base.without_copies(
      rows['train'], 'prompt', [(row['id'], row['prompt'])
                                for split in _HELD_OUT
                                for row in rows.get(split, ())])
  notes = (datasets_base.left_out_note(
      copies, 'train', datasets_base.COPIES),) if copies else ()
  return base.from_rows(
      NAME, rows, fingerprint=base.fingerprint('1', json.dumps(rows)),
      notes=notes, **(_MATHS | maths.expressions(config) if is_maths
                      else _PROGRAMS))


def _is_maths(path, content) -> bool:
  """Whether the first row is a problem of mathematics."""
  rows, _ = reading.read_rows(path, content, lambda raw, number: raw)
  return 'prompt' not in next(iter(rows.values()), {})


def _read(folder, contents, make: Callable[[dict[str, Any]], dict[str, str]]):
  """Rows by split."""
  splits, bad = {}, []
  for split, content in contents.items():
    made, complaints = reading.read_rows(
        folder / f'{split}.jsonl', content,
        lambda raw, number, split=split: _row(raw, make, f'{split}-{number}'))
    bad += complaints
    splits[split] = list(made.values())
    places = {}
    for place, row in made.items():
      first = places.setdefault(row['id'], place)
      if first != place:
        bad.append(f'{place}: the id {row["id"]!r} is also in {first}')
  if bad:
    raise reading.BadData(bad)
  return splits


def _row(raw, make, default_id):
  row = {'id': reading.text({'id': default_id} | raw, 'id')} | make(raw)
  tags = raw.get('tags', {})
  if not isinstance(tags, dict):
    raise ValueError("the field 'tags' is not an object of texts")
  for tag in tags:
    reading.text(tags, tag)
  return row | {'tags': json.dumps(tags)}


def _maths(raw):
  answer = reading.text(raw, 'answer')
  maths_grading.check_gold(answer)
  return {'prompt': reading.text(raw, 'problem'), 'answer': answer}


def _program(raw):
  entry_point = raw.get('entry_point')
  if entry_point is not None:
    entry_point = reading.text(raw, 'entry_point')
  setup = reading.text({'setup': ''} | raw, 'setup', may_be_empty=True)
  tests = reading.texts(raw, 'tests')
  programs.check_tests(tests, setup, entry_point)
  return {'prompt': reading.text(raw, 'prompt'),
          'answer': code.spec(entry_point, tests=tests, setup=setup)}
