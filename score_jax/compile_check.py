"""Whether a run fits a TPU slice, and what its programs cost, without a TPU.

    python -m score_jax.main --config=experiments/pods.py:gemma2_2b_v5e \
        --mode=compile --topology=v5e:4x4 [--slices=N]

The real TPU compiler (`pip install -e '.[tpu]'`) compiles every program of the
stages of SCoRe from shapes alone; no array is made, and no weights, task or
tokenizer are read. How to read what it says is in docs/pods.md.
"""

import math
import pathlib
import re
import tempfile
import time
from typing import Any

import jax
from jax.sharding import Mesh

from score_jax import arithmetic
from score_jax import compile_lines
from score_jax import compile_programs
from score_jax import config as config_lib
from score_jax import files
from score_jax import run as run_lib
from score_jax import sharding
from score_jax import tpu_slices
from score_jax.hlo import collectives
from score_jax.hlo import faults
from score_jax.hlo import flops
from score_jax.hlo import text
from score_jax.hlo import traffic
from score_jax.models import decoder

_GIB = 2**30


def measure(
    program: compile_programs.Program, config: config_lib.Config, mesh: Mesh,
    chip: tpu_slices.Chip
) -> dict[str, Any]:
  """Compiles a program; what it takes of a device, for JSON.

  `fits` is false if it and what stays beside it need more than the HBM.
  """
  began = time.monotonic()
  hbm = int(chip.hbm_gib * _GIB)
  result = {'name': program.name, 'hbm': hbm, 'arguments': program.arguments,
            'resident': program.resident, 'cache': program.cache}
  with tempfile.TemporaryDirectory() as folder, jax.set_mesh(mesh):
    try:
      compiled = program.lower().compile(compiler_options={
          'xla_dump_to': folder, 'xla_dump_hlo_as_text': True})
    except jax.errors.JaxRuntimeError as error:
      if 'RESOURCE_EXHAUSTED' not in str(error):
        raise
      result |= {'fits': False, 'faults': [], 'reason': _reason(error)}
    else:
      result |= _memory(program, compiled, hbm)
      # What conditionals choose is attention with a window or without.
      module = text.read(compiled.as_text(),
                         arithmetic.local_and_global(config.model))
      result |= _costs(program, module, config, mesh, chip)
    largest = [] if result['fits'] else largest_buffers(pathlib.Path(folder))
  return result | {'largest': largest, 'compile_s': time.monotonic() - began}


def _reason(error):
  found = re.search(r'Ran out of memory[^\n]*', str(error))
  return found.group() if found else str(error).splitlines()[0]


def _memory(program, compiled, hbm) -> dict[str, Any]:
  peak = compiled.memory_analysis().peak_memory_in_bytes
  needed = peak + sum(program.resident.values())
  given = sum(program.arguments.values()) + program.cache
  return {'fits': needed <= hbm, 'peak': peak, 'needed': needed,
          'temporaries': max(peak - given, 0), 'spare': 1 - needed / hbm,
          'reason': '' if needed <= hbm else (
              'it compiles alone, but not beside what stays')}


def _costs(program, module, config, mesh, chip) -> dict[str, Any]:
  found, accessed = flops.flops(module), traffic.accessed(module)
  moved = collectives.moved(module, mesh)
  sent = collectives.sent(moved, mesh)
  return {
      'flops': found * mesh.size, 'model_flops': program.flops,
      'bytes_accessed': accessed,
      'compute_s': found / chip.flops, 'memory_s': accessed / chip.bandwidth,
      'links_s': sum(sent.values()) / chip.links, 'sent_bytes': sent,
      'least_decode_bytes': program.decode_bytes,
      'least_fsdp_bytes': program.fsdp_bytes,
      'decode_bytes': {
          attempt: traffic.of_loop(module, body)
          for attempt, body in text.attempt_loops(module).items()},
      'collectives': [
          {'kind': kind, 'axis': axis, 'count': count, 'bytes': size}
          for (kind, axis), (count, size) in sorted(moved.items())],
      'unknown_loops': module.unknown_loops,
      # The one copy is what may gather the whole model.
      'faults': faults.faults(module, _sizes(config, mesh, program.scored))
                if program.scored else []}


def _sizes(config, mesh, scored) -> faults.Sizes:
  model = config.model
  where = sharding.tree_shardings(mesh, decoder.logical_axes(model),
                                  sharding.SAMPLER_AXES)
  blocks = jax.tree.map(
      lambda leaf, to: math.prod(to.shard_shape(leaf.shape)),
      decoder.abstract(model)['blocks'], where['blocks'])
  matrices = [size for path, size in jax.tree.leaves_with_path(blocks)
              if path[-1].key == 'kernel']
  axes = {'vocab': model.vocab_size, 'embed': model.width}
  both = {name: frozenset({size, sharding.named(mesh, name).shard_shape(
      (size,))[0]}) for name, size in axes.items()}
  return faults.Sizes(
      model.num_layers, both['vocab'], both['embed'], scored,
      min(matrices) // model.num_layers, sum(matrices))


def largest_buffers(folder: pathlib.Path, most: int = 5) -> list[str]:
  """The largest pieces of a device's HBM, from what the compiler left behind.

  Args:
    folder: with its report, a line for each piece, the largest first.
    most: how many.

  Returns:
    For each its size and the largest of the arrays that lie in it in turn.
  """
  found = []
  for path in sorted(folder.glob('*memory-usage-report.txt')):
    pieces, _, _ = path.read_text().partition('\n\n')  # Of HBM come first.
    for size, shapes in re.findall(
        r';\s*([\d.]+ ?[KMG]iB);[^;]*;[^;]*; (.*)', pieces)[:most]:
      largest = max(text.arrays(shapes), key=lambda a: text.num_bytes(*a))
      found.append(f'{text.named(largest)} {size}')
  return found


def check(
    config: config_lib.Config, folder: pathlib.Path, topology: str, slices: int
) -> str:
  """Compiles every program for the slices, prints, and writes compile.json.

  Args:
    config: of the run.
    folder: where the file goes.
    topology: such as 'v5e:16x16'.
    slices: how many of it.

  Returns:
    What is wrong, or ''.

  Raises:
    ValueError: the topology is not known, or the config does not divide by it.
  """
  found = tpu_slices.devices(topology, slices)
  mesh = sharding.make_mesh(config.mesh, found)
  run_lib.check_devices(config, mesh)
  chip = tpu_slices.chip(topology)
  record = {'name': config.name, 'topology': topology, 'slices': slices,
            'chips': len(found), 'product': tpu_slices.product_name(topology),
            'mesh': dict(mesh.shape), 'parts': config.rollout.parts,
            'splice_tokens': arithmetic.SPLICE,
            'programs': []}
  print(compile_lines.heading(record), flush=True)
  files.make_folder(folder)
  for program in compile_programs.programs(config, mesh):
    result = measure(program, config, mesh, chip)
    print(compile_lines.described(result), flush=True)
    record['programs'].append(result)
    # After each, since one can take minutes.
    files.write_json(folder / 'compile.json', record)
  return '; '.join(_wrong(record['programs']))


def _wrong(results) -> list[str]:
  lines = []
  for result in results:
    if not result['fits']:
      lines.append(f'{result["name"]} does not fit')
    lines += [f'{result["name"]}: {fault}' for fault in result['faults']]
  return lines
