"""Checksums of arrays: what they see, and what they must not depend on."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_jax import seal

P = jax.sharding.PartitionSpec


def _fmix32(h):
  h = ((h ^ (h >> 16)) * 0x85EBCA6B) % 2**32
  h = ((h ^ (h >> 13)) * 0xC2B2AE35) % 2**32
  return h ^ (h >> 16)


def test_checksum_is_the_sum_it_says():
  bits = [0, 1, 0xFFFFFFFF, 77, 5, 6]
  x = jnp.array(bits, jnp.uint32).reshape(2, 3)
  want = sum(_fmix32(b ^ _fmix32(i + 1)) for i, b in enumerate(bits)) % 2**32
  assert int(seal.checksum(x)) == want


def test_known_finalizer_value():
  """fmix32(1) of the reference implementation of MurmurHash3."""
  assert _fmix32(1) == int(seal._mix(jnp.uint32(1))) == 0x514E28B7


@pytest.mark.parametrize('spec', [P(), P('a'), P(None, 'a'), P('a', 'b')])
def test_same_under_any_sharding(spec):
  mesh = jax.make_mesh(
      (4, 2), ('a', 'b'), axis_types=(jax.sharding.AxisType.Auto,) * 2)
  x = jax.random.normal(jax.random.key(0), (16, 8))
  sharded = jax.device_put(x, jax.NamedSharding(mesh, spec))
  assert seal.describe([sharded]) == seal.describe([x])


@pytest.mark.parametrize(
    'dtype', ['float32', 'bfloat16', 'float16', 'int32', 'uint8', 'bool'])
def test_sees_every_single_change(dtype):
  x = jnp.arange(12).reshape(3, 4).astype(dtype)
  mask = jnp.eye(12, dtype=bool).reshape(12, 3, 4)
  changed = jnp.where(mask, (x == 0).astype(dtype)[None], x[None])
  sums = [int(seal.checksum(c)) for c in changed if (c != x).any()]
  assert len(sums) > 9 and int(seal.checksum(x)) not in sums


def test_sees_swaps_signs_and_lengths():
  x = jnp.array([1.0, 2.0, 0.0, 0.0])
  different = [
      x, x[::-1], x[jnp.array([1, 0, 2, 3])], x.at[2].set(-0.0), x[:3],
      jnp.zeros(4), jnp.zeros(5),
  ]
  assert len({int(seal.checksum(y)) for y in different}) == len(different)


def test_describes_scalars_and_names():
  described = seal.describe({'a': jnp.int32(3), 'b': [jnp.zeros((2, 0))]})
  assert described["['a']"][0] == 'int32[]'
  assert described["['b'][0]"] == ['float32[2, 0]', 0]


def test_read_names_the_fault(tmp_path):
  (tmp_path / 'sub').mkdir()
  (tmp_path / 'sub' / 'data').write_bytes(b'abc')
  seal.write(tmp_path, {'step': 3})
  assert seal.read(tmp_path)['step'] == 3
  (tmp_path / 'sub' / 'data').write_bytes(b'abd')
  with pytest.raises(ValueError, match='^sub/data has changed$'):
    seal.read(tmp_path)
  (tmp_path / 'sub' / 'data').unlink()
  with pytest.raises(ValueError, match='^sub/data is missing$'):
    seal.read(tmp_path)
  (tmp_path / 'SEAL').unlink()
  with pytest.raises(ValueError, match='^SEAL is missing$'):
    seal.read(tmp_path)


def test_differences_are_empty_for_the_same_kinds():
  x = {'a': jnp.zeros((2, 3)), 'n': np.int32(1)}
  assert not seal.differences(seal.describe(x), jax.eval_shape(lambda: x))
