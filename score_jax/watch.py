"""A process that fails ends them all, soon and with its reason.

Otherwise those that are left would wait in a program of the devices, for ever.
Every process tells that it is alive and what it is at; process 0 looks after
the others, and says who keeps them waiting. Should process 0 itself vanish,
jax's runtime aborts the others at once.

Exit codes: that of the process that failed; 142 where one fell silent, which
the same command goes on from.
"""

import os
import socket
import sys
import threading
import time
from typing import NoReturn

import jax

from score_jax import hosts
from score_jax import shutdown

LOST = 142  # As if by SIGALRM; xpk starts again after codes of signals.
_BEAT_S = 2.0
_SILENCE_S = 40.0  # More than any call that keeps Python's threads waiting.
_LATE_S = 30.0


class Watch:
  """Watches over all processes while a run goes on; a context manager."""

  def __init__(self):
    self._stopped = threading.Event()
    self._thread = threading.Thread(target=self._watch, daemon=True)
    self._seen = {}  # By process: its last beat, and when that came.
    self._told = None

  def __enter__(self) -> 'Watch':
    if hosts.several():
      self._beat(0)
      hosts.barrier()
      self._thread.start()
    return self

  def __exit__(self, kind, *unused):
    if hosts.several() and kind in (None, shutdown.Stopped):
      hosts.barrier()  # All end alike.
      self._stopped.set()
      self._thread.join()
      jax.distributed.shutdown()

  def _watch(self):
    beats = 0
    while not self._stopped.wait(_BEAT_S):
      try:
        beats += 1
        self._beat(beats)
        for number, failed in hosts.get_all('failed').items():
          _leave(f'process {int(number)} ended: {failed["line"]}',
                 failed['code'])
        if hosts.is_first():
          self._look_after(hosts.get_all('alive'))
      except RuntimeError as error:  # The store is on process 0.
        _leave('process 0 cannot be reached any more: '
               f'{str(error).splitlines()[0]}', LOST)

  def _beat(self, beats):
    waits = hosts.present.waits_since is not None
    hosts.put(f'alive/{hosts.number():06d}', {
        'beat': beats, 'host': socket.gethostname(), 'at': hosts.present.at,
        'waits': waits})

  def _look_after(self, alive):
    """On process 0: who is silent, and who is late."""
    now = time.monotonic()
    for number, of in alive.items():
      if self._seen.get(number, (None,))[0] != of['beat']:
        self._seen[number] = of['beat'], now
      if now - self._seen[number][1] > _SILENCE_S:
        end_all(f'process {int(number)} on {of["host"]}, last seen at '
                f'{of["at"]}, has been silent for {_SILENCE_S:.0f} s', LOST)
    since = hosts.present.waits_since
    if since and now - since > _LATE_S and since != self._told:
      self._told = since
      late = [f'process {int(number)} on {of["host"]} (at {of["at"]})'
              for number, of in alive.items() if not of['waits']]
      print(f'{hosts.present.at}: waited {_LATE_S:.0f} s so far for '
            f'{", ".join(late[:4])}', file=sys.stderr, flush=True)


def end_all(line: str, code: int) -> NoReturn:
  """Ends this process, and by and by all others, with a reason and a code."""
  try:
    hosts.put(f'failed/{hosts.number():06d}', {'code': code, 'line': line})
    if hosts.is_first():  # Which keeps what the others read.
      time.sleep(2 * _BEAT_S)
  except RuntimeError:
    pass  # Process 0 is gone, and with it whom this could be told.
  _leave(line, code)


def await_end():
  """Returns only where no process turns out to have failed."""
  time.sleep(_SILENCE_S + 4 * _BEAT_S)


def _leave(line, code) -> NoReturn:
  # Not by sys.exit: jax would wait for the others before it ends.
  print(f'score_jax: {line}', file=sys.stderr, flush=True)
  sys.stdout.flush()
  os._exit(code)
