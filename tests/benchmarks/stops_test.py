"""Rows of `benchmarks.stops` end where they are told to."""

import numpy as np
import pytest

from benchmarks import models
from benchmarks import stops
from benchmarks import workload


@pytest.mark.parametrize('name', ['answers', 'sampled'])
def test_lengths_are_drawn_from_real_ones_and_cut(name):
  length_BA = stops.lengths_of(name, 500, [100, 300])
  assert length_BA.shape == (500, 2) and length_BA.min() > 0
  assert length_BA[:, 0].max() == 100 < length_BA[:, 1].max()
  assert len(np.unique(length_BA[:, 1])) > 20


def test_rows_end_where_they_are_told_to():
  config = models.RANDOM['random_1m']
  work = workload.make(
      '', config.vocab_size, prompts=2, samples=2, prompt_tokens=6,
      attempt_tokens=(4, 3), instruction_tokens=2)
  length_BA = np.array([[4, 1], [1, 3], [2, 2], [3, 1]], np.int32)
  params = models.random_params(config)
  rollout = stops.sampler(config, params, work, length_BA, 64)(params)
  np.testing.assert_array_equal(rollout.length_BA, length_BA)
  assert not rollout.truncated_BA.any()
