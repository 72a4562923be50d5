"""Every program of a run, ready to be compiled from shapes alone."""

from collections.abc import Callable
import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from score_jax import actor
from score_jax import arithmetic
from score_jax import config as config_lib
from score_jax import pipeline
from score_jax import protocol
from score_jax import sharding
from score_jax import states as states_lib
from score_jax import train
from score_jax import types
from score_jax.models import decoder


@dataclasses.dataclass(frozen=True)
class Program:
  """One program of a run.

  Attributes:
    name: such as 'update of stage1'.
    lower: makes jax's `Lowered` of it.
    arguments: bytes on a device, by kind.
    resident: bytes that stay on the device while it runs, by kind, and are
      none of its arguments.
    rows: on a device whose tokens are scored at one time; 0: none are.
    cache: bytes of keys and values on a device; 0 where it has none.
    flops: the model's own count, of all devices; 0 where nothing is computed.
    decode_bytes: least that a device reads for a token of each of its rows.
  """

  name: str
  lower: Callable[[], Any]
  arguments: dict[str, int]
  resident: dict[str, int]
  rows: int
  cache: int = 0
  flops: float = 0.0
  decode_bytes: int = 0


def device_bytes(tree: Any) -> int:
  """Bytes of the arrays on one device, those in the host's memory left out."""
  return sum(
      math.prod(leaf.sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize
      for leaf in jax.tree.leaves(tree)
      if leaf.sharding.memory_kind in (None, 'device'))


def programs(config: config_lib.Config, mesh: Mesh) -> list[Program]:
  """Every program of a run's stages, as the run itself makes it."""
  states, rollout = states_lib.States(config, mesh), config.rollout
  names = pipeline.stages_of(config)[1:] or ('stage2',)
  reference = states.reference()
  between = _placed(states.state(names[0]), states.state_places(names[0]))
  policy = decoder.policy(config.model, reference, between.params)
  copying = actor.copy_program(config.model, mesh)
  copy = copying.eval_shape(policy)
  kept = {'optimizer': device_bytes(between.opt_state),
          'reference': _apart(config, reference)}
  weights = {'weights': device_bytes(policy)}
  found = []
  # Where the copy is the policy itself, it is made of nothing and stays none.
  if not actor.lie_alike(copy, policy):
    found.append(Program('copy for the sampler', lambda: copying.lower(policy),
                         weights, kept, 0))
    kept = weights | kept
  found.append(_sampler('sampler', states, copy, kept,
                        rollout.prompts // rollout.parts, rollout.samples,
                        rollout.temperature))
  found += [_update(states, stage, reference) for stage in names]
  kept = {kind: size for kind, size in kept.items() if kind != 'optimizer'}
  size = protocol.batch_size(config.evaluation, mesh, 1)
  return [*found, _sampler('evaluation', states, copy, kept, size, 1, 0.0)]


def _placed(tree, where):
  return jax.tree.map(
      lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), tree,
      where)


def _apart(config, reference) -> int:
  """Bytes of a reference that is not the base of a policy with adapters."""
  return 0 if config.model.lora.rank else device_bytes(reference)


def _rows_of_a_device(mesh, rows) -> int:
  return sharding.named(mesh, 'batch').shard_shape((rows,))[0]


def _sampler(name, states, params, kept, prompts, samples, temperature):
  config, mesh = states.config, states.mesh
  layout, rows = arithmetic.layout_of(config), prompts * samples
  array = lambda shape, dtype, *names: jax.ShapeDtypeStruct(
      shape, dtype, sharding=sharding.named(mesh, *names))
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
  cache = arithmetic.cache_bytes(config, mesh, rows)
  weights = device_bytes(params)
  # A table of its own is looked up in, not read.
  read = {name: part for name, part in params.items()
          if name != 'embed' or config.model.tied_head}
  return Program(
      name, lower, {"sampler's weights": weights}, kept,
      _rows_of_a_device(mesh, rows), cache,
      arithmetic.sampler_flops(config, prompts, samples),
      device_bytes(read) + cache)


def _update(states, stage, reference):
  config, mesh = states.config, states.mesh
  count = states.settings(stage).attempts or len(config.rollout.attempt_tokens)
  layout = arithmetic.layout_of(config)
  layout = types.Layout(layout.prompt, layout.attempts[:count],
                        layout.splices[: count - 1])
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
  part = rows // states.settings(stage).micro_batches
  return Program(
      f'update of {stage}', lambda: program.lower(state, reference, batch),
      arguments, {}, _rows_of_a_device(mesh, part),
      flops=arithmetic.update_flops(config))
