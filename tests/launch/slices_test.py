"""Chips and hosts of slices, as the vendor counts them."""

import pytest

from launch import slices


@pytest.mark.parametrize('name, chips, hosts, runtime', [
    ('v4-8', 4, 1, 'tpu-ubuntu2204-base'),
    ('v4-4096', 2048, 512, 'tpu-ubuntu2204-base'),
    ('v5litepod-8', 8, 1, 'v2-alpha-tpuv5-lite'),
    ('v5litepod-16', 16, 4, 'v2-alpha-tpuv5-lite'),
    ('v5p-16', 8, 2, 'v2-alpha-tpuv5'),
    ('v5p-384', 192, 48, 'v2-alpha-tpuv5'),
    ('v6e-1', 1, 1, 'v2-alpha-tpuv6e'),
    ('v6e-256', 256, 64, 'v2-alpha-tpuv6e'),
])
def test_chips_and_hosts(name, chips, hosts, runtime):
  assert slices.find(name) == slices.SliceType(name, chips, hosts, runtime)


@pytest.mark.parametrize('name', [
    'v5e-16', 'v4-4', 'v4-100', 'v5litepod-512', 'v6e-2', 'v6e', 'v6e-x', ''])
def test_others_are_refused(name):
  with pytest.raises(ValueError, match='there are v4-8 -16 .* v6e-1 -4 -8'):
    slices.find(name)
