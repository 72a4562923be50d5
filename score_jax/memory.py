"""What each choice of memory costs, in bytes a parameter of the model.

    python -m score_jax.memory            # prints the table
    python -m score_jax.memory --write    # and puts it into docs/memory.md

Counted from the shapes and dtypes of what training itself makes of a config;
no array is made.
"""

import dataclasses
import pathlib
from typing import Any
from typing import NamedTuple

from absl import flags
import jax
import jax.numpy as jnp

from score_jax import config as config_lib
from score_jax import door
from score_jax import sharding
from score_jax import states as states_lib
from score_jax import update
from score_jax.models import decoder
from score_jax.models import variants

PAGE = pathlib.Path(__file__).parent.parent / 'docs' / 'memory.md'
BEGIN, END = '<!-- table -->\n', '<!-- end of table -->\n'

# Computes in bfloat16, as on an accelerator; layers in one stack.
MODEL = dataclasses.replace(variants.VARIANTS['gemma2_2b'].config,
                            dtype='bfloat16', unroll_decode=False)

_HALF = {'param_dtype': 'bfloat16'}
_LORA = {'lora': {'rank': 16}}
_HALF_MOMENTS = {'moments_dtype': 'bfloat16'}
_ADAFACTOR = {'name': 'adafactor'}
CHOICES = (  # What it is, and fields of model, optimizer and memory.
    ('float32 weights, Adam', {}, {}, {}),
    ('reference in bfloat16', {}, {}, {'reference_dtype': 'bfloat16'}),
    ('reference offloaded', {}, {}, {'offload': ('reference',)}),
    ('optimizer offloaded', {}, {}, {'offload': ('optimizer',)}),
    ('both offloaded, reference in bfloat16', {}, {},
     {'offload': ('reference', 'optimizer'), 'reference_dtype': 'bfloat16'}),
    ('Adam in bfloat16', {}, _HALF_MOMENTS, {}),
    ('Adafactor', {}, _ADAFACTOR, {}),
    ('bfloat16 weights, Adam', _HALF, {}, {}),
    ('bfloat16 weights, Adam in bfloat16', _HALF, _HALF_MOMENTS, {}),
    ('bfloat16 weights, Adafactor', _HALF, _ADAFACTOR, {}),
    ('LoRA of rank 16', _LORA, {}, {}),
    ('LoRA of rank 16, base in bfloat16', _HALF | _LORA, {}, {}),
)


class Cost(NamedTuple):
  """Bytes in a stage of SCoRe.

  Attributes:
    weights: what is trained, and with LoRA its base.
    optimizer: its moments.
    reference: beside the weights; none with LoRA.
    gradient: summed over micro-batches.
    sampler: the weights in the dtype of activations, where that is another.
    step: most on the devices in a step: all but `sampler`.
    sampling: on the devices while attempts are sampled: all that stays there,
      and `sampler`.
    host: in the memory of the host.
  """

  weights: float
  optimizer: float
  reference: float
  gradient: float
  sampler: float
  step: float
  sampling: float
  host: float


def cost(config: config_lib.Config) -> Cost:
  """What Stage I costs, but for activations, in bytes of all devices."""
  mesh = sharding.make_mesh(config.mesh, jax.devices()[:1])
  states = states_lib.States(config, mesh)
  base, state = states.params('base'), states.state('stage1')
  lora = bool(config.model.lora.rank)
  policy = decoder.policy(config.model, base, state.params)
  reference = {} if lora else states.reference()
  kept = jax.tree.map(_moved, state.opt_state,
                      states.state_places('stage1').opt_state)
  gradient = jax.eval_shape(_gradient, state.params)
  cast = jax.eval_shape(lambda p: decoder.cast(config.model, p), policy)
  copied = [new for old, new in zip(jax.tree.leaves(policy),
                                    jax.tree.leaves(cast))
            if old.dtype != new.dtype]
  parts = [_bytes(x) for x in (policy, state.opt_state, reference, gradient)]
  host = _bytes((kept, reference), 'pinned_host')
  sampler = _bytes(copied)
  return Cost(*parts, sampler=sampler, step=sum(parts),
              sampling=sum(parts[:3]) - host + sampler, host=host)


def _gradient(params):
  """What an update sums up over its micro-batches."""
  loss_fn = lambda params, _: (
      sum(jnp.sum(w, dtype=jnp.float32) for w in jax.tree.leaves(params)), {})
  return update.accumulate(loss_fn, params, jnp.zeros((2,)), 2)[2]


def _moved(leaf, where):
  return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=where)


def _bytes(tree: Any, kind: str = '') -> int:
  """Bytes of the arrays, or of those in one kind of memory."""
  return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree)
             if not kind or leaf.sharding.memory_kind == kind)


def table() -> str:
  """The table, in Markdown."""
  count = decoder.num_params(MODEL)
  titles = ('weights', 'optimizer', 'reference', 'gradient', "sampler's copy",
            'device: in a step', 'device: sampling', 'host')
  lines = [f'| {count / 1e9:.2f}e9 parameters | {" | ".join(titles)} |',
           f'|---|{"---:|" * len(titles)}']
  for name, model, optimizer, memory in CHOICES:
    config = config_lib.from_dict({
        'model': dataclasses.asdict(MODEL) | model,
        'stage1': {'optimizer': optimizer}, 'memory': memory})
    numbers = [f'{x / count:.2f}' for x in cost(config)]
    lines.append(f'| {name} | {" | ".join(numbers)} |')
  return '\n'.join(lines) + '\n'


def page(old: str, table: str) -> str:
  """The page `old` with another table."""
  before, rest = old.split(BEGIN)
  return before + BEGIN + table + END + rest.split(END)[1]


def _define():
  flags.DEFINE_bool('write', False, 'Write the table into its page.')


def main():
  """Print the table, and write it into its page if asked for.

  Raises:
    ValueError: the page is not there, as outside a checkout.
  """
  if flags.FLAGS.write and not PAGE.is_file():
    raise ValueError(f'--write: {PAGE} is not there; run the command in a '
                     'checkout of the repository')
  text = table()
  print(text, end='')
  if flags.FLAGS.write:
    PAGE.write_text(page(PAGE.read_text(), text))


if __name__ == '__main__':
  door.run(main, _define)
