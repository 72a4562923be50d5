"""Floating-point operations of a program's matrix products."""

import functools
import math
import re

import numpy as np

from score_jax.hlo import text

# XLA does not see into the attention kernel. Its matrix products, by part:
# scores and mix; scores, and the gradients of weights and queries; scores, and
# the gradients of weights, keys and values.
_KERNEL = re.compile(r'splash_mha_(fwd|dq|dkv)')
_PRODUCTS = {'fwd': 2, 'dq': 3, 'dkv': 4}
_MASK = re.compile(r'slots_(\d+)_of_(\d+)_window_(\d+)_blocks_(\d+)_by_(\d+)')
# With a single row on a device XLA multiplies and adds up without the unit for
# matrices; the sum keeps the name of the product.
_SUM_OF_A_PRODUCT = re.compile(r'op_name="[^"]*\bdot_general"')


def flops(module: text.Module) -> float:
  """Of one device, two a multiply-add, loops counted as often as they run."""
  total = 0.0
  for name, times in module.runs.items():
    shapes = {i.name: i.shape for i in module.computations[name]}
    total += times * sum(
        of_instruction(one, shapes) for one in module.computations[name])
  return total


def of_instruction(one: text.Instruction, shapes: dict[str, str]) -> float:
  """Of one run of a matrix product or kernel; 0 of anything else.

  Args:
    one: of a program.
    shapes: of its operands, by name.
  """
  if one.op == 'custom-call' and (kernel := _KERNEL.match(one.name)):
    return _kernel_flops(_PRODUCTS[kernel.group(1)], one.rest)
  if one.op == 'reduce' and _SUM_OF_A_PRODUCT.search(one.rest):
    return 2.0 * math.prod(text.arrays(shapes[one.operands[0]])[0][1])
  if one.op not in ('dot', 'convolution'):
    return 0
  out, left, right = (
      text.arrays(shape)[0][1] for shape in
      (one.shape, *(shapes[name] for name in one.operands)))
  if one.op == 'dot':
    axes = re.search(r'lhs_contracting_dims=\{([\d,]*)\}', one.rest).group(1)
    summed = [left[int(n)] for n in axes.split(',') if n]
    return 2.0 * math.prod(out) * math.prod(summed)
  return _convolution_flops(one.rest, out, left, right)


def _convolution_flops(rest, out, left, right) -> float:
  """On TPUs every matrix product is a convolution, batch axes spatial ones.

  Only places of the window that lie on an element of the input count.
  """
  labels = re.search(r'dim_labels=(\w+)_(\w+)->(\w+)', rest).groups()
  left, right, out = (
      dict(zip(names, sizes)) for names, sizes in zip(labels,
                                                      (left, right, out)))
  window = re.search(r'window=\{([^}]*)\}', rest)
  parts = dict(part.split('=') for part in
               (window.group(1).split() if window else ()))
  flops = 2.0 * out['b'] * out['f'] * right['i']
  for axis in sorted(name for name in out if name.isdigit()):
    of = lambda field, default, axis=axis: (
        parts[field].split('x')[int(axis)] if field in parts else default)
    flops *= _places(
        out[axis], left[axis], right[axis], int(of('stride', 1)),
        int(of('pad', '0_0').split('_')[0]), int(of('lhs_dilate', 1)),
        int(of('rhs_dilate', 1)))
  return flops


def _kernel_flops(products, rest) -> float:
  """Of a causal kernel, which computes each block that has a pair to see.

  `attention.splash` says in its name which slots are queries (the last), how
  many each sees, and what the blocks are. The first operand of floating point
  is the queries, [rows, heads, slots, head size], without a single row.
  """
  queries, slots, window, *block = map(int, _MASK.search(rest).groups())
  given = text.arrays(
      re.search(r'operand_layout_constraints=\{(.*?\})\}', rest).group(1))
  *rows, _, head_dim = next(
      sizes for dtype, sizes in given if dtype in ('bf16', 'f32'))
  first_query = np.arange(slots - queries, slots, block[0])[:, None]
  first_key = np.arange(0, slots, block[1])[None]
  seen = ((first_key < first_query + block[0])
          & (first_key + block[1] > first_query - window + 1))
  pairs = int(seen.sum()) * math.prod(block)
  return 2.0 * products * math.prod(rows) * pairs * head_dim


@functools.cache
def _places(out, left, window, stride, pad, left_dilate, window_dilate) -> int:
  """Pairs of an output and a place of its window that meet an input."""
  at = (np.arange(out)[:, None] * stride - pad
        + np.arange(window)[None] * window_dilate)
  inside = (at >= 0) & (at <= (left - 1) * left_dilate)
  return int(np.sum(inside & (at % left_dilate == 0)))
