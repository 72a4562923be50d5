"""Whether a run fits a TPU slice, and what its programs cost, without a TPU.

    python -m score_jax.main --config=experiments/pods.py:gemma2_2b_v5e \
        --mode=compile --topology=v5e:4x4 [--slices=N]

The real TPU compiler (`pip install -e '.[tpu]'`) compiles every program of the
stages of SCoRe from shapes alone; no array is made, and no weights, task or
tokenizer are read. Instructions between attempts are taken as 64 tokens.
"""

from collections.abc import Callable
import dataclasses
import importlib.util
import json
import math
import os
import pathlib
import re
import time
from typing import Any

import jax
from jax.experimental import topologies
import jax.numpy as jnp
from jax.sharding import Mesh

from score_jax import actor
from score_jax import config as config_lib
from score_jax import hlo_costs
from score_jax import protocol
from score_jax import run as run_lib
from score_jax import sharding
from score_jax import states as states_lib
from score_jax import train
from score_jax import types
from score_jax.models import decoder

_FLAT = '2x2 2x4 4x4 4x8 8x8 8x16 16x16'
_CUBE = '2x2x1 2x2x2 2x2x4 2x4x4 4x4x4 4x4x8 4x8x8 8x8x8'
TOPOLOGIES = {'v4': _CUBE, 'v5e': _FLAT, 'v5p': _CUBE, 'v6e': _FLAT}
# GiB that the compiler lets a program of one chip use.
HBM_GIB = {'v4': 30.75, 'v5e': 15.75, 'v5p': 95.74, 'v6e': 31.25}
SPLICE = 64  # Tokens of an instruction between attempts.
SPARE = 0.10  # Of the HBM, to be left.
_GIB = 2**30


@dataclasses.dataclass(frozen=True)
class Program:
  """One program of a run.

  Attributes:
    name: such as 'update of stage1'.
    lower: makes jax's `Lowered` of it.
    arguments: bytes on a device, by kind.
    resident: bytes that stay on the device while it runs, by kind, and are
      none of its arguments.
    cache: bytes of keys and values on a device; 0 in an update.
    flops: the model's own count, of all devices.
    decode_bytes: least that a device reads for a token of each of its rows.
  """

  name: str
  lower: Callable[[], Any]
  arguments: dict[str, int]
  resident: dict[str, int]
  cache: int
  flops: float
  decode_bytes: int


def devices(topology: str, slices: int) -> list:
  """The devices of a slice that need not exist.

  Raises:
    ValueError: it is not known, or the compiler is not installed.
  """
  kind, _, shape = topology.partition(':')
  if shape not in TOPOLOGIES.get(kind, '').split():
    known = '; '.join(f'{k}:' + f' {k}:'.join(v.split())
                      for k, v in TOPOLOGIES.items())
    raise ValueError(f'--topology={topology} is not known; known: {known}')
  if slices < 1:
    raise ValueError(f'--slices={slices}: there is at least 1')
  if not importlib.util.find_spec('libtpu'):
    raise ValueError('the TPU compiler is not installed: '
                     "pip install -e '.[tpu]'")
  for name, value in (('TPU_SKIP_MDS_QUERY', '1'),  # No cloud to ask here.
                      ('ALLOW_MULTIPLE_LIBTPU_LOAD', '1'),
                      ('TPU_STDERR_LOG_LEVEL', '3'),
                      ('TPU_MIN_LOG_LEVEL', '3')):
    os.environ.setdefault(name, value)
  others = {'num_slices': slices} if slices > 1 else {}
  if kind == 'v4':  # One device a chip, as on v5p.
    others['chip_config_name'] = 'megacore'
  return topologies.get_topology_desc(
      platform='tpu', topology_name=topology, **others).devices


def product_name(topology: str) -> str:
  """The name a slice is sold by: v4 and v5p count cores, two a chip."""
  kind, shape = topology.split(':')
  chips = math.prod(map(int, shape.split('x')))
  names = {'v5e': 'v5litepod', 'v4': 'v4', 'v5p': 'v5p', 'v6e': 'v6e'}
  return f'{names[kind]}-{chips * (2 if kind in ("v4", "v5p") else 1)}'


