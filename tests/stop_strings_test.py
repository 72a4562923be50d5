"""Stop strings of tasks: which ones, and what becomes of what they end."""

import dataclasses

import jax
import numpy as np
import pytest

from score_jax import actor as actor_lib
from score_jax import config as config_lib
from score_jax import continuation
from score_jax import keys
from score_jax import sharding
from score_jax import stop_strings
from score_jax import tasks
from score_jax import types
from score_jax.grading import pool
from score_jax.tasks import base as tasks_base
from score_jax.tasks import code
from score_jax.tasks import code_prompts
from score_jax.tasks import own
from score_jax.text import tokenizer as tokenizer_lib
from tests import testing

PROBLEMS = [types.Problem(str(n), text, '0') for n, text in enumerate(
    ['4+3+2', '5+1', '4', '7*8', '2*2', '9-1', '6', '5+5'])]
KEY = keys.purpose_key(0, 'rollout/x')


def _actor(stops=('5', '7+', 'rror', 'on', 'eck'), **rollout):
  config = config_lib.from_dict({
      'task': {'stop_strings': stops},
      'model': {'num_layers': 1, 'width': 16, 'num_heads': 2,
                'num_kv_heads': 1, 'head_dim': 8, 'mlp_width': 16},
      'rollout': {'prompt_buckets': (9,), 'attempt_tokens': (12, 10, 8)}
                 | rollout})
  task = tasks.make(config.task)
  tokenizer = tokenizer_lib.load(task.tokenizer)
  actor = actor_lib.Actor(
      config, task, tokenizer, sharding.make_mesh(config_lib.MeshConfig()),
      pool.Here(task.grade))
  return actor, testing.params(config.model, 3)


def test_texts_end_at_the_stop_string_and_what_follows_reads_no_more():
  actor, params = _actor()
  with jax.set_mesh(actor.mesh):
    found, = actor.sample(params, PROBLEMS, KEY, 0, samples=4, temperature=1.0)
    again = actor.sample(params, PROBLEMS, KEY, 0, samples=4, temperature=1.0,
                         parts=1)
    graded = actor.everywhere(actor.grade(PROBLEMS, found, 4)())
  assert jax.tree.all(jax.tree.map(
      lambda a, b: bool((a == b).all()), found, again[0]))
  found = jax.device_get(found)
  cut_BA = found.stop_token_BA >= 0
  assert cut_BA.any(axis=0).all() and not cut_BA.all()
  assert not (cut_BA & found.truncated_BA).any()
  assert (found.stop_bytes_BA > 0).any()  # Inside of a token.
  for row, texts in enumerate(graded.texts):
    for a, text in enumerate(texts):
      ids = found.tokens_BS[row][found.attempt_BS[row] == a + 1].tolist()
      assert len(ids) == found.length_BA[row, a]
      # No text has a stop string, and each is graded without one.
      assert not any(stop in text for stop in ('5', '7+', 'rror', 'on', 'eck'))
      assert text.startswith(actor.tokenizer.decode(ids))
      if cut_BA[row, a]:
        last = int(found.stop_token_BA[row, a])
        whole = actor.tokenizer.decode([*ids, last])
        ends = [whole.find(stop) for stop in ('5', '7+', 'rror', 'on', 'eck')]
        before = min(end for end in ends if end >= 0) if max(ends) >= 0 else (
            len(whole) - 1)  # Of '7+', whose + is a separate token.
        assert text == whole[:before]
    # All that is read is what is graded, each attempt closed.
    valid = found.tokens_BS[row][found.valid_BS[row]]
    assert not any(stop in actor.tokenizer.decode(
        valid[found.attempt_BS[row][found.valid_BS[row]] == a].tolist())
        for stop in ('5', '7+') for a in (1, 2, 3))


def test_attempts_that_follow_greedily_are_those_of_one_program():
  plain, params = _actor(stops=())
  with jax.set_mesh(plain.mesh):
    drawn, = plain.sample(params, PROBLEMS, KEY, 0, samples=1, temperature=0.0)
  texts = plain.attempts_of(drawn, np.asarray)
  actor, _ = _actor(stops=tuple({text[-1] for text, *_ in texts if text}))
  asked = actor.conversation
  with jax.set_mesh(actor.mesh):
    whole, = actor.sample(params, PROBLEMS, KEY, 0, samples=1, temperature=0.0)
    first, = actor.sample(params, PROBLEMS, KEY, 0, samples=1, temperature=0.0,
                          conversation=asked.first_attempts(1))
    found = continuation.follow(
        actor, params, PROBLEMS, first, [asked.splices[0]] * 8, asked, KEY, 0,
        0, 0.0)
  for field in dataclasses.fields(types.Rollout):
    if field.name != 'layout':
      np.testing.assert_array_equal(getattr(found, field.name),
                                    getattr(whole, field.name), field.name)
  assert (whole.stop_token_BA >= 0)[:, 0].any()


@pytest.mark.parametrize('given,has_template,expected', [
    (('auto',), False, ('a',)), (('auto',), True, None), ((), False, None),
    (('x', 'y'), False, ('x', 'y')), (('x',), True, ('x',))])
def test_which_strings_a_run_has(given, has_template, expected):
  task = dataclasses.replace(
      tasks.make(config_lib.TaskConfig()),
      stops=(tasks_base.Stops(('a',), ('b', 'c')),))
  config = config_lib.TaskConfig(stop_strings=given)
  kinds, kind_of = stop_strings.of_task(config, task, has_template)
  if expected is None:
    assert not any(texts for kind in kinds for texts in kind)
  else:
    assert kinds[kind_of('')].first == expected


@pytest.mark.parametrize('name', ['bands', 'chain', 'hops', 'sums'])
def test_embedded_tasks_have_none(name):
  assert tasks.make(config_lib.TaskConfig(
      name=name, train_problems=4, transcripts=4)).stops == ()


def test_programs_end_as_their_data_set_has_it():
  mbpp, humaneval = code._STOPS
  assert mbpp.first == mbpp.later == ('[DONE]',)
  assert {'\ndef', '\nclass', '\n#', '\nif', '\nprint'} < set(humaneval.first)
  assert '\ndef' not in humaneval.later  # It follows the imports.
  assert code._kind_of_stops(code.spec(tests=['assert f(1)'])) == 0
  assert code._kind_of_stops(code.spec('f', test='x', prefix='def f():')) == 1
  assert own._MATHS['stops'][0].later == ('Problem:',)
  assert 'stops' not in own._PROGRAMS
  assert '[DONE]' in code_prompts._SHOTS


def test_each_attempt_has_the_strings_of_its_kind():
  actor, _ = _actor()
  kinds = (tasks_base.Stops(('1',), ('2',)), tasks_base.Stops(('3',), ('2',)))
  vocabulary = actor.tokenizer.token_bytes().of_size(27)
  made = stop_strings.StopStrings(kinds, int, vocabulary, actor.mesh)
  problems = [types.Problem('', '', kind) for kind in '01' * 4]
  first, corrects = (np.asarray(made.of(problems, 3, after).start_NA)
                     for after in (False, True))
  assert (first[:, 1:] == first[0, 1]).all()
  assert len({*first[:2, 0], first[0, 1]}) == 3
  assert (corrects == first[0, 1]).all()
  assert made.note == "stop strings: '1'; '2'; '3'"


@pytest.mark.parametrize('stops', [('auto', 'b'), ('a', 'auto')])
def test_a_bad_field_is_named(stops):
  with pytest.raises(ValueError, match='config.task.stop_strings is'):
    config_lib.from_dict({'task': {'stop_strings': stops}})
