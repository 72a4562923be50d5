"""A process that grades: one answer at a time, until its pipe closes.

Started by `pool` as `python -m score_jax.grading.worker FD CPU_S MEMORY_BYTES`.
It says `READY`, takes a function and then pairs of texts from the pipe FD, and
sends one byte for each, its verdict. `TIMEOUT` is for graders that raise
TimeoutError.

The kernel ends it after CPU_S seconds of processor time on one answer (SIGPROF)
and refuses it memory over its limit, whatever code of others it is in.
"""

import json
from multiprocessing import connection
import resource
import signal
import sys

from score_jax.grading import send

READY, RIGHT, WRONG, TIMEOUT = b'+', b'1', b'0', b't'


def main(fd: int, cpu_s: float, memory_bytes: int):
  """Grades what comes through the pipe; returns when the pipe is closed."""
  pipe = connection.Connection(fd)
  resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
  resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
  grade = send.loads(pipe.recv_bytes())
  pipe.send_bytes(READY)
  while True:
    try:
      gold, text = json.loads(pipe.recv_bytes())
    except EOFError:
      return
    signal.setitimer(signal.ITIMER_PROF, cpu_s)  # Anew for each.
    try:
      verdict = RIGHT if grade(gold, text) else WRONG
    except TimeoutError:
      verdict = TIMEOUT
    except MemoryError:  # Maybe in the middle of something that is now broken.
      sys.exit(1)
    pipe.send_bytes(verdict)


if __name__ == '__main__':
  main(int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]))
