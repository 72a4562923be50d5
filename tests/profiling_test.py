"""Traces hold the steps that were asked for, and what ran in them."""

import contextlib
import pathlib

import jax
import jax.numpy as jnp
import pytest

from score_jax import config as config_lib
from score_jax import hosts
from score_jax import profiling
from score_jax.grading import graders
from tests.grading import pool_test


def events(folder: pathlib.Path) -> list[tuple[str, int, dict]]:
  """Name, thread and statistics of every event of the one trace in a folder."""
  [path] = folder.glob('plugins/profile/*/*.xplane.pb')
  data = jax.profiler.ProfileData.from_file(str(path))
  lines = [line for plane in data.planes for line in plane.lines]
  return [(event.name, thread, dict(event.stats))
          for thread, line in enumerate(lines) for event in line.events]


def steps(folder: pathlib.Path, stage: str) -> list[int]:
  """Which steps of a stage the one trace in a folder holds."""
  return [stats['step_num'] for name, _, stats in events(folder)
          if name == stage]


def names(folder: pathlib.Path) -> list[str]:
  """What the traces in a folder are called."""
  return sorted(path.name for path in folder.glob('plugins/profile/*'))


def _config(**profile):
  return config_lib.from_dict(
      {'stage': 'stage1', 'stage1': {'steps': 5}, 'profile': profile})


@jax.jit
def _program(x):
  return jnp.sum(x @ x)


def _train(config, folder, *, stage='stage1', first=0, fails_at=None):
  """A stage whose steps are a small program; the lines that were said."""
  said, x = [], jnp.ones((8, 8))
  with contextlib.closing(profiling.traced(
      config, stage, range(first, 5), folder, said.append)) as traced:
    for step in traced:
      if step == fails_at:
        raise FloatingPointError
      _program(x).block_until_ready()
  return said


def test_the_steps_that_were_asked_for_and_no_others(tmp_path):
  said = _train(_config(steps=2, first=3), tmp_path)
  assert steps(tmp_path, 'stage1') == [3, 4]
  runs = {stats['run_id'] for *_, stats in events(tmp_path)
          if stats.get('hlo_module') == 'jit__program'}
  assert len(runs) == 2
  assert said == [f'profile: {tmp_path}/plugins/profile/stage1_3-4']


@pytest.mark.parametrize('stage,profile', [
    ('stage1', {}), ('stage1', {'steps': 2, 'stage': 'base'}),
    ('base', {'steps': 2})])
def test_nothing_is_traced_unasked(tmp_path, stage, profile):
  assert not _train(_config(**profile), tmp_path, stage=stage)
  assert not list(tmp_path.iterdir())


def test_a_resumed_stage_traces_what_is_left(tmp_path):
  _train(_config(steps=3, first=2), tmp_path, first=3)
  assert steps(tmp_path, 'stage1') == [4]
  assert names(tmp_path) == ['stage1_4-4']


def test_steps_that_are_done_already_are_said(tmp_path):
  said = _train(_config(steps=2, first=2), tmp_path, first=3)
  assert said == ['profile: stage1 is at step 3, past those of config.profile; '
                  'none is traced']
  assert not list(tmp_path.iterdir())


def test_a_step_that_fails_ends_its_trace(tmp_path):
  with pytest.raises(FloatingPointError):
    _train(_config(steps=3, first=2), tmp_path / 'a', fails_at=2)
  assert steps(tmp_path / 'a', 'stage1') == [2, 3]
  _train(_config(steps=1, first=2), tmp_path / 'b')  # Another can begin.
  assert steps(tmp_path / 'b', 'stage1') == [2]


def test_a_trace_that_cannot_be_written_ends_no_run(tmp_path):
  folder = tmp_path / 'profile'
  folder.write_text('in the way')
  [line] = _train(_config(steps=2, first=2), folder)
  assert line.startswith('profile: not written: ')
  assert f'{folder} is not a directory' in line and '\n' not in line
  folder.unlink()
  jax.profiler.stop_trace()  # Which it was not, for jax.


def test_processes_of_one_machine_have_a_file_each(tmp_path, monkeypatch):
  monkeypatch.setattr(hosts, 'several', lambda: True)
  for number in range(2):
    monkeypatch.setattr(hosts, 'number', lambda n=number: n)
    _train(_config(steps=1), tmp_path)
  assert [path.name for path in tmp_path.iterdir()] == ['plugins']
  traces = sorted(tmp_path.glob('plugins/profile/stage1_3-3/*.xplane.pb'))
  assert [path.name[:10] for path in traces] == ['process_0_', 'process_1_']
  for path in traces:
    planes = jax.profiler.ProfileData.from_file(str(path)).planes
    assert 'stage1' in {event.name for plane in planes
                        for line in plane.lines for event in line.events}


def test_answers_are_graded_in_threads_of_their_own(tmp_path):
  grader, _ = graders.make(
      pool_test.grade, 'apart', config_lib.GradingConfig(workers=1))
  with contextlib.closing(grader), jax.profiler.trace(tmp_path):
    with jax.profiler.StepTraceAnnotation('stage1', step_num=1):
      grader.submit([('a', 'a'), ('a', 'b')]).result()
  [here] = {thread for name, thread, _ in events(tmp_path) if name == 'stage1'}
  apart = [thread for name, thread, _ in events(tmp_path) if name == 'grade']
  assert len(apart) == 2 and here not in apart


def test_answers_that_are_graded_here_are_named_too(tmp_path):
  grader, _ = graders.make(
      pool_test.grade, 'here', config_lib.GradingConfig())
  with jax.profiler.trace(tmp_path):
    grader.submit([('a', 'a')]).result()
  assert [name for name, *_ in events(tmp_path)].count('grade') == 1
