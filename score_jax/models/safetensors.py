"""Reads Hugging Face safetensors folders, without reading what is not needed.

A model is one file `model.safetensors`, or shards and an index that says which
tensor is in which. A file is 8 bytes of header length (little-endian), a JSON
header {name: {dtype, shape, data_offsets}} and the bytes of the tensors:
https://huggingface.co/docs/safetensors.

Own code on numpy and ml_dtypes: the package `safetensors` gives no
memory-mapped arrays that can be transposed and sliced lazily, and writes a
whole shard from memory (see `safetensors_writer`).
"""

import collections
from collections.abc import Iterator
from collections.abc import Mapping
import contextlib
import dataclasses
import itertools
import json
import math
import mmap
import os
import re
from typing import Any

import ml_dtypes
import numpy as np

from score_jax import files as files_lib

SINGLE = 'model.safetensors'
INDEX = 'model.safetensors.index.json'
_LONE = 'model-00001-of-00001.safetensors'
_SHARD = re.compile(r'.*-\d+-of-\d+\.safetensors')

MOST_HEADER = 100_000_000  # Bytes; the limit of the reference reader.
_MOST_AXES = 64  # Of a numpy array.
_PICKLED = ('.bin', '.pt', '.pth', '.ckpt', '.pkl', '.pickle')
_PICKLED_WORDS = ('pickled weights are not read, as they can run code; convert '
                  'them to safetensors')
_PICKLE_OR_ZIP = re.compile(rb'\x80[\x02-\x05]|PK\x03\x04')
DTYPES = {
    'F64': np.dtype(np.float64),
    'F32': np.dtype(np.float32),
    'F16': np.dtype(np.float16),
    'BF16': np.dtype(ml_dtypes.bfloat16),
}
_BITS = {name: bits for bits, names in {
    4: 'F4',
    6: 'F6_E2M3 F6_E3M2',
    8: 'BOOL U8 I8 F8_E5M2 F8_E4M3 F8_E8M0 F8_E4M3FNUZ F8_E5M2FNUZ',
    16: 'U16 I16 F16 BF16',
    32: 'U32 I32 F32',
    64: 'U64 I64 F64 C64',
}.items() for name in names.split()}


@dataclasses.dataclass(frozen=True)
class _Tensor:
  path: str
  dtype: str
  shape: tuple[int, ...]
  data: np.ndarray  # Its bytes, mapped.


class Tensors(Mapping[str, np.ndarray]):
  """Tensors by name: read-only arrays that are mapped, not read.

  A view of one, transposed or sliced, reads the pages that it needs. The files
  must stay as they are while an array is in use.

  Attributes:
    path: folder or file, for messages.
    dtypes: of each tensor, as the format calls them: 'BF16'.
    shapes: of each tensor.
  """

  def __init__(self, path: str, tensors: dict[str, _Tensor]):
    self.path = path
    self._tensors = tensors
    self.dtypes = {name: tensor.dtype for name, tensor in tensors.items()}
    self.shapes = {name: tensor.shape for name, tensor in tensors.items()}

  def __getitem__(self, name: str) -> np.ndarray:
    """The tensor, of the dtype it is stored in.

    Raises:
      KeyError: there is none of this name.
      ValueError: it is of integers or quantised.
    """
    tensor = self._tensors[name]
    if tensor.dtype not in DTYPES:
      raise ValueError(
          f'{tensor.path}: the tensor {name!r} is of dtype {tensor.dtype}, '
          f'which is not read; take weights of {", ".join(DTYPES)}')
    return tensor.data.view(DTYPES[tensor.dtype]).reshape(tensor.shape)

  def __contains__(self, name: object) -> bool:
    return name in self._tensors  # Also one that cannot be read.

  def __iter__(self) -> Iterator[str]:
    return iter(self._tensors)

  def __len__(self) -> int:
    return len(self._tensors)


