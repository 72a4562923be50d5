"""One decoder for every policy: plain dicts of arrays through pure functions.

This is the only border with Flax NNX. Modules from `layers` say what a layer
is; here they become `init(config, key) -> params` and
`forward(config, params, ...)`, and policy and reference are two dicts through
the same function.

    params = {'embed': {'embedding': [V, D]},
              'blocks': {'attention_norm': {'scale': [L, D]},
                         'attention': {'query': {'kernel': [L, D, N, H]}, ...},
                         'mlp_norm': ..., 'mlp': ...},
              'final_norm': {'scale': [D]},
              'head': {'kernel': [D, V]}}            # untied heads only

Biases, further norms and low-rank adapters (`lora_a`, `lora_b`) stand beside
these where the config has them.

Layers are stacked along L and scanned, so compile time does not grow with
depth; `unroll` makes a tuple of layers of them, the faster form to decode with
on a CPU.
"""

import dataclasses
import functools
from typing import Any

from flax import nnx
from flax import traverse_util
import jax
import jax.numpy as jnp

from score_jax import config as config_lib
from score_jax import sharding
from score_jax import types
from score_jax.models import attention
from score_jax.models import branches as branches_lib
from score_jax.models import cache as cache_lib
from score_jax.models import held as held_lib
from score_jax.models import layers
from score_jax.models import rope

ModelConfig = config_lib.ModelConfig


class _Decoder(nnx.Module):
  """Every module of the model, with ONE layer standing for all."""

  def __init__(self, config: ModelConfig, rngs: nnx.Rngs):
    self.embed = layers.Embedding(config, rngs)
    self.blocks = layers.Block(config, rngs)
    self.final_norm = layers.RMSNorm(config, config.width)
    if not config.tied_head:
      self.head = layers.Head(config, rngs)


@functools.lru_cache
def _definition(config: ModelConfig):
  """The model's modules and abstract state."""
  model = nnx.eval_shape(lambda: _Decoder(config, nnx.Rngs(0)))
  state = nnx.split(model)[1]
  graphs = {name: nnx.split(getattr(model, name))[0]
            for name in ('blocks', 'final_norm')}
  return graphs, state


def init(config: ModelConfig, key: jax.Array) -> types.Params:
  """Random parameters, in the dtypes of `stored_dtype`."""
  top, layer_key = jax.random.split(key)

  def one(k):
    return nnx.to_pure_dict(nnx.split(_Decoder(config, nnx.Rngs(params=k)))[1])

  params = one(top)
  keys = jax.random.split(layer_key, config.num_layers)
  params['blocks'] = jax.vmap(lambda k: one(k)['blocks'])(keys)
  return jax.tree_util.tree_map_with_path(
      lambda path, w: w.astype(stored_dtype(config, path[-1].key)), params)


def stored_dtype(config: ModelConfig, name: str) -> jnp.dtype:
  """Of parameters called `name`: norms and adapters are always float32."""
  small = name in ('scale', 'lora_a', 'lora_b')
  return jnp.dtype('float32' if small else config.param_dtype)


def abstract(config: ModelConfig) -> types.Params:
  """The parameters' shapes and dtypes."""
  return jax.eval_shape(lambda: init(config, jax.random.key(0)))


def logical_axes(config: ModelConfig) -> types.Params:
  """The parameters' axes: a tuple of logical names in place of each array."""
  is_variable = lambda x: isinstance(x, nnx.Variable)
  names = jax.tree.map(lambda v: v.get_metadata('axes'), _definition(config)[1],
                       is_leaf=is_variable)
  names = nnx.to_pure_dict(names)
  names['blocks'] = jax.tree.map(lambda axes: ('layers',) + axes,
                                 names['blocks'],
                                 is_leaf=lambda x: isinstance(x, tuple))
  return names


def num_params(config: ModelConfig) -> int:
  """Parameters of the model, counted from their shapes."""
  return sum(leaf.size for leaf in jax.tree.leaves(abstract(config)))


def without_adapters(config: ModelConfig) -> ModelConfig:
  """The model with its adapters off: the reference of a LoRA policy."""
  return dataclasses.replace(config, lora=config_lib.LoraConfig())


def trained(config: ModelConfig, tree: types.Params) -> types.Params:
  """The part that an optimizer changes: the adapters, or without any, all.

  Args:
    config: the model.
    tree: parameters, or their shapes, shardings or axes.
  """
  return _adapters(tree, True) if config.lora.rank else tree


def base(tree: types.Params) -> types.Params:
  """The part that is not adapters."""
  return _adapters(tree, False)


def policy(
    config: ModelConfig, base_params: types.Params, trained_params: types.Params
) -> types.Params:
  """The inverse of `trained`: adapters on their base, or all as they are."""
  if not config.lora.rank:
    return trained_params
  flat = traverse_util.flatten_dict(base_params)
  flat |= traverse_util.flatten_dict(trained_params)
  return traverse_util.unflatten_dict(flat)


