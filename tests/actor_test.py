"""The actor: what the sampler is given, and how what it returns is graded."""

import dataclasses
import math

import jax
import numpy as np
import pytest

from score_jax import actor as actor_lib
from score_jax import config as config_lib
from score_jax import sharding
from score_jax import tasks
from score_jax import types
from score_jax.grading import pool
from score_jax.models import decoder
from score_jax.text import tokenizer as tokenizer_lib
from tests import testing

PROBLEMS = [types.Problem('a', '4+3+2', '9'), types.Problem('b', '5+1', '6')]
LAYOUT = types.Layout(3, (12, 12), (2,))
_MESH = config_lib.MeshConfig(data=2, fsdp=1, tensor=4)


@pytest.fixture(scope='module', name='actor')
def _actor():
  config = config_lib.from_dict(
      {'rollout': {'prompt_buckets': (6, 9, 12), 'attempt_tokens': (8, 8)}})
  task = tasks.make(config.task)
  return actor_lib.Actor(config, task, tokenizer_lib.load(task.tokenizer),
                         sharding.make_mesh(_MESH),
                         pool.Here(task.grade))


def _rollout(actor, texts, truncated=()):
  """As if the sampler had written these attempts, [B][A] texts."""
  shape = len(texts), LAYOUT.slots
  tokens, attempt = np.full(shape, 5, np.int32), np.zeros(shape, np.int32)
  for row, attempts in enumerate(texts):
    for a, (start, text) in enumerate(zip(LAYOUT.starts, attempts)):
      ids = actor.tokenizer.encode(text)
      if (row, a) not in truncated:
        ids += actor.tokenizer.stop_ids[:1]
      tokens[row, start : start + len(ids)] = ids
      attempt[row, start : start + len(ids)] = a + 1
  cut = np.array([[(row, a) in truncated for a in range(2)]
                  for row in range(len(texts))])
  rollout = types.Rollout(
      tokens, attempt > 0, attempt, np.zeros(shape, np.float32),
      np.stack([(attempt == 1).sum(1), (attempt == 2).sum(1)], axis=1), cut,
      LAYOUT)
  mesh = sharding.make_mesh(_MESH)
  return jax.tree.map(lambda x: sharding.put_rows(x, mesh), rollout)


def test_rows_are_graded_against_their_own_problem(actor):
  # Two samples a problem, adjacent: right-wrong, cut-right; wrong-wrong with
  # one answer in two spellings, and attempts that are empty.
  texts = [['7+2=9, so 9', '7+2=8, so 8'], ['7+2=', '7+2=9, so 9'],
           ['5+1=9, so 9', '5, so 9'], ['', '']]
  graded = actor.grade(PROBLEMS, _rollout(actor, texts, {(1, 0)}), 2)()
  assert graded.texts == texts
  for grades in (graded.grades_BA, graded.grades_NA):
    np.testing.assert_array_equal(grades, [[1, 0], [0, 1], [0, 0], [0, 0]])
  assert graded.counts == {
      'n': 4, 'right_t1': 1, 'right_t2': 1, 'i_to_c': 1, 'c_to_i': 1,
      'unchanged': 2, 'truncated_t1': 1, 'truncated_t2': 0}


def test_a_truncated_attempt_counts_if_it_states_its_answer(
    actor, monkeypatch):
  stated = '7+2=9, so 9'
  texts = [[stated, stated], ['9', stated], [stated, '9'], ['9', '9']]
  monkeypatch.setattr(actor, 'task', dataclasses.replace(
      actor.task, is_stated=lambda text: text == stated))
  monkeypatch.setattr(actor, 'grader', pool.Here(
      lambda gold, text: int(text.endswith('9'))))
  cut = {(0, 0), (1, 0), (2, 1)}
  graded = actor.grade(PROBLEMS, _rollout(actor, texts, cut), 2)()
  np.testing.assert_array_equal(
      graded.grades_NA, [[1, 1], [0, 1], [1, 0], [1, 1]])
  assert graded.texts == texts


