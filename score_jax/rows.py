"""Rows of a batch that several hosts share: each reads and grades its own.

An array is split by rows over the devices of all hosts. What a host finds of
its own rows goes back onto the mesh as one array, and what is made of all rows
is made there: grades, texts and lengths do not travel between hosts.
"""

import functools

import jax
from jax.sharding import Mesh
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec
import numpy as np

from score_jax import sharding

_UNKNOWN = np.iinfo(np.int32).min


def mine(x: jax.Array) -> np.ndarray:
  """Numbers of the rows that are this process's own, rising.

  Every row is some process's and no two have the same one. Those that several
  hold alike are dealt out among them.
  """
  holders = {}
  for device, index in x.sharding.devices_indices_map(x.shape).items():
    part = index[0].indices(x.shape[0])[:2]
    holders.setdefault(part, set()).add(device.process_index)
  own = [np.arange(0)]
  for (start, stop), processes in sorted(holders.items()):
    dealt = np.array_split(np.arange(start, stop), len(processes))
    own += [rows for process, rows in zip(sorted(processes), dealt)
            if process == jax.process_index()]
  return np.concatenate(own)


def read(x: jax.Array, rows_N: np.ndarray) -> np.ndarray:
  """Rows of an array, all of them of those that this process holds."""
  if x.is_fully_addressable:
    return np.asarray(x)[rows_N]
  held = np.zeros(x.shape, x.dtype)
  for shard in x.addressable_shards:
    held[shard.index] = shard.data
  return held[rows_N]


def spread(
    found_NA: np.ndarray, rows_N: np.ndarray, total: int, mesh: Mesh
) -> jax.Array:
  """What every process found of its own rows as one array on the mesh.

  Args:
    found_NA: int32, of this process's rows.
    rows_N: their numbers, see `mine`.
    total: B, rows of all processes.
    mesh: of all processes.

  Returns:
    int32 [B, A], rows split over the batch axes. The lowest int32 where no
    process has found anything.
  """
  held_BA = np.full((total, found_NA.shape[1]), _UNKNOWN, np.int32)
  held_BA[rows_N] = found_NA
  # Devices of two hosts may hold one row, of which one host knows what it is.
  where = NamedSharding(
      mesh, PartitionSpec('tensor', sharding.LOGICAL_AXES['batch']))
  known_TBA = jax.make_array_from_callback(
      (mesh.shape['tensor'], *held_BA.shape), where,
      lambda index: held_BA[index[1:]][np.newaxis])
  return _known(sharding.named(mesh, 'batch'))(known_TBA)


@functools.cache
def _known(where):
  return jax.jit(lambda x: x.max(axis=0), out_shardings=where)


def everywhere(tree, mesh: Mesh):
  """Arrays on the mesh as arrays of the host, whole, on every process."""
  if jax.process_count() > 1:
    tree = _whole(sharding.named(mesh))(tree)
  return jax.device_get(tree)


@functools.cache
def _whole(where):
  return jax.jit(lambda tree: tree, out_shardings=where)
