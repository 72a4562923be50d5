"""Types of slices that are sold, their chips and hosts, and what a run takes.

v5litepod-N and v6e-N count chips; v4-N and v5p-N count cores, two a chip.
"""

import dataclasses
import json
import pathlib
import re
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
_OTHER_NAMES = {
    **{name: 'v5litepod' for name in (
        'v5e', 'v5lite', 'v5-lite', 'v5-litepod', 'v5litepod', 'v5l')},
    **{name: 'v6e' for name in ('v6', 'trillium', 'v6e')},
    **{name: 'v5p' for name in ('v5', 'v5pod', 'v5p')}, 'v4': 'v4', 'v4p': 'v4',
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


def find(
    name: str, chips: int = 0, hosts: int = 0, runtime: str = ''
) -> SliceType:
  """Return the type of that name.

  Args:
    name: the accelerator type.
    chips: of a slice, for a type that is not known here; 0: not given.
    hosts: of such a slice, likewise.
    runtime: the image of its hosts, likewise; '': not given.

  Raises:
    ValueError: the type is not known and not described by the other arguments;
      the message lists the known ones.
  """
  generation, _, size = name.partition('-')
  known = size.isdecimal() and int(size) in _SIZES.get(generation, [])
  if not known and chips > 0 and hosts > 0 and runtime:
    return SliceType(name, chips, hosts, runtime)
  if not known:
    raise ValueError(
        f'--type={name} is not known{_meant(name)}; there are {_KNOWN}; for '
        'any other type give --chips and --hosts of a slice, and '
        '--runtime-version')
  if chips or hosts:
    raise ValueError(f'--type={name} is known; leave out --chips and --hosts')
  chips = int(size) // _CORES_A_CHIP.get(generation, 1)
  # A slice of up to 8 chips of v5e or v6e is one host; others have 4 a host.
  on_one = chips <= (4 if generation in _CORES_A_CHIP else 8)
  return SliceType(
      name, chips, 1 if on_one else chips // 4, _RUNTIMES[generation])


def _meant(name) -> str:
  """Return a hint for the names that people use of a generation, or ''."""
  parts = re.fullmatch(r'(.*?)-?(\d+)', name.lower())
  generation = _OTHER_NAMES.get(parts.group(1)) if parts else None
  if not generation or int(parts.group(2)) not in _SIZES[generation]:
    return ''
  return f'; did you mean {generation}-{parts.group(2)}?'


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