def test_a_verdict_that_is_no_grade_names_the_problem(actor, monkeypatch):
  texts = [['7', '8'], ['7', '8'], ['7', '3'], ['7', '8']]
  monkeypatch.setattr(actor, 'grader', pool.Here(
      lambda gold, text: 0.5 if text == '3' else 1))
  graded = actor.grade(PROBLEMS, _rollout(actor, texts), 2)
  with pytest.raises(ValueError, match=(
      r"<lambda> returned 0.5 for the problem 'b', answer 5 of the batch")):
    graded()


@pytest.mark.parametrize('first,last,same', [
    ('7+2=9, so 9', '5, so 9', True),  # One answer, two texts.
    ('7+2=9, so 9', '7+2=9, so 8', False),
    ('7+', '7+', True),  # No answer, one text.
    ('7+', '7, so 7', False),
    ('7+', '2+', False),  # No answer twice is not one answer.
])
def test_same_answer(actor, first, last, same):
  assert actor.same_answer(first, last) == same
  assert actor.same_answer(last, first) == same


@pytest.mark.parametrize('prompts,bucket', [
    (['5+1', '4+3'], 6), (['5+1', '4+3+2'], 6), (['5+1', '4+3+2+1'], 9)])
def test_the_sampler_gets_rows_keys_and_the_smallest_bucket(
    actor, prompts, bucket, monkeypatch):
  seen = {}

  def program(params, tokens, valid, splices, key, step, rows, stops,
              **settings):
    seen.update(locals())

  monkeypatch.setattr(actor, 'program', program)
  chosen = [types.Problem(str(n), text, '')
            for n, text in enumerate(prompts * 4)]
  key = jax.random.key(3)
  actor.sample('params', chosen, key, 5, samples=3, temperature=0.5)
  assert seen['stops'] is None  # The task has no stop strings.
  assert seen['params'] == 'params' and seen['key'] is key
  assert seen['step'] == 5 and seen['step'].dtype == np.int32
  assert seen['settings'] == {
      'samples': 3, 'temperature': 0.5, 'attempt_tokens': (8, 8)}
  np.testing.assert_array_equal(seen['rows'], np.arange(24))
  assert seen['tokens'].shape == seen['valid'].shape == (8, bucket)
  for problem, tokens, valid in zip(chosen, np.asarray(seen['tokens']),
                                    np.asarray(seen['valid'])):
    assert tokens[valid].tolist() == actor.prompt_ids(problem)
  assert len(seen['splices']) == 1


def test_the_layout_is_that_of_the_sampler(actor):
  layout = actor.conversation.layout(9)
  assert dataclasses.astuple(layout) == (
      9, (8, 8), (1 + len(actor.conversation.splices[0]),))
  assert actor.conversation.longest.prompt == 12


def test_parts_are_the_rows_of_the_whole(actor, monkeypatch):
  calls = []

  def program(params, tokens, valid, splices, key, step, rows, stops,
              **settings):
    calls.append((np.asarray(tokens), np.asarray(rows)))
    return len(calls)

  monkeypatch.setattr(actor, 'program', program)
  # One long prompt: every part is padded to its bucket, so nothing compiles
  # anew, and rows keep their numbers, so samples stay what they were.
  chosen = [types.Problem(str(n), '5+1' if n < 31 else '4+3+2+1', '')
            for n in range(32)]
  ask = lambda parts: actor.sample(
      'params', chosen, jax.random.key(3), 5, samples=2, temperature=1.0,
      parts=parts, first_row=100)
  assert ask(1) == [1] and ask(4) == [2, 3, 4, 5]
  (whole, rows), *parts = calls
  np.testing.assert_array_equal(rows, np.arange(100, 164))
  for n in range(2):
    np.testing.assert_array_equal(
        np.concatenate([part[n] for part in parts]), (whole, rows)[n])


def test_joined_parts_are_the_whole(actor):
  texts = [['7+2=9, so 9', '5, so 8'], ['7+', '5, so 9'],
           ['5+1=6, so 6', '5, so 6'], ['', '']]
  whole = actor.grade(PROBLEMS, _rollout(actor, texts, {(2, 1)}), 2)()
  parts = [
      actor.grade(PROBLEMS[:1], _rollout(actor, texts[:2]), 2)(),
      actor.grade(PROBLEMS[1:], _rollout(actor, texts[2:], {(0, 1)}), 2)()]
  mesh = sharding.make_mesh(_MESH)
  joined = actor_lib.join(parts, mesh)
  assert joined.texts == texts and joined.counts == whole.counts
  for name in ('rows_N', 'grades_NA', 'unchanged_N', 'truncated_NA',
               'length_NA'):
    np.testing.assert_array_equal(getattr(joined, name), getattr(whole, name))
  for a, b in zip(jax.tree.leaves((joined.rollout, joined.grades_BA)),
                  jax.tree.leaves((whole.rollout, whole.grades_BA))):
    np.testing.assert_array_equal(a, b)
    assert len(a.sharding.device_set) == 8
  assert actor_lib.join(parts[:1], mesh) is parts[0]


