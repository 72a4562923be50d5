"""The real files: counts, splits, disjointness and checksums."""

import functools

import pytest

from score_jax import datasets
from score_jax.datasets import base
from score_jax.datasets import originals
from score_jax.tasks import code_prompts
from tests import real_data

SIZES = {
    'math': {'train': 11_998, 'test': 250},
    'gsm8k': {'train': 7473, 'test': 1319},
    'svamp': {'train': 700, 'test': 300, 'challenge': 1000},
    'mbpp': {'prompt': 10, 'test': 500, 'validation': 90, 'train': 370},
    'mbpp_sanitized': {'prompt': 7, 'test': 257, 'validation': 43,
                       'train': 120},
    'humaneval': {'test': 124},
    'humanevalfix': {'test': 124},
}
NOTES = {
    'math': ['math500_dev250.jsonl: 250 of the 500 rows of the split',
             '2 left out of train, no answer is given: '
             'train/number_theory/661, train/number_theory/663'],
    'mbpp': ['1 left out of train, its own reference fails: mbpp-927',
             '3 left out of train, held out as well: mbpp-602 = mbpp-217, '
             'mbpp-704 = mbpp-248, mbpp-872 = mbpp-216'],
    'humaneval': ['humaneval.jsonl: 124 of the 164 rows of the set'],
    'humanevalfix': ['humanevalfix_python.jsonl: 124 of the 164 rows of the '
                     'set'],
}


@functools.cache
def _load(name):
  data_set = datasets.DATA_SETS[name]
  return originals.read(data_set, real_data.folder(data_set.FOLDERS[-1]),
                   strict=True)


@pytest.mark.parametrize('name', sorted(SIZES))
def test_counts_checksums_and_what_is_left_out(name):
  contents = _load(name)
  assert {split: len(rows) for split, rows in contents.splits.items()} == (
      SIZES[name])
  assert all(contents.checked.values())
  assert contents.notes == tuple(
      f'{name}: {note}' for note in NOTES.get(name, ()))


@pytest.mark.parametrize('name', ['math', 'gsm8k', 'svamp', 'mbpp',
                                  'mbpp_sanitized'])
def test_no_problem_to_train_on_is_held_out(name):
  splits = _load(name).splits
  field = datasets.DATA_SETS[name].PROBLEM
  train = {base.normalised(row[field]) for row in splits['train']}
  assert len(train) > 100
  for split in ('validation', 'test'):
    assert not train & {base.normalised(row[field])
                        for row in splits.get(split, ())}


@pytest.mark.parametrize('mbpp', ['mbpp', 'mbpp_sanitized'])
@pytest.mark.parametrize('held_out', ['humaneval', 'humanevalfix'])
def test_no_task_of_mbpp_is_one_of_humaneval(mbpp, held_out):
  problems = [(row['id'], row['description'])
              for row in _load(held_out).splits['test']]
  for rows in _load(mbpp).splits.values():
    assert base.without_copies(rows, 'text', problems) == (rows, [])


def test_the_broken_programs_are_of_the_same_problems():
  for right, broken in zip(_load('humaneval').splits['test'],
                           _load('humanevalfix').splits['test']):
    assert broken['prompt'] == right['prompt']
    assert broken['solution'] == right['solution']
    assert broken['buggy_solution'] != right['solution']
    assert broken['test'].rstrip() and 'def check(' in broken['test']
    assert f'\ncheck({broken["entry_point"]})' not in broken['test']


def test_the_shots_are_tasks_2_3_and_4_of_mbpp():
  shots = [row for row in _load('mbpp').splits['prompt']
           if row['id'] in ('mbpp-2', 'mbpp-3', 'mbpp-4')]
  # The files have spaces at the ends of lines, where the paper has none.
  lines = lambda text: [line.rstrip() for line in text.split('\n')]
  text = ''.join(
      'You are an expert Python programmer, and here is your task: '
      f'{code_prompts.task(row["text"], row["tests"])}\n[BEGIN]\n'
      f'{row["code"].rstrip()}\n[DONE]\n\n' for row in shots)
  assert len(shots) == 3
  assert lines(code_prompts.three_shot('T', ['t'])) == lines(
      text + 'You are an expert Python programmer, and here is your task: '
      'T Your code should pass these tests:\n\nt\n[BEGIN]\n')
