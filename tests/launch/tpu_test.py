"""The script as a user starts it, without jax and from any folder."""

import subprocess
import sys

from tests.launch import conftest


def test_the_script_needs_nothing_but_python(tmp_path):
  done = subprocess.run(
      [sys.executable, '-IS', str(conftest.ROOT / 'launch' / 'tpu.py'),
       'create', '--name=tpu1', '--type=v4-8', '--dry-run'],
      cwd=tmp_path, check=True, capture_output=True, text=True)
  assert done.stdout.splitlines()[-1].startswith('gcloud compute tpus queued-')
  assert done.stderr == ''
