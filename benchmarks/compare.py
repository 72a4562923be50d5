"""What comparisons share: flags, both sides at work in turn, what is printed.

Both sides are asked to show that they do the same work first: log-probs of
the same rows under the same weights, at most 1e-3 apart. Of greedy attempts it
is said how many are equal.
"""

from collections.abc import Callable
from collections.abc import Sequence
import contextlib
import json
import pathlib
import sys
from typing import NamedTuple

from absl import flags
import numpy as np

from benchmarks import environments
from benchmarks import machine
from benchmarks import models
from benchmarks import numbers
from benchmarks import worker as worker_lib
from benchmarks import workload as workload_lib
from score_jax import config as config_lib
from score_jax import weights

CLOSE = 1e-3
"""Log-probs that are further apart are of other work."""


class Measured(NamedTuple):
  """One comparison.

  Attributes:
    peer: its name.
    wall_s: seconds of every round, by side.
    memory: most bytes of each side's process.
    found: what the last round of each side gave.
  """

  peer: str
  wall_s: dict[str, list[float]]
  memory: dict[str, int]
  found: dict[str, dict]

  @property
  def ratio(self) -> numbers.Spread:
    """How many times as long the peer takes."""
    return numbers.ratio(self.wall_s['ours'], self.wall_s[self.peer])


def define(peers: Sequence[str]):
  """The flags of a comparison with these peers."""
  flags.DEFINE_list('peers', list(peers), 'To compare with.')
  flags.DEFINE_enum('model', 'random_10m', models.NAMES, 'See models.py.')
  flags.DEFINE_integer('prompts', 4, 'Problems.', lower_bound=1)
  flags.DEFINE_integer('samples', 8, 'Rows a problem.', lower_bound=2)
  flags.DEFINE_multi_integer('attempt', [64, 64], 'Tokens of each attempt.',
                             lower_bound=1)
  flags.DEFINE_boolean('ends', False, 'Attempts end at uneven lengths.')
  flags.DEFINE_integer('rounds', 5, 'That count.', lower_bound=1)
  flags.DEFINE_integer('threads', 2, 'Processors a side.', lower_bound=1)
  flags.DEFINE_string('build', 'build/benchmarks', 'Folder of what is made.')
  flags.DEFINE_string('environments', '', 'Folder of the peers\' virtual '
                      'environments; in --build by default.')


def run(
    peers: Sequence[str],
    method: str,
    describe: Callable[[workload_lib.Workload, Measured], list[str]],
    takes_seed: bool = True,
):
  """Compares with every peer that the flags name, and prints what is found.

  Args:
    peers: that can be compared with.
    method: of the sides, which is timed.
    describe: what is said of a comparison besides times.
    takes_seed: whether the method is given the number of the round as a seed.
  """
  asked = flags.FLAGS
  build = pathlib.Path(asked.build).absolute()
  pythons = pythons_of(peers, build)
  work, path = prepared(build)
  print(f'{asked.model}, {len(work.prompts)} x {work.samples} rows, prompt '
        f'{len(work.prompts[0])}, attempts {tuple(work.attempt_tokens)}, '
        f'instruction {len(work.instruction)}, float32')
  for name, python_and_module in pythons.items():
    print(machine.describe(work.threads))
    measured = _compared(name, python_and_module, path, work, method,
                         takes_seed)
    _print(measured, describe(work, measured))


def pythons_of(
    peers: Sequence[str], build: pathlib.Path
) -> dict[str, tuple[str, str]]:
  """Python and module of the peers that the flags name.

  Raises:
    ValueError: one is not among `peers`, or cannot be installed.
  """
  for name in flags.FLAGS.peers:
    if name not in peers:
      raise ValueError(f'--peers: {name!r} has no part in this; there are: '
                       f'{", ".join(peers)}{config_lib.nearest(name, peers)}')
  folder = pathlib.Path(
      flags.FLAGS.environments or build / 'environments').absolute()
  chosen = {name: environments.PEERS[name] for name in flags.FLAGS.peers}
  return {name: (environments.python_of(peer, folder), peer.module)
          for name, peer in chosen.items()}


def prepared(
    build: pathlib.Path
) -> tuple[workload_lib.Workload, pathlib.Path]:
  """The work that the flags ask for, and its file."""
  work, path = _workload(build), build / 'workload.json'
  work.write(path)
  return work, path


def _workload(build) -> workload_lib.Workload:
  asked = flags.FLAGS
  folder = models.folder_of(asked.model, build)
  config = weights.model_config(str(folder), config_lib.ModelConfig())
  return workload_lib.make(
      str(folder), config.vocab_size, prompts=asked.prompts,
      samples=asked.samples, attempt_tokens=asked.attempt,
      threads=asked.threads, ends=asked.ends)


def _compared(
    name, python_and_module, path, work, method, takes_seed) -> Measured:
  with contextlib.ExitStack() as stack:
    start = lambda *given: stack.enter_context(worker_lib.Worker(*given, path))
    sides = {'ours': start('ours', sys.executable, environments.OURS),
             name: start(name, *python_and_module)}
    for side in sides.values():
      print(f'{side.name}:', json.dumps(side.versions))
    print(same_work(work, *sides.values()), flush=True)
    memory, found = {}, {}

    def call(side):
      def timed(number):
        given = {'seed': number} if takes_seed else {}
        answer = side.ask(method, **given)
        memory[side.name] = max(answer.peak_bytes, memory.get(side.name, 0))
        found[side.name] = answer.found
        return answer.wall_s
      return timed

    wall_s = numbers.alternate(
        {side: call(worker) for side, worker in sides.items()},
        flags.FLAGS.rounds)
  return Measured(name, wall_s, memory, found)


def same_work(
    work: workload_lib.Workload,
    ours: worker_lib.Worker,
    theirs: worker_lib.Worker,
) -> str:
  """What shows that both do the same, in a line.

  Raises:
    ValueError: they do not.
  """
  logp = [np.array(side.ask('score').found['logp']) for side in (ours, theirs)]
  apart = float(np.max(np.abs(logp[0] - logp[1])))
  if not apart <= CLOSE:
    raise ValueError(f'log-probs of {theirs.name} are {apart:.2g} from ours, '
                     f'more than {CLOSE}: it does other work')
  greedy = [side.ask('rollout', seed=0, greedy=True).found['attempts']
            for side in (ours, theirs)]
  bare = lambda ids: [token for token in ids if token not in work.ending]
  equal = [sum(bare(a[n]) == bare(b[n]) for a, b in zip(*greedy))
           for n in range(len(work.attempt_tokens))]
  counts = ', '.join(f'{n} of {len(greedy[0])}' for n in equal)
  return (f'same work: log-probs at most {apart:.1e} apart; greedy attempts '
          f'equal: {counts}')


def _print(measured, lines):
  for side, wall_s in measured.wall_s.items():
    memory = measured.memory[side] / 2**20
    print(f'{side:>14}: {numbers.spread(wall_s)} s, peak {memory:.0f} MiB')
  print(f'{measured.peer} takes {measured.ratio} times as long')
  for line in lines:
    print(line)
  print(flush=True)
