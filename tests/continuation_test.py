"""Second attempts behind first ones that are there already."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_jax import actor as actor_lib
from score_jax import config as config_lib
from score_jax import continuation
from score_jax import keys
from score_jax import sharding
from score_jax import tasks
from score_jax import types
from score_jax import update
from score_jax.grading import pool
from score_jax.models import decoder
from score_jax.text import tokenizer as tokenizer_lib
from tests import testing

PROBLEMS = [types.Problem(str(n), text, '0') for n, text in enumerate(
    ['4+3+2', '5+1', '4', '7*8', '2*2', '9-1', '6', '5+5'])]
KEY = keys.purpose_key(0, 'rollout/x')


@pytest.fixture(scope='module', name='parts')
def _parts():
  config = config_lib.from_dict({
      'model': {'num_layers': 1, 'width': 16, 'num_heads': 2,
                'num_kv_heads': 1, 'head_dim': 8, 'mlp_width': 16},
      'rollout': {'prompt_buckets': (9,), 'attempt_tokens': (12, 10, 8)}})
  task = tasks.make(config.task)
  tokenizer = tokenizer_lib.load(task.tokenizer)
  # Many tokens end an attempt, so that some do and some run out.
  tokenizer.stop_ids = (*tokenizer.stop_ids, *range(9, 13))
  actor = actor_lib.Actor(
      config, task, tokenizer, sharding.make_mesh(config_lib.MeshConfig()),
      pool.Here(task.grade))
  params = testing.params(config.model, 3)
  return config, actor, params


def _follow(actor, params, splices, temperature, samples=2):
  asked = actor.conversation
  with jax.set_mesh(actor.mesh):
    first, = actor.sample(params, PROBLEMS, KEY, 0, samples=samples,
                          temperature=temperature,
                          conversation=asked.first_attempts(1))
    return first, continuation.follow(
        actor, params, PROBLEMS, first, splices, asked,
        keys.purpose_key(0, 'then'), 0, 0, temperature)


def test_greedily_it_is_what_one_program_writes(parts):
  _, actor, params = parts
  _, found = _follow(actor, params, [actor.conversation.splices[0]] * 8, 0.0, 1)
  with jax.set_mesh(actor.mesh):
    whole, = actor.sample(params, PROBLEMS, KEY, 0, samples=1, temperature=0.0)
  assert found.layout == whole.layout
  truncated = np.asarray(whole.truncated_BA)
  assert truncated.any() and not truncated.all()
  for field in dataclasses.fields(types.Rollout):
    if field.name != 'layout':
      np.testing.assert_array_equal(getattr(found, field.name),
                                    getattr(whole, field.name), field.name)


def test_a_row_goes_on_from_the_attempt_of_the_row_behind_it(parts):
  _, actor, params = parts
  # Larger weights, so that what is written depends on what is read.
  params = jax.tree.map(lambda w: 3 * w, params)
  drawn = {}
  for swap in (False, True):
    with jax.set_mesh(actor.mesh):
      drawn[swap], = continuation.sample(
          actor, params, PROBLEMS, KEY, 0, temperature=0.0, first_row=0,
          swap=swap)
  own, swapped = drawn[False], drawn[True]
  with jax.set_mesh(actor.mesh):
    whole, = actor.sample(params, PROBLEMS, KEY, 0, samples=1, temperature=0.0)
  np.testing.assert_array_equal(own.tokens_BS, whole.tokens_BS)
  P, end = own.layout.prompt, own.layout.starts[1]
  np.testing.assert_array_equal(swapped.tokens_BS[:, :P], own.tokens_BS[:, :P])
  for name in ('tokens_BS', 'valid_BS', 'attempt_BS'):
    np.testing.assert_array_equal(
        getattr(swapped, name)[:, P:end],
        np.roll(getattr(own, name)[:, P:end], -1, axis=0), name)
  np.testing.assert_array_equal(swapped.length_BA[:, 0],
                                np.roll(own.length_BA[:, 0], -1))
  # What follows reads it: rows 0 to 2 have an attempt at their own problem
  # before them, row 3 one at the other.
  twice = [PROBLEMS[0]] * 4 + [PROBLEMS[1]] * 4
  with jax.set_mesh(actor.mesh):
    found, = continuation.sample(actor, params, twice, KEY, 0, temperature=0.0,
                                 first_row=0, swap=True)
  of_rows = lambda row: np.asarray(found.tokens_BS[row, end:]).tolist()
  assert of_rows(0) == of_rows(1) != of_rows(3)
  assert of_rows(0) == np.asarray(own.tokens_BS[0, end:]).tolist()


def test_rows_with_instructions_of_their_own_are_scored_as_sampled(parts):
  config, actor, params = parts
  splice = actor.conversation.splices[0].tolist()
  splices = [splice[: 1 + n] for n in range(16)]
  first, found = _follow(actor, params, splices, 1.0)
  for row, ids in enumerate(splices):
    there = np.asarray(found.valid_BS[row]) & (
        np.asarray(found.attempt_BS[row]) == 0)
    between = slice(first.layout.slots + 1, found.layout.starts[1])
    assert found.tokens_BS[row, between][there[between]].tolist() == ids
    assert there[first.layout.slots] == first.truncated_BA[row, 0]
  hidden, _ = decoder.forward(
      config.model, params, found.tokens_BS, update.positions(found.valid_BS),
      found.valid_BS)
  logp = jax.nn.log_softmax(decoder.logits(
      config.model, hidden, decoder.head(config.model, params)))
  logp = jnp.take_along_axis(logp[:, :-1], found.tokens_BS[:, 1:, None], -1)
  sampled = found.attempt_BS[:, 1:] > 0
  np.testing.assert_allclose(
      np.where(sampled, logp[..., 0], 0),
      np.where(sampled, found.logp_BS[:, 1:], 0), atol=1e-5)
  numbers = np.unique(np.asarray(found.attempt_BS))
  assert numbers.tolist() == [0, 1, 2, 3]
  np.testing.assert_array_equal(
      found.length_BA,
      [[(row == a).sum() for a in (1, 2, 3)] for row in found.attempt_BS])
