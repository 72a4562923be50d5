"""Where a base model's weights come from, whatever their format.

    a Hugging Face folder   config.json, *.safetensors, tokenizer files
    a folder of PEFT        adapter_config.json, adapter_model.safetensors
    a GGUF file             sizes, weights and tokenizer in one
    a converted folder      model.json, weights/ (Orbax), tokenizer files
    a packaged name         see `models.variants.PACKAGED`
"""

from collections.abc import Iterator
import dataclasses
import functools
import hashlib
import math
import os
import pathlib
import sys

from flax import traverse_util
import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding
import numpy as np

from score_jax import checkpoint
from score_jax import config as config_lib
from score_jax import files
from score_jax import types
from score_jax.models import decoder
from score_jax.models import families
from score_jax.models import gguf
from score_jax.models import hf
from score_jax.models import peft
from score_jax.models import stored
from score_jax.models import variants

MODEL_JSON, ARRAYS = 'model.json', 'weights'
PIECE_BYTES = 2**24
"""Most bytes of a piece of a matrix without layers, see `pieces`."""


def is_converted(path: str | os.PathLike) -> bool:
  """Whether a folder was made by `score_jax.convert`."""
  return os.path.lexists(pathlib.Path(path) / MODEL_JSON)


def open_model(path: str | os.PathLike) -> stored.Model:
  """Opens weights of any format; reads no more than names and shapes.

  Args:
    path: a file or folder, see above.

  Raises:
    ValueError: as `hf.open_model` and `gguf.open_model`; a converted folder
      that is damaged.
  """
  path = pathlib.Path(path).absolute()
  try:
    if not path.exists():
      files.check_link(path)
      raise ValueError(f'{path}: no such file or folder')
    if not path.is_dir() and not path.is_file():
      raise ValueError(f'{path} is neither a file nor a folder')
    parts = sorted(path.iterdir()) if path.is_dir() else [path]
  except OSError as error:
    raise ValueError(f'cannot read {path}: {error.strerror}') from error
  return _open(path, tuple(map(_state, parts)))


def _state(part):
  """What changes when a file does; a link to nothing has a state too."""
  stat = part.stat() if part.exists() else part.lstat()
  return part, stat.st_size, stat.st_mtime_ns


@functools.lru_cache(maxsize=1)
def _open(path, unused_state):
  model = _opened(path)
  for remark in model.remarks:
    print(f'score_jax: {remark}', file=sys.stderr, flush=True)
  return model


def _opened(path):
  if path.is_dir() and peft.is_adapter(path):
    return _adapted(path)
  if is_converted(path):
    return _converted(path)
  if path.is_dir():
    return hf.open_model(path)
  if path.suffix == '.safetensors':
    raise ValueError(f'{path} does not say what model it is of; name its '
                     'folder, with the config.json in it')
  if path.suffix in ('.bin', '.pt', '.pth', '.ckpt', '.pkl'):
    raise ValueError(f'{path}: pickled weights are not read, as they can run '
                     'code; convert them to safetensors')
  return gguf.open_model(path)


def _adapted(folder) -> stored.Model:
  if is_converted(folder):
    raise ValueError(
        f'{folder} holds converted weights and an adapter; move the adapter to '
        f'another folder, whose {peft.CONFIG} names this one as '
        'base_model_name_or_path')
  open_base = lambda base: (
      _converted(base) if is_converted(base) else hf.open_model(base))
  return peft.open_model(folder, open_base)


def model_config(
    checkpoint_name: str, model: config_lib.ModelConfig
) -> config_lib.ModelConfig:
  """`model` with the fields that belong to the weights.

  Args:
    checkpoint_name: `config.model.checkpoint`.
    model: what the weights do not decide, such as `dtype`.
  """
  path = variants.weights_path(checkpoint_name)
  return stored.with_fields(model, open_model(path).config)


def fingerprint(model: stored.Model) -> str:
  """Tells models apart by a few numbers of every parameter; 16 hex digits.

  The same in every format that stores the same numbers.
  """
  digest = hashlib.sha256()
  for path, param in sorted(model.params.items()):
    corner = tuple(slice(0, 4) for _ in param.shape[param.stacked :])
    for number in sorted({0, len(param.names) - 1 if param.stacked else 0}):
      part = param.part(number, corner).astype(np.float32)
      digest.update('/'.join(path).encode() + part.tobytes())
  return digest.hexdigest()[:16]


def load_params(
    checkpoint_name: str,
    config: config_lib.ModelConfig,
    shardings: types.Params,
) -> types.Params:
  """The weights on the mesh, in the dtypes that the config says.

  Args:
    checkpoint_name: `config.model.checkpoint`.
    config: the model.
    shardings: a NamedSharding for each parameter without adapters.
  """
  path = variants.weights_path(checkpoint_name)
  if not is_converted(path):
    return stored.load(open_model(path), config, shardings)
  model = open_model(path)
  flat = traverse_util.flatten_dict(shardings)
  return traverse_util.unflatten_dict({
      name: _joined(model.params[name].read, where,
                    decoder.stored_dtype(config, name[-1]))
      for name, where in flat.items()})


def _joined(pieces: '_Pieces', where: NamedSharding, dtype) -> jax.Array:
  """A parameter from its pieces, each of which the hosts share."""
  spec = jax.sharding.PartitionSpec(None, *where.spec[1:])
  arrays = pieces.on(NamedSharding(where.mesh, spec))
  join = lambda parts: jnp.concatenate(parts).astype(dtype)
  return jax.jit(join, out_shardings=where)(arrays)


