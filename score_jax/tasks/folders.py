"""The data sets behind tasks, and the way out when they cannot be read."""

from collections.abc import Iterator
import contextlib
import pathlib

from score_jax import config as config_lib
from score_jax import datasets
from score_jax.datasets import base
from score_jax.datasets import reading


@contextlib.contextmanager
def named_way_out() -> Iterator[None]:
  """Adds to complaints about files what can be done about them."""
  try:
    yield
  except reading.BadData as error:
    raise ValueError(f'{error}; mend the file, or name another folder with '
                     '--config.task.data_dir=FOLDER') from error


def load_if_there(
    config: config_lib.TaskConfig, name: str
) -> base.Contents | None:
  """A data set of the folder `config.data_dir`; None if it is not there.

  Raises:
    ValueError: it cannot be read.
  """
  with named_way_out():
    return datasets.load(name, pathlib.Path(config.data_dir))


def load(config: config_lib.TaskConfig, name: str) -> base.Contents:
  """A data set of the folder `config.data_dir`.

  Raises:
    ValueError: it is not there, or cannot be read.
  """
  contents = load_if_there(config, name)
  if contents is None:
    raise ValueError(
        f'{config.data_dir} has no {name}: neither the folder {name}/ of '
        'python -m score_jax.prepare_data nor the original files ('
        f'{datasets.file_names(name)}); name the folder that has with '
        '--config.task.data_dir=FOLDER')
  return contents