def _adapters(tree, wanted):
  flat = traverse_util.flatten_dict(tree)
  return traverse_util.unflatten_dict({
      path: leaf for path, leaf in flat.items()
      if (path[-1] in ('lora_a', 'lora_b')) == wanted})


def merge_adapters(config: ModelConfig, params: types.Params) -> types.Params:
  """Parameters without adapters that compute the same.

  Args:
    config: the model, with adapters.
    params: base and adapters. float32 sums, rounded to the dtype of the base.
  """
  flat = traverse_util.flatten_dict(params)
  merged = {path: leaf for path, leaf in flat.items()
            if path[-1] not in ('lora_a', 'lora_b')}
  for path, a in flat.items():
    if path[-1] == 'lora_a':
      kernel = path[:-1] + ('kernel',)
      merged[kernel] = merge_adapter(
          config, merged[kernel], a, flat[path[:-1] + ('lora_b',)])
  return traverse_util.unflatten_dict(merged)


def merge_adapter(config: ModelConfig, kernel, a, b):
  """kernel + (alpha / rank) * a b, of L stacked layers each."""
  L, rank = b.shape[:2]
  change = jnp.matmul(a.reshape(L, -1, rank), b.reshape(L, rank, -1),
                      precision='highest')
  weight = config.lora.alpha / rank
  merged = kernel.astype(jnp.float32) + weight * change.reshape(kernel.shape)
  return merged.astype(kernel.dtype)


def cast(config: ModelConfig, params: types.Params) -> types.Params:
  """The parameters as `forward` uses them: norms in float32, the rest cast."""
  return jax.tree_util.tree_map_with_path(
      lambda path, w: w if path[-1].key == 'scale' else w.astype(config.dtype),
      params)


def unroll(config: ModelConfig, params: types.Params) -> types.Params:
  """The same parameters with `blocks` as a tuple of layers."""
  layer = lambda i: jax.tree.map(lambda w: w[i], params['blocks'])
  return {**params, 'blocks': tuple(map(layer, range(config.num_layers)))}


def head(config: ModelConfig, params: types.Params) -> jax.Array:
  """The output matrix [D, V]."""
  head_DV = (params['embed']['embedding'].T if config.tied_head
             else params['head']['kernel'])
  # Whole along D: gathered here once, not at every token or chunk.
  return sharding.constrain(head_DV, None, 'vocab')


def logits(
    config: ModelConfig, hidden: jax.Array, head_DV: jax.Array
) -> jax.Array:
  """Float32 scores over the vocabulary, [..., V] from [..., D]."""
  scores = jnp.matmul(hidden, head_DV.astype(hidden.dtype),
                      preferred_element_type=jnp.float32)
  return attention.softcap(scores, config.final_softcap)


def forward(
    config: ModelConfig,
    params: types.Params,
    tokens_BT: jax.Array,
    positions_BT: jax.Array,
    valid_BS: jax.Array,
    cache: Any = None,
    slot: jax.Array | int = 0,
    held: held_lib.Held | None = None,
    prompts: Any = None,
) -> tuple[jax.Array, Any]:
  """Runs the tokens that stand in slots `slot` to `slot + T`.

  Args:
    config: the model.
    params: its parameters; `blocks` stacked or unrolled.
    tokens_BT: int32 ids.
    positions_BT: int32, counted over valid slots.
    valid_BS: bool, slots that may be attended to; S is T without a cache. With
      a cache of T slots, valid ones stand side by side, as in a prompt.
    cache: keys and values of earlier slots, see `cache.empty`; None means that
      the tokens are the whole sequence.
    slot: first slot of the tokens.
    held: the rows that the cache has; None for all.
    prompts: a cache of M prompts of P slots, of which number m is that of rows
      m * B / M to (m + 1) * B / M. Then `cache` begins with slot P, but `slot`
      and `valid_BS` count the prompt too. With a cache only.

  Returns:
    The final hidden states [B, T, D] (float, `config.dtype`), and the cache
    with these tokens in it (None without one). States at slots that are not
    valid mean nothing, nor do those of rows that are not held.
  """
  given = tokens_BT, positions_BT, valid_BS
  if cache is None and attention.wants_compact(config, tokens_BT.shape[1]):
    there_BT, back_BT = attention.compacted(valid_BS)
    given = (attention.pick(x, there_BT) for x in given)
    hidden_BTD, _ = _forward(config, params, *given)
    return attention.pick(hidden_BTD, back_BT), None
  return _forward(config, params, *given, cache, slot, held, prompts)


