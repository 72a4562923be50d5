"""What the machine can do, and how much of it is reached.

    python -m benchmarks.roofline [--model=smollm2_135m]

Measured in the same process, in turn: matrix products of the shapes that the
model has in prefill and update, reading of memory, and the run's own programs:
prefill, decode and update. Floating-point operations are the model's own count
(two a weight and token, attention over causal pairs, see
`score_jax.arithmetic`), and bytes those of weights and cache.

Decode is held against the tighter of two bounds: its operations at the rate of
matrix products with as few rows as it has, and its bytes at the bandwidth.
"""

import pathlib

from absl import flags
import jax
import jax.numpy as jnp

from benchmarks import bounds
from benchmarks import compare
from benchmarks import machine
from benchmarks import numbers
from benchmarks import timing
from benchmarks.sides import ours
from score_jax import arithmetic
from score_jax import door
from score_jax import keys
from score_jax import update
from score_jax.models import cache as cache_lib
from score_jax.models import decoder
from score_jax.rollout import attempts

_READ_BYTES = 2**29


def _products(model, rows):
  """Products of every weight with so many rows, as in a layer and the head."""
  shapes = bounds.products(model)
  given = [(jax.random.normal(jax.random.key(0), (rows, ins)),
            jax.random.normal(jax.random.key(1), (ins, outs)))
           for ins, outs in shapes]
  run = jax.jit(lambda pairs: [x @ w for x, w in pairs])
  flops = sum(2 * rows * ins * outs for ins, outs in shapes)
  return timing.timed(run, given), flops


def _reading():
  x = jnp.ones(_READ_BYTES // 4)
  return timing.timed(jax.jit(jnp.sum), x)


def _sampling(side, tokens):
  """The sampler with one attempt of so many tokens, none of them the last."""
  work = side.work
  rows = jnp.arange(len(work.prompts) * work.samples)
  prompts = jnp.array(work.prompts)
  run = jax.jit(lambda params: attempts.sample_attempts(
      side.model, params, prompts, jnp.ones(prompts.shape, bool), (),
      keys.purpose_key(0, 'roofline'), jnp.int32(0), rows,
      samples=work.samples, attempt_tokens=(tokens,), temperature=1.0,
      stop_ids=(-1,), pad_id=0).tokens_BS)
  return timing.timed(run, side.reference)


def _prefill(side):
  prompts = jnp.array(side.work.rows())
  P = prompts.shape[1]
  position = jnp.broadcast_to(jnp.arange(P)[None], prompts.shape)

  def run(params):
    cache = cache_lib.empty(side.model, params['blocks'], len(prompts), P)
    return decoder.forward(side.model, params, prompts, position,
                           jnp.ones(prompts.shape, bool), cache, 0)

  return timing.timed(jax.jit(run), side.reference)


def main():
  """Prints the rates, and the share of them that each program reaches."""
  build = pathlib.Path(flags.FLAGS.build).absolute()
  work, _ = compare.prepared(build)
  side = ours.Ours(work)
  model, layout = side.model, side.layout
  rows, length = len(work.rows()), work.attempt_tokens[0]
  together = update.rows_together(
      work.samples, rows, 1, side.config.stage2.micro_batches)
  wide, wide_flops = _products(model, rows * layout.prompt)
  narrow, narrow_flops = _products(model, rows)
  took = numbers.alternate({
      'products': wide, 'narrow': narrow, 'reading': _reading(),
      'prefill': _prefill(side), 'short': _sampling(side, 1),
      'long': _sampling(side, 1 + length),
      'update': lambda _: timing.timed(side.update)(0)}, flags.FLAGS.rounds)
  rate = [wide_flops / s for s in took['products']]
  narrow_rate = [narrow_flops / s for s in took['narrow']]
  bandwidth = [_READ_BYTES / s for s in took['reading']]
  print(machine.describe(work.threads))
  say = lambda what, values, unit: print(
      f'{what}: {numbers.spread([v / 1e9 for v in values])} {unit}')
  say('products as in prefill', rate, 'GFLOP/s')
  say(f'products with {rows} rows', narrow_rate, 'GFLOP/s')
  say('reading', bandwidth, 'GB/s')
  shares = {
      'prefill': [bounds.prefill_flops(model, rows, layout.prompt) / s / r
                  for s, r in zip(took['prefill'], rate)],
      'update': [arithmetic.update_flops(side.config, layout, together) / s / r
                 for s, r in zip(took['update'], rate)],
      'decode': [
          bounds.decode_s(model, rows, work.samples, layout.prompt, length, r,
                          b) / (long - short)
          for r, b, long, short in zip(narrow_rate, bandwidth, took['long'],
                                       took['short'])]}
  for name, values in shares.items():
    print(f'{name}: {numbers.spread([100 * v for v in values])} % of it')


if __name__ == '__main__':
  door.run(main, lambda: compare.define(()))
