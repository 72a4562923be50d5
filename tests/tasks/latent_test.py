"""Tests of the tasks `bands` and `hops`, and of what they share."""

import itertools
import json
import re

import pytest
import sentencepiece

from score_jax import config as config_lib
from score_jax import tasks
from score_jax.tasks import bands
from score_jax.tasks import hops
from score_jax.tasks import latent
from score_jax.tasks import train_tokenizer

NAMES = ('bands', 'hops')
FAMILIES = {'bands': bands.FAMILY, 'hops': hops.FAMILY}
ORDINALS = {'half': 2, 'third': 3, 'fifth': 5, 'sixth': 6, 'tenth': 10}


def make(name: str, transcripts: int = 4000, problems: int = 64, **dials):
  return tasks.make(config_lib.TaskConfig(
      name=name, transcripts=transcripts, train_problems=problems,
      latent=config_lib.LatentConfig(**dials)))


def walked(prompt: str) -> tuple[list[str], int, int, int]:
  """Steps, last value, how many values there are, and answers; from a prompt.

  Written apart from the tasks: the judge of their rows.
  """
  answers = ORDINALS[re.search(r'which (\w+)\?', prompt)[1]]
  if 'from' in prompt:
    ends = dict(re.findall(r'(\d)>(\d)', prompt))
    assert sorted(ends) == sorted(ends.values()) == list('012345')
    node, hops_left = re.search(r'from (\d), (\d) hops', prompt).groups()
    steps = []
    for _ in range(int(hops_left)):
      steps.append(f'{node}>{ends[node]}')
      node = ends[node]
    return steps, int(node), 6, answers
  body = re.search(r'right: (\S+), which', prompt)[1]
  value, steps = int(body[0]), []
  for sign, right in zip(body[1::2], body[2::2], strict=True):
    result = {'+': value + int(right), '-': value - int(right),
              '*': value * int(right)}[sign] % 10
    steps.append(f'{value}{sign}{right}={result}')
    value = result
  return steps, value, 10, answers


def written(attempt: str) -> tuple[list[str], str]:
  """Steps and answer of an attempt."""
  working, answer = attempt.split(latent.ANSWER)
  return re.findall(r'\d[+*-]\d=\d|\d>\d', working), answer


def is_practice(row) -> bool:
  return row['prompt'].startswith('In two parts')


def accuracy(rows, attempt: str) -> float:
  return sum(row[attempt].endswith(row['answer']) for row in rows) / len(rows)


@pytest.mark.parametrize(
    'prompt, answer',
    [('Mod 10, left to right: 7+5*3-8*2, which half?', '1'),  # 2 6 8 6
     ('Mod 10, left to right: 3-9*7, which fifth?', '4'),  # 4 8
     ('Follow 4>1 0>5 2>0 1>3 5>2 3>4 from 2, 4 hops: which half?', '0'),
     ('Follow 4>1 0>5 2>0 1>3 5>2 3>4 from 4, 2 hops: which third?', '1')])
