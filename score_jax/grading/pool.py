"""Graders: in this process, or in a pool of processes that may fail.

An answer of a model is untrusted: it can send a grader into a computation that
does not end or that eats the memory. In a `Pool` each answer is graded in a
process apart, with a limit on its processor time, its wall time and its
memory. One that dies, hangs or eats memory is replaced, and no other answer is
hurt by it.
"""

from collections.abc import Callable
from collections.abc import Sequence
from concurrent import futures
import contextlib
import dataclasses
import json
from multiprocessing import connection
import os
import queue
import signal
import subprocess
import sys
import time
from typing import NamedTuple
from typing import Protocol

from score_jax.grading import send
from score_jax.grading import verdicts
from score_jax.grading import worker

_START_S = 120.0  # For imports, on a machine that does much else.
_TRIES = 2  # Of an answer whose worker dies: it may have been the system.

Grade = Callable[[str, str], int]
"""(gold answer, text of an attempt) -> 1 if right, else 0."""

Around = Callable[[], contextlib.AbstractContextManager]
"""Entered while something is graded, so that a trace can name it."""


class Grades(NamedTuple):
  """What became of a batch of answers.

  Attributes:
    grades: 1 for a right answer; 0 for any other, also those below.
    timeouts: answers that took too long.
    crashes: answers that ended their worker, twice, in another way.
    wall_s: seconds from the submission until the last was graded.
  """

  grades: list[int]
  timeouts: int
  crashes: int
  wall_s: float


class Pending(Protocol):
  """Answers that are being graded."""

  def result(self) -> Grades:
    """Waits for the last of them.

    Raises:
      verdicts.BadVerdict: a grader returned neither 0 nor 1; names the row.
    """


class Grader(Protocol):
  """Grades answers, maybe while the caller does something else."""

  def submit(self, pairs: Sequence[tuple[str, str]]) -> Pending:
    """Begins to grade pairs of a gold answer and the text of an attempt."""

  def close(self):
    """Ends its processes."""


@dataclasses.dataclass(frozen=True)
class Here:
  """Grades in this process, when asked: for graders that cannot take long."""

  grade: Grade
  around: Around = contextlib.nullcontext

  def submit(self, pairs: Sequence[tuple[str, str]]) -> Pending:
    """See `Grader`."""
    return _Asked(self.grade, self.around, pairs)

  def close(self):
    """See `Grader`."""


@dataclasses.dataclass(frozen=True)
class _Asked:
  grade: Grade
  around: Around
  pairs: Sequence[tuple[str, str]]

  def result(self) -> Grades:
    began = time.monotonic()
    with self.around():
      done = [_graded(self.grade, number, pair)
              for number, pair in enumerate(self.pairs)]
    return Grades(done, 0, 0, time.monotonic() - began)


def _graded(grade, number, pair) -> int:
  try:
    return verdicts.checked(grade, grade(*pair))
  except verdicts.BadVerdict as error:
    raise error.of_row(number, _row(number, pair)) from None


def _row(number, pair) -> str:
  """The name of a row: its place in the batch, gold answer and text."""
  gold, text = (repr(part[:60]) for part in pair)
  return f'answer {number} of the batch (gold {gold}, text {text})'


@dataclasses.dataclass(frozen=True)
class Limits:
  """What one answer may take.

  Attributes:
    cpu_s: processor seconds of the worker itself. Unlike wall time they do not
      depend on what else the machine does.
    wall_s: seconds until a worker that waits for something is given up.
    memory_bytes: address space of a worker, the libraries included.
  """

  cpu_s: float
  wall_s: float
  memory_bytes: int