def device_bytes(tree: Any) -> int:
  """Bytes of the arrays on one device, those in the host's memory left out."""
  return sum(
      math.prod(leaf.sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize
      for leaf in jax.tree.leaves(tree)
      if leaf.sharding.memory_kind in (None, 'device'))


def layout_of(config: config_lib.Config) -> types.Layout:
  """The longest sequence."""
  attempts = config.rollout.attempt_tokens
  return types.Layout(config.rollout.prompt_buckets[-1], attempts,
                      (SPLICE + 1,) * (len(attempts) - 1))


def cache_bytes(config: config_lib.Config, mesh: Mesh, rows: int) -> int:
  """Bytes of the keys and values of so many rows, on one device."""
  model = config.model
  shape = (model.num_layers, rows, model.num_kv_heads,
           layout_of(config).slots, model.head_dim)
  where = sharding.named(mesh, 'layers', 'batch', 'kv_heads', None, 'head_dim')
  size = jnp.dtype(model.dtype).itemsize
  return 2 * math.prod(where.shard_shape(shape)) * size


def update_flops(config: config_lib.Config) -> float:
  """Of an update's matrix products: two a weight and token, and attention.

  Forward, once more where layers are recomputed, and twice backward for the
  policy; forward for the reference. Scores over the vocabulary are computed
  again in the backward pass, the reference's too. Attention is counted over
  causal pairs, half of what plain attention computes.
  """
  model, layout = config.model, layout_of(config)
  rows = config.rollout.prompts * config.rollout.samples
  passes = (3 if model.remat == 'none' else 4) + 1
  pairs = layout.slots * (layout.slots + 1) / 2
  return rows * (
      passes * (2 * _block_weights(model) * layout.slots
                + _attention(model) * pairs)
      + 6 * 2 * model.width * model.vocab_size * sum(layout.attempts))


def sampler_flops(config: config_lib.Config, prompts: int, samples: int):
  """Of the sampler, if no attempt ends early; each prompt is read once."""
  model, layout = config.model, layout_of(config)
  rows, prompt = prompts * samples, layout.prompt
  read = layout.slots - prompt
  pairs = read * (prompt + layout.slots + 1) / 2
  once = prompt * (prompt + 1) / 2
  return (2 * _block_weights(model) * (prompts * prompt + rows * read)
          + _attention(model) * (prompts * once + rows * pairs)
          + rows * sum(layout.attempts) * 2 * model.width * model.vocab_size)


def _block_weights(model):
  """Weights of all layers that multiply activations."""
  blocks = decoder.abstract(model)['blocks']
  return sum(leaf.size for path, leaf in jax.tree.leaves_with_path(blocks)
             if path[-1].key == 'kernel')


def _attention(model):
  """Of a pair of a query and a key, in all layers."""
  return 4 * model.num_layers * model.num_heads * model.head_dim


def programs(config: config_lib.Config, mesh: Mesh) -> list[Program]:
  """Every program of Stages I and II, as the run itself makes it."""
  states = states_lib.States(config, mesh)
  rollout = config.rollout
  lora = bool(config.model.lora.rank)
  reference = states.reference()
  between = _placed(states.state('stage1'), states.state_places('stage1'))
  kept = {'optimizer': device_bytes(between.opt_state),
          'reference': 0 if lora else device_bytes(reference)}
  found = [
      _sampler('sampler', states, kept, rollout.prompts // rollout.parts,
               rollout.samples, rollout.temperature)]
  names = ('stage1',) if config.stage == 'stage1' else ('stage1', 'stage2')
  found += [_update(states, stage, reference) for stage in names]
  return found + [
      _sampler('evaluation', states, kept,
               protocol.batch_size(config.evaluation, mesh, 1), 1, 0.0)]


def _placed(tree, where):
  return jax.tree.map(
      lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), tree,
      where)


