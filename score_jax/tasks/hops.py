"""Following arrows from node to node: a lookup in the prompt, no arithmetic.

  prompt       Follow 4>1 0>5 2>0 1>3 5>2 3>4 from 2, 4 hops: which half?
  attempt 1    Hop 2>0 0>5, so 1
  attempt 2    Go on 5>2 2>0, so 0

Each of the nodes 0 to 5 has one arrow from it and one to it. The answer is the
half (0: the nodes 0 to 2, 1: 3 to 5), or the third or sixth, in which the last
node lies. Why: see `score_jax.tasks.latent`.
"""

import random

from score_jax import config as config_lib
from score_jax.tasks import base
from score_jax.tasks import latent

NODES = 6
PREFIX = 'Follow'
ARROW = ' {start}>{end}'
SUFFIX = ' from {start}, {steps} hops: which {portion}?'
SIZES = (2, 3, 6)

# Two hops lead back in a third of all cases, so that where attempt 1 ends would
# be a good guess. Of these so many are kept that it tells nothing of the half:
# 1/6 lead back, and of the others 2/5 stay in that half.
_BACK = 0.4


def draw(rng: random.Random, steps: int, answers: int) -> latent.Worked:
  """Draws arrows, where to start, and as many hops as there are steps."""
  nodes = range(NODES)
  order, start = rng.sample(nodes, NODES), rng.randrange(NODES)
  path = [start]
  while len(path) == 1:
    ends = rng.sample(nodes, NODES)
    for _ in range(steps):
      path.append(ends[path[-1]])
    if steps == latent.HARD and path[-1] == path[latent.ROOM]:
      path = path if rng.random() < _BACK else [start]
  arrow = lambda n: ARROW.format(start=n, end=ends[n])
  suffix = SUFFIX.format(start=start, steps=steps,
                         portion=latent.PORTIONS[answers])
  return latent.Worked(
      f'{PREFIX}{"".join(map(arrow, order))}{suffix}',
      tuple(map(arrow, path[:-1])), latent.portion(path[-1], NODES, answers))


FAMILY = latent.Family(
    name='hops', sizes=SIZES, draw=draw, prefix=PREFIX,
    practice='In two parts, follow', begin='Hop', separator='',
    pieces=('Hop',
            *(ARROW.format(start=a, end=b)
              for a in range(NODES) for b in range(NODES)),
            *(f' from {n}' for n in range(NODES)),
            *(f', {steps} hops: which {latent.PORTIONS[n]}?'
              for steps in (latent.EASY, latent.HARD) for n in SIZES)))


def task(config: config_lib.TaskConfig) -> base.Task:
  """The task, as `config.latent` has it."""
  return latent.task(FAMILY, config)