def test_a_given_attempt_is_read_as_if_it_had_been_sampled(actor):
  problem = types.Problem('a', '4+3', '7', given='4+3=8, so 8')
  encode, stop = actor.tokenizer.encode, actor.tokenizer.stop_ids[0]
  assert actor.repair_ids(problem) == [
      *actor.prompt_ids(problem), *encode('4+3=8, so 8'), stop,
      *actor.conversation.splices[0].tolist()]


def _actor_on(mesh, model):
  """An actor of a model on a mesh, and a policy where training keeps it."""
  config = config_lib.from_dict(
      {'model': dataclasses.asdict(model),
       'rollout': {'prompt_buckets': (12,), 'attempt_tokens': (8, 8)}})
  task = tasks.make(config.task)
  mesh = sharding.make_mesh(config_lib.MeshConfig(*mesh),
                            jax.devices()[: math.prod(mesh)])
  made = actor_lib.Actor(config, task, tokenizer_lib.load(task.tokenizer), mesh,
                         pool.Here(task.grade))
  where = sharding.tree_shardings(mesh, decoder.logical_axes(model))
  return made, jax.device_put(testing.params(model), where)


MODEL = testing.model_config(vocab_size=28, mlp_width=24)
HALF = dataclasses.replace(MODEL, dtype='bfloat16')
LORA = dataclasses.replace(HALF, lora=config_lib.LoraConfig(rank=2))


@pytest.mark.parametrize('model', [HALF, LORA])
def test_the_copy_is_in_bfloat16_and_whole_along_the_width(model):
  actor, params = _actor_on((1, 4, 2), model)
  copy = actor.copied(params)
  shapes = jax.tree.map(lambda x: x.addressable_shards[0].data.shape, copy)
  attention = shapes['blocks']['attention']
  assert attention['query']['kernel'] == (2, 16, 2, 6)
  assert attention['out']['kernel'] == (2, 2, 6, 16)
  assert shapes['embed']['embedding'] == (14, 16)
  if model.lora.rank:
    assert attention['query']['lora_a'] == (2, 16, 2)
    assert attention['query']['lora_b'] == (2, 2, 2, 6)
  for (path, x), y in zip(jax.tree.leaves_with_path(copy),
                          jax.tree.leaves(params)):
    norm = path[-1].key == 'scale'
    assert x.dtype == ('float32' if norm else 'bfloat16')
    np.testing.assert_array_equal(x, y.astype(x.dtype))
  assert actor.copied(copy) is copy


@pytest.mark.parametrize('mesh', [(1, 1, 1), (2, 1, 2)])
def test_where_the_sampler_wants_nothing_else_there_is_no_copy(mesh):
  actor, params = _actor_on(mesh, MODEL)
  assert actor.copied(params) is params


@pytest.mark.parametrize('model', [MODEL, HALF, LORA])
def test_samples_of_the_copy_are_those_of_the_policy(model):
  actor, params = _actor_on((1, 1, 1), model)
  there, spread = _actor_on((1, 2, 2), model)
  chosen = [types.Problem(str(n), '4+3', '7') for n in range(4)]

  def ask(of, tree):
    with jax.set_mesh(of.mesh):
      # Of a key with which no two tokens are within the rounding of bfloat16.
      return of.sample(tree, chosen, jax.random.key(4), 0, samples=2,
                       temperature=1.0)[0]

  before, after = ask(actor, params), ask(actor, actor.copied(params))
  jax.tree.map(np.testing.assert_array_equal, before, after)
  other = ask(there, there.copied(spread))
  np.testing.assert_array_equal(before.tokens_BS, other.tokens_BS)
