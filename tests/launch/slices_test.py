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


@pytest.mark.parametrize('name, meant', [
    ('v5e-16', 'v5litepod-16'), ('v5e16', 'v5litepod-16'),
    ('v5lite-8', 'v5litepod-8'), ('v5-litepod-256', 'v5litepod-256'),
    ('V5E-64', 'v5litepod-64'), ('trillium-8', 'v6e-8'), ('v6-256', 'v6e-256'),
    ('v5p128', 'v5p-128')])
def test_other_names_of_a_generation_get_a_hint(name, meant):
  with pytest.raises(ValueError, match=f'--type={name} is not known; did you '
                                       f'mean {meant}.; there are v4-8'):
    slices.find(name)


@pytest.mark.parametrize('name', ['v2-8', 'v3-32', 'tpu7x-16', 'v4-100'])
def test_a_type_that_is_not_known_can_be_described(name):
  assert slices.find(name, 16, 4, 'image') == slices.SliceType(
      name, 16, 4, 'image')
  for missing in ((0, 4, 'image'), (16, 0, 'image'), (16, 4, '')):
    with pytest.raises(ValueError, match='give --chips and --hosts of a slice, '
                                         'and --runtime-version'):
      slices.find(name, *missing)


def test_a_known_type_keeps_its_chips():
  with pytest.raises(ValueError, match='v6e-8 is known; leave out --chips'):
    slices.find('v6e-8', 4, 1, 'image')
