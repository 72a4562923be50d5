"""Types of slices that are sold, their chips and hosts, and what a run takes.

v5litepod-N and v6e-N count chips; v4-N and v5p-N count cores, two a chip.
"""

import dataclasses
import json
import pathlib
import statistics

_POWERS = [2**n for n in range(9)]
_CUBES = [8, 16, 32, 64, *range(128, 4097, 128)]
_CORES_A_CHIP = {'v4': 2, 'v5p': 2}
_SIZES = {
    'v4': _CUBES,
    'v5litepod': [n for n in _POWERS if n != 2],
    'v5p': [*_CUBES, *range(4096 + 128, 12289, 128)],
    'v6e': [n for n in _POWERS if n != 2],
}
_RUNTIMES = {
    'v4': 'tpu-ubuntu2204-base',
    'v5litepod': 'v2-alpha-tpuv5-lite',
    'v5p': 'v2-alpha-tpuv5',
    'v6e': 'v2-alpha-tpuv6e',
}
_KNOWN = (
    'v4-8 -16 -32 -64 and multiples of 128 up to -4096; v5litepod-1 -4 -8 -16 '
    '-32 -64 -128 -256; v5p-8 -16 -32 -64 and multiples of 128 up to -12288; '
    'v6e-1 -4 -8 -16 -32 -64 -128 -256')


@dataclasses.dataclass(frozen=True)
class SliceType:
  """A type of slice.

  Attributes:
    name: the accelerator type.
    chips: of a slice.
    hosts: of a slice; each runs one process.
    runtime: the image that its hosts start from.
  """

  name: str
  chips: int
  hosts: int
  runtime: str


def find(name: str) -> SliceType:
  """The type of that name.

  Raises:
    ValueError: there is none; the message lists them.
  """
  generation, _, size = name.partition('-')
  known = _SIZES.get(generation, [])
  if not size.isdecimal() or int(size) not in known:
    raise ValueError(f'--type={name} is not known; there are {_KNOWN}')
  chips = int(size) // _CORES_A_CHIP.get(generation, 1)
  # A slice of up to 8 chips of v5e or v6e is one host; others have 4 a host.
  on_one = chips <= (4 if generation in _CORES_A_CHIP else 8)
  return SliceType(
      name, chips, 1 if on_one else chips // 4, _RUNTIMES[generation])


def describe(kind: SliceType, count: int) -> str:
  """How large some slices of a type are, in words."""
  return (f'{count} x {kind.name}: {count * kind.chips} chips on '
          f'{count * kind.hosts} hosts')


def estimate(
    kind: SliceType, count: int, steps: int | None, step_s: float | None
) -> str:
  """What a run takes, in words; without prices, waiting and set-up."""
  if not steps or not step_s:
    return ('no estimate: give --steps, and --seconds-per-step or '
            '--timings=FILE, the timings.jsonl of a few steps of this config')
  hours = steps * step_s / 3600
  chips = count * kind.chips
  return (f'estimate: {steps} steps of {step_s:.3g} s take {hours:.3g} h, '
          f'{chips * hours:.3g} chip-hours, without waiting and set-up')


def step_s(path: pathlib.Path) -> float:
  """The median of the seconds a step in a `timings.jsonl`.

  Raises:
    ValueError: it cannot be read, or holds none.
  """
  try:
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return statistics.median(row['step_s'] for row in rows)
  except (OSError, ValueError, KeyError, TypeError) as error:
    raise ValueError(f'--timings={path} is no timings.jsonl of a run with at '
                     f'least one step ({error})') from error