@dataclasses.dataclass(frozen=True)
class _Pieces:
  """One parameter of a converted folder, cut along its first axis.

  Attributes:
    arrays: the folder's.
    paths: of the pieces, in order. One a layer, or as many as `piece_rows`
      says.
    stacked: whether the first axis is that of the layers.
  """

  arrays: checkpoint.Arrays
  paths: tuple[tuple[str, ...], ...]
  stacked: bool

  def on(self, where: NamedSharding) -> list[jax.Array]:
    """The pieces on a mesh."""
    return self.arrays.read(self.paths, where)

  def __call__(self, number: int) -> np.ndarray:
    """Of a stacked parameter one layer, of another one all of it."""
    if self.stacked:
      return np.asarray(self.arrays.read([self.paths[number]])[0])[0]
    parts = (self.arrays.read([path])[0] for path in self.paths)
    shapes = [self.arrays.abstract(path).shape for path in self.paths]
    rows = sum(shape[0] for shape in shapes)
    dtype = self.arrays.abstract(self.paths[0]).dtype
    whole, start = np.empty((rows, *shapes[0][1:]), dtype), 0
    for part in parts:
      whole[start : start + len(part)] = part
      start += len(part)
    return whole


def pieces(param: stored.Stored) -> Iterator[tuple[str, np.ndarray]]:
  """A parameter as a converted folder holds it: number and slice, in order.

  They are of the dtype that is read, which `param.dtype` need not be. Slices of
  a matrix are copies, as a view would keep all of it in memory.
  """
  if param.stacked:
    for number in range(param.shape[0]):
      yield str(number), param.part(number)[None]
    return
  whole = param.part(0)  # Once: a quantised one is computed at each reading.
  row_bytes = math.prod(param.shape[1:]) * np.dtype(param.dtype).itemsize
  rows = max(1, PIECE_BYTES // row_bytes)
  for number, start in enumerate(range(0, param.shape[0], rows)):
    yield str(number), whole[start : start + rows].copy()


def _converted(folder) -> stored.Model:
  where = str(folder / MODEL_JSON)
  try:
    values = files.read_json(folder / MODEL_JSON)
    config = config_lib.model_from_dict(values['model'], where)
    dtype = values['dtype']
  except (AttributeError, KeyError, TypeError, OverflowError, RecursionError
          ) as error:
    raise ValueError(f'{where} is damaged: {error!r}') from error
  arrays = checkpoint.Arrays(folder / ARRAYS)
  groups = {}
  for path in sorted(arrays.kinds, key=lambda path: int(path[-1])):
    groups.setdefault(path[:-1], []).append(path)
  shapes = {}
  for path, parts in groups.items():
    rows = [arrays.abstract(part).shape for part in parts]
    shapes[path] = (sum(shape[0] for shape in rows), *rows[0][1:])
  readers = {path: _Pieces(arrays, tuple(parts), path[0] == 'blocks')
             for path, parts in groups.items()}
  dtypes = {path: arrays.abstract(parts[0]).dtype
            for path, parts in groups.items()}
  model = _model(str(folder), config, dtype, shapes, dtypes, readers)
  if arrays.meta != meta(values['model'], dtype):
    raise ValueError(f'{where} is damaged: it is not what the weights beside '
                     'it were written with')
  return model


def meta(fields: dict, dtype: str) -> dict:
  """What the sealed weights of a converted folder tell of its model.json."""
  return {'model': fields, 'dtype': dtype}


def model_of(
    arrays: checkpoint.Arrays, config: config_lib.ModelConfig, dtype: str
) -> stored.Model:
  """The model whose parameters the checkpoint of a run holds, layers stacked.

  Raises:
    ValueError: it holds others.
  """
  last = functools.lru_cache(maxsize=1)(
      lambda path: np.asarray(arrays.read([path])[0]))

  def reader(path):
    if path[0] == 'blocks':
      return lambda number: last(path)[number]
    return lambda number: last(path)

  kinds = {path: arrays.abstract(path) for path in arrays.kinds}
  return _model(
      str(arrays.folder), decoder.without_adapters(config), dtype,
      {path: kind.shape for path, kind in kinds.items()},
      {path: kind.dtype for path, kind in kinds.items()},
      {path: reader(path) for path in kinds})


def _model(where, config, dtype, shapes, dtypes, readers) -> stored.Model:
  """Checks names and shapes against the config."""
  if config.family not in families.FAMILIES:
    raise ValueError(f'{where} is of an unknown family {config.family!r}; '
                     f'known: {", ".join(families.FAMILIES)}')
  expected = check_params(where, decoder.abstract(config), shapes,
                          'the model that its configuration describes')
  names = {row.path: tuple(families.names(config, row))
           for row in families.table(config)}
  return stored.Model(where, config, dtype, {
      path: stored.Stored(names[path], shape, dtypes[path], readers[path],
                          stacked=path[0] == 'blocks')
      for path, shape in expected.items()})


def check_params(where, abstract: types.Params, shapes, what: str):
  """The shapes of `abstract` by path; ValueError if `shapes` are not these."""
  expected = {path: leaf.shape for path, leaf in
              traverse_util.flatten_dict(abstract).items()}
  join = lambda shapes: {'/'.join(path): s for path, s in shapes.items()}
  stored.check_tensors(where, join(expected), join(shapes), what)
  return expected


def fields_json(config: config_lib.ModelConfig) -> dict:
  """The fields of `config` that belong to the weights, as JSON."""
  values = dataclasses.asdict(config)
  return {name: values[name] for name in families.MODEL_FIELDS}


