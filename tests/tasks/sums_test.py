"""Sums in words: right answers, disjoint splits, an end to every draw."""

import itertools
import re

import pytest

from score_jax import config as config_lib
from score_jax.tasks import sums


def _solve(prompt):
  """The answer, worked out from the words and not from the generator."""
  a, b, *c = map(int, re.findall(r'\d+', prompt))
  if 'Monday' in prompt:
    return a + b + c[0]
  assert not c
  [(_, amount)] = [
      (words, amount) for words, amount in (
          ('buys', a + b), ('gives', a - b), ('loses', a - b),
          ('boxes', a * b)) if words in prompt]
  return amount


def test_answers_are_right_and_never_below_zero():
  for row in sums.rows('train', 3, 500):
    assert int(row['answer']) == _solve(row['prompt']) >= 0, row


def test_every_kind_is_drawn():
  prompts = [row['prompt'] for row in sums.rows('train', 0, 200)]
  for words in ('buys', 'gives', 'loses', 'boxes', 'Monday'):
    assert sum(words in prompt for prompt in prompts) > 10, words


def test_splits_are_disjoint_whatever_the_seeds():
  drawn = {(split, seed): {row['prompt'] for row in sums.rows(split, seed, 300)}
           for split in sums.SPLITS for seed in (0, 1)}
  for (one, a), (other, b) in itertools.combinations(drawn.items(), 2):
    assert len(a) == len(b) == 300  # Each problem once.
    assert one[0] == other[0] or not a & b


def test_rows_are_a_function_of_the_arguments():
  first = list(sums.rows('test', 0, 20))
  assert first == list(sums.rows('test', 0, 20))
  assert first[:10] == list(sums.rows('test', 0, 10))
  assert first != list(sums.rows('test', 1, 20))


def test_more_problems_than_there_are_end_in_an_error(monkeypatch):
  monkeypatch.setattr(sums, '_NAMES', ('Anna',))
  monkeypatch.setattr(sums, '_THINGS', ('apples',))
  monkeypatch.setattr(sums, '_KINDS', sums._KINDS[:1])
  with pytest.raises(ValueError, match="'test'.* lower --config.task.train"):
    list(sums.rows('test', 0, 10**9))


def test_the_sizes_are_the_configs():
  task = sums.task(config_lib.TaskConfig(name='sums', train_problems=17))
  assert [len(list(task.rows(s))) for s in task.splits] == [
      17, sums.HELD_OUT, sums.HELD_OUT]


def test_attempts_are_graded_by_their_final_number():
  task = sums.task(config_lib.TaskConfig(name='sums'))
  assert task.grade('12', 'Anna has 7 + 5 = 12 apples.') == 1
  assert task.grade('12', 'Anna has 7 + 5 = 13 apples.') == 0
  assert task.grade('12', 'Anna has 7 + 5 apples.') == 0
