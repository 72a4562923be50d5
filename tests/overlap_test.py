"""Parts of a step are graded while the devices sample those after them."""

import time

import pytest

from benchmarks import idle
from score_jax import run as run_lib
from score_jax.grading import graders
from tests import tiny_run


def slow(gold: str, text: str) -> int:
  """As a program under test that takes a while."""
  time.sleep(0.05)
  return int(text.endswith(gold))


@pytest.mark.slow
def test_a_trace_shows_grading_beside_programs(tmp_path, monkeypatch):
  make = graders.make
  monkeypatch.setattr(run_lib.graders, 'make',
                      lambda grade, where, config: make(slow, 'pool', config))
  hidden = {}
  for parts in (1, 4):
    run = tiny_run.start(tmp_path / str(parts), tiny_run.config(
        'score', rollout={'prompts': 32, 'samples': 2, 'parts': parts},
        profile={'stage': 'stage1', 'first': 2, 'steps': 1},
        grading={'workers': 8}))
    tiny_run.train_stopping_after(run, 2 + 3, monkeypatch)
    [path] = run.folder.glob('profile/plugins/profile/*/*.xplane.pb')
    [step] = idle.steps_of(path)
    assert step.graded_ns > 5e7
    hidden[parts] = step.hidden_ns / step.graded_ns
  # While the only part is graded there is nothing to sample; of four, three are
  # graded beside the sampling of those that follow.
  assert hidden[1] < 0.02 < hidden[4], hidden
