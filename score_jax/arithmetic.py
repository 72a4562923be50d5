"""What a run has to compute and to read, counted from its config alone.

The measure of a compiled program: see `compile_check`.
"""

import dataclasses
import math

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from score_jax import config as config_lib
from score_jax import sharding
from score_jax import types
from score_jax.models import decoder

SPLICE = 64
"""Tokens taken for an instruction between attempts."""


def layout_of(config: config_lib.Config) -> types.Layout:
  """The longest sequence, with what feedback there is."""
  rollout = config.rollout
  attempts = rollout.attempt_tokens
  limit = rollout.feedback_tokens or attempts[-1]
  if rollout.feedback == 'critique':
    attempts = (attempts[0], limit, attempts[-1])
  splice = SPLICE + (limit if rollout.feedback == 'tests' else 0) + 1
  return types.Layout(rollout.prompt_buckets[-1], attempts,
                      (splice,) * (len(attempts) - 1))


def cache_bytes(
    config: config_lib.Config, mesh: Mesh, prompts: int, samples: int,
    layout: types.Layout | None = None
) -> int:
  """Bytes of the sampler's keys and values, on one device.

  Args:
    config: of the run.
    mesh: its devices.
    prompts: of all devices, each held once.
    samples: rows of each, which hold what comes after it.
    layout: of every row; the longest if None.
  """
  model, layout = config.model, layout or layout_of(config)
  where = sharding.named(mesh, 'layers', 'batch', 'kv_heads', None, 'head_dim')
  values = sum(
      math.prod(where.shard_shape((
          model.num_layers, rows, model.num_kv_heads, slots, model.head_dim)))
      for rows, slots in ((prompts, layout.prompt),
                          (prompts * samples, layout.slots - layout.prompt)))
  return 2 * values * jnp.dtype(model.dtype).itemsize


def fsdp_bytes(config: config_lib.Config, mesh: Mesh, parts: int) -> float:
  """Bytes that a device sends along `fsdp` in an update, at least.

  For every part of the batch the weights of layers that are split along `fsdp`
  are gathered three times, for the forward and the backward pass of the policy
  and for the reference, other weights but twice (the head's forward and
  backward pass are one, see `rl/chunks.py`), and all their gradients reduced
  once (those of adapters are next to nothing); all in `config.model.dtype`.

  Args:
    config: of the run.
    mesh: its devices.
    parts: into which the batch is split.
  """
  model, ways = config.model, mesh.shape['fsdp']
  base = dataclasses.replace(model, lora=config_lib.LoraConfig())
  where = sharding.tree_shardings(mesh, decoder.logical_axes(base))
  of_device = jax.tree.map(
      lambda leaf, to: math.prod(to.shard_shape(leaf.shape))
      * ('fsdp' in to.spec), decoder.abstract(base), where)
  of_layers, of_all = (
      sum(jax.tree.leaves(tree)) for tree in (of_device['blocks'], of_device))
  passes = 2 if model.lora.rank else 3
  sent = (ways - 1) * (passes * of_all + of_layers)
  return parts * sent * jnp.dtype(model.dtype).itemsize


def update_flops(
    config: config_lib.Config, layout: types.Layout | None = None,
    together: int = 1
) -> float:
  """Of an update's matrix products: two a weight and token, and attention.

  Forward, once more where layers are recomputed, and twice backward for the
  policy; forward for the reference. Scores over the vocabulary are computed
  once, see `rl/chunks.py`. Attention is counted over causal pairs that are in
  the window, if any: less than half of what plain attention computes.

  Args:
    config: of the run.
    layout: of every row; the longest if None.
    together: rows that read their prompt together, `update.rows_together`.
  """
  model, layout = config.model, layout or layout_of(config)
  rows = config.rollout.prompts * config.rollout.samples
  passes = (3 if model.remat == 'none' else 4) + 1
  return (passes * _read_flops(model, layout, rows, rows // together)
          + rows * sum(layout.attempts) * 4 * 2 * model.width
          * model.vocab_size)


def sampler_flops(
    config: config_lib.Config, prompts: int, samples: int,
    layout: types.Layout | None = None
) -> float:
  """Of the sampler, if no attempt ends early; each prompt is read once."""
  model, layout = config.model, layout or layout_of(config)
  rows = prompts * samples
  return (_read_flops(model, layout, rows, prompts)
          + rows * sum(layout.attempts) * 2 * model.width * model.vocab_size)


def _read_flops(model, layout, rows, prompts) -> float:
  """Of all layers, forward, for rows that have so many prompts to read."""
  prompt, whole = (2 * block_weights(model) * slots + attention(model, slots)
                   for slots in (layout.prompt, layout.slots))
  return prompts * prompt + rows * (whole - prompt)


def block_weights(model: config_lib.ModelConfig) -> int:
  """Weights of all layers that multiply activations."""
  blocks = decoder.abstract(model)['blocks']
  return sum(leaf.size for path, leaf in jax.tree.leaves_with_path(blocks)
             if path[-1].key == 'kernel')


def local_and_global(model: config_lib.ModelConfig) -> tuple[int, int]:
  """Layers that have a window, and layers that see all."""
  far = model.num_layers // model.global_every
  return model.num_layers - far, far


def attention(model: config_lib.ModelConfig, slots: int) -> float:
  """FLOPs of all layers over the pairs of so many slots of a row."""
  pairs = sum(
      layers * _pairs(slots, window) for layers, window in
      zip(local_and_global(model), (model.window, slots)))
  return pair_flops(model) * pairs


def pair_flops(model: config_lib.ModelConfig) -> int:
  """Of a pair of a query and a key, in one layer."""
  return 4 * model.num_heads * model.head_dim


def _pairs(slots, window):
  """Pairs of a slot and one in its window, itself and those before it."""
  near = min(slots, window)
  return near * (near + 1) / 2 + (slots - near) * near
