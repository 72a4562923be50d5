"""Supervised baselines: what is sampled, learned, kept and resumed."""

import functools
import json
import zlib

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from score_jax import config as config_lib
from score_jax import train
from score_jax import types
from score_jax import update
from score_jax.models import decoder
from score_jax.rl import rewards
from score_jax.tasks import chain
from tests import testing
from tests import tiny_run

ROUNDS = {'stage2': {'rounds': 2}}


def _third(answer, text):
  return zlib.crc32(text.encode()) % 3 == 0


@pytest.fixture(scope='module', name='whole')
def _whole(tmp_path_factory):
  """A run of STaR that nothing stopped, what it sampled, what it learned.

  A third of all texts are right, so that an untrained model mends some.
  """
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(chain, 'grade', _third)
    run = tiny_run.start(tmp_path_factory.mktemp('whole'),
                         tiny_run.config('star', **ROUNDS))
    drawn, learned = [], []
    sample, program = run.actor.sample, train.stage_program

    def sampled(params, problems, key, step, *, samples, **more):
      if samples > 1:  # Not an evaluation.
        drawn.append((problems, samples, step))
      return sample(params, problems, key, step, samples=samples, **more)

    def recording(states, stage):
      step = program(states, stage)
      return lambda state, reference, batch: (
          learned.append(jax.device_get(batch)), step(state, reference, batch)
      )[1]

    patch.setattr(run.actor, 'sample', sampled)
    patch.setattr(train, 'stage_program', recording)
    tiny_run.train(run)
  return run, drawn, learned


def _examples(folder):
  return {path.name: np.load(path)['tokens']
          for path in sorted((folder / 'examples').iterdir())}


def _lines(folder):
  lines = (folder / 'metrics.jsonl').read_text().splitlines()
  return [row for row in map(json.loads, lines) if row['stage'] == 'stage2']


def test_stopped_and_resumed_equals_never_stopped(
    whole, tmp_path, monkeypatch):
  whole, *_ = whole
  monkeypatch.setattr(chain, 'grade', _third)
  # Two steps of the base; then in the second round, at its last but one step.
  tiny_run.train_stopping_after(tiny_run.start(tmp_path, whole.config), 5,
                                monkeypatch)
  run = tiny_run.start(tmp_path, whole.config)
  tiny_run.train(run)
  files = [(folder / 'metrics.jsonl').read_bytes()
           for folder in (whole.folder, tmp_path)]
  assert files[0] == files[1]
  jax.tree.map(np.testing.assert_array_equal, tiny_run.params(run),
               tiny_run.params(whole))
  mine, theirs = _examples(run.folder), _examples(whole.folder)
  assert list(mine) == list(theirs) == ['stage2_1.npz', 'stage2_2.npz']
  for file, tokens in mine.items():
    np.testing.assert_array_equal(tokens, theirs[file])


def test_samples_and_updates_are_as_many_as_with_reinforcement(whole):
  run, drawn, _ = whole
  problems = run.problems('train')
  assert drawn == [
      ([problems[i] for i in train.indices(run, 'stage2', 64, step, 8)], 2,
       step) for step in range(4)]
  assert len(_lines(run.folder)) == 4


def test_the_second_round_is_sampled_by_what_the_first_has_trained(whole):
  run, *_ = whole
  rows = _lines(run.folder)
  # The rates are those of a round's samples; so they change between rounds.
  rates = [row['accuracy_t1'] for row in rows]
  assert rates[0] == rates[1] and rates[2] == rates[3]
  assert [row['examples'] for row in rows] == [
      len(tokens) for tokens in _examples(run.folder).values()
      for _ in range(2)]
  for row in rows:
    assert {'loss', 'kl_t2'} < row.keys() and 'logp_gap_t2' not in row
    assert row['i_to_c'] * 32 == row['examples']  # 2 steps of 16 rollouts.


def test_what_is_learned_are_the_rounds_examples_and_attempt_2_alone(whole):
  run, _, learned = whole
  of_round = list(_examples(run.folder).values())
  for step, batch in enumerate(learned):
    found = {tuple(row) for row in of_round[step // 2].tolist()}
    assert {tuple(row) for row in batch.tokens_BS.tolist()} <= found
    np.testing.assert_array_equal(batch.advantages_BA, 16 * [[0, 1]])


def test_examples_that_are_gone_are_not_made_of_another_policy(
    tmp_path, monkeypatch):
  monkeypatch.setattr(chain, 'grade', _third)
  config = tiny_run.config('pair_sft')
  tiny_run.train_stopping_after(tiny_run.start(tmp_path, config), 3,
                                monkeypatch)
  (tmp_path / 'examples' / 'stage2_1.npz').unlink()
  with pytest.raises(ValueError, match='stage2_1.npz is missing, and the poli'):
    tiny_run.train(tiny_run.start(tmp_path, config))


def test_nothing_to_learn_from_is_said(tmp_path, monkeypatch):
  monkeypatch.setattr(chain, 'grade', lambda answer, text: 0)
  with pytest.raises(ValueError, match="'star' finds nothing to learn from in "
                                       '32 rollouts; more config.stage2.steps'):
    tiny_run.train(tiny_run.start(
        tmp_path, tiny_run.config('star', **ROUNDS)))


def test_the_update_is_the_cross_entropy_of_attempt_2():
  model = testing.model_config(num_layers=1)
  layout = types.Layout(2, (3, 3), (2,))
  tokens, valid = testing.prompts(4, layout.slots)
  valid[:, 6:] = True
  attempt = np.where(valid, [0, 0, 1, 1, 1, 0, 0, 2, 2, 2], 0)
  attempt[0, -1], valid[0, -1] = 0, False
  batch = types.TrainBatch(
      tokens, valid, attempt, np.zeros(tokens.shape, np.float32),
      np.tile(np.float32([0, 1]), (4, 1)), layout)
  params = testing.params(model)
  reference = testing.params(model, seed=1)
  optimizer = optax.sgd(1.0)
  step = jax.jit(functools.partial(
      update.rl_update, model=model, stage=config_lib.StageConfig(),
      credit=rewards.none(2), optimizer=optimizer, temperature=1.0,
      head_chunk=4))
  state, measured = step(update.init_state(optimizer, params), reference, batch)

  def cross_entropy(params):
    hidden, _ = decoder.forward(
        model, params, tokens, update.positions(valid), valid)
    scores = decoder.logits(model, hidden, decoder.head(model, params))
    losses = optax.softmax_cross_entropy_with_integer_labels(
        scores[:, :-1], tokens[:, 1:])
    return jnp.where(attempt[:, 1:] == 2, losses, 0).sum() / 4

  loss, grads = jax.jit(jax.value_and_grad(cross_entropy))(params)
  np.testing.assert_allclose(measured['loss'], loss, rtol=1e-5)
  jax.tree.map(
      lambda new, old, g: np.testing.assert_allclose(old - new, g, rtol=1e-3,
                                                     atol=2e-6),
      state.params, params, grads)
