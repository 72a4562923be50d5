"""Which rows are a process's own, and how what it finds becomes one array."""

import jax
import numpy as np
import pytest

from score_jax import config as config_lib
from score_jax import rows
from score_jax import sharding


class _Device:

  def __init__(self, process):
    self.process_index = process


class _Array:
  """[8, 3] of which (process, first row, row behind the last) lie somewhere."""

  shape = 8, 3

  def __init__(self, *parts):
    self._parts = parts
    self.sharding = self

  def devices_indices_map(self, shape):
    assert shape == self.shape
    return {_Device(process): (slice(start, stop), slice(None))
            for process, start, stop in self._parts}


@pytest.mark.parametrize('parts,of', [
    # Two devices each, no row on both.
    ([(0, 0, 2), (0, 2, 4), (1, 4, 6), (1, 6, 8)],
     {0: [0, 1, 2, 3], 1: [4, 5, 6, 7], 2: []}),
    # Rows that lie on two devices of one process are its own once.
    ([(0, 0, 4), (0, 0, 4), (1, 4, 8), (1, 4, 8)],
     {0: [0, 1, 2, 3], 1: [4, 5, 6, 7]}),
    # Rows that three processes hold alike are dealt out.
    ([(2, 0, 8), (0, 0, 8), (1, 0, 8)],
     {0: [0, 1, 2], 1: [3, 4, 5], 2: [6, 7]}),
    # Two processes hold the first half, the two others the second.
    ([(0, 0, 4), (1, 0, 4), (2, 4, 8), (3, 4, 8)],
     {0: [0, 1], 1: [2, 3], 2: [4, 5], 3: [6, 7]}),
])
def test_every_row_is_the_own_of_one(monkeypatch, parts, of):
  for process, own in of.items():
    monkeypatch.setattr(jax, 'process_index', lambda p=process: p)
    assert rows.mine(_Array(*parts)).tolist() == own


@pytest.mark.parametrize('mesh', [(8, 1, 1), (2, 2, 2), (1, 1, 8)])
def test_what_is_found_of_rows_becomes_one_array(mesh):
  mesh = sharding.make_mesh(config_lib.MeshConfig(*mesh))
  found = np.array([[1, 0], [0, 0], [1, 1]], np.int32)
  spread = rows.spread(found, np.array([6, 0, 3]), 8, mesh)
  assert spread.sharding.is_equivalent_to(sharding.named(mesh, 'batch'), 2)
  lowest = np.iinfo(np.int32).min
  expected = np.full((8, 2), lowest)
  expected[[6, 0, 3]] = found
  np.testing.assert_array_equal(spread, expected)
  np.testing.assert_array_equal(rows.read(spread, np.array([3, 6])),
                                [[1, 1], [1, 0]])
  np.testing.assert_array_equal(rows.everywhere(spread, mesh), expected)
  assert rows.mine(spread).tolist() == list(range(8))
