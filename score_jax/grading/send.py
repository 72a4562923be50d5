"""Send a grading function to a worker process.

Functions are pickled by the name of their module. A module that was loaded from
a path, such as the file that --config names, cannot be imported by its name, so
its path is sent along.
"""

from collections.abc import Callable
from collections.abc import Iterator
import functools
import importlib.machinery
import importlib.util
import pickle
import sys


def dumps(function: Callable) -> bytes:
  """Return a function as bytes that `loads` reads in another process.

  Args:
    function: a function of a module, or a `functools.partial` of one.

  Raises:
    ValueError: no other process can import it; the message says why.
  """
  files = {}
  for name in _modules(function):
    if name == '__main__':
      raise ValueError(
          f'the grader {function} is defined in __main__, which worker '
          'processes cannot import; move it to a module')
    file = getattr(sys.modules.get(name), '__file__', None)
    if file and not _is_importable(name):
      files[name] = file
  try:
    return pickle.dumps((files, pickle.dumps(function)))
  except (pickle.PicklingError, AttributeError, TypeError) as error:
    raise ValueError(
        f'the grader {function} cannot be sent to worker processes ({error}); '
        'define it by def at the top level of a module') from error


def loads(content: bytes) -> Callable:
  """Return the function that `dumps` made bytes of."""
  files, function = pickle.loads(content)
  for name, file in files.items():
    spec = importlib.util.spec_from_file_location(name, file)
    sys.modules[name] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
  return pickle.loads(function)


def _modules(function) -> Iterator[str]:
  """Yield the modules of a function and of what a partial holds of it."""
  if isinstance(function, functools.partial):
    for part in (function.func, *function.args, *function.keywords.values()):
      yield from _modules(part)
  elif name := getattr(function, '__module__', None):
    yield name


def _is_importable(name) -> bool:
  """Whether another process with the same sys.path can import a module."""
  top = name.partition('.')[0]
  return importlib.machinery.PathFinder.find_spec(top) is not None or (
      top in sys.builtin_module_names)
