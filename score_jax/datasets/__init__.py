"""The data sets by name, from prepared folders or the original files."""

import pathlib

from score_jax.datasets import base
from score_jax.datasets import gsm8k
from score_jax.datasets import humaneval
from score_jax.datasets import humanevalfix
from score_jax.datasets import maths
from score_jax.datasets import mbpp
from score_jax.datasets import originals
from score_jax.datasets import storage
from score_jax.datasets import svamp

DATA_SETS = {data_set.name: data_set for data_set in (
    maths.Math, gsm8k.Gsm8k, svamp.Svamp, mbpp.Mbpp, mbpp.MbppSanitized,
    humaneval.Humaneval, humanevalfix.Humanevalfix)}


def find(name: str, folder: pathlib.Path) -> pathlib.Path | None:
  """Where a folder has the original files of a data set: in one named after it
  or in itself; None if it has not.

  Raises:
    BadData: the folder cannot be read.
  """
  data_set = DATA_SETS[name]
  places = [*(folder / inner for inner in data_set.FOLDERS), folder]
  return next((place for place in places
               if any(originals.files(data_set, place).values())), None)


def load(name: str, folder: pathlib.Path) -> base.Contents | None:
  """A data set of a folder, prepared or as it came; None if it has neither.

  Raises:
    ValueError: see `originals.read` and `base.read_prepared`.
  """
  data_set = DATA_SETS[name]
  prepared = storage.version_folder(data_set, folder)
  if prepared.exists():
    return base.read_prepared(data_set, prepared)
  place = find(name, folder)
  return originals.read(data_set, place) if place else None


def file_names(name: str) -> str:
  """What the files of a data set are called, in words."""
  return ' and '.join(' or '.join(part.names)
                      for part in DATA_SETS[name].PARTS.values())
