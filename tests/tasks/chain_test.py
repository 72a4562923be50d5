"""Tests of the chain arithmetic task and of its tokenizer."""

import itertools
import operator
from pathlib import Path
import subprocess
import sys

import pytest
import sentencepiece

from score_jax import config as config_lib
from score_jax.tasks import chain
from score_jax.tasks import train_tokenizer

MODEL = Path(chain.__file__).with_name('chain.model')
OPERATORS = {'+': operator.add, '-': operator.sub, '*': operator.mul}


def pieces(model: sentencepiece.SentencePieceProcessor) -> list[tuple]:
  return [
      (model.id_to_piece(i), model.is_control(i), model.is_unknown(i))
      for i in range(model.get_piece_size())
  ]


def problems(split: str, seed: int, size: int) -> list[dict[str, str]]:
  return list(chain.rows(split, seed, size))


@pytest.fixture(name='tokenizer', scope='module')
def fixture_tokenizer() -> sentencepiece.SentencePieceProcessor:
  return sentencepiece.SentencePieceProcessor(model_file=str(MODEL))


@pytest.fixture(name='corpus', scope='module')
def fixture_corpus() -> list[dict[str, str]]:
  return problems('base', 5, 4000)


@pytest.mark.parametrize(
    'first, links, prompt, answer',
    [
        (7, [('+', 5), ('*', 3), ('-', 8)], '7+5*3-8', 8),
        (3, [('-', 9), ('*', 7)], '3-9*7', 8),
        (0, [('*', 4), ('-', 1), ('-', 1), ('*', 9)], '0*4-1-1*9', 2),
        (2, [('+', 3), ('*', 2)], '2+3*2', 0),
    ],
)
def test_hand_worked_problems(first, links, prompt, answer):
  text = chain.render(first, links)
  assert text == f'Mod 10, left to right: {prompt}=?'
  assert chain.solve(first, links) == answer


def test_unknown_operation_and_split_are_errors():
  with pytest.raises(ValueError, match='operation'):
    chain.apply('/', 4, 2)
  with pytest.raises(ValueError, match='split'):
    chain.rows('dev', 0, 1)


@pytest.mark.parametrize('split', ['train', 'validation', 'test'])
def test_rows_are_problems_with_their_right_answer(split):
  drawn = problems(split, 3, 500)
  assert len(drawn) == 500
  assert len({row['id'] for row in drawn}) == 500
  assert len({row['prompt'] for row in drawn}) == 500
  for row in drawn:
    assert set(row) == {'id', 'prompt', 'answer'}
    body = row['prompt'].removeprefix(chain.PREFIX).removesuffix(chain.SUFFIX)
    value = int(body[0])
    for operation, right in zip(body[1::2], body[2::2], strict=True):
      value = OPERATORS[operation](value, int(right)) % 10
    assert row['answer'] == str(value)
    assert len(body) in (5, 7, 9)
    assert chain.split_of(row['prompt']) == split


def test_splits_are_disjoint_for_any_seeds():
  prompts = {
      split: {
          row['prompt']
          for seed in (0, 1)
          for row in problems(split, seed, 1500)
      }
      for split in ('train', 'validation', 'test', 'base')
  }
  for one, other in itertools.combinations(prompts, 2):
    if {one, other} != {'train', 'base'}:
      assert not prompts[one] & prompts[other], (one, other)


@pytest.mark.parametrize('split', ['train', 'validation', 'test', 'base'])
def test_rows_depend_on_split_and_seed_alone(split):
  assert problems(split, 7, 50) == problems(split, 7, 50)
  assert problems(split, 7, 50) == problems(split, 7, 80)[:50]
  one, other = problems(split, 7, 50), problems(split, 8, 50)
  assert [row['prompt'] for row in one] != [row['prompt'] for row in other]


def test_rows_do_not_touch_the_global_random_state():
  rows = chain.rows('train', 0, 20)
  first = [next(rows)['prompt'] for _ in range(10)]
  other = problems('train', 1, 10)
  rest = [row['prompt'] for row in rows]
  assert first + rest == [row['prompt'] for row in problems('train', 0, 20)]
  assert len(other) == 10


@pytest.mark.parametrize(
    'text',
    [
        '7+5=2, 2*3=6, so 8',
        'Go on, 6-8=8, so 8',
        'No error, so 8',
        '6-8=3, so 8',
    ],
)
def test_grade_accepts(text):
  assert chain.grade('8', text) == 1


