"""A step's plumbing, with a policy and an update that only write down."""

import dataclasses
import weakref

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_jax import actor as actor_lib
from score_jax import config as config_lib
from score_jax import evaluate
from score_jax import run as run_lib
from score_jax import sharding
from score_jax import shutdown
from score_jax import states as states_lib
from score_jax import train
from score_jax import types
from score_jax.grading import pool
from score_jax.recipes import base_recipes
from score_jax.rl import advantages
from score_jax.rl import rewards

LAYOUT = types.Layout(1, (2, 2), (1,))


def _config() -> config_lib.Config:
  values = base_recipes.make('chain', 'stage2')
  values.model.update(num_layers=1, width=16, num_heads=2, num_kv_heads=1,
                      head_dim=8, mlp_width=16)
  values.task.update(train_problems=64, transcripts=16)
  values.rollout.update(prompts=8, samples=2, temperature=0.7)
  values.base.update(batch_size=8, micro_batches=1)
  values.evaluation.update(problems=20, batch_size=8)
  values.stage1.update(
      steps=2, micro_batches=1, beta1=0.1, beta2=0.2, alpha=3.0)
  values.stage2.update(
      steps=2, micro_batches=1, beta1=0.3, beta2=0.4, alpha=5.0)
  return config_lib.from_dict(values)


class _Actor:
  """Writes down what it is asked for; its grades are random."""

  stop_strings = None

  def __init__(self, real):
    self.task = real.task
    self.tokenizer = real.tokenizer
    self.conversation = real.conversation
    self.check_lengths = real.check_lengths
    self.sampled, self.graded = [], []

  def copied(self, params):
    return params

  def everywhere(self, graded):
    return graded

  def sample(self, params, problems, key, step, *, samples, temperature,
             parts=1, first_row=0, conversation=None):
    self.sampled.append((params, problems, key, step, samples, temperature))
    assert parts == 1 and len(
        (conversation or self.conversation).attempt_tokens) == 2
    n = len(problems) * samples
    slots = np.full((n, LAYOUT.slots), len(self.sampled), np.int32)
    rng = np.random.default_rng(len(self.sampled))
    return [types.Rollout(
        slots, slots > 0, slots, slots.astype(np.float32),
        rng.integers(1, 3, (n, 2)), rng.random((n, 2)) < 0.5, LAYOUT)]

  def grade(self, problems, rollout, samples):
    n = len(problems) * samples
    grades = np.random.default_rng(len(self.graded)).integers(0, 2, (n, 2))
    self.graded.append((problems, grades))
    return lambda: actor_lib.Graded(
        rollout, grades, np.arange(n), [['a', 'b']] * n, grades,
        grades[:, 0] > 0, rollout.truncated_BA, rollout.length_BA,
        pool.Grades(grades.ravel().tolist(), 0, 0, 0.0), 0.0)


@pytest.fixture(scope='module', name='real')
def _real(tmp_path_factory):
  return run_lib.open_run(_config(), tmp_path_factory.mktemp('run'),
                          shutdown.StopRequest())


@pytest.fixture(name='run')
def _run(real, tmp_path, monkeypatch):
  """The run with an actor that writes down, and files of its own."""
  monkeypatch.setattr(real.writer, 'metrics', lambda *row: rows.append(row))
  rows = []
  run = dataclasses.replace(real, actor=_Actor(real.actor), splits={})
  monkeypatch.setattr(run_lib.Run, 'checkpoints', lambda self, stage:
                      run_lib.checkpoint.Checkpoints(tmp_path / stage, 1))
  return run, rows


def _train_stage(run, stage, monkeypatch):
  """Trains with an update that adds 1 to the parameters; what it was given."""
  seen = {'calls': []}

  def jitted(run, stage, step_fn):
    seen['settings'] = step_fn.keywords

    def step(state, reference, batch):
      seen['calls'].append((state.params, reference, batch))
      params = jax.tree.map(lambda w: w + 1, state.params)
      return types.TrainState(state.step + 1, params, state.opt_state), {
          'kl_t1': jnp.float32(0.5), 'kl_t2': jnp.float32(0.25)}

    return step

  monkeypatch.setattr(train, '_jitted', jitted)
  start = run.random_params()
  reference = jax.tree.map(lambda w: 2 * w, start)
  seen['reference'] = reference
  seen['trained'] = train.train_stage(run, stage, run.settings(stage), start,
                                      reference)
  return seen


