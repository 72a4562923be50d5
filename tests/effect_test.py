"""The claim of the project, on the embedded task: correction is learned.

The settings are those of `experiments/stage2.py`; the seed changes the model's
initialisation, the order of the data and every sample.
"""

import json
import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow


@pytest.mark.parametrize('seed', [0, 1, 2])
def test_stage_2_learns_to_correct(tmp_path, seed):
  environment = {k: v for k, v in os.environ.items()
                 if k not in ('XLA_FLAGS', 'NPROC')}
  subprocess.run(
      [sys.executable, '-m', 'score_jax.main',
       '--config=experiments/stage2.py', f'--config.seed={seed}',
       f'--workdir={tmp_path}'],
      check=True, env=environment)
  stages = json.loads((tmp_path / 'results.json').read_text())['stages']
  base, stage2 = stages['base'], stages['stage2']
  assert base['n'] == stage2['n'] >= 1000
  assert base['delta'] <= 0
  assert stage2['accuracy_t2'] >= base['accuracy_t2'] + 0.25
  assert stage2['delta'] >= 0.20 and stage2['delta_ci95'][0] > 0
  assert stage2['accuracy_t1'] >= base['accuracy_t1'] - 0.03
