"""A gcloud that is none, a checkout, and commands that do not wait."""

import pathlib
import shutil
import subprocess

import pytest

from launch import door
from tests.launch import fake_gcloud

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
TIME_S = 10


class Laptop:
  """Where commands are given.

  Attributes:
    folder: the current one.
    checkout: a git checkout, with launch/on_vm.sh.
    slept: seconds that were waited, in order.
  """

  def __init__(self, folder: pathlib.Path, checkout: pathlib.Path):
    self.folder = folder
    self.checkout = checkout
    self.slept = []

  def gcloud(self, **world) -> fake_gcloud.Fake:
    """Puts a gcloud on PATH, see there."""
    return fake_gcloud.Fake(self.folder / 'bin', **world)

  def tpu(self, command: str, *flags: str) -> int:
    """`python launch/tpu.py COMMAND FLAG...`; its exit code."""
    return door.main([command, '--name=tpu1', '--type=v5litepod-16',
                      f'--checkout={self.checkout}', f'--wait-s={TIME_S}',
                      *flags], self._sleep)

  def _sleep(self, seconds):
    self.slept.append(seconds)
    assert len(self.slept) < 200, 'it waits for ever'


@pytest.fixture(scope='session')
def checkout(tmp_path_factory):
  folder = tmp_path_factory.mktemp('checkout')
  (folder / 'launch').mkdir()
  shutil.copy(ROOT / 'launch' / 'on_vm.sh', folder / 'launch')
  (folder / '.gitignore').write_text('build/\n')
  for words in (['init'], ['add', '.'], ['commit', '-m', 'one']):
    subprocess.run(['git', '-c', 'user.name=n', '-c', 'user.email=e', *words],
                   cwd=folder, check=True, capture_output=True)
  return folder


@pytest.fixture
def laptop(tmp_path, monkeypatch, checkout):
  monkeypatch.chdir(tmp_path)
  monkeypatch.setenv('PATH', str(tmp_path / 'bin'), prepend=':')
  return Laptop(tmp_path, checkout)
