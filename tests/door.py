"""The command as a user meets it, without seconds of imports each time.

`start` runs `python -m score_jax.main ARGS` in a process forked from one that
has imported everything but `score_jax.main`, and in which JAX has no backend
yet: every run parses its own flags, has its own device and its own exit.
"""

import builtins
from collections.abc import Callable
from collections.abc import Sequence
import dataclasses
import functools
import io
import multiprocessing
import os
import pathlib
import re
import runpy
import signal
import socket
import sys

import jax

from tests import quick_xla

_FORKS = multiprocessing.get_context('forkserver')
_FORKS.set_forkserver_preload([
    'tests.door', 'score_jax.pipeline', 'score_jax.report.table'])
_HANGS_S = 300

STEPS = {'base': 4, 'stage1': 3, 'stage2': 3}
TINY = (
    '--config=experiments/stage2.py',
    '--config.model.num_layers=1', '--config.model.width=16',
    '--config.model.num_heads=2', '--config.model.num_kv_heads=1',
    '--config.model.head_dim=8', '--config.model.mlp_width=16',
    '--config.task.train_problems=64', '--config.task.transcripts=64',
    '--config.rollout.prompts=8', '--config.rollout.samples=2',
    '--config.base.batch_size=8', '--config.evaluation.problems=20',
    '--config.evaluation.batch_size=8', '--config.checkpoints.every=2',
    *(f'--config.{stage}.steps={steps}' for stage, steps in STEPS.items()),
)
"""A whole run in seconds; the steps of its stages are `STEPS`."""


@dataclasses.dataclass(frozen=True)
class Ended:
  """What a command leaves: exit code (-N: killed by signal N), its output."""

  code: int
  out: str
  err: str


@dataclasses.dataclass(frozen=True)
class Fault:
  """What happens when a run opens a file to write it.

  Attributes:
    path: a regular expression, found in the file's path.
    time: the first time is 1.
    what: a signal that the run gets then; or None: from then on the disk is
      full for such files, as /dev/full is.
  """

  path: str
  time: int = 1
  what: signal.Signals | None = None


class Running:
  """A command that runs."""

  def __init__(self, args: Sequence[str], folder: pathlib.Path, *setup):
    folder.mkdir(exist_ok=True)
    self._outputs = [folder / 'stdout.txt', folder / 'stderr.txt']
    self._process = _FORKS.Process(
        target=_run, args=(list(args), self._outputs, *setup))
    self._process.start()

  @property
  def pid(self) -> int:
    """Number of the process."""
    return self._process.pid

  def kill(self, number: signal.Signals):
    """Sends a signal."""
    os.kill(self._process.pid, number)

  def wait(self) -> Ended:
    """Waits for the end of the command; TimeoutError if it hangs."""
    self._process.join(_HANGS_S)
    texts = [path.read_text() for path in self._outputs]
    if self._process.exitcode is None:
      self._process.kill()
      raise TimeoutError('\n'.join(texts))
    return Ended(self._process.exitcode, *texts)


def call(
    args: Sequence[str],
    folder: pathlib.Path,
    fault: Fault | None = None,
) -> Ended:
  """Runs the command to its end.

  Args:
    args: its flags.
    folder: where files of its output go; compiled programs are kept beside it.
    fault: what goes wrong.
  """
  return Running(args, folder, folder.parent / 'compiled', fault).wait()


def start_several(
    args: Sequence[str],
    folder: pathlib.Path,
    processes: int,
    devices: int,
    faults: dict[int, Fault] | None = None,
    prepare: Callable[[], None] | None = None,
    more: dict[int, Sequence[str]] | None = None,
) -> list[Running]:
  """Starts the command in several processes that join.

  Args:
    args: its flags.
    folder: new; every process has a folder in it for its output.
    processes: how many; one is started without --distributed.
    devices: of each process.
    faults: what goes wrong, by process.
    prepare: is called in each before the command; of a module of tests.
    more: flags of some alone.
  """
  with socket.socket() as free:
    free.bind(('localhost', 0))
    port = free.getsockname()[1]
  folder.mkdir()
  joined = [f'--coordinator_address=localhost:{port}', '--distributed',
            f'--num_processes={processes}'] if processes > 1 else []
  return [
      Running([*args, *joined, *([f'--process_id={n}'] if joined else []),
               *(more or {}).get(n, ())],
              folder / str(n), folder.parent / 'compiled',
              (faults or {}).get(n), devices, prepare)
      for n in range(processes)]


def call_several(*args, **kwargs) -> list[Ended]:
  """Runs what `start_several` starts to its end."""
  return [running.wait() for running in start_several(*args, **kwargs)]


@functools.cache
def finished(root: pathlib.Path) -> tuple[pathlib.Path, Ended]:
  """The workdir of a whole run that nothing interrupted, and its output.

  Args:
    root: pytest's folder of the session, so that the run is made once in it.
  """
  folder = root / 'door'
  folder.mkdir()
  ended = call([*TINY, f'--workdir={folder / "finished"}'], folder)
  assert ended.code == 0, ended.err
  return folder / 'finished', ended


def tree(folder: pathlib.Path) -> dict[str, bytes]:
  """Every file of a folder."""
  return {str(path.relative_to(folder)): path.read_bytes()
          for path in folder.rglob('*') if path.is_file()}


def _run(args, outputs, compiled, fault, devices=1, prepare=None):
  for number, path in zip((1, 2), outputs):
    os.dup2(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC), number)
  os.environ['XLA_FLAGS'] = (
      f'{quick_xla.FLAGS} --xla_force_host_platform_device_count={devices}')
  if compiled is not None:
    jax.config.update('jax_compilation_cache_dir', str(compiled))
    jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.0)
  if prepare is not None:
    prepare()
  if fault is not None:
    io.open = builtins.open = _open_with(fault)
  sys.argv = ['score_jax.main', *args]
  runpy.run_module('score_jax.main', run_name='__main__', alter_sys=True)


def _open_with(fault):
  """The function `open`, in which the fault happens."""
  really_open, times = io.open, 0

  def opened(path, mode='r', *args, **kwargs):
    nonlocal times
    if mode[0] in 'aw' and re.search(fault.path, str(path)):
      times += 1
      if fault.what is None and times >= fault.time:
        path = '/dev/full'
      elif times == fault.time:
        os.kill(os.getpid(), fault.what)
    return really_open(path, mode, *args, **kwargs)

  return opened
