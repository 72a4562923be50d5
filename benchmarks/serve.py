"""A side's process: JSON lines in, JSON lines out.

    ["rollout", {"seed": 3}]
    {"found": {...}, "wall_s": 1.2, "peak_bytes": ..., "before_bytes": ...}

Whatever libraries print goes to the standard error. Only the standard library
is imported here.
"""

from collections.abc import Callable
import importlib.metadata
import json
import os
import pathlib
import sys
import time
import traceback
from typing import Any

from benchmarks import workload as workload_lib

_SELF = pathlib.Path('/proc/self')


def serve(make_side: Callable[[workload_lib.Workload], Any]):
  """Answers until the input ends.

  Args:
    make_side: makes the side, whose methods are asked for by name. It imports
      the libraries, once the processors are those of the workload.
  """
  replies = os.fdopen(os.dup(1), 'w')
  os.dup2(2, 1)
  say = lambda reply: print(json.dumps(reply), file=replies, flush=True)
  work = workload_lib.read(sys.argv[1])
  allowed = sorted(os.sched_getaffinity(0))
  os.sched_setaffinity(0, allowed[: work.threads])
  side = None
  try:
    side = make_side(work)
    say(_measured(side.versions, {}))
    for line in sys.stdin:
      name, given = json.loads(line)
      say(_measured(getattr(side, name), given))
  except Exception as error:  # Of any library: it is said, and logged.
    traceback.print_exc()
    say({'error': f'{type(error).__name__}: {error}'})


def versions(*packages: str) -> dict[str, str]:
  """Of what is installed in this environment."""
  return {name: importlib.metadata.version(name) for name in packages}


def _measured(call, given):
  before = _reset_peak()
  began = time.perf_counter()
  found = call(**given)
  wall_s = time.perf_counter() - began
  return {'found': found, 'wall_s': wall_s, 'peak_bytes': _status('VmHWM'),
          'before_bytes': before}


def _reset_peak() -> int:
  """Makes the peak begin anew; returns the bytes in memory."""
  (_SELF / 'clear_refs').write_text('5')
  return _status('VmRSS')


def _status(field) -> int:
  """Bytes of a line of the process's status."""
  lines = (_SELF / 'status').read_text().splitlines()
  line = next(line for line in lines if line.startswith(field + ':'))
  return int(line.split()[1]) * 1024
