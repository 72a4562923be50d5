"""Which file a --config path names, in a checkout and outside one."""

import pathlib

import pytest

from score_jax import recipes


@pytest.mark.parametrize('path,file', [
    ('experiments/stage2.py', 'stage2.py'),
    ('experiments/stage1.py:math', 'stage1.py:math'),
    ('./experiments/pods.py:gemma2_2b_v5e', 'pods.py:gemma2_2b_v5e'),
    ('/nowhere/experiments/sweep_embedded.py:quick',
     'sweep_embedded.py:quick'),
    ('experiments/stage2.py:chain+no_bonus', 'stage2.py:chain+no_bonus'),
])
def test_experiments_are_in_the_package(tmp_path, monkeypatch, path, file):
  monkeypatch.chdir(tmp_path)
  own = pathlib.Path(recipes.__file__).parent
  assert recipes.packaged(path) == f'{own}/{file}'


@pytest.mark.parametrize('path', [
    'experiments/stage3.py', 'stage2.py', 'mine/stage2.py',
    'experiments/__init__.py', 'experiments', '', 'experiments/stage2.py/x'])
def test_other_paths_stay(tmp_path, monkeypatch, path):
  monkeypatch.chdir(tmp_path)
  assert recipes.packaged(path) == path


def test_a_file_that_is_there_wins(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  (tmp_path / 'experiments').mkdir()
  (tmp_path / 'experiments' / 'stage2.py').touch()
  assert recipes.packaged('experiments/stage2.py:x') == (
      'experiments/stage2.py:x')
