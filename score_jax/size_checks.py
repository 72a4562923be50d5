"""Refuse batches that cannot fit the devices, before anything is compiled.

The bounds are below what a run really takes: the keys and values of the rows
that are sampled together, and the input of one layer for the rows of a
micro-batch. A batch that passes may still be too large; `--mode=compile` and
docs/memory.md tell more.
"""

from collections.abc import Iterator
import os

from jax.sharding import Mesh
import numpy as np

from score_jax import config as config_lib
from score_jax import types


def check(config: config_lib.Config, layout: types.Layout, mesh: Mesh):
  """Check that the batches of all stages can fit the devices.

  Args:
    config: the run's.
    layout: of the longest sequence.
    mesh: the run's devices, of which one's memory is asked for.

  Raises:
    ValueError: a batch needs more than a device has; the message names the
      fields and both sizes in GiB.
  """
  there = device_bytes(mesh)
  ways = mesh.shape['data'] * mesh.shape['fsdp']
  for what, rows, bytes_a_row in _batches(config, layout, mesh):
    needed = rows / ways * bytes_a_row
    if needed > there:
      raise ValueError(
          f'{what}: {rows} rows need at least {needed / 2**30:.3g} GiB on each '
          f'device, and a device has {there / 2**30:.3g} GiB; lower them')


def _batches(config, layout, mesh) -> Iterator[tuple[str, float, float]]:
  """Yield fields, rows on all devices, and least bytes of a row."""
  model, rollout = config.model, config.rollout
  heads = model.num_kv_heads / mesh.shape['tensor']
  cache_a_slot = (2 * model.num_layers * heads * model.head_dim
                  * np.dtype(_numpy(model.dtype)).itemsize)
  attempts = layout.slots - layout.prompt
  rows = rollout.prompts * rollout.samples
  yield ('config.rollout.prompts x samples / parts', rows // rollout.parts,
         cache_a_slot * attempts)
  # Ids, masks and log-probs of the whole step.
  yield 'config.rollout.prompts x samples', rows, 16 * layout.slots
  yield ('config.evaluation.batch_size', config.evaluation.batch_size,
         cache_a_slot * layout.slots)
  input_of_layer = layout.slots * model.width * 4
  for name in config_lib.STAGES:
    stage = getattr(config, name)
    total = config.base.batch_size if name == 'base' else rows
    if stage.steps and (name != 'base' or not model.checkpoint):
      yield (f'rows of a micro-batch (config.{name}.micro_batches)',
             total // stage.micro_batches, input_of_layer)


def device_bytes(mesh: Mesh) -> int:
  """Return the memory of a device; on CPUs its share of the machine's."""
  device = mesh.local_devices[0]
  stats = device.memory_stats() or {}
  if limit := stats.get('bytes_limit'):
    return limit
  pages = os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE')
  return pages // len(mesh.local_devices)


def _numpy(dtype):
  return 'float16' if dtype == 'bfloat16' else dtype
