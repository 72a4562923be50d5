"""Parameters as they lie in files: what is not asked for is not read.

The readers of file formats (`hf`, `gguf`) describe a model as `Model`: its
config and, for each parameter of ours, its layers as they can be read. `load`
puts them on a mesh; each process reads what its own devices hold.
"""

from collections.abc import Callable
from collections.abc import Iterable
import dataclasses
from typing import Any

from flax import traverse_util
import jax
import numpy as np

from score_jax import config as config_lib
from score_jax import types
from score_jax.models import decoder
from score_jax.models import families


@dataclasses.dataclass(frozen=True)
class Stored:
  """One parameter in a file.

  Attributes:
    names: the tensors it is made of, one a layer if `stacked`.
    shape: ours, with the layers in front if `stacked`.
    dtype: as stored.
    read: from the number of a tensor in `names` to its array, as one layer of
      our shape; the best is a view of a mapped file.
    stacked: whether there is an axis of layers.
  """

  names: tuple[str, ...]
  shape: tuple[int, ...]
  dtype: np.dtype
  read: Callable[[int], np.ndarray]
  stacked: bool

  def __getitem__(self, index: tuple[slice, ...]) -> np.ndarray:
    """A slice of the parameter, read and copied.

    Raises:
      ValueError: it has numbers that are not finite.
    """
    if not self.stacked:
      return self.part(0, index)
    layers, *rest = index
    numbers = range(len(self.names))[layers]
    sizes = [len(range(*part.indices(size)))
             for part, size in zip(rest, self.shape[1:], strict=True)]
    out = np.empty((len(numbers), *sizes), self.dtype)
    for i, number in enumerate(numbers):
      out[i] = self.part(number, tuple(rest))
    return out

  def part(self, number: int, index: Any = ...) -> np.ndarray:
    """A slice of one tensor, likewise."""
    part = np.ascontiguousarray(self.read(number)[index])
    # In pieces: bfloat16 is widened to be tested.
    flat = part.reshape(-1)
    for start in range(0, flat.size, 2**22):
      piece = flat[start : start + 2**22]
      if not np.isfinite(piece.astype(np.float32, copy=False)).all():
        raise ValueError(
            f'{self.names[number]} has weights that are not finite')
    return part


@dataclasses.dataclass(frozen=True)
class Model:
  """A model in a file or folder.

  Attributes:
    where: its path.
    config: its fields, up to `max_positions`; the others are defaults.
    dtype: of most of its weights, as stored: 'bfloat16', 'float16', 'float32'.
    params: by path.
    remarks: lines about the files that a user should read.
  """

  where: str
  config: config_lib.ModelConfig
  dtype: str
  params: dict[tuple[str, ...], Stored]
  remarks: tuple[str, ...] = ()


def with_fields(
    model: config_lib.ModelConfig, found: config_lib.ModelConfig
) -> config_lib.ModelConfig:
  """`model` with the fields that belong to the weights taken from `found`."""
  return dataclasses.replace(model, **{
      name: getattr(found, name) for name in families.MODEL_FIELDS})


def load(
    model: Model, config: config_lib.ModelConfig, shardings: types.Params
) -> types.Params:
  """The parameters on the mesh, in the dtypes of `decoder.stored_dtype`.

  Args:
    model: the file.
    config: decides the dtypes.
    shardings: a NamedSharding for each parameter without adapters.

  Raises:
    ValueError: weights that are not finite, with the file and the tensor.
  """

  def array(path, where):
    stored = model.params[path]
    dtype = decoder.stored_dtype(config, path[-1])
    fetch = lambda index: stored[_slices(index, stored.shape)].astype(
        dtype, copy=False)
    return jax.make_array_from_callback(stored.shape, where, fetch, dtype=dtype)

  flat = traverse_util.flatten_dict(shardings)
  try:
    return traverse_util.unflatten_dict(
        {path: array(path, where) for path, where in flat.items()})
  except ValueError as error:
    raise ValueError(f'{model.where}: {error}') from error


def whole(stored: Stored) -> np.ndarray:
  """All of a parameter, as stored."""
  return stored[tuple(slice(0, size) for size in stored.shape)]


def _slices(index, shape):
  return tuple(slice(*part.indices(size)) for part, size in zip(index, shape))


def check_tensors(
    where: str,
    expected: dict[str, tuple[int, ...]],
    found: dict[str, tuple[int, ...]],
    what: str,
):
  """ValueError that lists all that is wrong with the tensors of a file.

  Args:
    where: its path.
    expected: name to shape.
    found: likewise, of the file.
    what: the model that the file says it is.
  """
  wrong = [f'{name} has shape {found[name]}, not {shape}'
           for name, shape in expected.items()
           if name in found and found[name] != shape]
  problems = [
      ('missing', sorted(expected.keys() - found)),
      ('unknown', sorted(found.keys() - expected)),
      ('of another shape', wrong),
  ]
  problems = [f'{kind}: {listed(names)}'
              for kind, names in problems if names]
  if problems:
    raise ValueError(f'{where}: the tensors are not those of {what}; '
                     f'{"; ".join(problems)}')


def listed(names: Iterable[str], most: int = 10) -> str:
  """Join names with commas; after `most` of them only their count follows."""
  names = list(names)
  rest = len(names) - most
  more = f' and {rest} more' if rest > 0 else ''
  return ', '.join(names[:most]) + more


def most_common_dtype(params: Iterable[Stored]) -> str:
  """The dtype of most numbers."""
  sizes: dict[str, int] = {}
  for stored in params:
    name = np.dtype(stored.dtype).name
    sizes[name] = sizes.get(name, 0) + int(np.prod(stored.shape))
  return max(sizes, key=sizes.get)


def our_shape(row: families.Tensor, config: Any) -> tuple[int, ...]:
  """Shape of a whole parameter: that of a layer, turned, under the layers."""
  empty = np.broadcast_to(np.int8(0), row.shape)
  shape = families.to_ours(row, empty, config.head_dim).shape
  return (config.num_layers, *shape) if '{}' in row.name else shape
