"""Compiled programs are found by the next start, and never in its way."""

import builtins
import dataclasses
import io
import multiprocessing

import jax
import jax.numpy as jnp
import pytest

from score_jax import compile_cache
from tests import door

PROGRAM = 'jit__program-*'


@dataclasses.dataclass(frozen=True)
class Started:
  """What a process found, and what it said."""

  value: float
  hits: int
  misses: int
  said: list[str]


def start(given, default, own=None, fault=None) -> Started:
  """Runs a program in a new process.

  Args:
    given, default: see `compile_cache.keep`.
    own: the folder that jax has by itself.
    fault: what goes wrong.
  """
  mine, theirs = multiprocessing.Pipe()
  process = door._FORKS.Process(
      target=_start, args=(theirs, given, str(default), own, fault))
  process.start()
  theirs.close()
  found = mine.recv()
  process.join()
  return found


def _program(x):
  return jnp.sum(jnp.tanh(x @ x))


def _start(pipe, given, default, own, fault):
  if own:
    jax.config.update('jax_compilation_cache_dir', own)
  counts = {'cache_hits': 0, 'cache_misses': 0}

  def count(event, **unused):
    name = event.rpartition('/')[2]
    counts[name] = counts.get(name, 0) + 1

  jax.monitoring.register_event_listener(count)
  said = []
  compile_cache.keep(given, default, said.append)
  if fault:
    io.open = builtins.open = door._open_with(fault)
  x = jnp.ones((8, 8))
  value = float(jax.jit(_program)(x))
  pipe.send(Started(value, counts['cache_hits'], counts['cache_misses'], said))


def test_the_second_start_finds_every_program(tmp_path):
  first, second = (start(None, tmp_path / 'new') for _ in range(2))
  assert first.hits == 0 and first.misses > 0
  assert second.hits == first.misses and second.misses == 0
  assert second.value == first.value
  assert not first.said and not second.said
  assert list((tmp_path / 'new').glob(PROGRAM))


def test_the_folder_that_was_given_then_jaxs_own_then_the_default(tmp_path):
  own, given, default = (tmp_path / name for name in ('own', 'given', 'new'))
  start(None, default, own=str(own))
  assert list(own.glob(PROGRAM)) and not default.exists()
  start(str(given), default, own=str(own))
  assert list(given.glob(PROGRAM)) and not default.exists()


def test_none_is_kept_if_so_asked(tmp_path):
  found = start('', tmp_path / 'new', own=str(tmp_path / 'own'))
  assert found.hits == found.misses == 0
  assert not list(tmp_path.iterdir())


def test_torn_files_are_said_once_and_written_anew(tmp_path):
  whole = start(None, tmp_path)
  for path in tmp_path.glob('*-cache'):
    path.write_bytes(path.read_bytes()[:100])
  torn, mended = start(None, tmp_path), start(None, tmp_path)
  assert torn.hits == 0 and torn.value == whole.value
  [line] = torn.said
  assert line.startswith(f'compile cache {tmp_path}: ') and '\n' not in line
  assert mended.hits == whole.misses > 1 and not mended.said


def test_a_full_disk_is_one_line(tmp_path):
  full = start(None, tmp_path, fault=door.Fault('-cache$'))
  [line] = full.said  # Of several programs.
  assert 'No space left on device' in line and '\n' not in line
  again = start(None, tmp_path)
  assert again.misses > 1 and again.value == full.value and not again.said


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path):
  (tmp_path / 'file').write_text('in the way')
  found = start(None, tmp_path / 'file' / 'new')
  [line] = found.said
  assert 'Not a directory' in line and '\n' not in line
  assert found.value == start('', tmp_path).value


def test_a_file_in_place_of_a_folder_is_refused(tmp_path):
  (tmp_path / 'file').write_text('x')
  with pytest.raises(ValueError, match='--compile_cache=.*/file is a file; '):
    compile_cache.keep(str(tmp_path / 'file'), tmp_path)
