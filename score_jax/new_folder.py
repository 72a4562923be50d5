"""A folder that appears under its name when it is whole.

Until then it is NAME.partial, with a mark that says whose it is: a kill leaves
it there for the next one to clear, and no folder of anybody else is touched.
"""

from collections.abc import Iterator
import contextlib
import os
import pathlib
import shutil

from score_jax import lock

_MARK = '.converting'


@contextlib.contextmanager
def new_folder(to: pathlib.Path) -> Iterator[pathlib.Path]:
  """Yields NAME.partial, empty; without an exception it becomes `to`.

  Args:
    to: the folder; may exist if it is empty. Links are followed.

  Raises:
    ValueError: the folder is not empty, another process is writing it, or
      the system refuses something.
  """
  to = pathlib.Path(os.path.realpath(to))
  with named_errors(to):
    if os.path.lexists(to) and (not to.is_dir() or any(to.iterdir())):
      raise ValueError(
          f'{to} exists and is not an empty folder; name a new one')
  aside = to.with_name(to.name + '.partial')
  with named_errors(aside), _claimed(aside):
    try:
      yield aside
      if to.exists():
        to.rmdir()
      aside.rename(to)
      (to / _MARK).unlink()
    except BaseException:
      shutil.rmtree(aside, ignore_errors=True)
      raise


def check_space(folder: pathlib.Path, needed: int):
  """ValueError unless the disk of a folder has so many bytes free."""
  free = shutil.disk_usage(folder).free
  if free < needed:
    raise ValueError(
        f'{folder} needs {needed / 1e9:.3g} GB and the disk has '
        f'{free / 1e9:.3g} GB free; free some space, or name another folder')


@contextlib.contextmanager
def named_errors(path: pathlib.Path) -> Iterator[None]:
  """Turns an OSError into a ValueError of one line that names the path."""
  try:
    yield
  except OSError as error:
    raise ValueError(f'{path}: {error.strerror or error}; see to the disk, and '
                     'convert again') from error


@contextlib.contextmanager
def _claimed(aside):
  """An empty folder, which no other process writes to meanwhile."""
  aside.mkdir(parents=True, exist_ok=True)
  with lock.held(aside) as mine:
    if not mine:
      raise ValueError(f'another conversion is writing {aside}; wait for its '
                       'end, or name another folder')
    if any(aside.iterdir()) and not (aside / _MARK).exists():
      raise ValueError(f'{aside} is in the way: conversions write there first; '
                       'move it, or name another folder')
    (aside / _MARK).touch()
    for path in aside.iterdir():
      if path.is_dir():
        shutil.rmtree(path)
      elif path.name != _MARK:
        path.unlink()
    yield
