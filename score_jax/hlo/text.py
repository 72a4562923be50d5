"""A compiled program (HLO text) as instructions, and how often each runs.

XLA's own cost analysis counts the body of a loop once. Here a computation runs
as often as its loops go round: the trips of a loop are the integer in its
condition (the length of a scan, the most tokens of an attempt), and loops nest.
"""

import collections
import dataclasses
import math
import re

_COLLECTIVES = ('all-gather', 'all-reduce', 'reduce-scatter', 'all-to-all',
                'collective-permute')
OUTER = ('while', 'conditional', 'call')
"""What these call runs as if it stood in their place."""
_HEADER = re.compile(r'(ENTRY )?%?([\w.-]+) \(.*\{$')
# What kernels say of themselves, the one thing that has lines of its own.
_BREAKS = re.compile(r'kernel_metadata=\{\n.*\n\}')
_LINE = re.compile(r'\s+(ROOT )?%([\w.-]+) = (.*)$')
_CALLED = re.compile(r'(?:calls|to_apply|body|condition)=%([\w.-]+)')
_SENT = re.compile(r'_xla_megascale_transfer_type="(\w+)"')
_BRANCHES = re.compile(r'branch_computations=\{([^}]*)\}')


@dataclasses.dataclass(frozen=True)
class Instruction:
  """One line: `name = shape op(operands), rest`."""

  name: str
  shape: str
  op: str
  operands: tuple[str, ...]
  rest: str
  is_root: bool


@dataclasses.dataclass(frozen=True)
class Module:
  """A program.

  Attributes:
    computations: the instructions of each, by name.
    runs: how often each runs, of one run of the program.
    unknown_loops: loops without a number of trips, counted once.
    inner: computations whose values never lie in memory: those of fusions, and
      what reduces or compares.
  """

  computations: dict[str, list[Instruction]]
  runs: dict[str, int]
  unknown_loops: int
  inner: frozenset[str]


def read(text: str, taken: tuple[int, ...] = ()) -> Module:
  """The program of an HLO text.

  Args:
    text: as the compiler prints it.
    taken: how often each branch of a conditional is taken, in proportion;
      where there are not as many branches, each counts as always taken.
  """
  entry, computations = _parse(text)
  times, unknown = runs(computations, entry, taken)
  inner = {name for instructions in computations.values()
           for one in instructions if one.op not in OUTER
           for name in called(one)}
  return Module(computations, times, unknown, frozenset(inner))


def _parse(text) -> tuple[str, dict[str, list[Instruction]]]:
  entry, found, current = '', {}, []
  for line in _BREAKS.sub('', text).splitlines():
    if header := _HEADER.match(line):
      current = found.setdefault(header.group(2), [])
      entry = header.group(2) if header.group(1) else entry
    elif match := _LINE.match(line):
      current.append(_instruction(bool(match.group(1)), *match.groups()[1:]))
  return entry, found


def _instruction(is_root, name, right):
  end = _closing(right) + 1 if right.startswith('(') else right.index(' ')
  shape, right = right[:end], right[end:].strip()
  op, right = right.split('(', 1)
  end = _closing('(' + right) - 1
  operands = tuple(re.findall(r'%([\w.-]+)', right[:end]))
  # What constants and parameters are stands where others have operands.
  rest = right if op in ('constant', 'parameter') else right[end + 1 :]
  return Instruction(name, shape, op, operands, rest, is_root)


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


def named(array: tuple[str, tuple[int, ...]]) -> str:
  """An array of a shape as a person writes it: bf16[4, 8]."""
  dtype, sizes = array
  return f'{dtype}{list(sizes)}'


def layouts(shape: str) -> list[tuple[int, str]]:
  """(bytes, layout) of each array of a shape, such as (64, '1,0:T(8,128)')."""
  found = re.findall(r'\b([a-z]\w*\[[\d,]*\])(?:\{([^}]*)\})?', shape)
  return [(num_bytes(*arrays(array)[0]), layout) for array, layout in found]


def runs(
    computations: dict[str, list[Instruction]],
    start: str,
    taken: tuple[int, ...] = (),
) -> tuple[dict[str, int], int]:
  """How often each runs of one run of `start`, and loops of unknown length."""
  times, unknown = collections.Counter(), 0

  def visit(name, count):
    nonlocal unknown
    times[name] += count
    for one in computations[name]:
      if collective(one) or one.op.endswith(('-done', '-update')):
        continue
      if one.op == 'while' and '/fewer/while"' in one.rest:
        continue  # Of rows that go on when others have ended: none, at most.
      trips = 1
      if one.op == 'while':
        condition, body = (
            computations[re.search(rf'{part}=%([\w.-]+)', one.rest).group(1)]
            for part in ('condition', 'body'))
        trips = _trips(condition, body)
        unknown += trips is None
      others = called(one)
      if one.op == 'conditional' and len(others) == len(taken):
        for other, part in zip(others, taken):
          visit(other, round(count * part / sum(taken)))
        continue
      for other in others:
        visit(other, count * (trips or 1))

  visit(start, 1)
  return times, unknown


def called(one: Instruction) -> list[str]:
  """Computations that an instruction runs."""
  names = _CALLED.findall(one.rest)
  for group in _BRANCHES.findall(one.rest):
    names += re.findall(r'%([\w.-]+)', group)
  return names


def _trips(condition, body) -> int | None:
  """Of a loop that counts from 0 to the integer in its condition."""
  bounds = [_integer(one) for one in condition if _is_integer(one)]
  return -(-max(bounds) // _step(condition, body)) if bounds else None


def _step(condition, body) -> int:
  """What a loop adds to its counter: more than 1 where XLA unrolled it."""
  named = {one.name: one for one in body}
  root = next(one for one in body if one.is_root)
  for one in condition:
    index = re.search(r'index=(\d+)', one.rest)
    if one.op == 'get-tuple-element' and root.op == 'tuple':
      new = named[root.operands[int(index.group(1))]]
      added = [named[name] for name in new.operands if name in named]
      if new.op == 'add' and (steps := list(filter(_is_integer, added))):
        return _integer(steps[0])
  return 1


def _is_integer(one) -> bool:
  return one.op == 'constant' and one.shape[:5] in ('s32[]', 'u32[]')


def _integer(one) -> int:
  return int(one.rest.partition(')')[0])


def collective(one: Instruction) -> str | None:
  """The kind of a collective, or None."""
  # TPU: a fusion that calls a computation of this name.
  if one.op == 'fusion' and 'calls=%all-reduce-scatter' in one.rest:
    return 'reduce-scatter'
  # Between slices: the hosts send it, and say what it is of.
  if one.op == 'send' and (sent := _SENT.search(one.rest)):
    return sent.group(1).lower().replace('_', '-')
  op = one.op.removesuffix('-start')
  return op if op in _COLLECTIVES else None


def is_spread(one: Instruction) -> bool:
  """Whether a collective is one of the fusions over which one is spread."""
  return 'async_collective_fusion_config' in one.rest


def attempt_loops(module: Module) -> dict[int, str]:
  """The computation that decodes a token of each attempt, by its number."""
  found = {}
  for instructions in module.computations.values():
    for one in instructions:
      attempt = re.search(r'op_name="[^"]*/attempt_(\d+)/while"', one.rest)
      if one.op == 'while' and attempt:
        found[int(attempt.group(1))] = re.search(
            r'body=%([\w.-]+)', one.rest).group(1)
  return dict(sorted(found.items()))
