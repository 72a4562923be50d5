"""Compiled programs, kept in a folder so that the next start is faster.

jax finds a program there by what it computes, by the versions and flags that
compiled it, and by the kind of device; of processors the instructions that they
have count as well. So a folder may be shared, and what does not fit is not
found. Nothing ends with a folder that cannot be read or written: programs are
compiled anew.
"""

from collections.abc import Callable
import contextlib
import glob
import os
import re
import warnings

from etils import epath
import jax

_TROUBLE = re.compile(
    r"Error (reading|writing) persistent compilation cache entry for '(.*?)': "
    r'(.*)')


def keep(
    folder: str | None,
    default: str | os.PathLike[str],
    say: Callable[[str], None] = print,
):
  """Keeps compiled programs from now on, until the process ends.

  Args:
    folder: where, or '' for nowhere; it is made. None is the folder that jax
      has from its own settings, such as JAX_COMPILATION_CACHE_DIR.
    default: where, if it has none.
    say: prints a line, once, if something is wrong with the folder.

  Raises:
    ValueError: the folder is a file.
    OSError: the system refuses its name.
  """
  if folder is None:
    folder = jax.config.jax_compilation_cache_dir or os.fspath(default)
  if not folder:
    jax.config.update('jax_enable_compilation_cache', False)
    return
  if not re.match(r'\w+://', folder):
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
      os.stat(folder)  # An OSError where the name itself is refused.
  if epath.Path(folder).is_file():
    raise ValueError(f'--compile_cache={folder} is a file; name a folder')
  jax.config.update('jax_compilation_cache_dir', folder)
  # A start compiles a few large programs and some twenty small ones.
  if 'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS' not in os.environ:
    jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.0)
  warnings.showwarning = _in_a_line(say, warnings.showwarning)


def _in_a_line(say, show):
  """In place of `warnings.showwarning`: jax warns once for every program."""
  said = set()

  def shown(message, *args, **kwargs):
    trouble = _TROUBLE.match(str(message))
    if not trouble:
      return show(message, *args, **kwargs)
    act, program, why = trouble.groups()
    folder = jax.config.jax_compilation_cache_dir
    if act == 'reading':
      _forget(folder, program)
    if act not in said:
      said.add(act)
      say(f'compile cache {folder}: {why}; programs are compiled anew')

  return shown


def _forget(folder, program):
  """Makes room for a program whose file is torn; jax writes over none."""
  with contextlib.suppress(OSError):
    for path in epath.Path(folder).glob(f'{glob.escape(program)}-*-cache'):
      path.unlink()
