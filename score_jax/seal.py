"""Seals: how a checkpoint shows that it is whole and unhurt.

A seal is a file in the checkpoint's folder, written last. It holds the SHA-256
of every other file, so that damage is found before anyone reads wrong numbers
out of it, and the name, kind and checksum of every array. The checksums are
made on device: they guard the way from the device to the file and back.
"""

import hashlib
import json
import os
import pathlib
from typing import Any

import jax
import jax.numpy as jnp

_NAME = 'SEAL'


def write(folder: pathlib.Path, content: dict):
  """Seals a folder: `content` (JSON) and the SHA-256 of every file in it."""
  files = sorted(path for path in folder.rglob('*') if path.is_file())
  digests = {str(path.relative_to(folder)): _digest(path) for path in files}
  body = json.dumps(content | {'files': digests}).encode()
  own_digest = hashlib.sha256(body).hexdigest().encode()
  (folder / _NAME).write_bytes(own_digest + b'\n' + body)


def read(folder: pathlib.Path) -> dict:
  """The content of a seal, after comparing every file with it.

  Raises:
    ValueError: a file is missing, cannot be read or is not what was sealed;
      the message is a few words that name the file.
  """
  try:
    own_digest, _, body = (folder / _NAME).read_bytes().partition(b'\n')
    if hashlib.sha256(body).hexdigest().encode() != own_digest:
      raise ValueError(f'{_NAME} has changed')
    content = json.loads(body)
    for name, digest in content['files'].items():
      if _digest(folder / name) != digest:
        raise ValueError(f'{name} has changed')
  except FileNotFoundError as error:
    name = os.path.relpath(error.filename, folder)
    raise ValueError(f'{name} is missing') from error
  except OSError as error:
    raise ValueError(f'{error.filename}: {error.strerror}') from error
  return content


def _digest(path):
  with open(path, 'rb') as file:
    return hashlib.file_digest(file, 'sha256').hexdigest()


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
