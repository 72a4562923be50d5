"""Open the connections of collectives on CPUs while all processes wait.

On CPUs jax exchanges arrays by Gloo, which connects a group of devices at the
first collective among them and gives up after 30 s. One process may compile
for longer than another, so each group is connected here, right after a barrier,
by a program that is compiled already. Later collectives of the group wait.
TPUs and GPUs need none of this.
"""

from collections.abc import Iterator
import itertools

import jax
from jax.sharding import Mesh
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec
import numpy as np

from score_jax import hosts


def connect(mesh: Mesh):
  """Connect every group of devices that programs of `mesh` may use.

  Args:
    mesh: the mesh of the run, over the devices of all processes.
  """
  if not hosts.several() or mesh.devices.flat[0].platform != 'cpu':
    return
  devices = sorted(jax.devices(), key=lambda of: (of.process_index, of.id))
  by_process = np.asarray(devices).reshape(jax.process_count(), -1)
  kind = jax.sharding.AxisType.Auto
  # The second mesh is the one of `jax.experimental.multihost_utils`.
  for over in (mesh, Mesh(by_process, ('process', 'local'), (kind, kind))):
    for axes in _groups(over):
      _connect(over, axes)


def _groups(mesh: Mesh) -> Iterator[tuple[str, ...]]:
  """Yield each set of axes that has more than one device."""
  wide = [name for name, size in mesh.shape.items() if size > 1]
  for number in range(1, len(wide) + 1):
    yield from itertools.combinations(wide, number)


def _connect(mesh, axes):
  whole = PartitionSpec(mesh.axis_names)
  add = jax.shard_map(lambda x: jax.lax.psum(x, axes), mesh=mesh,
                      in_specs=whole, out_specs=whole, check_vma=False)
  ones = jax.make_array_from_callback(
      (mesh.size,), NamedSharding(mesh, whole),
      lambda index: np.ones(mesh.size, np.float32)[index])
  program = jax.jit(add).lower(ones).compile()
  hosts.barrier()
  jax.block_until_ready(program(ones))
