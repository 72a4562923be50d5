"""Start-up: seconds to import, and to the end of the first step.

    python -m benchmarks.startup [--model=random_10m]

Each in a new process, in turn, with the files of the disk's cache warm: import
alone; the first step of RL when nothing is compiled, and again when it is in
jax's compile cache. Peers are asked for their import and first step likewise.
"""

import os
import pathlib
import subprocess
import sys
import tempfile
import time

from absl import flags

from benchmarks import compare
from benchmarks import environments
from benchmarks import machine
from benchmarks import numbers
from benchmarks import worker as worker_lib
from score_jax import door

PEERS = ('trl', 'tunix')
_IMPORTS = {'ours': 'score_jax.main', 'trl': 'trl.GRPOTrainer',
            'tunix': 'tunix.rl.grpo.grpo_learner'}


def import_s(python: str, name: str) -> float:
  """Seconds of a process that only imports."""
  module, _, what = name.rpartition('.')
  began = time.perf_counter()
  subprocess.run([python, '-c', f'from {module} import {what}'], check=True,
                 cwd=worker_lib.ROOT, capture_output=True)
  return time.perf_counter() - began


def first_step_s(
    name: str, python: str, module: str, path: pathlib.Path, cache: str
) -> float:
  """Seconds from the start of a process to the end of its first step.

  Args:
    name: of the side.
    python, module: see `worker.Worker`.
    path: the workload's file.
    cache: folder of jax's compile cache.
  """
  os.environ |= {'JAX_COMPILATION_CACHE_DIR': cache,
                 'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS': '0'}
  began = time.perf_counter()
  with worker_lib.Worker(name, python, module, path) as side:
    side.ask('step', seed=0)
    return time.perf_counter() - began


def main():
  """Prints the times of every side."""
  build = pathlib.Path(flags.FLAGS.build).absolute()
  work, path = compare.prepared(build)
  pythons = compare.pythons_of(PEERS, build) | {
      'ours': (sys.executable, environments.OURS)}
  print(machine.describe(work.threads))
  with tempfile.TemporaryDirectory() as caches:
    kinds = {}
    for name, (python, module) in pythons.items():
      step = lambda cache, given=(name, python, module): first_step_s(
          *given, path, f'{caches}/{cache}')
      kinds |= {
          f'{name} import': lambda _, given=(python, _IMPORTS[name]): import_s(
              *given),
          # Of one round, so that the second finds what the first compiled.
          f'{name} cold': lambda n, name=name, step=step: step(f'{name}{n}'),
          f'{name} cached': lambda n, name=name, step=step: step(f'{name}{n}')}
    took = numbers.alternate(kinds, flags.FLAGS.rounds, warm_up=1)
    for kind, wall_s in took.items():
      print(f'{kind:>14}: {numbers.spread(wall_s)} s')


if __name__ == '__main__':
  door.run(main, lambda: compare.define(PEERS))
