"""Products with weights alone, against torch: what an update is made of.

    python -m benchmarks.products

Those of one layer, forwards and for the gradients of weights and inputs, of the
tokens that the samples of a problem have in an update. Both sides compute one
after the other. What of an update's ratio to TRL is due to products, and not to
what is around them, is this.
"""

from benchmarks import compare
from benchmarks import numbers
from benchmarks import workload as workload_lib
from score_jax import door

PEERS = ('transformers',)


def describe(
    unused_work: workload_lib.Workload, measured: compare.Measured
) -> list[str]:
  """The rate of each side.

  Raises:
    ValueError: the sides have not multiplied the same.
  """
  flops = {side: found['flops'] for side, found in measured.found.items()}
  if len(set(flops.values())) > 1:
    raise ValueError(f'FLOPs of the sides differ: {flops}')
  gflops = flops['ours'] / 1e9
  return [f'{side:>14}: {numbers.spread([gflops / s for s in wall_s])} GFLOP/s'
          for side, wall_s in measured.wall_s.items()]


if __name__ == '__main__':
  door.run(lambda: compare.run(PEERS, 'products', describe, takes_seed=False),
           lambda: compare.define(PEERS))
