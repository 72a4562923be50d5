"""The grader that a config asks for, through to a verdict."""

import json

import pytest

from score_jax import config as config_lib
from score_jax.grading import answers
from score_jax.grading import graders
from score_jax.grading import maths
from score_jax.grading import pool
from score_jax.grading import programs
from score_jax.grading import sandbox

SPEC = json.dumps({'tests': ['assert double(2) == 4', 'assert double(0) == 0']})


def _graded(found, pairs):
  try:
    return found.submit(pairs).result()
  finally:
    found.close()


def test_what_cannot_take_long_is_graded_here():
  found, said = graders.make(
      answers.equal_numbers, 'here', config_lib.GradingConfig())
  assert isinstance(found, pool.Here) and said == ''
  assert _graded(found, [('5', 'so 5'), ('5', 'so 6')]).grades == [1, 0]


def test_mathematics_is_graded_in_processes_with_the_limits_of_the_config():
  config = config_lib.GradingConfig(workers=2, cpu_s=6.0, wall_s=60.0,
                                    memory_gb=1.5)
  found, said = graders.make(maths.grade, 'pool', config)
  assert found._limits == pool.Limits(6.0, 60.0, 3 * 2**29) and said == ''
  assert found._idle.qsize() == 2
  assert _graded(found, [
      (r'\frac{1}{2}', r'\boxed{0.5}'), (r'\frac{1}{2}', r'\boxed{2}'),
  ]).grades == [1, 0]


def test_programs_run_in_a_sandbox_and_the_slow_ones_are_counted():
  config = config_lib.GradingConfig(workers=2, cpu_s=1.0, wall_s=60.0)
  found, said = graders.make(programs.grade, 'sandbox', config)
  assert said.startswith(f'programs run in {sandbox.choose("auto").name} (')
  graded = _graded(found, [
      (SPEC, 'def double(x):\n  return 2 * x'),
      (SPEC, 'def double(x):\n  return x'),
      (SPEC, 'def double(x):\n  while True: pass'),
      (SPEC, 'import os\ndef double(x):\n  os._exit(0)')])
  assert graded.grades == [1, 0, 0, 0]
  assert (graded.timeouts, graded.crashes) == (1, 0)


def test_without_a_sandbox_programs_are_not_run(monkeypatch):
  monkeypatch.setattr(sandbox, '_problem', lambda name: 'it is not there')
  config = config_lib.GradingConfig(workers=1)
  with pytest.raises(ValueError, match='--config.grading.sandbox=none'):
    graders.make(programs.grade, 'sandbox', config)
