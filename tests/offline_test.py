"""First attempts of the frozen base: whose they are, and what learns of them.
"""

import jax
import numpy as np
import pytest

from score_jax import train
from tests import tiny_run


@pytest.fixture(scope='module', name='whole')
def _whole(tmp_path_factory):
  """A run with half of them, what was sampled, and what the update saw."""
  with pytest.MonkeyPatch.context() as patch:
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
  tiny_run.train_stopping_after(tiny_run.start(tmp_path, whole.config), 4,
                                monkeypatch)
  run = tiny_run.start(tmp_path, whole.config)
  tiny_run.train(run)
  assert ((tmp_path / 'metrics.jsonl').read_bytes()
          == (whole.folder / 'metrics.jsonl').read_bytes())
  jax.tree.map(np.testing.assert_array_equal, tiny_run.params(run),
               tiny_run.params(whole))
