"""Chain arithmetic modulo ten of which only a portion is asked for.

  prompt       Mod 10, left to right: 7+5*3-8*2, which half?
  attempt 1    7+5=2, 2*3=6, so 0
  attempt 2    Go on, 6-8=8, 8*2=6, so 1

The answer is the half (0: the values 0 to 4, 1: 5 to 9), or the fifth or tenth,
in which the value of the chain lies. Why: see `score_jax.tasks.latent`.
"""

import random

from score_jax import config as config_lib
from score_jax.tasks import base
from score_jax.tasks import chain
from score_jax.tasks import latent

PREFIX = 'Mod 10, left to right: '
SUFFIX = ', which {portion}?'
SIZES = (2, 5, 10)


def draw(rng: random.Random, steps: int, answers: int) -> latent.Worked:
  """Draws a chain of as many operations as there are steps."""
  value = rng.randrange(10)
  text, working = str(value), []
  for _ in range(steps):
    operation, right = rng.choice(chain.OPERATIONS), rng.randrange(1, 10)
    result = chain.apply(operation, value, right)
    text += f'{operation}{right}'
    working.append(f'{value}{operation}{right}={result}')
    value = result
  suffix = SUFFIX.format(portion=latent.PORTIONS[answers])
  return latent.Worked(f'{PREFIX}{text}{suffix}', tuple(working),
                       latent.portion(value, 10, answers))


FAMILY = latent.Family(
    name='bands', sizes=SIZES, draw=draw, prefix=PREFIX,
    practice='In two parts, mod 10, left to right: ', begin='',
    separator=chain.SEPARATOR,
    pieces=(chain.SEPARATOR, '=', *chain.OPERATIONS,
            *(SUFFIX.format(portion=latent.PORTIONS[n]) for n in SIZES)))


def task(config: config_lib.TaskConfig) -> base.Task:
  """The task, as `config.latent` has it."""
  return latent.task(FAMILY, config)
