"""What the stages of a run keep: shapes, dtypes, and where they lie.

Between steps the reference and the optimizer's state may lie in the memory of
the host (`config.memory.offload`); inside a step, and in checkpoints, they do
not. With LoRA a stage's parameters are the adapters alone, and the reference is
the base that they stand on.
"""

import dataclasses
from typing import Any

import jax
from jax.sharding import Mesh
from jax.sharding import NamedSharding
import optax

from score_jax import config as config_lib
from score_jax import optimizers
from score_jax import sharding
from score_jax import types
from score_jax import update
from score_jax.models import decoder

_HOST = 'pinned_host'


@dataclasses.dataclass(frozen=True)
class States:
  """Abstract states and shardings of one run.

  Attributes:
    config: of the run.
    mesh: its devices.
  """

  config: config_lib.Config
  mesh: Mesh

  def settings(
      self, stage: str
  ) -> config_lib.BaseConfig | config_lib.StageConfig:
    """The part of the config that is a stage's own."""
    return getattr(self.config, stage)

  def model(self, stage: str) -> config_lib.ModelConfig:
    """The model that a stage trains; the base has no adapters."""
    model = self.config.model
    return decoder.without_adapters(model) if stage == 'base' else model

  def optimizer(self, stage: str) -> optax.GradientTransformation:
    """A stage's optimizer."""
    settings = self.settings(stage)
    return optimizers.make_optimizer(settings.optimizer, settings.steps)

  def params(self, stage: str) -> types.Params:
    """Shapes and shardings of what a stage trains."""
    model = self.model(stage)
    where = sharding.tree_shardings(self.mesh, decoder.logical_axes(model))
    return decoder.trained(
        model, jax.tree.map(_at, decoder.abstract(model), where))

  def state(self, stage: str) -> types.TrainState:
    """Shapes and shardings of a training state, all on the devices."""
    params, optimizer = self.params(stage), self.optimizer(stage)
    shapes = jax.eval_shape(lambda p: update.init_state(optimizer, p), params)
    replicated = sharding.named(self.mesh)
    opt_state = optax.tree_map_params(
        optimizer, lambda leaf, param: _at(leaf, _beside(param, leaf.shape)),
        shapes.opt_state, params,
        transform_non_params=lambda leaf: _at(leaf, replicated))
    return types.TrainState(_at(shapes.step, replicated), params, opt_state)

  def state_places(self, stage: str) -> types.TrainState:
    """Shardings of a training state between two steps."""
    where = shardings(self.state(stage))
    if 'optimizer' not in self.config.memory.offload:
      return where
    return dataclasses.replace(where, opt_state=_on_host(where.opt_state))

  def reference(self) -> types.Params:
    """Shapes and shardings of the reference."""
    base = self.params('base')
    cast = jax.eval_shape(self.as_reference, base)
    where = shardings(base)
    if 'reference' in self.config.memory.offload:
      where = _on_host(where)
    return jax.tree.map(_at, cast, where)

  def as_reference(self, base: types.Params) -> types.Params:
    """The base in the reference's dtype; 'float32' leaves it as it is."""
    dtype = self.config.memory.reference_dtype
    if dtype == 'float32':
      return base
    return decoder.cast(
        dataclasses.replace(self.config.model, dtype=dtype), base)


def shardings(abstract: Any) -> Any:
  """The shardings of a tree of arrays or of their shapes."""
  return jax.tree.map(lambda leaf: leaf.sharding, abstract)


def _at(leaf, where):
  return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=where)


def _beside(param, shape) -> NamedSharding:
  """How an optimizer's array of this shape lies beside its parameter.

  As the parameter; or, for a mean over one of its axes (Adafactor), as its
  other axes. Where it cannot be told which axis is gone, on every device.
  """
  if shape == param.shape:
    return param.sharding
  names = tuple(param.sharding.spec) + (None,) * (
      len(param.shape) - len(param.sharding.spec))
  without = lambda axes, i: axes[:i] + axes[i + 1 :]
  found = {without(names, i) for i in range(len(names))
           if without(param.shape, i) == shape}
  spec = found.pop() if len(found) == 1 else ()
  return NamedSharding(param.sharding.mesh, jax.sharding.PartitionSpec(*spec))


def _on_host(where):
  return jax.tree.map(lambda s: s.with_memory_kind(_HOST), where)


def on_devices(tree: Any) -> Any:
  """Inside a program: the arrays, brought from where they lie."""
  return jax.tree.map(
      lambda x: jax.device_put(x, jax.memory.Space.Device), tree)


def check_offload(config: config_lib.MemoryConfig, devices):
  """ValueError if something is to lie where the platform has no memory."""
  for device in devices:
    kinds = [memory.kind for memory in device.addressable_memories()]
    if config.offload and _HOST not in kinds:
      raise ValueError(
          f'config.memory.offload is {config.offload}, but the platform '
          f'{device.platform!r} has no {_HOST} memory (it has: '
          f'{", ".join(kinds)}); use config.memory.offload=()')
