"""The model that a run has trained, as weights that can be converted."""

from collections.abc import Callable
import dataclasses
import functools
from typing import NamedTuple

import numpy as np

from score_jax import checkpoint
from score_jax import config as config_lib
from score_jax import files
from score_jax import origins
from score_jax import weights
from score_jax.models import decoder
from score_jax.models import stored
from score_jax.models import variants


class Trained(NamedTuple):
  """What a run has made.

  Attributes:
    model: the weights, adapters merged into their base.
    config: of the run.
    stage: the one that they are of.
    step: updates of that stage.
    adapters: a layer of `lora_a` or `lora_b`, by its path in the parameters and
      the number of the layer; None where the stage has no adapters.
  """

  model: stored.Model
  config: config_lib.Config
  stage: str
  step: int
  adapters: Callable[[tuple[str, ...], int], np.ndarray] | None = None


def is_run(path: files.Path) -> bool:
  """Whether `path` is a workdir, or the checkpoints of a stage in one."""
  return (path / 'checkpoints').is_dir() or _is_stage(path)


def _is_stage(path):
  return path.name in config_lib.STAGES and path.parent.name == 'checkpoints'


def open_trained(path: files.Path, stage: str = '') -> Trained:
  """Opens the newest checkpoint of a stage.

  Args:
    path: WORKDIR or WORKDIR/checkpoints/STAGE.
    stage: '' takes the last stage that has a checkpoint.

  Raises:
    ValueError: there is none, or it is damaged.
  """
  if _is_stage(path):
    if stage not in ('', path.name):
      raise ValueError(f'{path} holds no checkpoint of {stage}; name '
                       f'{path.parent.parent}')
    path, stage = path.parent.parent, path.name
  record = files.read_json(path / 'config.json')
  record = record if isinstance(record, dict) else {}
  if not isinstance(record.get('config'), dict):
    raise ValueError(f'{path / "config.json"} is not the record of a run')
  config = config_lib.from_dict(record['config'])
  steps = {name: _newest(path / 'checkpoints' / name, config)
           for name in config_lib.STAGES}
  found = [name for name, step in steps.items() if step is not None]
  if not found or (stage and stage not in found):
    raise ValueError(
        f'{path} holds no checkpoint of {stage or "any stage"}; there are: '
        f'{", ".join(found) or "none"}')
  stage = stage or found[-1]
  folder = path / 'checkpoints' / stage / str(steps[stage])
  model = _model(folder, config, stage, record.get('base'))
  has_adapters = config.model.lora.rank and stage != 'base'
  return Trained(model, config, stage, steps[stage],
                 _layers(checkpoint.Arrays(folder)) if has_adapters else None)


def _layers(arrays):
  last = functools.lru_cache(maxsize=2)(
      lambda path: np.asarray(arrays.read([path])[0]))
  return lambda path, number: last(path)[number]


def _newest(folder, config):
  with checkpoint.Checkpoints(folder, config.checkpoints.keep) as saved:
    return saved.latest()


def _model(folder, config, stage, fingerprint) -> stored.Model:
  """Its numbers will be written in the dtypes of the base that it began as."""
  arrays, base = checkpoint.Arrays(folder), None
  origins.check(folder, arrays.seal, origins.of_stage(
      config, stage, fingerprint))
  if config.model.checkpoint:
    base = weights.open_model(variants.weights_path(config.model.checkpoint))
    if weights.fields_json(base.config) != weights.fields_json(config.model):
      raise ValueError(f'{base.where} is another model than the one that the '
                       f'run {folder} began as; bring that one back')
  if config.model.lora.rank and stage != 'base':
    if base and fingerprint not in (None, weights.fingerprint(base)):
      raise ValueError(f'{base.where} holds other weights than when the run '
                       f'{folder} began; bring those back')
    if base is None:
      base = _base_of_run(folder.parent.parent / 'base', config)
    return _merged(base, arrays, config.model)
  found = weights.model_of(arrays, config.model, config.model.param_dtype)
  if base is None:
    return found
  params = {path: dataclasses.replace(param, dtype=base.params[path].dtype)
            for path, param in found.params.items()}
  return dataclasses.replace(found, dtype=base.dtype, params=params)


def _base_of_run(folder, config) -> stored.Model:
  step = _newest(folder, config)
  if step is None:
    raise ValueError(f'{folder} has no checkpoint, and the adapters stand on '
                     'that base; bring it back from a copy')
  arrays = checkpoint.Arrays(folder / str(step))
  origins.check(arrays.folder, arrays.seal,
                origins.of_stage(config, 'base', None))
  return weights.model_of(arrays, config.model, config.model.param_dtype)


def _merged(base, arrays, config) -> stored.Model:
  """The base with each adapter added to its weight, a layer at a time."""
  weights.check_params(
      str(arrays.folder), decoder.trained(config, decoder.abstract(config)),
      {path: arrays.abstract(path).shape for path in arrays.kinds},
      'the adapters that the run says it trains')
  layer = _layers(arrays)

  def merged(path, number):
    a, b = (layer((*path[:-1], name), number)[None]
            for name in ('lora_a', 'lora_b'))
    kernel = base.params[path].read(number)[None].astype(np.float32)
    return np.asarray(decoder.merge_adapter(config, kernel, a, b))[0]

  params = {
      path: dataclasses.replace(param, read=functools.partial(merged, path))
      if path[-1] == 'kernel' and (*path[:-1], 'lora_a') in arrays.kinds
      else param
      for path, param in base.params.items()}
  return dataclasses.replace(base, where=str(arrays.folder), params=params)
