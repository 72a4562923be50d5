"""Two-attempt rollouts: rows a second, against transformers and Tunix.

    python -m benchmarks.rollouts [--model=smollm2_135m] [--ends]
"""

from benchmarks import compare
from benchmarks import numbers
from benchmarks import workload as workload_lib
from score_jax import door

PEERS = ('transformers', 'tunix')


def describe(
    work: workload_lib.Workload, measured: compare.Measured
) -> list[str]:
  """Rows a second, and how long the attempts of the last round were."""
  rows = len(work.rows())
  lines = []
  for side, wall_s in measured.wall_s.items():
    rates = numbers.spread([rows / s for s in wall_s])
    attempts = measured.found[side]['attempts']
    means = ', '.join(f'{sum(map(len, of_number)) / rows:.1f}'
                      for of_number in zip(*attempts))
    lines.append(f'{side:>14}: {rates} rows/s; mean tokens: {means}')
  return lines


if __name__ == '__main__':
  door.run(lambda: compare.run(PEERS, 'rollout', describe),
           lambda: compare.define(PEERS))
