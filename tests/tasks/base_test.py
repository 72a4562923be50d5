"""What every task promises, and how tasks are looked up."""

import re

import pytest

from score_jax import config as config_lib
from score_jax import tasks
from score_jax.tasks import base

SMALL = {'train_problems': 30, 'transcripts': 20}


def _make(name):
  return tasks.make(config_lib.TaskConfig(name=name, **SMALL))


def test_an_unknown_name_lists_the_known_ones_and_the_nearest():
  with pytest.raises(ValueError) as error:
    tasks.make(config_lib.TaskConfig(name='gsm8'))
  assert str(error.value) == (
      "config.task.name is 'gsm8'; did you mean 'gsm8k'?; known: "
      'bands, chain, code, code_sanitized, gsm8k, hops, math, own, '
      'sums, svamp')


@pytest.mark.parametrize('name', ['chain', 'sums'])
def test_the_rows_of_generated_tasks(name):
  task = _make(name)
  assert task.name == name
  assert task.question.count('{problem}') == 1
  prompts = {}
  for split in task.splits:
    rows = list(task.rows(split))
    assert rows == list(task.rows(split))
    fields = {'id', 'prompt', 'answer'}
    if split == base.BASE:
      fields |= {'attempt_1', 'attempt_2'}
    for row in rows:
      assert row.keys() == fields
      assert all(isinstance(text, str) for text in row.values())
    assert len({row['id'] for row in rows}) == len(rows)
    prompts[split] = {row['prompt'] for row in rows}
  for split in set(task.splits) - {base.BASE, 'train'}:
    assert not prompts[split] & prompts['train']
    assert not prompts[split] & prompts.get(base.BASE, set())
  assert not prompts['validation'] & prompts['test']
  with pytest.raises(ValueError, match=f"{name}' has no split 'tset'; it has"):
    list(task.rows('tset'))


@pytest.mark.parametrize('name', ['chain', 'sums'])
def test_graders_do_not_raise(name):
  task = _make(name)
  row = next(task.rows('train'))
  for text in ('', '\x00', '\ud800', '9' * 10_000, '{problem}', '\\boxed{'):
    assert task.grade(row['answer'], text) == 0
    task.answer(text)


def test_the_fingerprint_follows_the_sizes():
  more = config_lib.TaskConfig(name='sums', train_problems=31)
  assert tasks.make(more).fingerprint != _make('sums').fingerprint
  assert _make('sums').fingerprint == _make('sums').fingerprint


def test_fingerprint_tells_parts_and_their_borders_apart():
  prints = {base.fingerprint(*parts) for parts in (
      ('ab', 'c'), ('a', 'bc'), ('abc',), (1,), ('1',), (b'1',), ())}
  assert len(prints) == 7
  assert all(re.fullmatch('[0-9a-f]{16}', text) for text in prints)


def test_text_share_is_even_and_depends_on_the_text_alone():
  # Golden (the SHA-256 of nothing): the splits of tasks hang on it.
  assert base.text_share('') == 0xe3b0c44298fc / 2**48
  shares = [base.text_share(f'text {i}') for i in range(2000)]
  for tenth in range(10):
    share = sum(tenth <= 10 * x < tenth + 1 for x in shares)
    assert abs(share - 200) < 60  # 4.5 standard deviations.
