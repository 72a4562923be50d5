"""Where the time of our update and sampler goes on this machine.

    python -m benchmarks.breakdown [--model=random_135m]

Each program is traced, and its time split by kind of operation: products with
the weights of layers, with the vocabulary, with a batch (those of attention),
and all else by its name in XLA. That is on one processor: with more, XLA's
products go on in the background, and a trace does not tell how long. Of
products the rate is given too.
"""

from collections.abc import Callable
from collections.abc import Iterable
import os
import pathlib
import tempfile
from typing import NamedTuple

from absl import flags
import jax

from benchmarks import compare
from benchmarks import machine
from benchmarks import numbers
from benchmarks import timing
from benchmarks.sides import ours
from score_jax import door
from score_jax.hlo import flops as flops_lib
from score_jax.hlo import text


class Kind(NamedTuple):
  """Operations of one kind, of one run of a program.

  Attributes:
    took_s: all of them.
    flops: of their products; 0 where they have none.
  """

  took_s: float
  flops: float


def kinds(
    module: text.Module, ran: Iterable[tuple[str, float]], vocabulary: int
) -> dict[str, Kind]:
  """The time of each kind of operation, the longest first.

  Args:
    module: the program.
    ran: name and seconds of every operation that ran.
    vocabulary: its size, by which products with it are known.

  Raises:
    ValueError: an operation that ran is not in the program.
  """
  known = {one.name: _kind(module, instructions, one, vocabulary)
           for instructions in module.computations.values()
           for one in instructions}
  found = {}
  for name, took_s in ran:
    if name not in known:
      raise ValueError(f'the trace has an operation {name!r} that the program '
                       'has not: it is of another one')
    kind, flops = known[name]
    if kind:
      before = found.get(kind, Kind(0.0, 0.0))
      found[kind] = Kind(before.took_s + took_s, before.flops + flops)
  return dict(sorted(found.items(), key=lambda item: -item[1].took_s))


def _kind(module, instructions, one, vocabulary) -> tuple[str, float]:
  """'' for what only calls others, which are traced themselves."""
  if one.op in text.OUTER:
    return '', 0.0
  bodies = [instructions] if one.op == 'dot' else [
      module.computations[name] for name in text.called(one)]
  inside = [one] if one.op == 'dot' else sum(bodies, [])
  products = [i for i in inside if i.op == 'dot']
  if not products:
    return one.op, 0.0
  shapes = {i.name: i.shape for body in bodies for i in body}
  sizes = {size for i in products
           for shape in (i.shape, *(shapes[name] for name in i.operands))
           for _, sizes in text.arrays(shape) for size in sizes}
  flops = sum(flops_lib.of_instruction(i, shapes) for i in products)
  if vocabulary in sizes:
    return 'products with the vocabulary', flops
  if any('lhs_batch_dims' in i.rest for i in products):
    return 'products with a batch', flops
  return 'products with weights', flops


def traced(run: Callable) -> list[tuple[str, float]]:
  """Name and seconds of each of XLA's operations, of one run."""
  with tempfile.TemporaryDirectory() as folder:
    with jax.profiler.trace(folder):
      jax.block_until_ready(run())
    [path] = pathlib.Path(folder).glob('plugins/profile/*/*.xplane.pb')
    planes = jax.profiler.ProfileData.from_file(str(path)).planes
    events = [(dict(event.stats).get('hlo_op'), event.duration_ns / 1e9)
              for plane in planes for line in plane.lines
              for event in line.events]
  return [event for event in events if event[0]]


def main():
  """Prints a line for each kind of operation of both programs."""
  os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:1])
  build = pathlib.Path(flags.FLAGS.build).absolute()
  work, _ = compare.prepared(build)
  side = ours.Ours(work)
  print(machine.describe(1))
  for name, (program, run) in side.programs().items():
    took_s = [timing.timed(run)(n) for n in range(1 + flags.FLAGS.rounds)][1:]
    module = text.read(program)
    found = kinds(module, traced(run), side.model.vocab_size)
    total_s = sum(kind.took_s for kind in found.values())
    print(f'{name}: {numbers.spread(took_s)} s; when traced, {total_s:.3g} s')
    for what, kind in found.items():
      if kind.took_s >= total_s / 100:
        rate = (f', {kind.flops / kind.took_s / 1e9:.0f} GFLOP/s'
                if kind.flops else '')
        print(f'  {what:<30} {kind.took_s:.3g} s, '
              f'{100 * kind.took_s / total_s:.0f}%{rate}')


if __name__ == '__main__':
  door.run(main, lambda: compare.define(()))
