r"""MBPP: short Python tasks with some asserts each (Austin et al., 2108.07732).

From https://github.com/google-research/google-research/tree/master/mbpp: all
974 tasks in `mbpp.jsonl`, and 427 of them, mended by hand, in
`sanitized-mbpp.json`. A row of the first (the second says `prompt` for `text`,
and has a list `test_imports` in place of `test_setup_code`):

    {"text": "Write a python function to identify non-prime numbers.",
     "code": "import math\r\ndef is_not_prime(n):...", "task_id": 3,
     "test_setup_code": "", "challenge_test_list": [],
     "test_list": ["assert is_not_prime(2) == False", ...]}

Splits go by the task's number, as is customary: 1 to 10 are examples for
prompts, 11 to 510 the test, 511 to 600 validation, 601 to 974 for training.
"""

from typing import Any

from score_jax.datasets import base
from score_jax.datasets import reading

BROKEN = ('mbpp-367', 'mbpp-927')
"""Tasks whose own reference fails: their set-up uses a class `Node` that is not
there yet. The first is in the test split, and stays there."""

_LAST = {10: 'prompt', 510: 'test', 600: 'validation', 974: 'train'}


class _Tasks(base.DataSet):
  """What both have in common."""

  FIELDS = {
      'id': base.TEXT, 'text': base.TEXT, 'code': base.TEXT,
      'setup': base.TEXT, 'tests': base.TEXTS}
  PROBLEM = 'text'

  @classmethod
  def splits_of(cls, row: base.Row, part: str) -> tuple[str, ...]:
    """See `DataSet.splits_of`."""
    number = int(row['id'].removeprefix('mbpp-'))
    return (next(name for last, name in _LAST.items() if number <= last),)

  @classmethod
  def left_out(cls, row: base.Row, split: str) -> str:
    """See `DataSet.left_out`."""
    is_broken = split == 'train' and row['id'] in BROKEN
    return 'its own reference fails' if is_broken else ''


class Mbpp(_Tasks):
  """MBPP, all of it."""

  FOLDERS = ('mbpp',)
  PARTS = {'all': base.Part(('mbpp.jsonl',), 974)}
  SHA256 = {
      'ccf64ceae9c5403bf50a044cb6d505bfd2a2963ee58338ba268fd65beab92a9f': 'all',
  }

  @classmethod
  def row(cls, raw: dict[str, Any], part: str, number: int) -> base.Row:
    """See `DataSet.row`."""
    setup = reading.text(raw, 'test_setup_code', may_be_empty=True)
    return _row(raw, 'text', setup)


class MbppSanitized(_Tasks):
  """MBPP, the part that was mended by hand."""

  FOLDERS = ('mbpp_sanitized', 'mbpp')
  PARTS = {'all': base.Part(('sanitized-mbpp.json',), 427)}
  SHA256 = {
      'ca95deaa9a01ef0a6f439f88bcf0dd3db3563d22f22aad6cae04ebb9a8d8c8e9': 'all',
  }

  @classmethod
  def row(cls, raw: dict[str, Any], part: str, number: int) -> base.Row:
    """See `DataSet.row`."""
    imports = reading.texts(raw, 'test_imports', may_be_empty=True)
    return _row(raw, 'prompt', '\n'.join(imports))


def _row(raw, problem, setup):
  task_id = raw.get('task_id')
  if type(task_id) is not int or not 1 <= task_id <= max(_LAST):
    raise ValueError("the field 'task_id' is not a number from 1 to 974")
  return {
      'id': f'mbpp-{task_id}', 'text': reading.text(raw, problem),
      'code': _unix(reading.text(raw, 'code')), 'setup': _unix(setup),
      'tests': [_unix(line) for line in reading.texts(raw, 'test_list')]}


def _unix(text):
  return text.replace('\r\n', '\n')
