"""Slices that are known, and what is said of others."""

import importlib.util

import pytest

from score_jax import tpu_slices


@pytest.mark.parametrize('topology,slices,message', [
    ('v5e-16', 1, 'v5e-16 is not known; known: v4:2x2x1.*v5e:16x16.*v6e:2x2'),
    ('v5p:4x4', 1, 'v5p:4x4 is not known'),
    ('', 1, '--topology= is not known'),
    ('v5e:4x4', 0, '--slices=0')])
def test_a_slice_that_is_not_there_is_refused(topology, slices, message):
  with pytest.raises(ValueError, match=message):
    tpu_slices.devices(topology, slices)


def test_a_missing_compiler_is_told_with_the_way_to_it(monkeypatch):
  monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
  with pytest.raises(ValueError, match=r"pip install -e '\.\[tpu\]'"):
    tpu_slices.devices('v5e:2x2', 1)


def test_products_are_named_by_chips_or_by_cores():
  names = map(tpu_slices.product_name,
              ('v5e:4x4', 'v6e:16x16', 'v5p:4x4x4', 'v4:2x2x1'))
  assert list(names) == ['v5litepod-16', 'v6e-256', 'v5p-128', 'v4-8']
