"""No object of a program passes a test by what it says of itself."""

from concurrent import futures
import textwrap

import pytest

from score_jax.grading import sandbox
from tests.grading import hostile_objects

_LIMITS = sandbox.Limits(2.0, 8.0, 2**29)


def _passed(jobs):
  """Which of (test, program) pass."""
  name = sandbox.choose('auto').name

  def passes(job):
    test, program = job
    return sandbox.run(name, {'tests': [test]}, program, _LIMITS) == 'passed'

  with futures.ThreadPoolExecutor(4) as threads:
    return [job for job, found in zip(jobs, threads.map(passes, jobs)) if found]


def test_an_honest_program_passes_each_test():
  jobs = [(test, hostile_objects.HONEST) for test in hostile_objects.TESTS
          if '/dev/null' not in test]
  assert _passed(jobs) == jobs


_GROUP = 9
_FUNCTIONS = [test for test in hostile_objects.TESTS
              if 'Twice' not in test and 'Box' not in test]
_CLASSES = [test for test in hostile_objects.TESTS if 'Box' in test]
_SPELLED = [test for test in hostile_objects.TESTS if 'Twice' in test]


def _any_of(tests):
  """A test that passes if any of several does."""
  parts = [f'try:\n{textwrap.indent(test, "  ")}\n  n += 1\n'
           'except BaseException: pass\n' for test in tests]
  return f'n = 0\n{"".join(parts)}assert n'


def _groups():
  for tests in _FUNCTIONS, _CLASSES:
    for start in range(0, len(tests), _GROUP):
      yield _any_of(tests[start:start + _GROUP])
  yield from _SPELLED  # Apart: another test may show that it is no class.


@pytest.mark.parametrize('name, liar', hostile_objects.LIARS)
def test_no_liar_passes_any_of_some_tests(name, liar):
  assert _passed([(test, liar) for test in _groups()]) == []


@pytest.mark.slow
@pytest.mark.parametrize('name, liar', hostile_objects.LIARS)
def test_no_liar_passes_a_test(name, liar):
  jobs = [(test, liar) for test in hostile_objects.TESTS]
  assert _passed(jobs) == []


def test_no_liar_passes_a_test_of_its_kind():
  assert len(hostile_objects.ALONE) >= 12
  assert _passed(hostile_objects.ALONE) == []