class Pool:
  """Grades in processes apart."""

  def __init__(
      self,
      grade: Grade,
      workers: int,
      limits: Limits,
      around: Around = contextlib.nullcontext,
  ):
    """Starts the workers; they import what they need in the background.

    Args:
      grade: a function of a module, or a `functools.partial` of one.
      workers: processes, at least 1.
      limits: of an answer.
      around: each answer, in its thread.
    """
    self._grade = send.dumps(grade)
    self._around = around
    self._limits = limits
    self._idle = queue.SimpleQueue()
    for _ in range(workers):
      self._idle.put(_Worker(self._grade, limits))
    self._threads = futures.ThreadPoolExecutor(workers, 'grading')

  def submit(self, pairs: Sequence[tuple[str, str]]) -> Pending:
    """See `Grader`. RuntimeError from `result` if no worker can be started."""
    return _Running(time.monotonic(), pairs, [
        self._threads.submit(self._one, gold, text) for gold, text in pairs])

  def close(self):
    """Ends the workers; answers that wait for one are not graded."""
    self._threads.shutdown(cancel_futures=True)
    with contextlib.suppress(queue.Empty):
      while True:
        self._idle.get_nowait().end()

  def _one(self, gold, text) -> tuple[bytes, float]:
    """Verdict and time of the end of one answer."""
    job = json.dumps([gold, text]).encode()
    for _ in range(_TRIES):
      found = self._idle.get()
      try:
        with self._around():
          verdict = found.grade(job)
      finally:
        if not found.alive():
          found = _Worker(self._grade, self._limits)
        self._idle.put(found)
      if verdict:
        break
    return verdict, time.monotonic()


@dataclasses.dataclass(frozen=True)
class _Running:
  began: float
  pairs: Sequence[tuple[str, str]]
  answers: list[futures.Future]

  def result(self) -> Grades:
    done = [answer.result() for answer in self.answers]
    found = [verdict for verdict, _ in done]
    for number, verdict in enumerate(found):
      if verdict.startswith(worker.BAD):
        raise verdicts.BadVerdict(verdict[1:].decode()).of_row(
            number, _row(number, self.pairs[number]))
    return Grades(
        [int(verdict == worker.RIGHT) for verdict in found],
        found.count(worker.TIMEOUT), found.count(b''),
        max((ended for _, ended in done), default=self.began) - self.began)


class _Worker:
  """A process of `worker` and the pipe to it."""

  def __init__(self, grade: bytes, limits: Limits):
    self._limits = limits
    self._ready = False
    self._pipe, theirs = connection.Pipe()
    self._process = subprocess.Popen(
        [sys.executable, '-m', worker.__name__, str(theirs.fileno()),
         str(limits.cpu_s), str(limits.memory_bytes)],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        pass_fds=[theirs.fileno()], start_new_session=True,
        env=os.environ | {'PYTHONPATH': os.pathsep.join(sys.path),
                          'OMP_NUM_THREADS': '1', 'OPENBLAS_NUM_THREADS': '1'})
    theirs.close()
    with contextlib.suppress(OSError):  # It has ended; `grade` will say so.
      self._pipe.send_bytes(grade)

  def grade(self, job: bytes) -> bytes:
    """The verdict; b'' if the process ended, which it then has."""
    if not self._ready and self._receive(_START_S) != worker.READY:
      self.end()
      raise RuntimeError(
          f'a process that grades ended with {self._process.returncode} before '
          'it began; what it said stands above')
    self._ready = True
    with contextlib.suppress(OSError):
      self._pipe.send_bytes(job)
    verdict = self._receive(self._limits.wall_s)
    if verdict in (None, b''):
      self.end()
      out_of_time = self._process.returncode == -signal.SIGPROF
      return worker.TIMEOUT if verdict is None or out_of_time else b''
    return verdict

  def alive(self) -> bool:
    """Whether it can grade another answer."""
    return self._process.poll() is None

  def end(self):
    """Kills the process and all that it has started."""
    if self._process.poll() is None:
      with contextlib.suppress(ProcessLookupError):
        os.killpg(self._process.pid, signal.SIGKILL)
    self._process.wait()
    self._pipe.close()

  def _receive(self, limit_s) -> bytes | None:
    """A message; b'' if the process ended, None if it does not come."""
    try:
      return self._pipe.recv_bytes() if self._pipe.poll(limit_s) else None
    except (EOFError, OSError):
      with contextlib.suppress(subprocess.TimeoutExpired):
        self._process.wait(1.0)  # How it ended, before `end` kills it.
      return b''
