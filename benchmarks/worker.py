"""The driver's end of a side's process."""

import json
import pathlib
import subprocess
from typing import Any
from typing import NamedTuple

ROOT = pathlib.Path(__file__).resolve().parent.parent


class Answer(NamedTuple):
  """What a side found, and what it took.

  Attributes:
    found: of the method that was asked for.
    wall_s: seconds of the call.
    peak_bytes: most memory of the whole process in it.
    before_bytes: of the process when it began.
  """

  found: Any
  wall_s: float
  peak_bytes: int
  before_bytes: int


class Worker:
  """A side at work; a context manager that ends its process.

  Attributes:
    name: of the side.
    versions: of its libraries.
  """

  def __init__(
      self, name: str, python: str, module: str, work: pathlib.Path
  ):
    """Starts the process, and waits until the side is there.

    Args:
      name: of the side.
      python: of its environment.
      module: see `benchmarks.sides`.
      work: the file of the workload; the log is written beside it.

    Raises:
      ValueError: as `ask`.
    """
    self.name = name
    self._log = work.with_name(f'{name}.log')
    with self._log.open('w') as log:
      self._process = subprocess.Popen(
          [python, '-m', module, str(work)], cwd=ROOT, text=True,
          stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log)
    self.versions = self._answer().found

  def ask(self, method: str, **given) -> Answer:
    """Has the side do something.

    Raises:
      ValueError: it could not.
    """
    print(json.dumps([method, given]), file=self._process.stdin, flush=True)
    return self._answer()

  def _answer(self):
    line = self._process.stdout.readline()
    reply = json.loads(line) if line else {'error': 'its process ended'}
    if 'error' in reply:
      raise ValueError(f'{self.name}: {reply["error"]}; see {self._log}')
    return Answer(**reply)

  def __enter__(self):
    return self

  def __exit__(self, *unused):
    self._process.stdin.close()
    self._process.wait()
