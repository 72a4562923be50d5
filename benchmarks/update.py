"""The update, against TRL and Tunix: both attempts scored by policy and
reference, loss, gradients and Adam, on the same rows.

    python -m benchmarks.update [--model=smollm2_135m] [--prompts=2]

Here the KL is exact over the vocabulary; the peers estimate it from the token
that was sampled.
"""

from benchmarks import compare
from benchmarks import numbers
from benchmarks import workload as workload_lib
from score_jax import door

PEERS = ('trl', 'tunix')


def describe(
    work: workload_lib.Workload, measured: compare.Measured
) -> list[str]:
  """Tokens a second: of prompts, attempts and instructions."""
  tokens = len(work.rows()) * (
      len(work.prompts[0]) + sum(work.attempt_tokens)
      + (len(work.attempt_tokens) - 1) * (1 + len(work.instruction)))
  return [f'{side:>14}: {numbers.spread([tokens / s for s in wall_s])} '
          'tokens/s' for side, wall_s in measured.wall_s.items()]


if __name__ == '__main__':
  door.run(lambda: compare.run(PEERS, 'update', describe, takes_seed=False),
           lambda: compare.define(PEERS))
