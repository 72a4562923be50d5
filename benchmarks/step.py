"""A whole step of RL with grading, against TRL and Tunix.

    python -m benchmarks.step [--model=smollm2_135m] [--prompts=2]

Rollouts, grades by the same function, and the update. TRL samples by
transformers' `generate`.
"""

from benchmarks import compare
from benchmarks import numbers
from benchmarks import workload as workload_lib
from score_jax import door

PEERS = ('trl', 'tunix')


def describe(
    work: workload_lib.Workload, measured: compare.Measured
) -> list[str]:
  """Rows a second."""
  rows = len(work.rows())
  return [f'{side:>14}: {numbers.spread([rows / s for s in wall_s])} rows/s'
          for side, wall_s in measured.wall_s.items()]


if __name__ == '__main__':
  door.run(lambda: compare.run(PEERS, 'step', describe),
           lambda: compare.define(PEERS))