def _sampler(name, states, kept, prompts, samples, temperature):
  config, mesh = states.config, states.mesh
  layout, rows = layout_of(config), prompts * samples
  place = lambda *names: sharding.named(mesh, *names)
  array = lambda shape, dtype, *names: jax.ShapeDtypeStruct(
      shape, dtype, sharding=place(*names))
  where = sharding.tree_shardings(mesh, decoder.logical_axes(config.model))
  params = _placed(decoder.abstract(config.model), where)
  key = jax.eval_shape(lambda: jax.random.key(0))
  given = (
      params, array((prompts, layout.prompt), jnp.int32, 'batch'),
      array((prompts, layout.prompt), jnp.bool, 'batch'),
      tuple(array((n - 1,), jnp.int32) for n in layout.splices),
      array((), key.dtype), array((), jnp.int32),
      array((rows,), jnp.int32, 'batch'))
  program = actor.sampler_program(config.model, mesh, (0,), 0)
  lower = lambda: program.lower(
      *given, samples=samples, attempt_tokens=layout.attempts,
      temperature=temperature)
  cache = cache_bytes(config, mesh, rows)
  cast = jax.eval_shape(lambda p: decoder.cast(config.model, p), params)
  weights = device_bytes(_placed(cast, where))
  return Program(name, lower, {'weights': device_bytes(params)}, kept, cache,
                 sampler_flops(config, prompts, samples), weights + cache)


def _update(states, stage, reference):
  config, mesh = states.config, states.mesh
  layout = layout_of(config)
  rows = config.rollout.prompts * config.rollout.samples
  array = lambda width, dtype: jax.ShapeDtypeStruct(
      (rows, width), dtype, sharding=sharding.named(mesh, 'batch'))
  slots = lambda dtype: array(layout.slots, dtype)
  batch = types.TrainBatch(
      slots(jnp.int32), slots(jnp.bool), slots(jnp.int32), slots(jnp.float32),
      array(len(layout.attempts), jnp.float32), layout)
  state = _placed(states.state(stage), states.state_places(stage))
  program = train.stage_program(states, stage)
  arguments = {'weights': device_bytes(state.params),
               'optimizer': device_bytes(state.opt_state),
               'reference': device_bytes(reference)}
  return Program(f'update of {stage}',
                 lambda: program.lower(state, reference, batch), arguments, {},
                 0, update_flops(config), 0)


def measure(program: Program, mesh: Mesh, hbm: int) -> dict[str, Any]:
  """Compiles a program; what it takes of a device, for JSON.

  `fits` is false if it and what stays beside it need more than the HBM.
  """
  began = time.monotonic()
  resident = sum(program.resident.values())
  result = {'name': program.name, 'hbm': hbm, 'arguments': program.arguments,
            'resident': program.resident, 'cache': program.cache}
  with jax.set_mesh(mesh):
    lowered = program.lower()
    try:
      compiled = lowered.compile()
    except jax.errors.JaxRuntimeError as error:
      if 'RESOURCE_EXHAUSTED' not in str(error):
        raise
      return result | {
          'fits': False, 'reason': _reason(error),
          'largest': largest_arrays(lowered.as_text()),
          'compile_s': time.monotonic() - began}
  memory, analysis = compiled.memory_analysis(), compiled.cost_analysis()
  costs = hlo_costs.costs(compiled.as_text(), mesh)
  peak = memory.peak_memory_in_bytes
  given = sum(program.arguments.values())
  fits = peak + resident <= hbm
  return result | {
      'fits': fits, 'peak': peak, 'needed': peak + resident,
      'temporaries': max(peak - given - program.cache, 0),
      'spare': 1 - (peak + resident) / hbm,
      'reason': '' if fits else 'it compiles alone, but not beside what stays',
      'largest': [] if fits else largest_arrays(lowered.as_text()),
      'flops': costs.flops * mesh.size, 'model_flops': program.flops,
      'unknown_loops': costs.unknown_loops,
      # Of XLA: the body of a loop counts once.
      'bytes_accessed_loops_once': analysis['bytes accessed'],
      'least_decode_bytes': program.decode_bytes,
      'collectives': [
          {'kind': kind, 'axis': axis, 'count': count, 'bytes': size}
          for (kind, axis), (count, size) in sorted(costs.collectives.items())],
      'compile_s': time.monotonic() - began}


