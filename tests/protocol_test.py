"""Batches of an evaluation: filled, cut, in order, one ahead of the grades."""

import numpy as np
import pytest

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
