"""What stands between the attempts: the right words in the right rows."""

import json

import jax
import numpy as np
import pytest

from score_jax import actor as actor_lib
from score_jax import config as config_lib
from score_jax import feedback
from score_jax import keys
from score_jax import sharding
from score_jax import tasks
from score_jax import types
from score_jax.grading import pool
from score_jax.report import table
from score_jax.tasks import base as tasks_base
from score_jax.tasks import code
from score_jax.text import tokenizer as tokenizer_lib
from tests import testing
from tests import tiny_run

# Of two parts; a problem and the one 8 behind it have answers of two kinds.
PROBLEMS = [types.Problem(str(n), f'{n % 10}+3', str(n + n // 8))
            for n in range(16)]
KEY = keys.purpose_key(0, 'rollout/x')


def _longer(answer, text):
  """A grader with a rule of its own: it depends on problem and text."""
  return int((len(text) + int(answer or 0)) % 2)


def _task(**fields) -> tasks_base.Task:
  chain = tasks.make(config_lib.TaskConfig())
  return tasks_base.from_rows(
      'x', {'train': []}, question='{problem}', instruction='No error',
      grade=_longer, answer=lambda text: text, fingerprint='', **{
          'verdicts': ('=', 'Go on=?'), 'critique': 'Go on'} | fields
  ), chain.tokenizer


def _actor(kind, **fields):
  config = config_lib.from_dict({
      'model': {'num_layers': 1, 'width': 16, 'num_heads': 2,
                'num_kv_heads': 1, 'head_dim': 8, 'mlp_width': 16},
      'rollout': {'prompt_buckets': (8,), 'attempt_tokens': (6, 5),
                  'feedback': kind}})
  task, tokenizer = _task(**fields)
  tokenizer = tokenizer_lib.load(tokenizer)
  tokenizer.stop_ids = (*tokenizer.stop_ids, *range(13, 20))
  actor = actor_lib.Actor(
      config, task, tokenizer, sharding.make_mesh(config_lib.MeshConfig()),
      pool.Here(task.grade))
  actor.conversation = feedback.conversation(actor, config.rollout)
  return actor, testing.params(config.model, 3)


def _sample(actor, params, problems=PROBLEMS[:8], parts=1):
  with jax.set_mesh(actor.mesh):
    found = feedback.sample(actor, params, problems, KEY, 0, samples=2,
                            temperature=1.0, parts=parts)
  return [jax.device_get(rollout) for rollout in found]


def _between(actor, rollout, row):
  """The text between a row's attempts, and its first attempt's."""
  layout = rollout.layout
  text = lambda there: actor.tokenizer.decode(
      rollout.tokens_BS[row][there].tolist())
  slots = np.arange(layout.slots)
  inside = (slots > layout.starts[0] + layout.attempts[0]) & (
      slots < layout.starts[1])
  return (text(inside & rollout.valid_BS[row]),
          text(rollout.attempt_BS[row] == 1))


def test_each_row_is_told_the_verdict_on_its_own_attempt():
  actor, params = _actor('verdict')
  first_part, second_part = _sample(actor, params, PROBLEMS, parts=2)
  said = set()
  for row in range(32):
    between, first = _between(actor, (first_part, second_part)[row // 16],
                              row % 16)
    verdict = ('=', 'Go on=?')[_longer(PROBLEMS[row // 2].answer, first)]
    assert between == f'\n{verdict}\nNo error\n'
    said.add(verdict)
  assert len(said) == 2
  assert set(np.unique(second_part.attempt_BS)) == {0, 1, 2}


def test_each_program_is_told_of_the_tests_that_its_prompt_shows(monkeypatch):
  # Problem n shows n % 3 tests; a test is passed by the rule of the grader.
  visible = lambda answer: [
      (f'{n}', f'{n}') for n in range(int(answer) % 3)]
  actor, params = _actor('tests', visible=visible)
  encode = actor.tokenizer.encode
  assert len(actor.conversation.splices[0]) == 5 + len(
      encode('\n\n\nNo error\n'))
  said, splice = [], feedback.splice
  monkeypatch.setattr(feedback, 'splice', lambda actor, text, slots: (
      said.append(text), splice(actor, text, slots))[1])
  rollout, = _sample(actor, params)
  for row in range(16):
    between, first = _between(actor, rollout, row)
    shown = visible(PROBLEMS[row // 2].answer)
    lines = '\n'.join(
        f'{line}  # {("failed", "passed")[_longer(gold, first)]}'
        for line, gold in shown)
    assert said[row] == lines
    # The tokenizer of this test has no such words: each is one unknown.
    cut = actor.tokenizer.decode(splice(
        actor, lines, len(actor.conversation.splices[0])))
    assert between == cut and between.endswith('No error\n')
    assert ('\n0' in between) == bool(shown)


def test_feedback_that_is_too_long_is_cut_and_the_instruction_is_not():
  actor, _ = _actor('verdict')
  ids = feedback.splice(actor, '1+2=3' * 9, 10)
  assert len(ids) == 10
  assert actor.tokenizer.decode(ids).endswith('\nNo error\n')
  assert actor.tokenizer.decode(ids).startswith('\n1+2=3')
  assert feedback.splice(actor, '', 10) == actor.splice('No error').tolist()


def test_a_critique_stands_between_the_attempts_as_an_attempt():
  actor, params = _actor('critique')
  asked = actor.conversation
  assert asked.attempt_tokens == (6, 5, 5)
  assert [actor.tokenizer.decode(ids.tolist()) for ids in asked.splices] == [
      '\nGo on\n', '\nNo error\n']
  rollout, = _sample(actor, params)
  assert set(np.unique(rollout.attempt_BS)) == {0, 1, 2, 3}


def test_without_feedback_it_is_the_sampler_itself():
  actor, params = _actor('none')
  assert actor.conversation is actor.intrinsic
  with jax.set_mesh(actor.mesh):
    plain, = actor.sample(params, PROBLEMS[:8], KEY, 0, samples=2,
                          temperature=1.0)
  rollout, = _sample(actor, params)
  np.testing.assert_array_equal(rollout.tokens_BS, plain.tokens_BS)
  np.testing.assert_array_equal(rollout.logp_BS, plain.logp_BS)


@pytest.mark.parametrize('kind,fields,message', [
    ('critique', {'critique': ''}, "'x' has no prompt that asks for a critiq"),
    ('tests', {}, "'tests', and the task 'x' has no tests that its prompts")])
def test_a_task_without_such_feedback_is_refused(kind, fields, message):
  with pytest.raises(ValueError, match=message):
    _actor(kind, **fields)


def test_the_tests_of_a_prompt_are_graded_one_by_one():
  answer = code.spec(tests=['assert f(1) == 1', 'assert f(2) == 3'],
                     setup='x = 1')
  first, second = code.visible(answer)
  assert (first[0], second[0]) == ('assert f(1) == 1', 'assert f(2) == 3')
  assert json.loads(second[1]) == json.loads(
      code.spec(tests=['assert f(2) == 3'], setup='x = 1'))
  assert not code.visible(code.spec('f', test='def check(c): pass'))


@pytest.mark.slow
def test_a_run_with_feedback_trains_resumes_and_says_so(tmp_path, monkeypatch):
  config = tiny_run.config('feedback_verdict', stage1={'steps': 1},
                           stage2={'steps': 2})
  whole = tiny_run.start(tmp_path / 'whole', config)
  results = tiny_run.train(whole)
  run = tiny_run.start(tmp_path / 'parts', config)
  tiny_run.train_stopping_after(run, 4, monkeypatch)
  run = tiny_run.start(tmp_path / 'parts', config)
  tiny_run.train(run)
  assert ((run.folder / 'metrics.jsonl').read_bytes()
          == (whole.folder / 'metrics.jsonl').read_bytes())
  assert {of['feedback'] for of in results['stages'].values()} == {'verdict'}
  lines = table.results_table(results).splitlines()
  assert [line[:18].strip() for line in lines[1:4]] == [
      'base + verdict', 'Stage I + verdict', 'Stage II + verdict']
  assert lines[4] == table.NOT_INTRINSIC