@pytest.mark.parametrize(
    'text',
    [
        '',
        '8',
        'so 8',
        ', so 8',
        'No error, so 9',
        'No error, so',
        'No error, so ',
        'No error, so 8 ',
        'No error, so 8\n',
        'No error, so  8',
        'No error, so 88',
        'No error, so 08',
        'No error, so -8',
        'No error, so 8.',
        'No error, so 8, ',
        'No error, so 8, so 8',
        'No error, so 3, so 8',
        'No error,so 8',
        'No error, So 8',
        'No error, so 8\u2047',
        'No error, so \u0668',
        'No error, so \uff18',
        'No error, so \u00b2',
        'No error, so 8\x00',
    ],
)
def test_grade_rejects(text):
  assert chain.grade('8', text) == 0


@pytest.mark.parametrize('text', [None, 8, b'No error, so 8', [], '\ud800'])
def test_grade_never_raises(text):
  assert chain.grade('8', text) == 0
  assert chain.grade(None, 'No error, so 8') == 0
  assert chain.grade('', 'No error, so ') == 0


def test_transcripts_follow_the_grammar(corpus):
  limit = chain.STEPS_PER_ATTEMPT
  for row in corpus:
    one, marker, answer = row['attempt_1'].partition(chain.ANSWER)
    assert marker and answer in '0123456789'
    steps = one.split(chain.SEPARATOR)
    assert len(steps) == limit
    assert row['prompt'].startswith(chain.PREFIX + steps[0][:3])
    assert steps[0][-1] == steps[1][0]
    two, marker, final = row['attempt_2'].partition(chain.ANSWER)
    opener, *more = two.split(chain.SEPARATOR)
    if opener == chain.KEEP:
      assert not more and final == answer
    else:
      assert opener == chain.REDO
      assert 1 <= len(more) <= limit
      assert more[0][0] == steps[-1][-1]
      assert more[-1][-1] == final


def test_transcripts_leave_room_for_correction(corpus):
  first = [chain.grade(row['answer'], row['attempt_1']) for row in corpus]
  second = [chain.grade(row['answer'], row['attempt_2']) for row in corpus]
  redone = [row['attempt_2'].startswith(chain.REDO) for row in corpus]
  share = sum(redone) / len(corpus)
  assert 0.12 < share < 0.18
  p = sum(first) / len(corpus)
  q = sum(s for s, r in zip(second, redone, strict=True) if r) / sum(redone)
  assert 0.25 < p < q < 0.6
  unfinished = [len(row['prompt']) > len('Mod 10, left to right: 1+1+1=?')
                for row in corpus]
  spoilt = [s for s, r, u in zip(second, redone, unfinished, strict=True)
            if r and not u]
  assert sum(spoilt) / len(spoilt) < 0.3


def test_tokenizer_ids_and_size(tokenizer):
  assert tokenizer.pad_id() == 0
  assert tokenizer.bos_id() == 1
  assert tokenizer.eos_id() == 2
  assert tokenizer.unk_id() == 3
  assert tokenizer.get_piece_size() <= train_tokenizer.VOCAB_SIZE


def test_texts_tokenise_without_unknowns_and_round_trip(tokenizer, corpus):
  texts = {chain.INSTRUCTION}
  for row in corpus + problems('test', 0, 500):
    texts |= {row[k] for k in row if k != 'id'}
  for text in sorted(texts):
    ids = tokenizer.encode(text)
    assert min(ids) > tokenizer.unk_id(), text
    assert tokenizer.decode(ids) == text


def test_texts_are_short(tokenizer, corpus):
  """The lengths, begin and end tokens included, that the task's slots hold."""

  def length(text: str) -> int:
    return len(tokenizer.encode(text)) + 1

  assert len(tokenizer.encode(chain.INSTRUCTION)) == 2
  assert max(length(row['prompt']) for row in corpus) == 12
  assert {length(row['attempt_1']) for row in corpus} == {14}
  assert max(length(row['attempt_2']) for row in corpus) == 16


def test_digits_and_operations_are_single_tokens(tokenizer):
  for character in '0123456789' + chain.OPERATIONS + '=':
    assert len(tokenizer.encode(character)) == 1
  text = '7+5=2, 2*3=6, so 6'
  assert len(tokenizer.encode(text)) == 13


def test_command_regenerates_the_shipped_pieces(tokenizer, tmp_path):
  out = tmp_path / 'again.model'
  subprocess.run(
      [sys.executable, '-m', 'score_jax.tasks.train_tokenizer', f'--out={out}'],
      check=True,
      cwd=Path(chain.__file__).parents[2],
  )
  again = sentencepiece.SentencePieceProcessor(model_file=str(out))
  assert pieces(again) == pieces(tokenizer)


@pytest.mark.parametrize('field', ['train_problems', 'transcripts'])
def test_more_rows_than_can_be_drawn_are_refused(field):
  config = config_lib.TaskConfig(**{field: chain.MOST + 1})
  with pytest.raises(ValueError, match=f'config.task.{field} is 1000001'):
    chain.task(config)