@pytest.mark.parametrize('stage', ['stage1', 'stage2'])
def test_a_step_from_problems_to_the_update(run, stage, monkeypatch):
  run, rows = run
  seen = _train_stage(run, stage, monkeypatch)
  settings = run.settings(stage)
  credit = (rewards.stage1(2, 0.1, 0.2) if stage == 'stage1'
            else rewards.stage2(2, 5.0, 0.3))
  given = seen['settings']
  assert given['credit'] == credit and given['stage'] == settings
  assert (given['temperature'], given['samples']) == (0.7, 2)
  train_ids = {p.id for p in run.problems('train')}
  assert len(run.actor.sampled) == len(seen['calls']) == len(rows) == 2
  for step, (params, problems, _, at, samples, temperature) in enumerate(
      run.actor.sampled):
    updated, reference, batch = seen['calls'][step]
    # The rollout is on-policy: sampled by the very weights that it updates.
    assert params is updated and reference is seen['reference']
    assert (at, samples, temperature) == (step, 2, 0.7)
    assert len(problems) == 8 and {p.id for p in problems} <= train_ids
    graded, grades = run.actor.graded[step]
    assert graded == problems
    shaped = rewards.shaped_rewards(grades, credit)
    np.testing.assert_allclose(batch.advantages_BA,
                               advantages.leave_one_out(shaped, 2), rtol=1e-6)
    assert (batch.tokens_BS == step + 1).all() and batch.layout == LAYOUT
    assert (batch.attempt_BS == step + 1).all()
    name, number, row = rows[step]
    assert (name, number) == (stage, step + 1)
    assert row['accuracy_t2'] == grades[:, 1].mean()
    np.testing.assert_allclose([row['reward_t1'], row['reward_t2']],
                               shaped.mean(axis=0), rtol=1e-6)
  first, last = seen['calls'][0][0], seen['trained'].params
  for a, b in zip(jax.tree.leaves(first), jax.tree.leaves(last)):
    np.testing.assert_allclose(b, a + 2, rtol=1e-5)


# Temperature of the scores, and neighbours that are samples of one problem.
@pytest.mark.parametrize('method,temperature,samples', [
    ('stage1', 0.7, 2), ('stage2', 0.7, 2), ('last', 0.7, 2),
    ('first', 0.7, 2), ('progress', 0.7, 2), ('star', 1.0, 1),
    ('star_plus', 1.0, 1), ('pairs', 1.0, 1), ('pairs_plus', 1.0, 1)])
def test_what_a_method_learns_at(real, method, temperature, samples,
                                 monkeypatch):
  monkeypatch.setattr(train, '_jitted', lambda states, stage, fn: fn.keywords)
  config = dataclasses.replace(real.config, stage2=dataclasses.replace(
      real.config.stage2, method=method))
  given = train.stage_program(states_lib.States(config, real.mesh), 'stage2')
  assert (given['temperature'], given['samples']) == (temperature, samples)
  assert given['stage'] == config.stage2 and given['model'] == config.model


# Grades, which attempts are truncated, and the advantages of two samples, at
# alpha 5: r1 for attempt 1, and r2 + 5 (r2 - r1) for attempt 2.
GRADED = np.array([[0, 1], [1, 1]])
CUT = np.array([[True, False], [False, True]])


@pytest.mark.parametrize('settings,advantages_BA,masked', [
    ({}, [[-1, 5], [1, -5]], False),
    # The second attempt 2 is graded 0: 6 - (0 - 5).
    ({'truncated': 'zero'}, [[-1, 11], [1, -11]], False),
    ({'truncated': 'masked'}, [[-1, 5], [1, -5]], True),
    # After the truncated attempt 1 there is no bonus: 1 - 1.
    ({'truncated_bonus': 'unpaid'}, [[-1, 0], [1, 0]], False),
    ({'truncated_bonus': 'unpaid', 'truncated': 'zero'}, [[-1, 6], [1, -6]],
     False),
    ({'truncated_bonus': 'unpaid', 'gamma': 0.5}, [[-1, 0], [1, 0]], False),
    ({'truncated_bonus': 'unpaid', 'baseline': 'factored'},
     [[-1, -5], [1, 5]], False)])
def test_truncated_attempts_by_hand(real, settings, advantages_BA, masked):
  stage = dataclasses.replace(real.config.stage2, **settings)
  mesh = sharding.make_mesh(config_lib.MeshConfig(), jax.devices()[:1])
  program = train.credit_program(stage, train.credit_of(stage, 2), 2, mesh)
  attempt_BS = np.array([[0, 1, 1, 0, 2], [0, 1, 0, 2, 2]])
  found, learned, shaped_A = program(GRADED, CUT, attempt_BS)
  np.testing.assert_allclose(found, advantages_BA, atol=1e-6)
  np.testing.assert_array_equal(
      learned, [[0, 0, 0, 0, 2], [0, 1, 0, 0, 0]] if masked else attempt_BS)
  assert shaped_A.shape == (2,)


@pytest.mark.parametrize('stage,fields,message', [
    ('stage2', {'truncated': 'zeros'}, "config.stage2.truncated is 'zeros'"),
    ('stage2', {'truncated_bonus': 'no'}, 'config.stage2.truncated_bonus'),
    ('stage1', {'truncated_bonus': 'unpaid'}, "'stage1' has no bonus"),
    ('stage2', {'method': 'star', 'truncated': 'zero'},
     "'star' learns from right attempts alone"),
    ('stage2', {'kl_baseline': 'mean'}, 'config.stage2.kl_baseline is'),
    ('stage1', {'micro_batches': 16}, 'holds no two of each; lower '
     'config.stage1.micro_batches, or set config.stage1.kl_baseline')])
