"""TPU slices that need not be here: their devices, memory and speed."""

import dataclasses
import importlib.util
import math
import os

from jax.experimental import topologies

_FLAT = '2x2 2x4 4x4 4x8 8x8 8x16 16x16'
_CUBE = '2x2x1 2x2x2 2x2x4 2x4x4 4x4x4 4x4x8 4x8x8 8x8x8'


@dataclasses.dataclass(frozen=True)
class Chip:
  """A generation of TPUs.

  Attributes:
    shapes: of its slices, in chips.
    product: what its slices are sold as, before their number.
    counted: what that number counts in a chip: 2 where it is of cores.
    hbm_gib: GiB that the compiler lets a program of one chip use.
    flops: a second, of bfloat16 products.
    bandwidth: bytes a second, of its HBM.
    links: bytes a second that it sends to other chips of its slice.
  """

  shapes: str
  product: str
  counted: int
  hbm_gib: float
  flops: float
  bandwidth: float
  links: float


CHIPS = {
    'v4': Chip(_CUBE, 'v4', 2, 30.75, 275e12, 1.23e12, 300e9),
    'v5e': Chip(_FLAT, 'v5litepod', 1, 15.75, 197e12, 0.82e12,
                200e9),
    'v5p': Chip(_CUBE, 'v5p', 2, 95.74, 459e12, 2.46e12, 600e9),
    'v6e': Chip(_FLAT, 'v6e', 1, 31.25, 920e12, 1.64e12, 400e9),
}


def chip(topology: str) -> Chip:
  """The chip of a slice such as 'v5e:16x16'.

  Raises:
    ValueError: the slice is not known; lists those that are.
  """
  kind, _, shape = topology.partition(':')
  if kind not in CHIPS or shape not in CHIPS[kind].shapes.split():
    known = '; '.join(
        ' '.join(f'{name}:{shape}' for shape in chip.shapes.split())
        for name, chip in CHIPS.items())
    raise ValueError(f'--topology={topology} is not known; known: {known}')
  return CHIPS[kind]


def product_name(topology: str) -> str:
  """The name a slice is sold by."""
  of = chip(topology)
  chips = math.prod(map(int, topology.partition(':')[2].split('x')))
  return f'{of.product}-{chips * of.counted}'


def devices(topology: str, slices: int) -> list:
  """The devices of so many slices, for the compiler alone.

  Raises:
    ValueError: the slice is not known, or the compiler is not installed.
  """
  chip(topology)
  if slices < 1:
    raise ValueError(f'--slices={slices}: there is at least 1')
  if not importlib.util.find_spec('libtpu'):
    raise ValueError('the TPU compiler is not installed: '
                     "pip install -e '.[tpu]'")
  for name, value in (('TPU_SKIP_MDS_QUERY', '1'),  # No cloud to ask here.
                      ('ALLOW_MULTIPLE_LIBTPU_LOAD', '1'),
                      ('TPU_STDERR_LOG_LEVEL', '3'),
                      ('TPU_MIN_LOG_LEVEL', '3')):
    os.environ.setdefault(name, value)
  others = {'num_slices': slices} if slices > 1 else {}
  if topology.startswith('v4:'):  # One device a chip, as on v5p.
    others['chip_config_name'] = 'megacore'
  return topologies.get_topology_desc(
      platform='tpu', topology_name=topology, **others).devices
