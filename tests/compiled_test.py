"""What the compiled programs hold: never scores of every token."""

import functools
import math
import re

import jax
import numpy as np
import optax
import pytest

from score_jax import config as config_lib
from score_jax import types
from score_jax import update
from score_jax.rl import rewards
from tests import testing

VOCAB = 211  # No other size here is a multiple of it.


def _buffers_with_vocabulary(compiled) -> set[tuple[int, ...]]:
  """Shapes in a compiled program that have an axis of VOCAB, or a multiple."""
  shapes = re.findall(r'\b(?:f|bf|s|u|pred)\d*\[([\d,]+)\]',
                      compiled.as_text())
  sizes = {tuple(map(int, shape.split(','))) for shape in shapes}
  return {s for s in sizes if any(n % VOCAB == 0 for n in s)}


def _update(config, head_chunk):
  """The update of Stage II, lowered."""
  rollout = testing.sample(config, rows=4, samples=2)
  batch = types.TrainBatch(
      rollout.tokens_BS, rollout.valid_BS, rollout.attempt_BS, rollout.logp_BS,
      np.ones((8, 2), np.float32), rollout.layout)
  tree = testing.params(config)
  optimizer = optax.adam(1e-3)
  step = jax.jit(functools.partial(
      update.rl_update, model=config, stage=config_lib.StageConfig(
          kl_baseline='none'),
      credit=rewards.stage2(2, 10.0, 0.1), optimizer=optimizer,
      temperature=1.0, head_chunk=head_chunk))
  return step.lower(update.init_state(optimizer, tree), tree, batch)


def _sampler(config):
  """The sampler, lowered."""
  tokens, valid = testing.prompts(4)
  program = testing._sampler(config, 2, (6, 5), 1.0, testing.STOPS,
                             testing.PAD)
  return program.lower(
      testing.params(config), tokens, valid, (np.array([7, 8, 9], np.int32),),
      jax.random.key(0), np.int32(0), np.arange(8))


def test_the_update_holds_scores_of_one_chunk_only():
  config = testing.model_config(vocab_size=VOCAB)

  def largest(head_chunk):
    compiled = _update(config, head_chunk).compile()
    return max(map(math.prod, _buffers_with_vocabulary(compiled)))

  rows, tokens = 8, 6 + 5
  table = VOCAB * config.width  # The embedding, which is there anyway.
  assert largest(1) == table >= rows * VOCAB
  assert largest(tokens) == rows * tokens * VOCAB > table  # Were it one chunk.


def test_the_sampler_holds_scores_of_one_token_only():
  config = testing.model_config(vocab_size=VOCAB)
  compiled = _sampler(config).compile()
  largest = max(map(math.prod, _buffers_with_vocabulary(compiled)))
  assert largest == VOCAB * config.width


_SCOPES = {
    _sampler: {'sampler/prefill', 'sampler/attempt_1', 'sampler/splice_1',
               'sampler/attempt_2'},
    _update: {'update/jvp(policy)', 'update/transpose(jvp(policy))',
              'update/jvp(reference)', 'update/jvp(loss)',
              'update/optimizer'},
}


@pytest.mark.parametrize('lower,more', [(_sampler, ()), (_update, (1,))])
def test_parts_of_a_program_have_names_that_change_nothing(lower, more):
  lowered = lower(testing.model_config(vocab_size=VOCAB), *more)
  names = set(re.findall(r'op_name="[^/"]*/([^/"]+/[^/"]+)',
                         lowered.compile().as_text()))
  assert _SCOPES[lower] <= names
  # What is compiled, apart from the names of its instructions, has none.
  assert not re.search('policy|reference|sampler|prefill|optimizer',
                       lowered.as_text())
