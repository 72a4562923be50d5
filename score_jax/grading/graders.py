"""The grader of a task, as its config asks for."""

import functools
import os

import jax

from score_jax import config as config_lib
from score_jax.grading import pool
from score_jax.grading import sandbox

_START_S = 10.0  # Beyond the limit of a program, for its sandbox.

_named = functools.partial(jax.profiler.TraceAnnotation, 'grade')


def make(
    grade: pool.Grade, where: str, config: config_lib.GradingConfig
) -> tuple[pool.Grader, str]:
  """A grader, and a line that says what untrusted programs run in, or ''.

  Args:
    grade: of a task.
    where: `tasks.base.Task.grading`.
    config: its limits.

  Raises:
    ValueError: programs are to be run, and the sandbox does not work here.
  """
  if where == 'here':
    return pool.Here(grade, _named), ''
  said, wall_s = '', config.wall_s
  memory_bytes = int(config.memory_gb * 2**30)
  if where == 'sandbox':
    box = sandbox.choose(config.sandbox)
    said, wall_s = f'programs run in {box.describe()}', wall_s + _START_S
    grade = functools.partial(
        grade, sandbox=box.name, cpu_s=config.cpu_s, wall_s=config.wall_s,
        memory_bytes=memory_bytes)
  workers = config.workers or len(os.sched_getaffinity(0))
  limits = pool.Limits(config.cpu_s, wall_s, memory_bytes)
  return pool.Pool(grade, workers, limits, _named), said
