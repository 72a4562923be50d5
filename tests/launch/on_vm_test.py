"""What happens on a host: with stand-ins for systemd, Python and the network.
"""

import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import pytest

from tests.launch import conftest

SCRIPT = conftest.ROOT / 'launch' / 'on_vm.sh'


class Host:
  """A home folder with the script, and programs that only note their words."""

  def __init__(self, folder: pathlib.Path):
    self.home = folder / 'home'
    self.bin = folder / 'bin'
    self.home.mkdir()
    self.bin.mkdir()
    shutil.copy(SCRIPT, self.home)
    self.state('inactive')
    for name in ('sudo', 'curl', 'mountpoint', 'gcsfuse', 'python3', 'git'):
      self.program(name, f'echo {name} "$@" >>"$HOME/calls"')

  def program(self, name: str, body: str, folder: pathlib.Path | None = None):
    path = (folder or self.bin) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'#!/bin/bash\n{body}\n')
    path.chmod(0o755)

  def state(self, name: str):
    """What systemd says of the service."""
    self.program('systemctl', f'echo {name}')

  def python(self, body: str):
    """The program of the virtual environment."""
    self.program('python', body, self.home / 'score_jax_venv' / 'bin')
    (self.home / 'score_jax').mkdir(exist_ok=True)

  def start(self, *words) -> subprocess.Popen:
    environment = {'HOME': str(self.home), 'PATH': f'{self.bin}:/usr/bin:/bin'}
    return subprocess.Popen(
        ['bash', 'on_vm.sh', *map(str, words)], cwd=self.home, text=True,
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

  def call(self, *words) -> str:
    process = self.start(*words)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    return out

  @property
  def calls(self) -> str:
    return (self.home / 'calls').read_text()


@pytest.fixture
def host(tmp_path):
  return Host(tmp_path)


def test_the_script_is_clean_for_shellcheck():
  shellcheck = pathlib.Path(sys.executable).with_name('shellcheck')
  done = subprocess.run([shellcheck, SCRIPT], check=False, capture_output=True,
                        text=True)
  assert (done.returncode, done.stdout) == (0, '')


def test_setup_installs_the_commit_and_mounts_the_bucket_as_a_service(host):
  host.program('mountpoint', 'test -e "$HOME/mounted"')
  host.program('sudo', 'echo sudo "$@" >>"$HOME/calls"\n'
                       'if [ "$1" = systemd-run ]; then touch "$HOME/mounted"; '
                       'fi')
  host.call('setup', '/mnt/x', 'b')
  calls = host.calls
  assert f'clone -q score_jax.bundle {host.home}/score_jax' in calls
  assert f'-e {host.home}/score_jax[tpu,gcs]' in calls
  assert '--unit=score_jax_bucket' in calls
  assert calls.endswith('--rename-dir-limit=100000 b /mnt/x\n')
  host.call('setup', '/mnt/x', 'b')  # Again, on a host that is set up.
  assert host.calls.count('systemd-run') == 1


def test_setup_leaves_the_code_of_an_active_run_alone(host):
  for state in ('active', 'deactivating'):
    host.state(state)
    process = host.start('setup', '/mnt/x')
    assert 'ERROR: a run is active' in process.communicate(timeout=60)[1]
    assert process.returncode == 1
  assert not (host.home / 'calls').exists()


def test_start_makes_one_service_that_ends_before_bucket_and_network(host):
  host.call('start', 'r1', '--config=c', "--config.x=it's")
  line = host.calls
  assert line.startswith('sudo systemd-run -q --collect --unit=score_jax ')
  for words in ('After=score_jax_bucket.service', 'After=network-online.target',
                'KillMode=mixed', 'LimitMEMLOCK=infinity'):
    assert f' -p {words} ' in line
  assert line.endswith("on_vm.sh run r1 --config=c --config.x=it's\n")
  host.state('active')
  assert host.call('start', 'r1').endswith('runs already\n')
  assert host.calls == line


def test_run_keeps_the_log_and_the_exit_code(host):
  host.python('echo "$@"; echo bad >&2; exit 2')
  process = host.start('run', 'r1', '--config=c')
  process.communicate(timeout=60)
  folder = host.home / 'score_jax_runs' / 'r1'
  assert process.returncode == 2
  assert (folder / 'exit_code').read_text() == '2\n'
  assert (folder / 'log').read_text() == '-m score_jax.main --config=c\nbad\n'
  assert host.call('last_words', 'r1').endswith('bad\n')
  (folder / 'exit_code').write_text('143\n')
  assert host.call('last_words', 'r1') == ''


def test_sigterm_reaches_the_program_which_has_time_to_save(host):
  host.python('trap "sleep 0.3; echo saved; exit 143" TERM; touch "$HOME/up"\n'
              'for _ in {1..400}; do sleep 0.05; done')
  process = host.start('run', 'r1')
  while not (host.home / 'up').exists():
    assert process.poll() is None
    time.sleep(0.01)
  os.kill(process.pid, signal.SIGTERM)
  process.communicate(timeout=60)
  folder = host.home / 'score_jax_runs' / 'r1'
  assert (folder / 'log').read_text() == 'saved\n'
  assert (folder / 'exit_code').read_text() == '143\n'


def test_status_is_one_line(host, tmp_path):
  def status():
    return host.call('status', 'r1', tmp_path).split(' ', 1)[1]

  assert status() == 'absent -\n'
  host.state('deactivating')
  (tmp_path / 'metrics.jsonl').write_text(
      '{"stage": "stage1", "step": 9, "loss": 1.0}\n'
      '{"stage": "stage2", "step": 12, "loss": 1.0}\n')
  assert status() == 'running stage2:12\n'
  host.state('failed')
  (host.home / 'score_jax_runs' / 'r1').mkdir(parents=True)
  (host.home / 'score_jax_runs' / 'r1' / 'exit_code').write_text('137\n')
  assert status() == 'ended 137 stage2:12\n'