def forward_branches(
    config: ModelConfig,
    params: types.Params,
    tokens_BS: jax.Array,
    positions_BS: jax.Array,
    valid_BS: jax.Array,
    branches: branches_lib.Branches,
) -> jax.Array:
  """Runs whole rows, neighbours with the same prompt in one.

  Args:
    config: the model.
    params: its parameters.
    tokens_BS, positions_BS, valid_BS: as of `forward`, without a cache. Valid
      slots of the prompt end with its last one.
    branches: what the rows share.

  Returns:
    The final hidden states from the last slot of the prompt on, [B, 1 + R, D],
    which predict all that comes after the prompt.
  """
  P = branches.prompt
  given = tokens_BS, positions_BS, valid_BS
  compact = attention.wants_compact(config, valid_BS.shape[1])
  if compact:
    there_BR, back_BR = attention.compacted(valid_BS[:, P:])
    given = (jnp.concatenate(
        [x[:, :P], attention.pick(x[:, P:], there_BR)], axis=1) for x in given)
  hidden_NTD, _ = _forward(
      config, params, *(branches_lib.join(x, branches) for x in given),
      branches=branches)
  last_B1D = branches_lib.prompt(hidden_NTD, branches)[:, -1:]
  each_BRD = branches_lib.each(hidden_NTD, branches)
  if compact:
    each_BRD = attention.pick(each_BRD, back_BR)
  return jnp.concatenate([last_B1D, each_BRD], axis=1)


def _forward(config, params, tokens_BT, positions_BT, valid_BS, cache=None,
             slot=0, held=None, prompts=None, branches=None):
  table_VD = params['embed']['embedding'].astype(config.dtype)
  # Whole along D, so that a lookup moves rows of the batch nowhere.
  x = sharding.constrain(table_VD, 'vocab', None)[tokens_BT]
  if config.embed_scale:
    x *= jnp.asarray(config.width**0.5, x.dtype)
  x = sharding.constrain(x, 'batch', None, None)
  graphs = _definition(config)[0]
  view_of = _views(config, positions_BT, valid_BS, slot, held, branches)

  def layer(index, weights, prompt, x, store):
    with jax.named_scope('block'):
      block = nnx.merge(graphs['blocks'], weights)
      keep = lambda *kv: store(*(held_lib.there(held, new) for new in kv))
      x, new = block(x, view_of(index, prompt), keep)
      return sharding.constrain(x, 'batch', None, None), new

  x, cache = _through_layers(
      config, layer, params['blocks'], prompts, x, cache,
      slot - cache_lib.slots(prompts))
  return nnx.merge(graphs['final_norm'], params['final_norm'])(x), cache


def _views(config, positions_BT, valid_BS, slot, held, branches):
  """From a layer to its `layers.View`.

  A layer is its index, a number or traced, and the keys and values of prompts
  that have a cache of their own, or None.
  """
  if branches is None:
    attend = attention.attend_fn(config, positions_BT, valid_BS, slot, held)
  else:
    attend = attention.attend_branches_fn(
        config, positions_BT, valid_BS, branches)
  far = rope.global_angles(config, positions_BT)
  near = (far if config.global_every == 1
          else rope.local_angles(config, positions_BT))

  def of_layer(index, prompt):
    is_global = (config.global_every == 1
                 or (index + 1) % config.global_every == 0)
    # The same to begin with where all layers are global.
    choose = lambda a, b: a if a is b else jnp.where(is_global, a, b)
    more = {} if prompt is None else {'prompt': prompt}
    return layers.View(*map(choose, far, near),
                       functools.partial(attend, is_global, **more))

  return of_layer


def _through_layers(config, layer, blocks, prompts, x, cache, slot):
  """All layers in turn: unrolled, or scanned with and without a cache."""
  if isinstance(blocks, tuple):
    caches = []
    for i, weights in enumerate(blocks):
      store = (cache_lib.keep if cache is None
               else cache_lib.append(cache[i], slot))
      x, new = layer(i, weights, cache_lib.layer_of(prompts, i), x, store)
      caches.append(new)
    return x, None if cache is None else tuple(caches)

  indices = jnp.arange(config.num_layers)
  if cache is None:
    body = lambda x, scanned: (
        layer(*scanned, None, x, cache_lib.keep)[0], None)
    body = _rematerialised(config, body)
    return jax.lax.scan(body, x, (indices, blocks))[0], None

  def cached(carry, scanned):
    x, cache = carry
    index, weights, prompt = scanned
    store = cache_lib.append_stacked(cache, slot, index)
    return layer(index, weights, prompt, x, store), None

  return jax.lax.scan(cached, (x, cache), (indices, blocks, prompts))[0]


def _rematerialised(config, body):
  """`body` with what the backward pass keeps of it: `config.remat`."""
  if config.remat == 'none':
    return body
  policies = {
      'block': None,  # Its input alone.
      'dots': jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
  }
  return jax.checkpoint(body, policy=policies[config.remat])
