"""Writes Hugging Face safetensors folders, one tensor at a time."""

from collections.abc import Iterable
from collections.abc import Mapping
import contextlib
import json
import math
import operator
import os
import re
from typing import Any

import numpy as np

from score_jax.models import safetensors

_PARTIAL = '.partial'
_METADATA = {'format': 'pt'}  # Asked for by transformers before 5.
_NAMES = {dtype: name for name, dtype in safetensors.DTYPES.items()}


class Writer:
  """Writes tensors into a folder, in any order and one at a time.

  The files are laid out in full at once, under names that end in `.partial`,
  and get their own names in `close`. As a context manager it closes, or on an
  exception removes what it wrote.
  """

  def __init__(
      self,
      folder: str | os.PathLike,
      specs: Mapping[str, tuple[Iterable[int], Any]],
      shard_bytes: int,
      metadata: Mapping[str, str] = _METADATA,
  ):
    """Plans the shards and takes their place on the disk.

    Args:
      folder: where the files go; it is made if it is not there.
      specs: shape and dtype (float64, float32, float16, bfloat16) by name.
      shard_bytes: the most that the tensors of a shard take, at least 1. They
        fill shards in the order of `specs`; a larger one has a shard to itself.
      metadata: goes into the header of each file.

    Raises:
      ValueError: `folder` holds weights; no such sizes, dtypes or names; or
        the disk is full.
    """
    if not shard_bytes >= 1:
      raise ValueError(f'shard_bytes must be at least 1, got {shard_bytes}')
    self._folder = os.fspath(folder)
    self._specs = {name: _checked_spec(name, *spec)
                   for name, spec in specs.items()}
    self._places = {}  # Name: file, and offset in it.
    self._missing = dict.fromkeys(specs)
    self._closed = False
    shards = _plan(self._specs, shard_bytes)
    headers = [_header(shard, metadata) for shard in shards]
    _check_folder(self._folder)
    self._files = _file_names(len(shards))
    try:
      for file, shard, header in zip(self._files, shards, headers):
        self._lay_out(file, shard, header)
    except BaseException:
      self._discard()
      raise

  def put(self, name: str, array: np.ndarray):
    """Writes one tensor; a view that is not contiguous is copied for it.

    Raises:
      ValueError: another name, shape or dtype than those planned; it was
        written before; or the disk is full.
    """
    array = np.asarray(array)
    self._check_put(name, array)
    file, offset = self._places[name]
    with _write_errors(self._path(file)):
      with open(self._path(file) + _PARTIAL, 'r+b') as out:
        out.seek(offset)
        out.write(np.ascontiguousarray(array).reshape(-1).view(np.uint8))
    del self._missing[name]

  def close(self):
    """Puts the files in place, and the index last.

    Raises:
      ValueError: tensors that were not put, listed; or the disk is full.
    """
    if self._closed:
      return
    if self._missing:
      raise ValueError(f'{self._folder}: these tensors were not put: '
                       f'{safetensors.listed(list(self._missing))}')
    for file in self._files:
      with _write_errors(self._path(file)):
        with open(self._path(file) + _PARTIAL, 'r+b') as out:
          os.fsync(out.fileno())
    files = list(self._files)
    if len(files) > 1:
      self._write_index()
      files.append(safetensors.INDEX)
    for file in files:
      with _write_errors(self._path(file)):
        os.replace(self._path(file) + _PARTIAL, self._path(file))
    self._closed = True

  def __enter__(self):
    return self

  def __exit__(self, kind, error, traceback):
    try:
      if kind is None:
        self.close()
    finally:
      if not self._closed:
        self._discard()

  def _lay_out(self, file, shard, header):
    offset = len(header)
    for name, (shape, dtype) in shard.items():
      self._places[name] = file, offset
      offset += math.prod(shape) * dtype.itemsize
    with _write_errors(self._path(file)):
      os.makedirs(self._folder, exist_ok=True)
      with open(self._path(file) + _PARTIAL, 'wb') as out:
        out.write(header)
        out.flush()
        if hasattr(os, 'posix_fallocate'):  # A full disk shows itself now.
          os.posix_fallocate(out.fileno(), 0, offset)
        else:
          out.truncate(offset)

  def _check_put(self, name, array):
    if name not in self._specs:
      raise ValueError(f'{self._folder}: no tensor {name!r} was planned')
    if name not in self._missing:
      raise ValueError(f'{self._folder}: {name!r} was put before')
    if (array.shape, array.dtype) != self._specs[name]:
      shape, dtype = self._specs[name]
      raise ValueError(
          f'{self._folder}: {name!r} must be of shape {shape} and {dtype}, got '
          f'{array.shape} and {array.dtype}')

  def _write_index(self):
    total = sum(math.prod(shape) * dtype.itemsize
                for shape, dtype in self._specs.values())
    weight_map = {name: self._places[name][0] for name in self._specs}
    index = {'metadata': {'total_size': total}, 'weight_map': weight_map}
    with _write_errors(self._path(safetensors.INDEX)):
      with open(self._path(safetensors.INDEX) + _PARTIAL, 'wb') as out:
        out.write(json.dumps(index, ensure_ascii=False, indent=2).encode())
        out.flush()
        os.fsync(out.fileno())

  def _discard(self):
    for file in [*self._files, safetensors.INDEX]:
      with contextlib.suppress(OSError):
        os.remove(self._path(file) + _PARTIAL)

  def _path(self, file):
    return os.path.join(self._folder, file)


