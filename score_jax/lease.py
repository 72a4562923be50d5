"""Leases: one process at a time writes into a workdir in a bucket.

The lease is an object that names its process. Each write of it asks for the
generation that was read before, so of two processes one wins. The process that
has it writes it anew every 5 s, from a thread. Who finds it

* of a process of this machine, knows at once whether that process runs;
* of another machine, looks whether it changes: if so, its process runs; if it
  does not for 60 s, takes it over.

Only the seconds that pass here are counted, so the clocks of hosts need not
agree. A process that has not renewed its lease for 40 s (it was stopped, or the
bucket was out of reach) writes nothing before it has renewed it.
"""

from collections.abc import Callable
import contextlib
import json
import threading
import time
from typing import Any

from etils import epath

from score_jax import buckets
from score_jax import owner

IN_USE = ('{0}: {1} writes into this workdir; wait until it ends, or stop it, '
          'or name another --workdir')
"""The message of a refusal, of a workdir and of what is written of its process.
"""

NAME = 'writer.lock'
"""The object in a workdir that names the process that writes there."""

_BEAT_S = 5.0
_EXPIRY_S = 60.0
_FENCE_S = 40.0
_POLL_S = 1.0
_PATIENCE_S = 300.0  # A bucket may be out of reach for so long.
# It counts while a machine sleeps, too, where the system has it.
_CLOCK = getattr(time, 'CLOCK_BOOTTIME', time.CLOCK_MONOTONIC)


def _now() -> float:
  return time.clock_gettime(_CLOCK)


class Lease:
  """The lease of a workdir, renewed until it is released."""

  def __init__(self, folder: epath.Path, say: Callable[[str], None]):
    """Take it; returns when this process has it.

    Args:
      folder: the workdir.
      say: prints a line before it waits.

    Raises:
      ValueError: another process has it, or the bucket cannot be reached.
    """
    self._folder = folder
    self._path = folder / NAME
    self._mine = owner.of_this_process(str(folder))
    self._beats = 0
    self._lost = ''
    self._mutex = threading.Lock()
    self._stopped = threading.Event()
    with self._reached():
      self._generation = self._take(say)
    self._renewed = _now()
    self._thread = threading.Thread(target=self._beat, daemon=True)
    self._thread.start()

  def check(self):
    """Return if no other process can have the lease.

    Raises:
      ValueError: another process has it, or the bucket was out of reach for
        five minutes.
    """
    with self._mutex:
      if self._lost:
        raise ValueError(self._lost)
      if _now() - self._renewed < _FENCE_S:
        return
      try:
        with self._reached():
          self._renew(_PATIENCE_S)
      except ValueError as error:
        self._lost = self._lost or str(error)
        raise

  def release(self):
    """Let other processes in at once; if it fails, they wait until it expires.
    """
    self.close()
    with self._mutex, contextlib.suppress(Exception):  # Of many kinds.
      if not self._lost:
        buckets.write_if(self._path, b'{"released": true}\n', self._generation,
                         _FENCE_S)

  def close(self):
    """Stop renewing it."""
    self._stopped.set()

  def _take(self, say) -> int:
    """The generation of our own lease, once it is there."""
    seen, since = None, 0.0
    while True:
      content, generation = buckets.read_with_generation(
          self._path, _PATIENCE_S)
      record = _parsed(content)
      if record.get('token') == self._mine['token']:
        return generation  # Written, though the answer was lost.
      alive = owner.is_alive(record)
      expired = seen == generation and _now() - since >= _EXPIRY_S
      if content is None or expired or alive is False or self._is_free(record):
        with contextlib.suppress(buckets.Changed):
          return self._write(generation, _PATIENCE_S)
        seen = None
      elif alive or seen not in (None, generation):
        raise ValueError(IN_USE.format(self._folder, owner.described(record)))
      elif seen is None:
        seen, since = generation, _now()
        say(f'{self._folder}: {owner.described(record)} had this workdir; '
            f'waiting up to {_EXPIRY_S:.0f} s whether it still renews {NAME}')
      else:
        time.sleep(_POLL_S)

  def _is_free(self, record):
    """Whether it was released, or is a copy of the lease of another workdir."""
    return bool(record.get('released')) or (
        record.get('workdir', str(self._folder)) != str(self._folder))

  def _write(self, generation, patience_s) -> int:
    self._beats += 1
    content = json.dumps(self._mine | {'beats': self._beats})
    return buckets.write_if(
        self._path, content.encode(), generation, patience_s)

  def _renew(self, patience_s):
    """Write it anew, or find that another process has it."""
    began = _now()
    try:
      self._generation = self._write(self._generation, patience_s)
    except buckets.Changed:
      content, generation = buckets.read_with_generation(
          self._path, patience_s)
      record = _parsed(content)
      if content is None:  # Somebody deleted it.
        generation = self._write(0, patience_s)
      elif record.get('token') != self._mine['token']:
        self._lost = (
            f'{self._folder}: {owner.described(record)} has taken over this '
            f'workdir, as this process did not renew {NAME} for '
            f'{_now() - self._renewed:.0f} s; this process writes nothing more '
            'there, and its last checkpoint stays')
        raise ValueError(self._lost) from None
      self._generation = generation
    self._renewed = began

  def _beat(self):
    while not self._stopped.wait(_BEAT_S):
      with self._mutex:
        if self._lost:
          return
        with contextlib.suppress(Exception):  # Of many kinds; `check` tells.
          self._renew(_BEAT_S)

  @contextlib.contextmanager
  def _reached(self):
    """Turn what the libraries raise into a ValueError of one line."""
    try:
      yield
    except ValueError:
      raise
    except Exception as error:  # Of many kinds.
      raise ValueError(
          f'{self._path}: the bucket cannot be reached '
          f'({buckets.reason(error)}); see to the network, and start again '
          'with the same --workdir') from error


def _parsed(content) -> dict[str, Any]:
  try:
    record = json.loads(content or b'{}')
  except ValueError:
    record = {}
  return record if isinstance(record, dict) else {}
