"""Peers, each in a virtual environment of its own."""

import pathlib
import subprocess
import sys
from typing import NamedTuple


class Peer(NamedTuple):
  """A tool to compare with.

  Attributes:
    environment: name of its virtual environment.
    packages: what is installed there.
    module: its side.
  """

  environment: str
  packages: tuple[str, ...]
  module: str


# Newer torch is a CUDA build of some GB, also for machines without a GPU.
_TORCH = ('torch==2.13.0', 'transformers==5.23.0', 'trl==1.16.0')
PEERS = {
    'transformers': Peer('torch', _TORCH, 'benchmarks.sides.transformers_side'),
    'trl': Peer('torch', _TORCH, 'benchmarks.sides.trl_side'),
    'tunix': Peer('tunix', ('google-tunix==0.1.7',),
                  'benchmarks.sides.tunix_side'),
}
OURS = 'benchmarks.sides.ours'


def python_of(peer: Peer, folder: pathlib.Path) -> str:
  """The Python of a peer's environment, which is made if it is not there.

  Args:
    peer: one of `PEERS`.
    folder: of all environments.

  Raises:
    ValueError: pip could not install it.
  """
  place = folder / peer.environment
  python = place / 'bin' / 'python'
  if not python.exists():
    _run([sys.executable, '-m', 'venv', str(place)])
  # Does nothing, and asks no index, where they are there.
  _run([str(python), '-m', 'pip', 'install', '-q', *peer.packages])
  return str(python)


def _run(command):
  done = subprocess.run(command, capture_output=True, text=True)
  if done.returncode:
    last = done.stderr.strip().splitlines()[-1:] or ['no message']
    raise ValueError(f'{" ".join(command)} failed: {last[0]}')