def open_folder(path: str | os.PathLike) -> Tensors:
  """The tensors of a model; reads headers only, and checks them.

  Args:
    path: a folder with `model.safetensors`, or with
      `model.safetensors.index.json` and its shards, or with one shard that is
      all of the model; or one safetensors file.

  Raises:
    ValueError: no such folder or file; pickled weights; a file that is damaged
      or cut short; or an index and shards that do not fit each other.
  """
  path = os.fspath(path)
  if os.path.isfile(path):
    return Tensors(path, _open_file(path))
  if not os.path.isdir(path):
    raise ValueError(f'{path}: there is no such file or folder; name a folder '
                     f'with {SINGLE} or {INDEX}, or a safetensors file')
  single, index, lone = (
      os.path.join(path, name) for name in (SINGLE, INDEX, _LONE))
  # Opening a link to nothing, or a pipe, says what is wrong with it.
  if os.path.lexists(single) and os.path.lexists(index):
    raise ValueError(f'{path} has both {SINGLE} and {INDEX}; remove the one '
                     'that is not meant')
  if os.path.lexists(index):
    return Tensors(path, _open_shards(path, index))
  for file in (single, lone):
    if os.path.lexists(file):
      return Tensors(path, _open_file(file))
  raise ValueError(_nothing_in(path))


def _open_file(path):
  """Tensors of a file by name; its data are mapped."""
  with _read_errors(path), files_lib.open_regular(path) as file:
    size = os.fstat(file.fileno()).st_size
    start = file.read(9)
    if start[8:] not in (b'', b'{') and (path.lower().endswith(_PICKLED)
                                         or _PICKLE_OR_ZIP.match(start)):
      raise ValueError(f'{path}: {_PICKLED_WORDS}')
    with _damage(path):
      length = _header_length(start, size)
      header = _parse(start[8:] + file.read(length - 1))
      places = _places(header, size - 8 - length)
    data = np.frombuffer(
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), np.uint8)
  data = data[8 + length:]
  return {name: _Tensor(path, dtype, shape, data[begin:end])
          for name, (dtype, shape, begin, end) in places.items()}


def _header_length(start: bytes, size: int) -> int:
  if len(start) < 8:
    raise ValueError(f'it has {len(start)} bytes')
  length = int.from_bytes(start[:8], 'little')
  if length > size - 8:
    raise ValueError(
        f'it has {size} bytes and asks for a header of {length} bytes')
  if length > MOST_HEADER:
    raise ValueError(f'it asks for a header of {length} bytes')
  if start[8:] != b'{' or not length:
    raise ValueError('its header does not begin with {')
  return length


def _parse(text: bytes) -> dict[str, Any]:
  """A JSON object, without duplicates."""

  def unique(pairs):
    value = dict(pairs)
    if len(value) < len(pairs):
      counts = collections.Counter(name for name, _ in pairs)
      twice = [name for name, count in counts.items() if count > 1]
      raise ValueError(f'JSON names that are there twice: {listed(twice)}')
    return value

  value = json.loads(text.decode(), object_pairs_hook=unique)
  if not isinstance(value, dict):
    raise ValueError('its JSON is no object')
  return value


def _places(header, size):
  """Dtype, shape, begin and end of each tensor, which fill `size` bytes."""
  if not is_strings(header.pop('__metadata__', {})):
    raise ValueError('its metadata are not strings by name')
  places = {name: _place(name, entry) for name, entry in header.items()}
  cursor = 0
  for name, (_, _, begin, end) in sorted(
      places.items(), key=lambda item: item[1][2:]):
    if begin != cursor:
      what = 'overlaps' if begin < cursor else 'leaves a hole after'
      raise ValueError(
          f'{name!r}, at byte {begin}, {what} the data before it')
    cursor = end
  if cursor != size:
    raise ValueError(f'it has {size} bytes of data and its header tells of '
                     f'{cursor}')
  return places