def test_the_judge_itself(prompt, answer):
  _, value, values, answers = walked(prompt)
  assert str(value // (values // answers)) == answer


@pytest.mark.parametrize('name, answers', [
    (name, n) for name in NAMES for n in FAMILIES[name].sizes])
def test_rows_have_the_right_answer(name, answers):
  rows = list(make(name, answers=answers).rows('validation'))
  assert len(rows) == latent.HELD_OUT
  assert len({row['prompt'] for row in rows}) == len(rows)
  for row in rows:
    steps, value, values, asked = walked(row['prompt'])
    assert asked == answers
    assert row['answer'] == str(value // (values // answers))
    assert json.loads(row['tags']) == {'steps': str(len(steps))}
  easy = sum(len(walked(row['prompt'])[0]) == latent.EASY for row in rows)
  assert 0.15 < easy / len(rows) < 0.25


@pytest.mark.parametrize('name', NAMES)
def test_splits_are_disjoint(name):
  family, dials = FAMILIES[name], config_lib.LatentConfig()
  prompts = {
      split: {row['prompt'].replace(family.practice, family.prefix)
              for seed in (0, 1)
              for row in latent.rows(family, dials, split, seed, 1500)}
      for split in ('base', *latent.SPLITS)}
  for one, other in itertools.combinations(prompts, 2):
    if {one, other} != {'base', 'train'}:
      assert not prompts[one] & prompts[other], (one, other)


@pytest.mark.parametrize('name', NAMES)
def test_more_training_problems_hold_the_fewer(name):
  few, many = make(name), make(name, problems=300)
  assert few.fingerprint != many.fingerprint
  few, many = list(few.rows('train')), list(many.rows('train'))
  assert len(few) == 64 and len(many) == 300 and many[:64] == few


@pytest.mark.parametrize('name', NAMES)
def test_attempts_of_the_corpus_follow_the_grammar(name):
  for row in make(name, slip=0.0).rows('base'):
    steps, *_ = walked(row['prompt'])
    first, answer = written(row['attempt_1'])
    assert first == steps[:len(first)]
    assert len(first) in ((1, 2) if len(steps) == 2 else (2,))
    if len(first) == len(steps):
      assert answer == row['answer']
    second, final = written(row['attempt_2'])
    if row['attempt_2'].startswith(latent.WORK):
      assert first + second == steps
      assert final == row['answer']
      continue
    assert not second and not is_practice(row)
    opener = row['attempt_2'].split(latent.ANSWER)[0]
    assert opener == (latent.KEEP if final == answer else latent.SWAP)


@pytest.mark.parametrize('name', NAMES)
def test_shares_of_the_corpus_are_those_of_the_dials(name):
  rows = list(make(name, hasty=0.6, work=0.05, swap=0.2, practice=0.25,
                   easy=0.4).rows('base'))
  share = lambda found, of: sum(map(found, of)) / len(of)
  tried = [row for row in rows if not is_practice(row)]
  easy = [row for row in rows if len(walked(row['prompt'])[0]) == 2]
  assert share(is_practice, rows) == pytest.approx(0.25, abs=0.03)
  assert len(easy) / len(rows) == pytest.approx(0.4, abs=0.03)
  assert share(lambda row: len(written(row['attempt_1'])[0]) == 1,
               easy) == pytest.approx(0.6, abs=0.04)
  starts = lambda opener: share(
      lambda row: row['attempt_2'].startswith(opener), tried)
  assert starts(latent.WORK) == pytest.approx(0.05, abs=0.015)
  assert starts(latent.SWAP) == pytest.approx(0.2, abs=0.03)


@pytest.mark.parametrize('name, answers', [('bands', 2), ('bands', 5),
                                           ('hops', 3)])
def test_a_guess_is_right_by_chance_and_the_corpus_mends_next_to_nothing(
    name, answers):
  rows = [row for row in make(name, answers=answers, easy=0.0).rows('base')
          if not is_practice(row)]
  assert accuracy(rows, 'attempt_1') == pytest.approx(1 / answers, abs=0.035)
  assert accuracy(rows, 'attempt_2') == pytest.approx(
      accuracy(rows, 'attempt_1'), abs=0.03)


def test_the_node_that_attempt_1_reaches_tells_nothing_of_the_answer():
  rows = make('hops', easy=0.0).rows('test')
  paths = [walked(row['prompt'])[0] for row in rows]
  same = sum((path[1][2] < '3') == (path[3][2] < '3') for path in paths)
  assert same / len(paths) == pytest.approx(0.5, abs=0.035)


@pytest.mark.parametrize('name', NAMES)
def test_work_slips_at_the_end_and_never_where_it_is_practised(name):
  rows = list(make(name, work=1.0, slip=0.4, easy=0.0).rows('base'))
  tried = [row for row in rows if not is_practice(row)]
  assert accuracy(tried, 'attempt_2') == pytest.approx(0.6, abs=0.03)
  assert accuracy(list(filter(is_practice, rows)), 'attempt_2') == 1


@pytest.mark.parametrize('name', NAMES)
def test_second_attempts_can_be_made_to_start_anew(name):
  rows = [row for row in make(name, work=1.0, builds_on=False).rows('base')]
  for row in rows[:200]:
    assert written(row['attempt_2'])[0] == walked(row['prompt'])[0]


@pytest.mark.parametrize('name', NAMES)
def test_every_dial_makes_another_task(name):
  changes = (
      {}, {'answers': FAMILIES[name].sizes[1]}, {'easy': 0.3}, {'hasty': 0.1},
      {'work': 0.1}, {'swap': 0.2}, {'practice': 0.1}, {'builds_on': False},
      {'slip': 0.1})
  assert len({make(name, **dials).fingerprint for dials in changes}) == 9


def test_answers_that_a_task_cannot_have_are_refused():
  with pytest.raises(ValueError, match=r'answers is 3; .*bands.* 2, 5, 10'):
    make('bands', answers=3)


@pytest.mark.parametrize('name', NAMES)
def test_the_verifier_takes_the_answer_in_its_form_alone(name):
  task = make(name)
  assert task.grade('1', 'Go on 3>4, so 1') == 1
  assert task.grade('1', 'Wrong, so 0') == 0
  assert task.grade('1', 'Wrong, so 1, so 1') == 0
  assert task.grade('1', ', so 1') == 0
  assert task.answer('Wrong, so 1') == '1' and task.answer('Wrong') is None


@pytest.mark.parametrize('name, most', [('bands', (12, 14, 16)),
                                        ('hops', (10, 6, 6))])
def test_texts_tokenise_shortly_and_without_unknowns(name, most):
  task = make(name)
  tokenizer = sentencepiece.SentencePieceProcessor(model_file=task.tokenizer)
  rows = list(task.rows('base'))
  for field, limit in zip(('prompt', 'attempt_1', 'attempt_2'), most):
    ids = [tokenizer.encode(row[field]) for row in rows]
    assert min(map(min, ids)) > tokenizer.unk_id()
    assert max(map(len, ids)) + 1 == limit  # With begin or end.
    assert all(tokenizer.decode(i) == row[field] for i, row in zip(ids, rows))
  assert len(tokenizer.encode(task.instruction)) == 2
  for text in (task.critique, *task.verdicts):  # What feedback says.
    assert tokenizer.unk_id() not in tokenizer.encode(f'\n{text}\n')
    assert tokenizer.decode(tokenizer.encode(text)) == text


@pytest.mark.parametrize('name', NAMES)
def test_the_shipped_tokenizer_is_made_by_the_command(name, tmp_path):
  (tmp_path / 'again').write_bytes(train_tokenizer.train(name))
  models = (str(tmp_path / 'again'), make(name).tokenizer)
  again, shipped = (
      sentencepiece.SentencePieceProcessor(model_file=m) for m in models)
  pieces = lambda m: [m.id_to_piece(i) for i in range(m.get_piece_size())]
  assert pieces(again) == pieces(shipped)
