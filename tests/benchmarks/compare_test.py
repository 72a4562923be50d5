"""Both sides have to do the same work."""

import dataclasses
import types

import pytest

from benchmarks import compare
from tests.benchmarks import workload_test

WORK = workload_test.made(prompts=1, samples=2, ends=True)


class Side:
  """Answers with what it was made with."""

  def __init__(self, name, logp, attempts):
    self.name = name
    self._answers = {'score': {'logp': logp}, 'rollout': {'attempts': attempts}}

  def ask(self, method, **unused):
    return types.SimpleNamespace(found=self._answers[method])


OURS = Side('ours', [[-1.0, -2.0]], [[[300, 1], [301]], [[302], [303]]])


def test_greedy_attempts_are_compared_without_stop_tokens():
  theirs = Side('peer', [[-1.0, -2.0005]], [[[300], [301]], [[302], [999]]])
  said = compare.same_work(WORK, OURS, theirs)
  assert 'at most 5.0e-04 apart' in said
  assert said.endswith('greedy attempts equal: 2 of 2, 1 of 2')


def test_stop_tokens_count_where_attempts_do_not_end():
  theirs = Side('peer', [[-1.0, -2.0]], [[[300], [301]], [[302], [303]]])
  said = compare.same_work(
      dataclasses.replace(WORK, ends=False), OURS, theirs)
  assert said.endswith('equal: 1 of 2, 2 of 2')


@pytest.mark.parametrize('wrong', [-2.002, float('nan')])
def test_other_log_probs_are_other_work(wrong):
  theirs = Side('peer', [[-1.0, wrong]], OURS.ask('rollout').found['attempts'])
  with pytest.raises(ValueError, match='of peer are .* from ours'):
    compare.same_work(WORK, OURS, theirs)
