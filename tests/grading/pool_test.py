"""The pool: what an answer can do to its worker, and to no other answer."""

import dataclasses
import functools
import json
import os
import signal
import time

import pytest

from score_jax.grading import pool
from score_jax.grading import send
from score_jax.grading import worker

LIMITS = pool.Limits(cpu_s=0.5, wall_s=30.0, memory_bytes=1 << 28)


def grade(gold: str, text: str) -> int:
  """What the text says is done; else it is compared."""
  match text.split():
    case ['spin']:
      while True:
        pass
    case ['spin-in-c']:
      return len(str(7 ** 10**8))
    case ['work']:
      began = time.process_time()
      while time.process_time() < began + 0.1:
        pass
    case ['sleep']:
      time.sleep(1000)
    case ['eat']:
      return len(bytearray(1 << 40))  # Refused at once, whatever time takes.
    case ['exit']:
      os._exit(0)
    case ['kill']:
      os.kill(os.getpid(), signal.SIGKILL)
    case ['raise']:
      raise RuntimeError('a fault of the grader')
    case ['late']:
      raise TimeoutError
  return int(gold == text)


def grade_with_tolerance(gold: str, text: str, *, tolerance: float) -> int:
  return int(abs(float(gold) - float(text)) <= tolerance)


def unpickled_badly(gold: str, text: str) -> int:
  return 1


@pytest.fixture(scope='module', name='graders')
def _graders():
  graders = pool.Pool(grade, 2, LIMITS)
  yield graders
  graders.close()


def test_grades_come_in_the_order_of_the_answers(graders):
  pairs = [(str(i % 7), str(i % 5)) for i in range(70)]
  found = graders.submit(pairs).result()
  assert found.grades == [int(i % 7 == i % 5) for i in range(70)]
  assert (found.timeouts, found.crashes) == (0, 0)
  assert graders.submit([]).result() == ([], 0, 0, 0.0)


@pytest.mark.parametrize('text,timeouts,crashes', [
    ('spin', 1, 0), ('spin-in-c', 1, 0), ('late', 1, 0), ('eat', 0, 1),
    ('exit', 0, 1), ('kill', 0, 1), ('raise', 0, 1)])
def test_a_bad_answer_scores_0_is_counted_and_hurts_no_other(
    graders, text, timeouts, crashes):
  found = graders.submit(
      [('a', 'a'), ('a', 'b'), ('a', text), ('a', 'a'), ('b', 'b')]).result()
  assert found.grades == [1, 0, 0, 1, 1]
  assert (found.timeouts, found.crashes) == (timeouts, crashes)


def test_processor_time_ends_a_worker_long_before_wall_time():
  # On a machine that is busy enough, 30 s hold less than 0.5 s of a processor.
  limits = dataclasses.replace(LIMITS, wall_s=3600.0)
  found = pool._Worker(send.dumps(grade), limits)
  assert found.grade(json.dumps(['a', 'spin']).encode()) == worker.TIMEOUT
  assert found._process.returncode == -signal.SIGPROF
  assert not found.alive()


def test_a_worker_that_waits_is_given_up():
  graders = pool.Pool(grade, 1, pool.Limits(0.5, 2.0, 1 << 30))
  found = graders.submit([('a', 'sleep'), ('a', 'a')]).result()
  graders.close()
  assert found.grades == [0, 1] and found.timeouts == 1


def test_processor_time_is_counted_for_each_answer_alone():
  # Together they take the worker far more than the limit, each of them less.
  graders = pool.Pool(grade, 1, LIMITS)
  found = graders.submit([('a', 'work')] * 12 + [('a', 'a')]).result()
  graders.close()
  assert found.grades == [0] * 12 + [1] and found.timeouts == 0


def test_text_of_any_kind_arrives_as_it_is(graders):
  texts = ['', '\ud800', '\0', 'ä\u2028"\\', '\n' * 9, 'x' * 3_000_000]
  assert graders.submit([(t, t) for t in texts]).result().grades == [1] * 6


def test_the_grader_may_be_a_partial_function():
  graders = pool.Pool(functools.partial(grade_with_tolerance, tolerance=0.5), 1,
                      LIMITS)
  found = graders.submit([('1', '1.4'), ('1', '1.6')]).result()
  graders.close()
  assert found.grades == [1, 0]


def test_workers_that_cannot_start_are_an_error_not_a_hang(capfd):
  graders = pool.Pool(unpickled_badly, 1, pool.Limits(1.0, 1.0, 1 << 20))
  with pytest.raises(RuntimeError, match='ended .* before it began'):
    graders.submit([('a', 'a')]).result()
  graders.close()


def test_nothing_is_left_after_the_end(graders):
  found = pool.Pool(grade, 2, LIMITS)
  waiting = found.submit([('a', 'a')] * 4)
  assert waiting.result().grades == [1] * 4
  processes = [w._process for w in list(_drain(found))]
  found.close()
  assert len(processes) == 2
  assert all(p.returncode is not None for p in processes)


def _drain(graders):
  """The idle workers, each put back."""
  for _ in range(graders._idle.qsize()):
    found = graders._idle.get()
    graders._idle.put(found)
    yield found


def test_grading_here_is_the_same_without_processes():
  found = pool.Here(grade).submit([('a', 'a'), ('a', 'b')]).result()
  assert found.grades == [1, 0]
  assert (found.timeouts, found.crashes) == (0, 0)
