"""Opens GGUF files and reads their metadata, with one-line errors.

GGUF is the container of llama.cpp: typed metadata fields, then tensors. Format:
https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. The tokenizer
(`text/tokenizer.py`) and the weights (`models/gguf.py`) live in one file.
"""

import os
from typing import Any

import numpy as np

from score_jax import files

MAGIC = b'GGUF'


class GgufFile:
  """An open GGUF file.

  Attributes:
    path: where it is, for messages.
    names: of the metadata fields.
    tensors: `gguf.ReaderTensor` by name; the data are mapped, not read.
  """

  def __init__(self, path: str | os.PathLike):
    """Opens `path`.

    Raises:
      ValueError: no such file, not a GGUF file, cut short or damaged; or the
        package `gguf` is not installed.
    """
    self.path = os.fspath(path)
    self._reader = _open(self.path)
    self.names = tuple(self._reader.fields)
    self.tensors = {t.name: t for t in self._reader.tensors}

  def get(self, name: str, kind: type, default: Any = None) -> Any:
    """The metadata field `name`, or `default` where the file has none.

    Raises:
      ValueError: the field is not of type `kind` (of Python: int, float, bool,
        str, list for an array, or object for any).
    """
    field = self._reader.get_field(name)
    if field is None:
      return default
    value = field.contents()
    if kind is not object and type(value) is not kind:
      raise ValueError(
          f'{self.path}: the field {name} must be of type {kind.__name__}, got '
          f'{type(value).__name__}; the file is damaged or foreign'
      )
    return value

  def require(self, name: str, kind: type) -> Any:
    """As `get`, of a field that must be there (else a ValueError)."""
    value = self.get(name, kind)
    if value is None:
      raise ValueError(
          f'{self.path}: the GGUF file has no metadata field {name}'
      )
    return value


def _open(path):
  try:
    import gguf  # An optional extra: most runs need no GGUF file.
  except ImportError as error:
    raise ValueError(
        f"reading {path} needs the package gguf: pip install 'score_jax[gguf]'"
    ) from error
  try:
    with files.open_regular(path) as file:
      magic = file.read(len(MAGIC))
  except OSError as error:
    raise ValueError(f'cannot read {path}: {error.strerror}') from error
  if magic != MAGIC:
    raise ValueError(
        f'{path} is not a GGUF file: it begins with {magic!r}, not {MAGIC!r}'
    )
  try:
    return _bounded_reader(gguf)(path)
  # What the reader raises on damage depends on the byte that it trips over.
  except (ValueError, LookupError, ArithmeticError, RecursionError) as error:
    raise ValueError(
        f'{path} is a damaged GGUF file, download it again: {error}'
    ) from error


def _bounded_reader(gguf):
  """A `GGUFReader` that never reads past the end of its file.

  The original takes what is left, so a file cut short yields garbage or loops
  over a count that is garbage.
  """

  class BoundedReader(gguf.GGUFReader):

    def _get(self, offset, dtype, count=1, override_order=None):
      end = int(offset) + np.dtype(dtype).itemsize * int(count)
      if not offset <= end <= len(self.data):
        raise ValueError(
            f'it has {len(self.data)} bytes and its contents reach to byte '
            f'{end}'
        )
      return super()._get(offset, dtype, count, override_order)

  return BoundedReader
