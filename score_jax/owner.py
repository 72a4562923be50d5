"""The process that writes into a workdir, as other processes read of it."""

import datetime
import os
import pathlib
import socket
from typing import Any
import uuid


def of_this_process(workdir: str) -> dict[str, Any]:
  """Describe this process as the writer of a workdir; JSON."""
  now = datetime.datetime.now(datetime.timezone.utc)
  return {
      'workdir': workdir, 'host': socket.gethostname(), 'pid': os.getpid(),
      'started': _started(os.getpid()), 'machine': _machine(),
      'since': now.isoformat(timespec='seconds'), 'token': uuid.uuid4().hex}


def described(record: dict[str, Any]) -> str:
  """Name host and process of a record, whatever the record holds."""
  if 'pid' not in record:
    return 'another process'
  return (f'process {record["pid"]} on {record.get("host", "an unknown host")}'
          f', since {record.get("since", "an unknown time")},')


def is_alive(record: dict[str, Any]) -> bool | None:
  """Return whether the process of a record runs; None on another machine.

  A process number is used again, after a reboot or in another container. So a
  process is known by its number, the time of its start, the boot of its machine
  and the namespace of its numbers.
  """
  if not record.get('machine') or record['machine'] != _machine():
    return None
  started = _started(record.get('pid'))
  return started is not None and started == record.get('started')


def _machine() -> str | None:
  """Boot and namespace of process numbers; None where the system has neither.
  """
  try:
    boot = pathlib.Path('/proc/sys/kernel/random/boot_id').read_text().strip()
    return f'{boot}/{os.readlink("/proc/self/ns/pid")}'
  except OSError:
    return None


def _started(pid: Any) -> str | None:
  """Ticks from the boot to the start of a process; None if it is gone."""
  if not isinstance(pid, int):
    return None
  try:
    text = pathlib.Path(f'/proc/{pid}/stat').read_text()
  except OSError:
    return None
  # The name, in brackets, may hold anything.
  state, *fields = text.rpartition(')')[2].split()
  return None if state in 'ZX' else fields[18]
