"""The tasks by name."""

from score_jax import config as config_lib
from score_jax.tasks import base
from score_jax.tasks import chain
from score_jax.tasks import gsm8k
from score_jax.tasks import sums

TASKS = {'chain': chain.task, 'gsm8k': gsm8k.task, 'sums': sums.task}


def make(config: config_lib.TaskConfig) -> base.Task:
  """The task that a config names.

  Raises:
    ValueError: an unknown name, or what the task says of its files.
  """
  if config.name not in TASKS:
    raise ValueError(
        f'config.task.name is {config.name!r}'
        f'{config_lib.nearest(config.name, TASKS)}; known: {", ".join(TASKS)}')
  return TASKS[config.name](config)