def _place(name, entry):
  """Dtype, shape, begin and end in the data, of an entry of the header."""
  if not isinstance(entry, dict):
    raise ValueError(f'{name!r} is no JSON object')
  dtype, shape, offsets = (
      entry.get(key) for key in ('dtype', 'shape', 'data_offsets'))
  if not isinstance(dtype, str) or dtype not in _BITS:
    raise ValueError(f'{name!r} has no dtype of the format: {dtype!r}')
  # The product bounds what numpy can address, also with an axis of length 0.
  if (not _is_sizes(shape) or len(shape) > _MOST_AXES
      or math.prod(n or 1 for n in shape) * _BITS[dtype] >= 2**63):
    raise ValueError(f'{name!r} has no possible shape')
  if not _is_sizes(offsets) or len(offsets) != 2:
    raise ValueError(f'{name!r} has no possible data_offsets')
  begin, end = offsets
  if (end - begin) * 8 != math.prod(shape) * _BITS[dtype]:
    raise ValueError(f'{name!r}, {dtype} of shape {shape}, has {end - begin} '
                     'bytes')
  return dtype, tuple(shape), begin, end


def _is_sizes(value):
  return (isinstance(value, list)
          and all(type(n) is int and n >= 0 for n in value))


def is_strings(value):
  return (isinstance(value, Mapping)
          and all(isinstance(v, str) for v in [*value, *value.values()]))


def _open_shards(folder, index):
  weight_map = _weight_map(index)
  files = sorted(set(weight_map.values()))
  missing = [file for file in files
             if not os.path.isfile(os.path.join(folder, file))]
  if missing:
    links = any(os.path.islink(os.path.join(folder, file)) for file in missing)
    raise ValueError(
        f'{index}: these shards are {"links to nothing" if links else "not"}'
        f'{"" if links else " there"}, download them: {listed(missing)}')
  shards = {file: _open_file(os.path.join(folder, file)) for file in files}
  _check_shards(index, weight_map, shards)
  return {name: shards[file][name] for name, file in weight_map.items()}


def _weight_map(index):
  with _read_errors(index), files_lib.open_regular(index) as file:
    text = file.read(MOST_HEADER)
  with _damage(index):
    weight_map = _parse(text).get('weight_map')
    if not is_strings(weight_map):
      raise ValueError('it has no weight_map of file names')
  for file in weight_map.values():
    if file in ('', '.', '..') or os.path.basename(file) != file:
      raise ValueError(f'{index} names the shard {file!r}; a shard must be in '
                       'the folder of the index')
  return weight_map


def _check_shards(index, weight_map, shards):
  """Lists everything in which an index and its shards differ."""
  holders = collections.Counter(itertools.chain(*shards.values()))
  problems = [
      ('not in the shards named for them',
       [name for name, file in weight_map.items() if name not in shards[file]]),
      ('in more than one shard',
       [name for name, count in holders.items() if count > 1]),
      ('in a shard and not in the index',
       [name for name in holders if name not in weight_map]),
  ]
  problems = [f'{what}: {listed(names)}' for what, names in problems if names]
  if problems:
    raise ValueError(f'{index} and its shards do not fit each other, download '
                     f'them again; tensors {"; ".join(problems)}')


def _nothing_in(folder):
  """What to say of a folder that has neither of the two files."""
  with _read_errors(folder):
    names = sorted(os.listdir(folder))
  text = f'{folder} has no {SINGLE} and no {INDEX}'
  whole = [name for name in names if name.endswith('.safetensors')]
  shards = [name for name in whole if _SHARD.fullmatch(name)]
  pickled = [name for name in names if name.lower().endswith(_PICKLED)]
  if shards:
    return (f'{text}; it has shards: {listed(shards)}; download {INDEX} and '
            'the shards that are missing')
  if whole:
    return (f'{text}; it has {listed(whole)}: rename the file with all weights '
            f'of the model to {SINGLE}')
  if pickled:
    return f'{text}; it has {listed(pickled)}: {_PICKLED_WORDS}'
  return f'{text}; name another folder, or download the files'


def listed(names, most=10):
  rest = len(names) - most
  return (', '.join(map(repr, names[:most]))
          + (f' and {rest} more' if rest > 0 else ''))


@contextlib.contextmanager
def _damage(path):
  """Says of which file the contents are wrong, on one line."""
  try:
    yield
  except (ValueError, RecursionError) as error:  # Of JSON, UTF-8, or ours.
    raise ValueError(
        f'{path} is damaged or cut short, download it again: {error}'
    ) from error


@contextlib.contextmanager
def _read_errors(path):
  try:
    yield
  except OSError as error:
    raise ValueError(f'cannot read {path}: {error.strerror}') from error
