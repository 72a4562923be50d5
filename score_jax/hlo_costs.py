"""What a compiled program does, read from its HLO text.

XLA's own cost analysis counts the body of a loop once. Here each computation
counts as often as it runs: the trips of a loop are the integer in its condition
(the length of a scan, the most tokens of an attempt), and loops nest. All
numbers are of one device.
"""

import collections
import dataclasses
import functools
import math
import re

from jax.sharding import Mesh
import numpy as np

_COLLECTIVES = ('all-gather', 'all-reduce', 'reduce-scatter', 'all-to-all',
                'collective-permute')
_HEADER = re.compile(r'(ENTRY )?%?([\w.-]+) \(.*\{$')
_LINE = re.compile(r'\s+(?:ROOT )?%([\w.-]+) = (.*)$')
_CALLED = re.compile(r'(?:calls|to_apply|body|condition)=%([\w.-]+)')
_BRANCHES = re.compile(r'branch_computations=\{([^}]*)\}')


@dataclasses.dataclass(frozen=True)
class Instruction:
  """One line: `name = shape op(operands), rest`."""

  name: str
  shape: str
  op: str
  operands: tuple[str, ...]
  rest: str


@dataclasses.dataclass(frozen=True)
class Costs:
  """Of one device, loops counted as often as they run.

  Attributes:
    flops: of matrix products, two a multiply-add.
    collectives: (kind, mesh axes) to (runs, bytes of the results). The axes are
      joined by '+'; '?' where the text does not tell.
    unknown_loops: loops without a number of trips, counted once.
  """

  flops: float
  collectives: dict[tuple[str, str], tuple[int, int]]
  unknown_loops: int


def parse(text: str) -> tuple[str, dict[str, list[Instruction]]]:
  """The name of the entry, and the instructions of each computation."""
  entry, found, current = '', {}, []
  for line in text.splitlines():
    if header := _HEADER.match(line):
      current = found.setdefault(header.group(2), [])
      entry = header.group(2) if header.group(1) else entry
    elif match := _LINE.match(line):
      current.append(_instruction(*match.groups()))
  return entry, found


def _instruction(name, right):
  end = _closing(right) + 1 if right.startswith('(') else right.index(' ')
  shape, right = right[:end], right[end:].strip()
  op, right = right.split('(', 1)
  end = _closing('(' + right) - 1
  operands = tuple(re.findall(r'%([\w.-]+)', right[:end]))
  # A constant's value stands where others have operands.
  rest = right if op == 'constant' else right[end + 1 :]
  return Instruction(name, shape, op, operands, rest)


def _closing(text):
  depth = 0
  for n, letter in enumerate(text):
    depth += (letter == '(') - (letter == ')')
    if not depth:
      return n
  raise ValueError(f'unbalanced parentheses in HLO: {text[:80]}')


def arrays(shape: str) -> list[tuple[str, tuple[int, ...]]]:
  """(dtype, sizes) of each array of a shape, which may be a tuple."""
  return [(dtype, tuple(map(int, filter(None, sizes.split(',')))))
          for dtype, sizes in re.findall(r'\b([a-z]\w*)\[([\d,]*)\]', shape)]


def num_bytes(dtype: str, sizes: tuple[int, ...]) -> int:
  """Bytes of an array, padding not counted."""
  digits = re.search(r'\d+', dtype)  # A token has none, and no bytes.
  bits = 8 if dtype == 'pred' else int(digits.group()) if digits else 0
  return math.prod(sizes) * bits // 8


def costs(text: str, mesh: Mesh) -> Costs:
  """What the program does on one device."""
  entry, computations = parse(text)
  runs, unknown = _runs(entry, computations)
  flops, found = 0.0, collections.defaultdict(lambda: (0, 0))
  for name, times in runs.items():
    shapes = {i.name: i.shape for i in computations[name]}
    for one in computations[name]:
      flops += times * _flops(one, shapes)
      kind = _kind(one)
      if kind and times:
        key = kind, _axes(_groups_of(one, computations), mesh)
        count, size = found[key]
        found[key] = count + times, size + times * _moved(one)
  return Costs(flops, dict(found), unknown)


