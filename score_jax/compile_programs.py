"""Every program of a run, ready to be compiled from shapes alone."""

from collections.abc import Callable
import dataclasses
import math
from typing import Any
from typing import NamedTuple

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
from score_jax import update
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
    scored: tokens of attempts in the rows of a device that are scored, not all
      at one time; 0: none are.
    cache: bytes of keys and values on a device; 0 where it has none.
    flops: the model's own count, of all devices; 0 where nothing is computed.
    decode_bytes: least that a device reads for a token of each of its rows.
    fsdp_bytes: least that a device sends along `fsdp`.
  """

  name: str
  lower: Callable[[], Any]
  arguments: dict[str, int]
  resident: dict[str, int]
  scored: int
  cache: int = 0
  flops: float = 0.0
  decode_bytes: int = 0
  fsdp_bytes: float = 0.0


def device_bytes(tree: Any) -> int:
  """Bytes of the arrays on one device, those in the host's memory left out."""
  return sum(
      math.prod(leaf.sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize
      for leaf in jax.tree.leaves(tree)
      if leaf.sharding.memory_kind in (None, 'device'))


class _Draw(NamedTuple):
  """What of a part, or of a batch, one call of the sampler draws.

  Where a first attempt is of another policy, or something is said of it, the
  attempts after it are drawn by themselves; see `score_jax.continuation`.

  Attributes:
    which: attempts, '' for all.
    prompts: how many.
    samples: rows of each.
    layout: of every row.
  """

  which: str
  prompts: int
  samples: int
  layout: types.Layout


def programs(config: config_lib.Config, mesh: Mesh) -> list[Program]:
  """Every program of a run's stages, as the run itself makes it."""
  states = states_lib.States(config, mesh)
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
  base = policy if config.model.lora.rank else reference
  offline = [name for name in names if states.settings(name).offline]
  copies_base = offline and not actor.lie_alike(copy, base)
  if copies_base:
    found.append(Program(
        'copy of the base for the sampler', lambda: copying.lower(base),
        {'reference': device_bytes(base)}, {
            **weights, 'optimizer': kept['optimizer'],
            "sampler's weights": device_bytes(copy)}, 0))
  beside = {name: _beside(states, name, reference) for name in names}
  others = {"sampler's other weights": device_bytes(copy)}
  found += _samplers(states, copy, {
      name: kept | beside[name] | (others if copies_base and name in offline
                                   else {}) for name in names})
  found += [_update(states, stage, reference, beside[stage])
            for stage in names]
  kept = {kind: size for kind, size in kept.items() if kind != 'optimizer'}
  size = protocol.batch_size(config.evaluation, mesh, 1)
  return found + [_sampler('evaluation', states, copy, kept, draw, 0.0)
                  for draw in _draws(config, size, 1)]


def _beside(states, stage, reference) -> dict[str, int]:
  """What stays in a stage that has a reference of its own: that of the others.
  """
  own = states.settings(stage).reference == 'start'
  return {'base': device_bytes(reference)} if own else {}


def _draws(config, prompts, samples, settings=None) -> tuple[_Draw, ...]:
  """What draws all attempts at so many problems.

  Args:
    config: of the run.
    prompts: problems of a part, or of a batch of an evaluation.
    samples: rows of each.
    settings: of a stage; None in an evaluation, which knows of none.
  """
  layout, apart = arithmetic.layout_of(config), 0
  if settings is not None:
    layout = _of_stage(config, settings)
    apart = round(settings.offline * prompts)
  if config.rollout.feedback in ('verdict', 'tests'):
    apart = prompts
  found = []
  if apart < prompts:
    found.append(_Draw('', prompts - apart, samples, layout))
  if apart:
    first = types.Layout(layout.prompt, layout.attempts[:1], ())
    later = types.Layout(layout.starts[1], layout.attempts[1:],
                         layout.splices[1:])
    found += [_Draw(', first attempts', apart, samples, first),
              _Draw(', later attempts', apart * samples, 1, later)]
  return tuple(found)


def _of_stage(config, settings) -> types.Layout:
  """The longest sequence of a stage, which may have fewer attempts."""
  layout = arithmetic.layout_of(config)
  count = len(train.stage_credit(config, settings).kl_A)
  return types.Layout(layout.prompt, layout.attempts[:count],
                      layout.splices[: count - 1])


def _samplers(states, copy, kept) -> list[Program]:
  """Of all stages, beside what each keeps; what two draw alike is there once.
  """
  rollout = states.config.rollout
  drawn = {stage: _draws(states.config, rollout.prompts // rollout.parts,
                         rollout.samples, states.settings(stage))
           for stage in kept}
  alike, found = len(set(drawn.values())) == 1, {}
  for stage, draws in drawn.items():
    for draw in draws:
      most = max((kept[name] for name in kept if draw in drawn[name]),
                 key=lambda sizes: sum(sizes.values()))
      found.setdefault(draw, _sampler(
          'sampler' if alike else f'sampler of {stage}', states, copy, most,
          draw, rollout.temperature))
  return list(found.values())


def _placed(tree, where):
  return jax.tree.map(
      lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), tree,
      where)


def _apart(config, reference) -> int:
  """Bytes of a reference that is not the base of a policy with adapters."""
  return 0 if config.model.lora.rank else device_bytes(reference)


def _scored(mesh, rows, layout) -> int:
  rows_of_a_device, = sharding.named(mesh, 'batch').shard_shape((rows,))
  return rows_of_a_device * sum(layout.attempts)


def _sampler(name, states, params, kept, draw, temperature):
  config, mesh = states.config, states.mesh
  which, prompts, samples, layout = draw
  rows = prompts * samples
  array = lambda shape, dtype, *names: jax.ShapeDtypeStruct(
      shape, dtype, sharding=sharding.named(mesh, *names))
  key = jax.eval_shape(lambda: jax.random.key(0))
  given = (
      params, array((prompts, layout.prompt), jnp.int32, 'batch'),
      array((prompts, layout.prompt), jnp.bool, 'batch'),
      tuple(array((n - 1,), jnp.int32) for n in layout.splices),
      array((), key.dtype), array((), jnp.int32),
      array((rows,), jnp.int32, 'batch'), None)  # No stop strings are known.
  program = actor.sampler_program(config.model, mesh, (0,), 0)
  lower = lambda: program.lower(
      *given, samples=samples, attempt_tokens=layout.attempts,
      temperature=temperature)
  cache = arithmetic.cache_bytes(config, mesh, prompts, samples, layout)
  weights = device_bytes(params)
  # A table of its own is looked up in, not read.
  read = {name: part for name, part in params.items()
          if name != 'embed' or config.model.tied_head}
  return Program(
      name + which, lower, {"sampler's weights": weights}, kept,
      _scored(mesh, rows, layout), cache,
      arithmetic.sampler_flops(config, prompts, samples, layout),
      device_bytes(read) + cache)


def _update(states, stage, reference, kept):
  config, mesh = states.config, states.mesh
  layout = _of_stage(config, states.settings(stage))
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
  settings = states.settings(stage)
  parts = settings.micro_batches
  together = update.rows_together(
      train.samples_of(config, settings), rows,
      sharding.ways('batch', mesh), parts)
  return Program(
      f'update of {stage}', lambda: program.lower(state, reference, batch),
      arguments, kept, _scored(mesh, rows // parts, layout),
      flops=arithmetic.update_flops(config, layout, together),
      fsdp_bytes=arithmetic.fsdp_bytes(config, mesh, parts))
