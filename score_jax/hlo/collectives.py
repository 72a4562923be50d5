"""What a program moves between devices, and along which axes of the mesh."""

import collections
import math
import re

from jax.sharding import Mesh
import numpy as np

from score_jax.hlo import text

_SENT = {
    'all-gather': lambda ways: (ways - 1) / ways,
    'all-reduce': lambda ways: 2 * (ways - 1) / ways,
    'reduce-scatter': lambda ways: ways - 1,
    'all-to-all': lambda ways: (ways - 1) / ways,
}
"""What one of so many devices sends at least, over the bytes of its result."""


def moved(
    module: text.Module, mesh: Mesh
) -> dict[tuple[str, str], tuple[int, int]]:
  """(kind, mesh axes) to (runs, bytes of the results on a device).

  The axes are joined by '+'; '?' where the text does not tell. What one slice
  sends to others is told apart.
  """
  found = collections.defaultdict(lambda: (0, 0))
  begun = {name for instructions in module.computations.values()
           for one in instructions
           if one.name.startswith('async-collective-start')
           for name in text.called(one)}
  for name, times in module.runs.items():
    for one in module.computations[name]:
      kind = text.collective(one)
      # One that is spread over fusions counts where it begins.
      if kind and times and (name in begun or not text.is_spread(one)):
        key = kind, _axes(_groups_of(one, module.computations), mesh)
        count, size = found[key]
        found[key] = count + times, size + times * _moved(one)
  return dict(found)


def sent(
    found: dict[tuple[str, str], tuple[int, int]], mesh: Mesh
) -> dict[str, float]:
  """Bytes that a device sends within its slice, at least, by mesh axes.

  Args:
    found: of `moved`. What goes between slices, or along axes that the text
      does not tell, is left out.
    mesh: its devices.
  """
  total = collections.defaultdict(float)
  for (kind, axes), (_, size) in found.items():
    names = axes.split('+')
    if set(names) <= set(mesh.axis_names):
      ways = math.prod(mesh.shape[name] for name in names)
      total[axes] += size * _SENT.get(kind, lambda _: 1)(ways)
  return dict(total)


def _moved(one) -> int:
  """Bytes of a collective's result."""
  sizes = [text.num_bytes(*array) for array in text.arrays(one.shape)]
  both = one.op == 'send' or one.op.endswith('-start')  # Or what belongs to it.
  return max(sizes) if both else sum(sizes)


def _groups_of(one, computations) -> str:
  """The text that says which devices a collective is among."""
  if one.op != 'fusion':
    return one.rest
  name = re.search(r'calls=%([\w.-]+)', one.rest).group(1)
  return ' '.join(i.rest for i in computations[name] if text.collective(i))


def _axes(groups, mesh) -> str:
  """Mesh axes along which the devices of a collective differ."""
  if '_xla_megascale' in groups:
    return 'data, between slices'
  together = _together(groups, mesh.size)
  if together is None:
    return '?'
  places = np.array(np.unravel_index(together, mesh.devices.shape))
  varies = (places != places[:, :1]).any(axis=1)
  return '+'.join(a for a, v in zip(mesh.axis_names, varies) if v) or 'none'


def _together(groups, devices) -> list[int] | None:
  """The devices of one group, numbered in the order of the mesh."""
  if pairs := re.search(r'source_target_pairs=\{\{(\d+),(\d+)\}', groups):
    return [int(n) for n in pairs.groups()]
  if 'replica_groups={}' in groups:
    return list(range(devices))
  if group := re.search(r'replica_groups=\{\{([\d,]+)\}', groups):
    return [int(n) for n in group.group(1).split(',')]
  iota = re.search(
      r'replica_groups=\[([\d,]+)\]<=\[([\d,]+)\](?:T\(([\d,]+)\))?', groups)
  if iota:
    parts, sizes, order = (
        [int(n) for n in part.split(',')] if part else None
        for part in iota.groups())
    ids = np.arange(math.prod(sizes)).reshape(sizes).transpose(order)
    return ids.reshape(parts)[0].tolist()
  named = re.search(r"replica_groups=mesh\[([^\]]+)\](?:, device_ids="
                    r"\(\[([\d,]+)\]T\(([\d,]+)\)\))?\s*\{([^}]*)\}", groups)
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
