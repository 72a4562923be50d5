"""First attempts of the frozen base: whose they are, and what learns of them.
"""

import types as namespaces

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_jax import actor as actor_lib
from score_jax import config as config_lib
from score_jax import continuation
from score_jax import offline
from score_jax import sharding
from score_jax import train
from score_jax import types
from score_jax.grading import pool
from tests import tiny_run

LAYOUT = types.Layout(1, (2, 2), (1,))


class _Actor:
  """Draws rollouts whose tokens are the number of the policy that drew them."""

  def copied(self, params):
    return params

  def rollout(self, first, second, count, samples):
    rows = count * samples
    row = [9, first, first, 8, second, second]
    tile = lambda x: jnp.tile(jnp.array([x]), (rows, 1))
    return types.Rollout(tile(row), tile([True] * 6), tile([0, 1, 1, 0, 2, 2]),
                         tile([0.0] * 6), tile([2, 2]), tile([False, False]),
                         LAYOUT)

  def sample(self, params, problems, key, step, *, samples, temperature,
             first_row, conversation):
    return [self.rollout(params, params, len(problems), samples)]

  def grade(self, problems, rollout, samples):
    rows = len(problems) * samples
    grades = np.zeros((rows, 2), np.int32)
    return lambda: actor_lib.Graded(
        rollout, jnp.asarray(grades), np.arange(rows), [['', '']] * rows,
        grades, np.zeros(rows, bool), grades > 0, grades + 2,
        pool.Grades([0] * 2 * rows, 0, 0, 0.0), 0.0)


@pytest.mark.parametrize('share,parts,theirs', [
    (0.5, 1, [True, True, False, False]), (1.0, 1, [True] * 4),
    (0.25, 1, [True, False, False, False]),
    (0.5, 2, [True, False, True, False]), (1.0, 2, [True] * 4)])
def test_first_attempts_of_the_base_are_read_and_not_learned(
    share, parts, theirs, monkeypatch):
  actor = _Actor()
  monkeypatch.setattr(
      continuation, 'follow',
      lambda actor, params, problems, first, splices, *_: actor.rollout(
          int(first.tokens_BS[0, 1]), params, len(splices), 1))
  asked = namespaces.SimpleNamespace(splices=(np.array([8]),))
  asked.of_one_length = lambda problems: asked
  asked.first_attempts = lambda count: asked
  run = namespaces.SimpleNamespace(
      actor=actor, mesh=sharding.make_mesh(
          config_lib.MeshConfig(), jax.devices()[:1]),
      config=namespaces.SimpleNamespace(rollout=namespaces.SimpleNamespace(
          samples=2, temperature=1.0, parts=parts)))
  graded = offline.attempts(run, 5, 6, ['problem'] * 4, None, None, 0, share,
                            asked)
  tokens, attempt = (np.asarray(x) for x in (
      graded.rollout.tokens_BS, graded.rollout.attempt_BS))
  for row, by_base in enumerate(np.repeat(theirs, 2)):
    assert tokens[row].tolist() == [9, *[6 if by_base else 5] * 2, 8, 5, 5]
    assert attempt[row].tolist() == [0, *[0 if by_base else 1] * 2, 0, 2, 2]


@pytest.fixture(scope='module', name='whole')
def _whole(tmp_path_factory):
  """A run with half of them, what was sampled, and what the update saw."""
  with pytest.MonkeyPatch.context() as patch:
    tiny_run.grade_by_chance(patch)
    config = tiny_run.config(
        'offline_mix', rollout={'prompts': 16}, stage1={'steps': 1},
        stage2={'steps': 2})
    run = tiny_run.start(tmp_path_factory.mktemp('whole'), config)
    drawn, batches = [], []
    sample, program = run.actor.sample, train.stage_program

    def sampled(params, problems, key, step, *, samples, conversation=None,
                **more):
      if samples > 1 and len(problems) == 8:  # Half of them: of Stage II.
        drawn.append((jax.device_get(params), len(problems), key,
                      len(conversation.attempt_tokens)))
      return sample(params, problems, key, step, samples=samples,
                    conversation=conversation, **more)

    def recording(states, stage):
      step = program(states, stage)
      if stage == 'stage1':
        return step
      return lambda state, reference, batch: (
          batches.append(jax.device_get(batch)), step(state, reference, batch)
      )[1]

    patch.setattr(run.actor, 'sample', sampled)
    patch.setattr(train, 'stage_program', recording)
    tiny_run.train(run)
  return run, drawn, batches


@pytest.mark.slow
def test_half_of_the_first_attempts_are_the_bases(whole):
  run, drawn, _ = whole
  base = tiny_run.params(run, 'base')
  own = [tiny_run.params(run, 'stage1'), None]
  assert len(drawn) == 4  # Two steps.
  for step in range(2):
    (theirs, n, their_key, attempts), (mine, m, my_key, all_attempts) = (
        drawn[2 * step : 2 * step + 2])
    assert (n, attempts, m, all_attempts) == (8, 1, 8, 2)
    assert (jax.random.key_data(their_key) != jax.random.key_data(my_key)).any()
    jax.tree.map(np.testing.assert_array_equal, theirs, base)
    if own[step] is not None:
      jax.tree.map(np.testing.assert_array_equal, mine, own[step])


@pytest.mark.slow
def test_the_loss_does_not_see_the_bases_attempts(whole):
  run, _, batches = whole
  layout = run.actor.conversation.longest
  end = layout.starts[0] + layout.attempts[0]
  for batch in batches:
    first = batch.attempt_BS[:, layout.starts[0] : end]
    assert not first[:16].any() and (first[16:] == 1).any(axis=1).all()
    # They are there to be read, and a second attempt follows each.
    assert batch.valid_BS[:, layout.starts[0]].all()
    assert (batch.attempt_BS[:, layout.starts[1]] == 2).all()


@pytest.mark.slow
def test_stopped_and_resumed_equals_never_stopped(whole, tmp_path, monkeypatch):
  whole, *_ = whole
  tiny_run.grade_by_chance(monkeypatch)
  tiny_run.train_stopping_after(tiny_run.start(tmp_path, whole.config), 4,
                                monkeypatch)
  run = tiny_run.start(tmp_path, whole.config)
  tiny_run.train(run)
  assert ((tmp_path / 'metrics.jsonl').read_bytes()
          == (whole.folder / 'metrics.jsonl').read_bytes())
  jax.tree.map(np.testing.assert_array_equal, tiny_run.params(run),
               tiny_run.params(whole))
