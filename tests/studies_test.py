"""The studies, with a policy whose attempts are written by hand."""

import dataclasses

import numpy as np
import pytest

from score_jax import actor as actor_lib
from score_jax import continuation
from score_jax import evaluate
from score_jax import protocol
from score_jax import studies
from score_jax import types
from score_jax.grading import pool
from tests import pipeline_test

RIGHT, WRONG, OTHER = '5, so 5', '5, so 6', '5, so 7'


class _Actor:
  """Answers `script(conversation, row)`, texts of a row; grades by hand."""

  stop_strings = None

  def __init__(self, real, script):
    self.task, self.tokenizer = real.task, real.tokenizer
    self.conversation = real.conversation
    self.repair_ids, self.splice = real.repair_ids, real.splice
    self.same_answer, self.check_lengths = real.same_answer, real.check_lengths
    self.script, self.asked = script, []

  def copied(self, params):
    return params

  def everywhere(self, graded):
    return graded

  def sample(self, params, problems, key, step, *, samples, temperature,
             parts=1, first_row=0, conversation=None):
    asked = conversation or self.conversation
    self.asked.append((asked, len(problems), samples, temperature, first_row))
    rows = range(first_row, first_row + len(problems) * samples)
    texts = [self.script(asked, row) for row in rows]
    assert {len(of) for of in texts} == {len(asked.attempt_tokens)}
    B, A = len(texts), len(asked.attempt_tokens)
    self.texts = texts
    return [types.Rollout(
        np.array(texts), np.ones((B, 1)), np.ones((B, 1)), np.ones((B, 1)),
        np.full((B, A), 4), np.zeros((B, A), bool), asked.layout(1))]

  def grade(self, problems, rollout, samples):
    rows = len(problems) * samples
    texts = rollout.tokens_BS[:rows].tolist()
    grades = np.array([[int(t == RIGHT) for t in of] for of in texts])
    return lambda: actor_lib.Graded(
        rollout, grades, np.arange(rows), texts, grades,
        np.array([self.same_answer(of[0], of[-1]) for of in texts]),
        rollout.truncated_BA[:rows], rollout.length_BA[:rows],
        pool.Grades(grades.ravel().tolist(), 1, 2, 0.5), 0.0)


@pytest.fixture(scope='module', name='real')
def real_run(tmp_path_factory):
  return pipeline_test._open(tmp_path_factory.mktemp('run'))


def run_of(real, script, given='', count=3, **settings):
  """The run with that policy, and some problems of it."""
  config = dataclasses.replace(
      real.config, evaluation=dataclasses.replace(
          real.config.evaluation, **settings))
  run = dataclasses.replace(real, config=config, splits={},
                            actor=_Actor(real.actor, script))
  problems = [dataclasses.replace(p, given=given)
              for p in real.problems('test')[:count]]
  run.splits['test'] = run.splits['repair'] = problems
  return run, problems


def test_scaling_by_hand(real):
  # Of two samples a problem: right and wrong at first, both spoiled by the
  # second attempt; two more in parallel give the wrong answer.
  def script(asked, row):
    if len(asked.attempt_tokens) == 1:
      return [WRONG]
    return [RIGHT if row % 2 == 0 else OTHER, WRONG]

  run, problems = run_of(real, script, samples=2, batch_size=16)
  fields, rows = studies.scaling(run, 'params', problems)
  assert rows == []
  # K = 1: right against wrong, the first wins. K = 2: right, other, wrong,
  # wrong: the majority is wrong.
  scaling = fields['scaling']
  # Of 3 problems all or none: 0.025 ** (1 / 3).
  none, all_of_them = [0.0, 0.707598], [0.292402, 1.0]
  np.testing.assert_allclose(scaling.pop('parallel_ci95'), [all_of_them, none],
                             atol=1e-6)
  np.testing.assert_allclose(scaling.pop('corrected_ci95'), [none, none],
                             atol=1e-6)
  assert scaling == {
      'temperature': 0.7, 'budget': [2, 4], 'parallel': [1.0, 0.0],
      'corrected': [0.0, 0.0]}
  # One of four is right: 3 of 6 pairs have it.
  found = fields['baselines']
  np.testing.assert_allclose(found['pass_at_2'], 0.5)
  assert 'majority_at_2' not in found
  assert found['tokens'] == found['tokens_two_attempts'] == 8
  # The samples in parallel have rows, so random keys, of their own.
  (two, _, samples, temperature, first), (one, *_, other) = run.actor.asked
  assert (samples, temperature, first) == (2, 0.7, 0)
  assert len(two.attempt_tokens) == 2 and one.splices == ()
  assert other == len(problems) * 2


def test_attempts_in_a_row_by_hand(real):
  run, problems = run_of(
      real, lambda asked, row: [WRONG] * 2 + [RIGHT] * (2 - row % 2) +
      [OTHER] * (row % 2), attempts=4, batch_size=8)
  fields, _ = studies.in_a_row(run, 'params', problems)
  np.testing.assert_allclose(
      fields['attempts_in_a_row']['accuracy'], [0, 0, 1, 2 / 3])
  asked = run.actor.asked[0][0]
  first, last = run.config.rollout.attempt_tokens
  assert asked.attempt_tokens == (first, last, last, last)
  assert len(asked.splices) == 3


