"""Where a base model's weights come from, whatever their format.

    a Hugging Face folder   config.json, *.safetensors, tokenizer files
    a GGUF file             sizes, weights and tokenizer in one
    a converted folder      model.json, weights/ (Orbax), tokenizer files
    a packaged name         see `models.variants.PACKAGED`
"""

import dataclasses
import functools
import os
import pathlib

from flax import traverse_util
import jax
import jax.numpy as jnp
import numpy as np

from score_jax import checkpoint
from score_jax import config as config_lib
from score_jax import files
from score_jax import types
from score_jax.models import decoder
from score_jax.models import families
from score_jax.models import gguf
from score_jax.models import hf
from score_jax.models import stored
from score_jax.models import variants

MODEL_JSON, ARRAYS = 'model.json', 'weights'


def is_converted(path: str | os.PathLike) -> bool:
  """Whether a folder was made by `score_jax.convert`."""
  return (pathlib.Path(path) / MODEL_JSON).is_file()


def open_model(path: str | os.PathLike) -> stored.Model:
  """Opens weights of any format; reads no more than names and shapes.

  Args:
    path: a file or folder, see above.

  Raises:
    ValueError: as `hf.open_model` and `gguf.open_model`; a converted folder
      that is damaged.
  """
  path = pathlib.Path(path).absolute()
  if not path.exists():
    raise ValueError(f'{path}: no such file or folder')
  return _open(path, path.stat().st_mtime_ns)


@functools.lru_cache(maxsize=1)
def _open(path, unused_mtime):
  if is_converted(path):
    return _converted(path)
  if path.is_dir():
    return hf.open_model(path)
  if path.suffix == '.safetensors':
    raise ValueError(f'{path} does not say what model it is of; name its '
                     'folder, with the config.json in it')
  return gguf.open_model(path)


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
  arrays = checkpoint.Arrays(pathlib.Path(path).absolute() / ARRAYS)
  flat = traverse_util.flatten_dict(shardings)
  return traverse_util.unflatten_dict({
      name: arrays.read(name, where).astype(
          decoder.stored_dtype(config, name[-1]))
      for name, where in flat.items()})


def _converted(folder) -> stored.Model:
  values = files.read_json(folder / MODEL_JSON)
  where = str(folder / MODEL_JSON)
  try:
    config = config_lib.model_from_dict(values['model'], where)
    dtype = values['dtype']
  except (KeyError, TypeError) as error:
    raise ValueError(f'{where} is damaged: it lacks {error}') from error
  return model_of(checkpoint.Arrays(folder / ARRAYS), config, dtype)


def model_of(
    arrays: checkpoint.Arrays, config: config_lib.ModelConfig, dtype: str
) -> stored.Model:
  """The model whose parameters an Orbax checkpoint holds.

  Raises:
    ValueError: it holds others.
  """
  config = decoder.without_adapters(config)
  shapes = {path: leaf.shape for path, leaf in
            traverse_util.flatten_dict(decoder.abstract(config)).items()}
  join = lambda shapes: {'/'.join(path): s for path, s in shapes.items()}
  stored.check_tensors(
      str(arrays.folder), join(shapes),
      join({path: arrays.abstract(path).shape for path in arrays.kinds}),
      'the model that its configuration describes')
  last = functools.lru_cache(maxsize=1)(
      lambda path: np.asarray(arrays.read(path)))
  names = {row.path: tuple(families.names(config, row))
           for row in families.table(config)}
  return stored.Model(str(arrays.folder), config, dtype, {
      path: stored.Stored(
          names[path], shape, arrays.abstract(path).dtype,
          (lambda number, path=path: last(path)[number])
          if path[0] == 'blocks' else (lambda number, path=path: last(path)),
          stacked=path[0] == 'blocks')
      for path, shape in shapes.items()})


def fields_json(config: config_lib.ModelConfig) -> dict:
  """The fields of `config` that belong to the weights, as JSON."""
  values = dataclasses.asdict(config)
  return {name: values[name] for name in families.MODEL_FIELDS}


def cast(array: np.ndarray, dtype: str) -> np.ndarray:
  """`array` in a dtype named as in a config.json; itself where it is in it."""
  return array.astype(jnp.dtype(dtype), copy=False)
