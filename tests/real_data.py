"""The original files of the data sets, which are not in the repository."""

import os
import pathlib

import pytest

_BESIDE = pathlib.Path(__file__).parents[2] / 'shared' / 'data'


def folder(name: str = '') -> pathlib.Path:
  """The folder of a data set, or of all of them; skips the test without it."""
  root = pathlib.Path(os.environ.get('SCORE_JAX_DATA', _BESIDE))
  if not (root / name).is_dir():
    pytest.skip(f'{root / name} is not there; set SCORE_JAX_DATA=FOLDER')
  return root / name
