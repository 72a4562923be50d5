"""Seals: how a checkpoint shows that it is whole and unhurt.

A seal is a file in the checkpoint's folder, written last and deleted first: a
folder without it is half-written, or half-deleted. It holds the MD5 of every
other file, which buckets know of their objects, so that damage is found before
anyone reads wrong numbers out of it; and the name, kind and checksum of every
array. The checksums are made on device: they guard the way from the device to
the file and back.
"""

import hashlib
import json
from typing import Any

import jax
import jax.numpy as jnp

from score_jax import files

_NAME = 'SEAL'


def is_on(folder: files.Path) -> bool:
  """Whether a folder has a seal, broken or not."""
  return (folder / _NAME).exists()


def write(folder: files.Path, content: dict):
  """Seals a folder: `content` (JSON) and the MD5 of every file in it."""
  body = json.dumps(content | {'files': files.digests(folder)}).encode()
  own_digest = hashlib.sha256(body).hexdigest().encode()
  files.write_whole(folder / _NAME, own_digest + b'\n' + body)


def remove(folder: files.Path):
  """Takes the seal away, which says that the rest may be gone."""
  (folder / _NAME).unlink(missing_ok=True)


def read(folder: files.Path) -> dict:
  """The content of a seal, after comparing every file with it.

  Raises:
    ValueError: a file is missing, cannot be read or is not what was sealed;
      the message is a few words that name the file.
  """
  try:
    own_digest, _, body = files.read_whole(folder / _NAME).partition(b'\n')
    if hashlib.sha256(body).hexdigest().encode() != own_digest:
      raise ValueError(f'{_NAME} has changed')
    content, found = json.loads(body), files.digests(folder)
  except FileNotFoundError as error:
    raise ValueError(f'{_NAME} is missing') from error
  except OSError as error:
    if error.filename is None:  # Of a bucket, and no fault of the file's.
      raise
    raise ValueError(f'{error.filename}: {error.strerror}') from error
  for name, digest in content['files'].items():
    if name not in found:
      raise ValueError(f'{name} is missing')
    if found[name] != digest:
      raise ValueError(f'{name} has changed')
  return content


def named(tree: Any) -> dict[str, Any]:
  """The leaves of a pytree by their path, such as `.params['head']`."""
  leaves = jax.tree_util.tree_leaves_with_path(tree)
  return {jax.tree_util.keystr(path): leaf for path, leaf in leaves}


def kind(leaf: jax.Array | jax.ShapeDtypeStruct) -> str:
  """Type and shape in words: 'float32[96, 256]'."""
  return f'{leaf.dtype}{list(leaf.shape)}'


def describe(state: Any) -> dict[str, list]:
  """{name: [kind, checksum]} of every array of a pytree; JSON."""
  leaves = named(state)
  sums = jax.device_get(_checksums(list(leaves.values())))
  return {
      name: [kind(leaf), int(value)]
      for (name, leaf), value in zip(leaves.items(), sums)
  }


def differences(arrays: dict[str, list], abstract_state: Any) -> list[str]:
  """In words, where `describe`d arrays are not of the kinds wanted."""
  there = {name: saved for name, (saved, _) in arrays.items()}
  here = {name: kind(leaf) for name, leaf in named(abstract_state).items()}
  return [
      f'{name} is {there.get(name, "absent")} there and '
      f'{here.get(name, "absent")} here'
      for name in sorted(there | here) if there.get(name) != here.get(name)
  ]


@jax.jit
def _checksums(leaves):
  return [checksum(leaf) for leaf in leaves]


def checksum(x: jax.Array) -> jax.Array:
  """A uint32 scalar made of the bits of an array and their places.

  A wrapping sum of integers: it is the same in any order, so under any sharding
  and on any number of processes. Each term hashes the bits of an element with
  its place. One changed element always changes the sum; several changes, or two
  elements swapped, are missed by a chance of 2^-32.
  """
  if x.dtype == jnp.bool_:
    x = x.astype(jnp.uint8)
  unsigned = jnp.dtype(f'uint{8 * min(x.dtype.itemsize, 4)}')
  bits = jax.lax.bitcast_convert_type(x, unsigned).astype(jnp.uint32)
  place = jnp.zeros(bits.shape, jnp.uint32)
  for axis, size in enumerate(bits.shape):
    along = jax.lax.broadcasted_iota(jnp.uint32, bits.shape, axis)
    place = place * jnp.uint32(size) + along
  return jnp.sum(_mix(bits ^ _mix(place + jnp.uint32(1))), dtype=jnp.uint32)


def _mix(h):
  """The finalizer of MurmurHash3: a bijection in which every bit spreads."""
  h = (h ^ (h >> 16)) * jnp.uint32(0x85EBCA6B)
  h = (h ^ (h >> 13)) * jnp.uint32(0xC2B2AE35)
  return h ^ (h >> 16)