def test_settings_of_the_loss_that_do_not_fit(stage, fields, message):
  values = dataclasses.asdict(_config())
  values[stage].update(fields)
  with pytest.raises(ValueError, match=message):
    config_lib.from_dict(values)
  if 'micro_batches' in fields:
    for way_out in ({'kl_baseline': 'none'}, {'kl_credit': 'token'}):
      values[stage].update(way_out)
      config_lib.from_dict(values)


def test_the_sampler_has_one_copy_a_step_gone_before_the_update(
    run, monkeypatch):
  run, _ = run
  copies, alive = [], []
  sample = run.actor.sample

  def copied(params):
    copy = jax.tree.map(jnp.copy, params)
    copies.append(weakref.ref(copy['embed']['embedding']))
    return copy

  def sampled(params, *args, **more):
    assert params['embed']['embedding'] is copies[-1]()
    return sample('params', *args, **more)

  program = train.credit_program  # Between sampling and the update.

  def credit_program(*given):
    credit_fn = program(*given)
    return lambda *graded: (
        alive.append([copy() for copy in copies]), credit_fn(*graded))[1]

  monkeypatch.setattr(train, 'credit_program', credit_program)
  monkeypatch.setattr(run.actor, 'copied', copied)
  monkeypatch.setattr(run.actor, 'sample', sampled)
  _train_stage(run, 'stage1', monkeypatch)
  assert alive == [[None], [None, None]]


def test_stages_differ_in_problems_and_in_keys(run, monkeypatch):
  run, _ = run
  for stage in ('stage1', 'stage2'):
    _train_stage(run, stage, monkeypatch)
  (_, one, key_1, *_), _, (_, two, key_2, *_), _ = run.actor.sampled
  assert {p.id for p in one} != {p.id for p in two}
  assert (jax.random.key_data(key_1) != jax.random.key_data(key_2)).any()


def test_the_corpus_stands_in_the_slots_of_the_sampler(real):
  rows = real.transcripts()
  tokens, valid = train._corpus(real)
  stop = list(real.actor.tokenizer.stop_ids[:1])
  splice = real.actor.conversation.splices[0].tolist()
  layout = real.actor.conversation.longest
  assert tokens.shape == valid.shape == (16, layout.slots)
  encode = real.actor.tokenizer.encode
  for row, ids, there in zip(rows, tokens, valid):
    prompt = real.actor.prompt_ids(types.Problem('', row['prompt'], ''))
    assert ids[there].tolist() == (
        prompt + encode(row['attempt_1']) + stop
        + splice + encode(row['attempt_2']) + stop)
    # The last token of the prompt, the first of each attempt.
    assert there[layout.prompt - 1] and there[list(layout.starts)].all()
    assert (ids[~there] == real.actor.tokenizer.pad_id).all()
  # Attempts of uneven lengths, so there are dead slots.
  assert not valid[:, layout.prompt :].all()


@pytest.mark.parametrize('unchanged,accuracy,warned', [
    (0.96, 0.5, True), (0.94, 0.5, False), (0.99, 0.97, False)])
def test_collapse_is_told_apart_from_success(real, unchanged, accuracy, warned):
  class Bar:
    said = []
    say = said.append

  Bar.said.clear()
  train._warn_of_collapse(
      real, 'stage2', 3, {'unchanged': unchanged, 'accuracy_t1': accuracy}, Bar)
  assert len(Bar.said) == warned
  if warned:
    assert Bar.said[0].startswith('stage2 step 3: 96% of second attempts')


def test_evaluation_is_greedy_and_counts_every_problem_once(run, monkeypatch):
  run, _ = run
  kept, written = {}, []
  monkeypatch.setattr(run_lib.Run, 'keep_result',
                      lambda self, stage, result, *_: kept.update(result))
  monkeypatch.setattr(run.writer, 'transcripts',
                      lambda stage, rows: written.extend(rows))
  evaluate.evaluate(run, 'stage1', 'params', 7)
  test = run.problems('test')[:20]
  asked = []
  for params, problems, _, _, samples, temperature in run.actor.sampled:
    assert (params, len(problems), samples, temperature) == (
        'params', 8, 1, 0.0)
    asked += problems
  assert asked[:20] == test  # The last batch is filled up,
  assert [p for ps, _ in run.actor.graded for p in ps] == test  # then cut.
  grades = np.concatenate([grades for _, grades in run.actor.graded])
  assert kept['n'] == 20 == len(written) and kept['step'] == 7
  assert kept['accuracy_t1'] == grades[:, 0].mean()
  assert kept['accuracy_t2'] == grades[:, 1].mean()
  assert [row['id'] for row in written] == [p.id for p in test]
  assert [row['grades'] for row in written] == grades.tolist()
