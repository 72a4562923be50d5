"""Named experiments, importable without a checkout of the repository."""

import pathlib


def packaged(path: str) -> str:
  """Return the file that a --config path names, with or without a checkout.

  Args:
    path: FILE or FILE:VARIANT.

  Returns:
    `path` where FILE exists or is none of the package's. Otherwise the
    package's own file, so that `experiments/stage2.py` works in any folder.
  """
  file, colon, variant = path.partition(':')
  own = pathlib.Path(__file__).parent / pathlib.PurePath(file).name
  if (pathlib.PurePath(file).parent.name == 'experiments'
      and not pathlib.Path(file).exists() and own.exists()
      and own.name != '__init__.py'):
    return f'{own}{colon}{variant}'
  return path
