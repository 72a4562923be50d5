"""A config that no host would accept is refused on this machine."""

import pathlib
import sys

import pytest

from launch import config_check

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
STAGE2 = '--config=experiments/stage2.py'


@pytest.mark.parametrize('args', [
    (STAGE2,), (f'{STAGE2}:gsm8k',), (f'{STAGE2}:gsm8k+no_bonus',),
    (STAGE2, '--mode=eval', '--config.seed=3'),
    ('--config=experiments/pods.py:gemma2_2b_v5e',),
    ('--config=experiments/sweep_embedded.py:quick',)])
def test_a_config_that_can_be_built_is_accepted(args):
  assert config_check.check(ROOT, args) == ''


@pytest.mark.parametrize('args,said', [
    ((f'{STAGE2}:gsm8kk',), "unknown variant 'gsm8kk'; did you mean 'gsm8k'"),
    ((f'{STAGE2}:gsm8k+no_bonnus',), "unknown method 'no_bonnus'"),
    (('--config=experiments/stage3.py',), 'No such file'),
    ((STAGE2, '--config.stage2.learning_rate=1e-5'),
     'did you mean config.stage2.optimizer.learning_rate?'),
    ((STAGE2, '--config.stage2.steps=1.5'), '--config.stage2.steps=1.5'),
    ((STAGE2, '--config.rollout.samples=1'), 'config.rollout.samples'),
    ((STAGE2, '--mode=test'), '--mode=test'),
    (('--config=experiments/pods.py',), 'unknown variant None'),
    (('--config=experiments/sweep_embedded.py:quick',
      '--config.sweep.seeds=1'), 'config.sweep.seeds'),
])
def test_a_config_that_cannot_is_refused_in_a_line(args, said):
  with pytest.raises(ValueError) as error:
    config_check.check(ROOT, args)
  assert said in str(error.value) and '\n' not in str(error.value)
  assert str(error.value).startswith('--config=')


def test_without_packages_a_remark_says_so(monkeypatch, tmp_path):
  # A Python without site-packages, as on a machine that has gcloud alone.
  python = tmp_path / 'python'
  python.write_text(f'#!/bin/sh\nexec {sys.executable} -S -E "$@"\n')
  python.chmod(0o755)
  monkeypatch.setattr(config_check.sys, 'executable', str(python))
  assert config_check.check(ROOT, (STAGE2,)) == (
      'the config was not checked: the package absl is not installed here; the '
      'hosts check it when they start')


def test_a_checkout_of_another_form_is_not_checked(tmp_path):
  assert 'has no score_jax/config.py' in config_check.check(tmp_path, (STAGE2,))
