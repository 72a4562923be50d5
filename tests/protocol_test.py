"""Batches of an evaluation: filled, cut, in order, one ahead of the grades."""

import dataclasses

import numpy as np
import pytest

from score_jax import config as config_lib
from score_jax import progress
from score_jax import protocol
from score_jax import shutdown
from tests import studies_test
from tests.studies_test import OTHER
from tests.studies_test import RIGHT
from tests.studies_test import WRONG

real = studies_test.real_run


def test_every_problem_is_counted_once_in_order(real):
  run, problems = studies_test.run_of(
      real, lambda asked, row: [WRONG, [RIGHT, WRONG, OTHER][row % 3]],
      batch_size=8, count=19)
  found = protocol.attempt(run, 'title', 'params', problems)
  assert [of[1] for of in found.texts] == [
      [RIGHT, WRONG, OTHER][row % 3] for row in range(19)]
  assert found.grades_BA.tolist() == [[0, int(row % 3 == 0)]
                                      for row in range(19)]
  assert found.counts() == {
      'n': 19, 'right_t1': 0, 'right_t2': 7, 'i_to_c': 7, 'c_to_i': 0,
      'unchanged': 6, 'truncated_t1': 0, 'truncated_t2': 0}
  chosen = np.arange(19) % 3 == 1
  assert found.counts(chosen)['n'] == found.counts(chosen)['unchanged'] == 6
  # Three batches of 8: the last is filled up. Each grader said 1 timeout and
  # 2 crashes, in half a second.
  assert [n for _, n, *_ in run.actor.asked] == [8, 8, 8]
  assert [first for *_, first in run.actor.asked] == [0, 8, 16]
  assert (found.timeouts, found.crashes) == (3, 6)
  np.testing.assert_allclose(found.answers_per_s, 38 / 1.5)


@pytest.mark.parametrize('samples,batch_size,problems', [
    (1, 24, 24), (2, 24, 8), (3, 24, 8), (1, 30, 24), (16, 24, 8)])
def test_a_batch_has_as_many_rows_as_asked_for_and_fills_the_mesh(
    real, samples, batch_size, problems):
  run, chosen = studies_test.run_of(
      real, lambda asked, row: [WRONG, WRONG], batch_size=batch_size, count=5)
  found = protocol.attempt(run, 'title', 'params', chosen, samples=samples)
  assert len(found.texts) == 5 * samples
  assert run.actor.asked[0][1:3] == (problems, samples)


def test_a_batch_is_graded_while_the_next_is_sampled(real):
  run, problems = studies_test.run_of(
      real, lambda asked, row: [WRONG, WRONG], batch_size=8, count=24)
  order, grade, sample = [], run.actor.grade, run.actor.sample
  run.actor.grade = lambda *args: order.append('grade') or grade(*args)
  run.actor.sample = lambda *args, **more: (
      order.append('sample') or sample(*args, **more))
  protocol.attempt(run, 'title', 'params', problems)
  assert order == ['sample', 'sample', 'grade', 'sample', 'grade', 'grade']


def test_a_stop_is_heeded_between_batches(real):
  run, problems = studies_test.run_of(
      real, lambda asked, row: [WRONG, WRONG], batch_size=8, count=24)
  run.stop.requested = True
  try:
    with pytest.raises(shutdown.Stopped, match='title: stopped after 8 of 24'):
      protocol.attempt(run, 'title', 'params', problems)
  finally:
    run.stop.requested = False


@pytest.mark.parametrize('shares,stops,says', [
    ((1.0, 0.25), True, '100% of attempts 1, 25% of attempts 2'),
    ((0.0, 0.5), True, '0% of attempts 1, 50% of attempts 2'),
    ((0.1, 0.2, 0.9), False, '90% of attempts 3'),
    ((1.0,), False, 'config.task.stop_strings'),
    ((0.49, 0.49), False, None)])
def test_truncation_draws_one_line_that_names_the_field(shares, stops, says):
  rollout = config_lib.RolloutConfig(attempt_tokens=(14, 16))
  line = protocol.truncation_warning('evaluate base', shares, rollout, stops)
  if says is None:
    assert line == ''
    return
  assert says in line and '\n' not in line
  assert 'raise config.rollout.attempt_tokens, now (14, 16)' in line
  assert line.startswith('WARNING: evaluate base: ')
  assert ('config.task.stop_strings' in line) == (not stops)


@pytest.mark.parametrize('truncated', [False, True])
def test_an_evaluation_says_it_once(real, truncated, monkeypatch):
  run, problems = studies_test.run_of(
      real, lambda asked, row: [WRONG, WRONG], batch_size=8, count=19)
  sample, said = run.actor.sample, []
  run.actor.sample = lambda *args, **more: [
      dataclasses.replace(rollout, truncated_BA=np.full((8, 2), truncated))
      for rollout in sample(*args, **more)]
  monkeypatch.setattr(run.writer, 'say', said.append)
  protocol.attempt(run, 'evaluate base', 'params', problems)
  assert len(said) == truncated
  if truncated:
    assert said[0].startswith(
        'WARNING: evaluate base: 100% of attempts 1, 100% of attempts 2 ran')


def test_while_a_batch_is_decoded_the_display_says_which(real, monkeypatch):
  run, problems = studies_test.run_of(
      real, lambda asked, row: [WRONG, WRONG], batch_size=8, count=19)
  bars, doing = [], []
  made = progress.Progress
  monkeypatch.setattr(progress, 'Progress', lambda *args: bars.append(
      made(*args)) or bars[-1])
  sample = run.actor.sample
  run.actor.sample = lambda *args, **more: doing.append(
      bars[0].doing) or sample(*args, **more)
  protocol.attempt(run, 'title', 'params', problems)
  tokens = sum(run.actor.conversation.attempt_tokens)
  assert doing == [
      f'batch {n} of 3: 8 sequences of up to {tokens} tokens are decoded at a '
      'time (config.evaluation.batch_size)' for n in (1, 2, 3)]
