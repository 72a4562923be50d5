"""Where arrays live: the mesh, and one table from logical to mesh axes.

Model code names what an axis means ('embed', 'heads'); this table alone says
over which devices it is split. Parameters are split over `fsdp` along their
width and over `tensor` along heads, MLP and vocabulary; rows of a batch over
`data` and `fsdp`. The sampler reads all weights at every token, so its copy of
them is whole along the width: nothing is gathered while it decodes.
"""

import math
from typing import Any

import jax
from jax.experimental import mesh_utils
from jax.sharding import AxisType
from jax.sharding import Mesh
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec
import numpy as np

from score_jax import config as config_lib

AXES = ('data', 'fsdp', 'tensor')

LOGICAL_AXES = {
    'batch': ('data', 'fsdp'),
    'layers': None,
    'embed': 'fsdp',
    'heads': 'tensor',
    'kv_heads': 'tensor',
    'head_dim': None,
    'mlp': 'tensor',
    'vocab': 'tensor',
    None: None,
}
SAMPLER_AXES = LOGICAL_AXES | {'embed': None}
"""The table of the sampler's own copy of the weights."""


def make_mesh(config: config_lib.MeshConfig, devices=None) -> Mesh:
  """A mesh with axes data, fsdp, tensor over all devices.

  Devices of several slices, which a slow network joins, are told apart along
  the data axis alone.

  Raises:
    ValueError: the product of the axes is not the number of devices, or data
      cannot be split over the slices.
  """
  devices = jax.devices() if devices is None else devices
  sizes = [config.data, config.fsdp, config.tensor]
  if sizes.count(-1) > 1 or any(s == 0 or s < -1 for s in sizes):
    raise ValueError(
        f'config.mesh {dict(zip(AXES, sizes))}: axes must be positive, and at '
        'most one may be -1 (the devices that are left)'
    )
  known = math.prod(s for s in sizes if s != -1)
  sizes = [len(devices) // known if s == -1 else s for s in sizes]
  if math.prod(sizes) != len(devices):
    raise ValueError(
        f'config.mesh {dict(zip(AXES, sizes))} does not fit '
        f'{len(devices)} devices: the product of its axes must be that number'
    )
  slices = len({getattr(d, 'slice_index', None) for d in devices})
  if sizes[0] % slices:
    raise ValueError(
        f'config.mesh.data is {sizes[0]}, but data is what is split over the '
        f'{slices} slices; use a multiple of {slices}')
  within = (sizes[0] // slices, *sizes[1:])
  # Splitting an axis of the machine allows any sizes, such as 64 x 4 on 16x16.
  grid = (
      mesh_utils.create_device_mesh(
          within, devices, allow_split_physical_axes=True)
      if slices == 1 else
      mesh_utils.create_hybrid_device_mesh(
          within, (slices, 1, 1), devices, allow_split_physical_axes=True))
  return Mesh(grid, AXES, axis_types=(AxisType.Auto,) * 3)


def check_batch(mesh: Mesh, what: str, rows: int):
  """ValueError unless `rows` can be split evenly over the batch axes."""
  among = ways('batch', mesh)
  if rows % among:
    lower = rows // among * among
    choices = [n for n in (lower, lower + among) if n]
    raise ValueError(
        f'{what} {rows} is not divisible by {among}, the devices along mesh '
        f"axes 'data' and 'fsdp'; use {' or '.join(map(str, choices))}"
    )


def check_params(mesh: Mesh, abstract: Any, axes: Any):
  """ValueError unless every parameter axis can be split over its mesh axis."""

  def check(path, leaf, names):
    for size, name in zip(leaf.shape, names, strict=True):
      axis = LOGICAL_AXES[name]
      if axis and size % mesh.shape[axis]:
        name_of = jax.tree_util.keystr(path, simple=True, separator='/')
        raise ValueError(
            f'parameter {name_of}: axis {name!r} of size {size} is not '
            f'divisible by the {mesh.shape[axis]} devices of mesh axis '
            f'{axis!r}; change config.mesh.{axis}'
        )

  jax.tree_util.tree_map_with_path(check, abstract, axes)


def spec(*names: str | None, table=LOGICAL_AXES) -> PartitionSpec:
  """The PartitionSpec of an array whose axes have these logical names."""
  return PartitionSpec(*(table[name] for name in names))


def named(
    mesh: Mesh, *names: str | None, table=LOGICAL_AXES
) -> NamedSharding:
  """The NamedSharding of an array whose axes have these logical names."""
  return NamedSharding(mesh, spec(*names, table=table))


def tree_shardings(mesh: Mesh, axes: Any, table=LOGICAL_AXES) -> Any:
  """A tree of tuples of logical names as a tree of NamedShardings."""
  return jax.tree.map(
      lambda names: named(mesh, *names, table=table), axes,
      is_leaf=lambda x: isinstance(x, tuple),
  )


def constrain(x: jax.Array, *names: str | None) -> jax.Array:
  """Asks the compiler to lay `x` out so, where a mesh is set."""
  if jax.sharding.get_abstract_mesh().empty:
    return x
  return jax.lax.with_sharding_constraint(x, spec(*names))


def check_set(mesh: Mesh):
  """ValueError unless a mesh of several devices is set.

  Without it a program asks for no layout, and every device computes all rows.
  """
  if mesh.size > 1 and jax.sharding.get_abstract_mesh().empty:
    raise ValueError(
        f'a program for {mesh.size} devices was called where no mesh is set, '
        'so that each of them would do the work of all; call it inside `with '
        'jax.set_mesh(mesh):`')


def ways(name: str, mesh: Mesh | None = None) -> int:
  """Devices over which a mesh splits an axis: the one that is set, if None.

  1 where none is set.
  """
  mesh = mesh or jax.sharding.get_abstract_mesh()
  return 1 if mesh.empty else math.prod(
      mesh.shape[axis] for axis in np.atleast_1d(LOGICAL_AXES[name]))


def put(x: np.ndarray, where: NamedSharding) -> jax.Array:
  """A host array (the same on every host) onto the mesh."""
  return jax.make_array_from_callback(
      x.shape, where, lambda index: x[index]
  )


def put_rows(x: np.ndarray, mesh: Mesh) -> jax.Array:
  """A host array onto the mesh, its rows split over the batch axes."""
  return put(x, named(mesh, 'batch'))
