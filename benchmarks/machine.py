"""The machine that figures are of."""

import os
import pathlib
import platform


def describe(threads: int) -> str:
  """Its processors, memory and load, in a line."""
  model = next((line.split(':')[1].strip() for line in _lines('cpuinfo')
                if line.startswith('model name')), platform.machine())
  total = int(next(line.split()[1] for line in _lines('meminfo')
                   if line.startswith('MemTotal')))
  busy = os.getloadavg()[0]
  return (f'{model}, {threads} of {os.cpu_count()} processors, '
          f'{total / 2**20:.0f} GiB, load {busy:.1f}')


def _lines(name):
  path = pathlib.Path('/proc') / name
  return path.read_text().splitlines() if path.exists() else []