def _reason(error):
  found = re.search(r'Ran out of memory[^\n]*', str(error))
  return found.group() if found else str(error).splitlines()[0]


def largest_arrays(text: str, most: int = 5) -> list[str]:
  """The largest arrays of a program before it is split over devices.

  Args:
    text: StableHLO.
    most: how many.
  """
  sizes = {}
  for dims, dtype in re.findall(r'tensor<((?:\d+x)+)([a-z]+\d+)>', text):
    shape = tuple(map(int, dims.split('x')[:-1]))
    name = {'i1': 'pred'}.get(dtype, dtype)
    bits = 8 if dtype == 'i1' else int(re.search(r'\d+$', dtype).group())
    sizes[f'{name}{list(shape)}'] = math.prod(shape) * bits // 8
  ranked = sorted(sizes, key=sizes.get, reverse=True)[:most]
  return [f'{name} {sizes[name] / _GIB:.2f} GiB' for name in ranked]


def check(
    config: config_lib.Config, folder: pathlib.Path, topology: str, slices: int
) -> bool:
  """Compiles every program for the slices, prints, and writes compile.json.

  Args:
    config: of the run.
    folder: where the file goes.
    topology: such as 'v5e:16x16'.
    slices: how many of it.

  Returns:
    Whether all of it fits.

  Raises:
    ValueError: the topology is not known, or the config does not divide by it.
  """
  found = devices(topology, slices)
  mesh = sharding.make_mesh(config.mesh, found)
  run_lib.check_devices(config, mesh)
  kind = topology.split(':')[0]
  hbm = int(HBM_GIB[kind] * _GIB)
  print(f'{topology} x {slices}: {len(found)} chips, {slices} x '
        f'{product_name(topology)}, {HBM_GIB[kind]} GiB each; mesh '
        f'{dict(mesh.shape)}', flush=True)
  record = {'topology': topology, 'slices': slices, 'chips': len(found),
            'product': product_name(topology), 'mesh': dict(mesh.shape),
            'splice_tokens': SPLICE, 'programs': []}
  folder.mkdir(parents=True, exist_ok=True)
  for program in programs(config, mesh):
    result = measure(program, mesh, hbm)
    print(described(result), flush=True)
    record['programs'].append(result)
    # After each, since one can take minutes.
    (folder / 'compile.json').write_text(json.dumps(record, indent=2) + '\n')
  return all(result['fits'] for result in record['programs'])


def described(result: dict[str, Any]) -> str:
  """The lines on one program; GiB are of one device."""
  gib = lambda x: f'{x / _GIB:.2f}'
  kinds = {**result['arguments'], 'cache': result['cache'],
           **{f'{k} (stays)': v for k, v in result['resident'].items()}}
  if 'peak' in result:
    kinds['temporaries'] = result['temporaries']
  parts = ', '.join(f'{k} {gib(v)}' for k, v in kinds.items() if v)
  title = f'{result["name"]} ({result["compile_s"]:.0f} s): '
  lines = []
  if 'peak' not in result:
    lines.append(f'{title}DOES NOT FIT: {result["reason"]}')
  else:
    fits = 'fits' if result['fits'] else 'DOES NOT FIT'
    low = ', less than is to be left' if result['spare'] < SPARE else ''
    lines += [
        f'{title}{fits}: {gib(result["needed"])} of {gib(result["hbm"])} GiB, '
        f'{result["spare"]:.0%} spare{low}; peak {gib(result["peak"])}',
        f'  FLOPs {result["flops"]:.3g}, of the model '
        f'{result["model_flops"]:.3g}: '
        f'{result["flops"] / result["model_flops"]:.2f} times']
    if result['least_decode_bytes']:
      lines.append('  decode: weights and cache are '
                   f'{gib(result["least_decode_bytes"])} GiB a token')
    lines += [f'  {c["kind"]} over {c["axis"]}: {c["count"]} times, '
              f'{gib(c["bytes"])} GiB' for c in result['collectives']]
  lines.insert(1, f'  {parts}')
  if result['largest']:
    lines.append('  largest arrays, of all devices: '
                 + '; '.join(result['largest']))
  return '\n'.join(lines)