def test_self_refine_compares_the_first_answer_with_the_rewritten_one(real):
  run, problems = run_of(real, lambda asked, row: [WRONG, RIGHT, OTHER])
  run.actor.task = dataclasses.replace(run.actor.task, critique='4+3')
  fields, _ = studies.self_refine(run, 'params', problems)
  # The second text is the critique, and the last the rewritten answer.
  assert [fields['self_refine'][f'accuracy_{which}'] for which in (
      'first', 't1', 't2', 't3', 'last')] == [0, 0, 1, 0, 0]
  assert fields['self_refine']['n'] == 3
  asked = run.actor.asked[0][0]
  assert asked.splices[0].tolist() == run.actor.splice('4+3').tolist()
  assert asked.splices[1] is run.actor.conversation.splices[0]


def test_repair_counts_what_it_was_given_as_wrong(real):
  run, problems = run_of(
      real, lambda asked, row: [[RIGHT], [OTHER], [WRONG]][row % 3],
      given=OTHER, problems=0)
  fields, rows = studies.repair(run, 'params', problems)
  found = fields['repair']
  assert (found['n'], found['split']) == (3, 'repair')
  np.testing.assert_allclose(found['accuracy'], 1 / 3)
  np.testing.assert_allclose(found['unchanged'], 1 / 3)
  assert [row['attempts'] for row in rows] == [
      [OTHER, RIGHT], [OTHER, OTHER], [OTHER, WRONG]]
  assert [row['grades'] for row in rows] == [[0, 1], [0, 0], [0, 0]]
  asked = run.actor.asked[0][0]
  assert asked.first(problems[0]) == run.actor.repair_ids(problems[0])
  longest = max(len(run.actor.repair_ids(p)) for p in problems)
  assert longest <= asked.buckets[0] < longest + 64
  assert asked.attempt_tokens == run.config.rollout.attempt_tokens[1:]
  run, _ = run_of(real, lambda asked, row: [RIGHT], given=OTHER, problems=2)
  fields, rows = studies.repair(run, 'params', problems)
  assert fields['repair']['n'] == len(rows) == 2


def test_swapped_compares_second_attempts_after_two_first_ones(
    real, monkeypatch):
  # Attempt 2 of problem 0 goes back to its own answer, that of 1 is a copy of
  # what it reads, that of 2 is wrong on its own and right after another's.
  texts = {False: [[WRONG, RIGHT], [OTHER, OTHER], [RIGHT, WRONG]],
           True: [[OTHER, RIGHT], [RIGHT, RIGHT], [WRONG, RIGHT]]}

  def sample(actor, *args, swap, **kwargs):
    actor.script = lambda asked, row: texts[swap][row % 4 % 3]
    return actor.sample(*args, **kwargs)

  monkeypatch.setattr(continuation, 'sample', sample)
  run, problems = run_of(real, None, batch_size=4)
  fields, rows = studies.swapped(run, 'params', problems)
  assert rows == []
  assert fields['swapped'] == {
      'n': 3, 'accuracy_own': pytest.approx(1 / 3), 'accuracy': 1.0,
      'same': pytest.approx(1 / 3), 'copied': pytest.approx(1 / 3)}
  # A problem that is alone in the last batch has no other.
  size = protocol.batch_size(run.config.evaluation, run.mesh, 1)
  run, problems = run_of(real, None, count=size + 1, batch_size=4)
  assert studies.swapped(run, 'params', problems)[0]['swapped']['n'] == size


@pytest.mark.parametrize('study,settings,message', [
    ('swapped', {'problems': 1}, 'needs two problems'),
    ('repair', {'repair_split': 'test'}, 'without a given attempt'),
    ('self_refine', {}, 'no prompt that asks for a critique'),
    ('in_a_row', {'attempts': 10_000}, 'positions and the model has 8192'),
])
def test_a_study_that_cannot_be_made_is_refused_before_any_work(
    real, study, settings, message):
  run, _ = run_of(real, None, studies=(study,), **settings)
  run.actor.task = dataclasses.replace(run.actor.task, critique='')
  with pytest.raises(ValueError, match=message) as error:
    evaluate.check(run)
  assert '\n' not in str(error.value)


def test_results_hold_groups_distances_and_studies(real, monkeypatch):
  def script(asked, row):
    texts = [WRONG, RIGHT] if row == 0 else [RIGHT, RIGHT]
    return texts[: len(asked.attempt_tokens)]

  run, problems = run_of(real, script, studies=('scaling',), samples=1,
                       problems=0)
  levels = ['Level 1', 'Level 2', 'Level 2']
  run.splits['test'] = [dataclasses.replace(p, tags={'level': level})
                        for p, level in zip(problems, levels)]
  kept, written = {}, []
  monkeypatch.setattr(type(run), 'keep_result', lambda self, *a: kept.update(
      result=a[1], grading=a[4]))
  monkeypatch.setattr(run.writer, 'transcripts',
                      lambda stage, rows: written.extend(rows))
  evaluate.evaluate(run, 'stage2', 'params', 5)
  found = kept['result']
  assert found['n'] == 3 and found['step'] == 5 and found['split'] == 'test'
  assert found['delta'] == found['i_to_c'] == 1 / 3
  groups = found['groups']['level']
  assert [(name, of['n'], of['i_to_c']) for name, of in groups.items()] == [
      ('Level 1', 1, 1.0), ('Level 2', 2, 0.0)]
  # One edit in fourteen characters, 0.07, and none.
  assert found['edit_distance']['counts'][:2] == [2, 1]
  assert found['scaling']['budget'] == [2]
  assert found['tokens'] == [4, 4]
  assert kept['grading']['timeouts'] == 1 and kept['grading']['crashes'] == 2
  assert [row['tags'] for row in written] == [{'level': v} for v in levels]
  assert [row['unchanged'] for row in written] == [False, True, True]
