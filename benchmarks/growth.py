"""Time and memory of sampler and update as one size grows, on log-log plots.

    python -m benchmarks.growth [--axis=batch --axis=length]

Beside each line stands the exponent of the straight line through its points:
1 where it is linear. Of the programs that `--mode=compile` compiles, on this
machine, on arrays of zeros: the shortest of a few times, and the compiler's
temporaries on a device. Several devices are processors that one process
pretends to have: their times mean nothing, and are left out. Plots and numbers
are kept in BUILD/growth.
"""

import pathlib

from absl import flags
import jax
import jax.numpy as jnp
import matplotlib
import matplotlib.pyplot as plt

from benchmarks import machine
from benchmarks import numbers
from benchmarks import timing
from score_jax import compile_programs
from score_jax import config as config_lib
from score_jax import door
from score_jax import files
from score_jax import sharding

MOST_DEVICES = 8
AXES = {
    'batch': (4, 8, 16, 32),
    'length': (32, 64, 128, 256),
    'vocabulary': (4096, 8192, 16_384, 32_768),
    'layers': (2, 4, 8, 16),
    'attempts': (2, 3, 4, 6),
    'devices': (1, 2, 4, MOST_DEVICES),
}
"""Sizes along each axis; `config_of` has what the others are meanwhile."""


def config_of(axis: str, size: int) -> config_lib.Config:
  """A small run with one of its sizes set."""
  sizes = {'batch': 8, 'length': 64, 'vocabulary': 2048, 'layers': 4,
           'attempts': 2} | {axis: size}
  return config_lib.Config(
      model=config_lib.ModelConfig(
          vocab_size=sizes['vocabulary'], num_layers=sizes['layers'], width=128,
          num_heads=4, num_kv_heads=2, head_dim=32, mlp_width=384,
          tied_head=True),
      rollout=config_lib.RolloutConfig(
          prompts=sizes['batch'], samples=2,
          prompt_buckets=(sizes['length'],),
          attempt_tokens=(sizes['length'] // 2,) * sizes['attempts']),
      mesh=config_lib.MeshConfig(data=1, fsdp=-1))


def measure(config: config_lib.Config, devices: int, rounds: int) -> dict:
  """Seconds and bytes of sampler and update, by what is measured."""
  mesh = sharding.make_mesh(config.mesh, jax.devices()[:devices])
  found = {}
  for program in compile_programs.programs(config, mesh):
    if program.name not in ('sampler', 'update of stage2'):
      continue
    name = program.name.split()[0]
    with jax.set_mesh(mesh):
      lowered = program.lower()
    compiled = lowered.compile()
    found[f'{name}, bytes'] = compiled.memory_analysis().temp_size_in_bytes
    if devices == 1:
      found[f'{name}, seconds'] = min(
          timing.timed(compiled, *_zeros(lowered))(n) for n in range(rounds))
  return found


def _zeros(lowered):
  """Arguments of a program, which gives some of them up."""
  args, _ = lowered.args_info
  is_key = lambda x: jnp.issubdtype(x.dtype, jax.dtypes.prng_key)
  return jax.tree.map(
      lambda x: jax.random.key(0) if is_key(x) else jnp.zeros(x.shape, x.dtype),
      args)


def plot(axis: str, rows: dict[int, dict], path: pathlib.Path):
  """Draws what was measured along an axis, one line each."""
  figure, parts = plt.subplots(1, 2, figsize=(9, 4))
  for unit, part in zip(('seconds', 'bytes'), parts):
    for name, values in numbers.series(rows).items():
      if name.endswith(unit):
        e = numbers.exponent(list(rows), values)
        part.loglog(list(rows), values, 'o-', label=f'{name}: {e:.2f}')
    if not part.lines:  # Of several devices there are no times.
      part.set_axis_off()
      continue
    part.set_xlabel(axis)
    part.set_xticks(list(rows), list(rows), minor=False)
    part.legend()
  figure.savefig(path)
  plt.close(figure)


def _define():
  flags.DEFINE_multi_enum('axis', list(AXES), list(AXES), 'What grows.')
  flags.DEFINE_integer('rounds', 3, 'Of each time.', lower_bound=1)
  flags.DEFINE_string('build', 'build/benchmarks', 'Folder of what is made.')


def main():
  """Measures along every axis that is asked for; prints the exponents."""
  jax.config.update('jax_num_cpu_devices', MOST_DEVICES)
  matplotlib.use('agg')
  folder = pathlib.Path(flags.FLAGS.build) / 'growth'
  folder.mkdir(parents=True, exist_ok=True)
  print(machine.describe(2))
  for axis in flags.FLAGS.axis:
    rows = {}
    for size in AXES[axis]:
      devices = size if axis == 'devices' else 1
      rows[size] = measure(config_of(axis, size), devices, flags.FLAGS.rounds)
    files.write_json(folder / f'{axis}.json', rows)
    plot(axis, rows, folder / f'{axis}.png')
    for name, values in numbers.series(rows).items():
      print(f'{name} ~ {axis} ** {numbers.exponent(AXES[axis], values):.2f}: '
            + ', '.join(f'{value:.3g}' for value in values), flush=True)


if __name__ == '__main__':
  door.run(main, _define)
