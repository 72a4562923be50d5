"""The tasks by name."""

import dataclasses

from score_jax import config as config_lib
from score_jax.tasks import bands
from score_jax.tasks import base
from score_jax.tasks import chain
from score_jax.tasks import code
from score_jax.tasks import hops
from score_jax.tasks import maths
from score_jax.tasks import own
from score_jax.tasks import sums

TASKS = {
    'bands': bands.task,
    'chain': chain.task,
    'code': code.task,
    'code_sanitized': code.sanitized_task,
    'gsm8k': maths.gsm8k,
    'hops': hops.task,
    'math': maths.math,
    'own': own.task,
    'sums': sums.task,
    'svamp': maths.svamp,
}


def make(config: config_lib.TaskConfig) -> base.Task:
  """The task that a config names, with the prompts that it gives.

  Raises:
    ValueError: an unknown name, a question without its problem, or what the
      task says of its files.
  """
  if config.name not in TASKS:
    raise ValueError(
        f'config.task.name is {config.name!r}'
        f'{config_lib.nearest(config.name, TASKS)}; known: {", ".join(TASKS)}')
  if config.question and '{problem}' not in config.question:
    raise ValueError('config.task.question has no {problem} in it, which '
                     "stands for the problem's text")
  task = TASKS[config.name](config)
  return dataclasses.replace(
      task, question=config.question or task.question,
      instruction=config.instruction or task.instruction)
