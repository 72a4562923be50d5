"""What is said of products, by hand."""

import pytest

from benchmarks import compare
from benchmarks import products


def _measured(theirs):
  return compare.Measured(
      'peer', {'ours': [2.0, 4.0, 2.0], 'peer': [1.0, 1.0, 1.0]}, {},
      {'ours': {'flops': 8e9}, 'peer': {'flops': theirs}})


def test_rates():
  ours, theirs = products.describe(None, _measured(8e9))
  assert ours.split() == ['ours:', '4', '[2,', '4]', 'GFLOP/s']
  assert theirs.split() == ['peer:', '8', '[8,', '8]', 'GFLOP/s']


def test_other_products_are_other_work():
  with pytest.raises(ValueError, match='FLOPs of the sides differ'):
    products.describe(None, _measured(9e9))