def _checked_spec(name, shape, dtype):
  """The shape and dtype, as numpy has them."""
  if not isinstance(name, str) or name == '__metadata__':
    raise ValueError(f'{name!r} cannot be the name of a tensor')
  try:
    shape, dtype = tuple(map(operator.index, shape)), np.dtype(dtype)
  except TypeError as error:
    raise ValueError(f'{name!r} has no shape and dtype: {error}') from error
  if min(shape, default=0) < 0:
    raise ValueError(f'{name!r} cannot be of shape {shape}')
  if dtype not in _NAMES:
    raise ValueError(f'{name!r} cannot be of dtype {dtype}; take one of '
                     f'{", ".join(map(str, _NAMES))}')
  return shape, dtype


def _plan(specs, shard_bytes):
  """Specs of each shard; the widest dtypes first, so that all are aligned."""
  shards, used = [{}], 0
  for name, (shape, dtype) in specs.items():
    size = math.prod(shape) * dtype.itemsize
    if shards[-1] and used + size > shard_bytes:
      shards.append({})
      used = 0
    shards[-1][name] = shape, dtype
    used += size
  widest = lambda item: -item[1][1].itemsize
  return [dict(sorted(shard.items(), key=widest)) for shard in shards]


def _header(shard, metadata):
  """The first bytes of a file, up to the data."""
  if not safetensors.is_strings(metadata):
    raise ValueError(f'metadata must be strings by name, got {metadata!r}')
  entries, end = {}, 0
  for name, (shape, dtype) in shard.items():
    begin, end = end, end + math.prod(shape) * dtype.itemsize
    entries[name] = {'dtype': _NAMES[dtype], 'shape': shape,
                     'data_offsets': (begin, end)}
  header = {'__metadata__': dict(metadata), **entries}
  try:
    text = json.dumps(header, ensure_ascii=False).encode()
  except UnicodeEncodeError as error:
    raise ValueError(f'names must be UTF-8: {error}') from error
  text += b' ' * (-len(text) % 8)
  if len(text) > safetensors.MOST_HEADER:
    raise ValueError(f'a shard has a header of {len(text)} bytes, more than '
                     f'{safetensors.MOST_HEADER}; make shard_bytes smaller')
  return len(text).to_bytes(8, 'little') + text


def _file_names(count):
  if count == 1:
    return [safetensors.SINGLE]
  return [f'model-{i:05}-of-{count:05}.safetensors'
          for i in range(1, count + 1)]


def _check_folder(folder):
  """Whole weights are never written over, nor mixed with others."""
  names = []
  if os.path.exists(folder):
    with _write_errors(folder):
      names = os.listdir(folder)
  there = [name for name in sorted(names)
           if re.fullmatch(r'model.*\.safetensors(\.index\.json)?', name)]
  if there:
    raise ValueError(f'{folder} holds weights: {safetensors.listed(there)}; '
                     'move them, or name another folder')


@contextlib.contextmanager
def _write_errors(path):
  try:
    yield
  except OSError as error:
    raise ValueError(f'cannot write {path}: {error.strerror}; see to the disk, '
                     'and write the weights again') from error