def _runs(entry, computations):
  """How often each computation runs, and loops of unknown length."""
  runs, unknown = collections.Counter(), 0

  def visit(name, times):
    nonlocal unknown
    runs[name] += times
    for one in computations[name]:
      if _kind(one) or one.op.endswith(('-done', '-update')):
        continue
      called = _called(one)
      trips = 1
      if one.op == 'while':
        condition = re.search(r'condition=%([\w.-]+)', one.rest).group(1)
        trips = _trips(computations[condition])
        unknown += trips is None
      for other in called:
        visit(other, times * (trips or 1))

  visit(entry, 1)
  return runs, unknown


def _called(one):
  names = _CALLED.findall(one.rest)
  for group in _BRANCHES.findall(one.rest):
    names += re.findall(r'%([\w.-]+)', group)
  return names


def _trips(condition) -> int | None:
  """The bound of a loop that counts from 0: the integer in its condition."""
  bounds = [int(match.group(1)) for one in condition
            if one.op == 'constant' and one.shape.startswith('s32[]')
            and (match := re.match(r'(-?\d+)\)', one.rest))]
  return max(bounds) if bounds else None


def _kind(one) -> str | None:
  """The kind of a collective, or None."""
  # TPU: a fusion that calls a computation of this name.
  if one.op == 'fusion' and 'calls=%all-reduce-scatter' in one.rest:
    return 'reduce-scatter'
  op = one.op.removesuffix('-start')
  return op if op in _COLLECTIVES else None


def _moved(one) -> int:
  """Bytes of a collective's result."""
  sizes = [num_bytes(*array) for array in arrays(one.shape)]
  return max(sizes) if one.op.endswith('-start') else sum(sizes)


def _groups_of(one, computations) -> str:
  """The text that says which devices a collective is among."""
  if one.op != 'fusion':
    return one.rest
  name = re.search(r'calls=%([\w.-]+)', one.rest).group(1)
  return ' '.join(i.rest for i in computations[name] if _kind(i))


def _axes(text, mesh) -> str:
  """Mesh axes along which the devices of a collective differ."""
  together = _together(text, mesh.size)
  if together is None:
    return '?'
  places = np.array(np.unravel_index(together, mesh.devices.shape))
  varies = (places != places[:, :1]).any(axis=1)
  return '+'.join(a for a, v in zip(mesh.axis_names, varies) if v) or 'none'


def _together(text, devices) -> list[int] | None:
  """The devices of one group, numbered in the order of the mesh."""
  if pairs := re.search(r'source_target_pairs=\{\{(\d+),(\d+)\}', text):
    return [int(n) for n in pairs.groups()]
  if 'replica_groups={}' in text:
    return list(range(devices))
  if group := re.search(r'replica_groups=\{\{([\d,]+)\}', text):
    return [int(n) for n in group.group(1).split(',')]
  iota = re.search(
      r'replica_groups=\[([\d,]+)\]<=\[([\d,]+)\](?:T\(([\d,]+)\))?', text)
  if iota:
    groups, sizes, order = (
        [int(n) for n in part.split(',')] if part else None
        for part in iota.groups())
    ids = np.arange(math.prod(sizes)).reshape(sizes).transpose(order)
    return ids.reshape(groups)[0].tolist()
  named = re.search(r"replica_groups=mesh\[([^\]]+)\](?:, device_ids="
                    r"\(\[([\d,]+)\]T\(([\d,]+)\)\))?\s*\{([^}]*)\}", text)
  if named:
    sizes = dict(re.findall(r"'([^']+)'=(\d+)", named.group(1)))
    moving = re.findall(r"'([^']+)'", named.group(4))
    ids = np.arange(math.prod(map(int, sizes.values())))
    if named.group(2):
      before, order = ([int(n) for n in named.group(g).split(',')]
                       for g in (2, 3))
      ids = ids.reshape(before).transpose(order)
    ids = ids.reshape([int(n) for n in sizes.values()])
    index = tuple(slice(None) if name in moving else 0 for name in sizes)
    return ids[index].ravel().tolist()
  return None


def _flops(one, shapes) -> float:
  """Of one run of a matrix product; 0 of anything else."""
  if one.op not in ('dot', 'convolution'):
    return 0
  out, left, right = (
      arrays(shape)[0][1] for shape in
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


@functools.cache
def _places(out, left, window, stride, pad, left_dilate, window_dilate) -> int:
  """Pairs of an output and a place of its window that meet an input."""
  at = (np.arange(out)[:, None] * stride - pad
        + np.arange(window)[None] * window_dilate)
  inside = (at >= 0) & (at <= (left - 1) * left_dilate)
  return int(np.sum(inside & (at % left_dilate == 0)))
