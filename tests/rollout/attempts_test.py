"""The two-attempt sampler: what it returns, and that nothing leaks."""

import dataclasses
import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_jax import types
from score_jax import update
from score_jax.models import attention
from score_jax.models import decoder
from score_jax.rl import logprobs
from score_jax.rollout import attempts
from score_jax.rollout import decode
from tests import folders
from tests import testing

SPLICE = [7, 8, 9]

# What a layer sees differs: windows of 4, shorter than the prompts, with
# softcaps, or with a RoPE base of their own.
FORMS = {
    'llama': {},
    'gemma2': folders.SMALL['gemma2'] | {'global_every': 2},
    'gemma3': folders.SMALL['gemma3'] | {'num_layers': 3, 'global_every': 2},
}


def _model(form, **changes):
  """A small model, and parameters large enough for all of it to matter."""
  config = testing.model_config(**FORMS[form] | changes)
  if form == 'llama':
    return config, testing.params(config)
  return config, _lively(dataclasses.replace(config, unroll_decode=True))


@functools.cache
def _lively(config):
  rng = np.random.default_rng(1)
  draw = lambda x: x + jnp.asarray(0.3 * rng.normal(size=x.shape), jnp.float32)
  tree = testing.params(config)
  # Not the embedding: rows of one choice would all be of one length.
  return jax.tree.map(draw, tree) | {'embed': tree['embed']}


def _trainer_logps(config, tree, rollout, temperature=1.0):
  """log-probs of the attempts by ONE forward over the whole sequences."""
  layout = rollout.layout
  hidden, _ = decoder.forward(config, tree, rollout.tokens_BS,
                              update.positions(rollout.valid_BS),
                              rollout.valid_BS)
  hidden = update.of_attempts(hidden, layout, shift=-1)
  head = decoder.head(config, tree)
  stats = logprobs.token_statistics(
      hidden, head, hidden, head, update.of_attempts(rollout.tokens_BS, layout),
      temperature=temperature, softcap=config.final_softcap)
  mask = update.of_attempts(rollout.attempt_BS, layout) > 0
  return jnp.where(mask, stats.logp, 0)


@pytest.mark.parametrize('form, temperature, unroll', [
    ('llama', 1.0, True), ('llama', 0.6, False), ('gemma2', 1.0, True),
    ('gemma2', 0.9, False), ('gemma3', 1.0, False), ('gemma3', 0.7, True)])
def test_sampler_and_trainer_agree_on_log_probabilities(
    form, temperature, unroll):
  # The cache, spliced and with dead slots, against one long forward pass.
  config, tree = _model(form, unroll_decode=unroll)
  rollout = testing.sample(config, rows=8, samples=4, temperature=temperature,
                           tree=tree)
  lengths = np.asarray(rollout.length_BA)
  # Uneven lengths, an attempt with nothing but its stop token, some truncated.
  assert lengths.min() == 1 and len(np.unique(lengths[:, 0])) > 2
  assert rollout.truncated_BA.any() and not rollout.truncated_BA.all()
  expected = _trainer_logps(config, tree, rollout, temperature)
  got = update.of_attempts(rollout.logp_BS, rollout.layout)
  # Float32 rounding in another order of sums.
  np.testing.assert_allclose(got, expected, atol=1e-5)
  assert np.all(np.asarray(got) <= 0) and np.any(np.asarray(got) < -0.1)


def test_every_slot_holds_what_the_layout_says():
  rollout = jax.device_get(testing.sample(rows=8, samples=4))
  tokens, valid = rollout.tokens_BS, rollout.valid_BS
  attempt = rollout.attempt_BS
  layout = rollout.layout
  assert (layout.prompt, layout.starts, layout.slots) == (7, (7, 17), 22)
  prompt, prompt_valid = testing.prompts(8)
  np.testing.assert_array_equal(tokens[:, :7], np.repeat(prompt, 4, axis=0))
  np.testing.assert_array_equal(valid[:, :7], np.repeat(prompt_valid, 4, 0))
  for row in range(32):
    for a, (start, length) in enumerate(zip(layout.starts, layout.attempts)):
      n = rollout.length_BA[row, a]
      sampled = tokens[row, start : start + n]
      stopped = sampled[-1] in testing.STOPS
      assert not np.isin(sampled[:-1], testing.STOPS).any()
      assert rollout.truncated_BA[row, a] == (not stopped)
      assert stopped or n == length
      slots = attempt[row, start : start + length]
      np.testing.assert_array_equal(slots, [a + 1] * n + [0] * (length - n))
      np.testing.assert_array_equal(valid[row, start : start + length],
                                    slots > 0)
    # Between the attempts: the stop token where it is missing, then the splice.
    np.testing.assert_array_equal(tokens[row, 14:17], SPLICE)
    assert valid[row, 14:17].all() and not attempt[row, 13:17].any()
    missing = rollout.truncated_BA[row, 0]
    assert valid[row, 13] == missing
    assert tokens[row, 13] == (testing.STOP if missing else testing.PAD)
  assert (tokens[~valid] == testing.PAD).all()
  assert (np.asarray(rollout.logp_BS)[attempt == 0] == 0).all()


def test_second_prompt_holds_attempt_1_whole():
  rollout = jax.device_get(testing.sample(rows=8, samples=4))
  prompt, prompt_valid = testing.prompts(8)
  for row in range(32):
    before_2 = rollout.tokens_BS[row, :17][rollout.valid_BS[row, :17]]
    first = rollout.tokens_BS[row][rollout.attempt_BS[row] == 1].tolist()
    close = [testing.STOP] if rollout.truncated_BA[row, 0] else []
    x1 = prompt[row // 4][prompt_valid[row // 4]].tolist()
    assert before_2.tolist() == x1 + first + close + SPLICE


def test_a_row_does_not_depend_on_its_neighbours():
  together = testing.sample(rows=4, samples=3)
  tokens, valid = testing.prompts(4)
  for n in (0, 3):
    alone = testing.sample(
        prompt=(tokens[n : n + 1], valid[n : n + 1]), samples=3,
        numbers=np.arange(3 * n, 3 * n + 3, dtype=np.int32))
    np.testing.assert_array_equal(alone.tokens_BS,
                                  together.tokens_BS[3 * n : 3 * n + 3])
    np.testing.assert_allclose(alone.logp_BS,
                               together.logp_BS[3 * n : 3 * n + 3], atol=1e-5)


@pytest.mark.parametrize('unroll', [True, False])
def test_samples_have_no_copies_of_the_keys_of_their_prompt(unroll):
  # 4 problems of 8 samples: 7 slots of each prompt, and 15 of each row.
  config = testing.model_config(unroll_decode=unroll)
  text = str(jax.make_jaxpr(functools.partial(
      attempts.sample_attempts, config, samples=8, attempt_tokens=(6, 5),
      temperature=1.0, stop_ids=(2,), pad_id=testing.PAD))(
          testing.params(config), *testing.prompts(4), (jnp.array(SPLICE),),
          jax.random.key(0), 0, np.arange(32)))
  K, H = config.num_kv_heads, config.head_dim
  form = fr'f32\[(?:2,)?{{}},{K},(?:{H},(\d+)|(\d+),{H})\]'
  of_rows, of_prompts = (
      {int(a or b) for a, b in re.findall(form.format(rows), text)}
      for rows in (32, 4))
  assert max(of_rows) == 15 and 7 not in of_rows and 7 in of_prompts


def test_keys_differ_by_seed_step_row_attempt_and_position():
  one = testing.sample(stop_ids=(testing.STOP,), attempt_tokens=(6, 6))
  again = testing.sample(stop_ids=(testing.STOP,), attempt_tokens=(6, 6))
  np.testing.assert_array_equal(one.tokens_BS, again.tokens_BS)
  for change in ({'step': 1}, {'seed': 1}):
    other = testing.sample(stop_ids=(testing.STOP,), attempt_tokens=(6, 6),
                           **change)
    assert (one.tokens_BS != other.tokens_BS).any(axis=1).all()
  # A model without any preference shows the noise itself.
  config = testing.model_config()
  flat = jax.tree.map(jnp.zeros_like, testing.params(config))
  rollout = testing.sample(config, tree=flat, stop_ids=(testing.STOP,),
                           attempt_tokens=(6, 6), rows=1, samples=6)
  first, second = (rollout.tokens_BS[:, s : s + 6] for s in (7, 17))
  assert len({tuple(row.tolist()) for row in first}) == 6
  assert (first != second).any(axis=1).all()
  assert (first[:, :1] != first[:, 1:]).any(axis=1).all()


@pytest.mark.parametrize('form', FORMS)
def test_greedy_equals_a_loop_of_whole_forward_passes(form):
  config, tree = _model(form)
  rollout = jax.device_get(testing.sample(config, samples=1, temperature=0.0,
                                          tree=tree))
  prompt, valid = testing.prompts(4)

  @jax.jit
  def most_likely(tokens_1T, length):
    there = jnp.arange(24)[None] < length
    hidden, _ = decoder.forward(config, tree, tokens_1T, jnp.arange(24)[None],
                                there)
    scores = decoder.logits(config, hidden[0], decoder.head(config, tree))
    return jnp.argmax(scores[length - 1])

  for row in range(4):
    ids = prompt[row][valid[row]].tolist()
    for a, length in enumerate((6, 5)):
      found = []
      while len(found) < length and not (found and found[-1] in testing.STOPS):
        tokens = np.array([ids + [0] * (24 - len(ids))])
        found.append(int(most_likely(tokens, len(ids))))
        ids.append(found[-1])
      at = rollout.attempt_BS[row] == a + 1
      assert rollout.tokens_BS[row][at].tolist() == found
      if found[-1] not in testing.STOPS:
        ids.append(testing.STOP)
      ids += SPLICE


def test_stacked_and_unrolled_layers_sample_the_same():
  one = testing.sample(testing.model_config(unroll_decode=True))
  two = testing.sample(testing.model_config(unroll_decode=False),
                       tree=testing.params(testing.model_config()))
  np.testing.assert_array_equal(one.tokens_BS, two.tokens_BS)
  np.testing.assert_allclose(one.logp_BS, two.logp_BS, atol=1e-5)


def test_a_third_attempt_is_a_matter_of_configuration():
  config = testing.model_config()
  splices = (tuple(SPLICE), (10, 11))
  rollout = testing.sample(config, attempt_tokens=(6, 5, 4), splices=splices)
  assert rollout.layout.starts == (7, 17, 25)
  assert rollout.length_BA.shape == (12, 3)
  assert (rollout.length_BA > 0).all()
  # Each attempt is closed where it, and not another, was truncated.
  truncated = np.asarray(rollout.truncated_BA)
  assert (truncated[:, 0] != truncated[:, 1]).any()
  for a, ids in enumerate(splices):
    end = rollout.layout.starts[a + 1]
    slots = slice(end - len(ids) - 1, end)
    np.testing.assert_array_equal(
        rollout.valid_BS[:, slots],
        np.insert(np.ones((12, len(ids)), bool), 0, truncated[:, a], axis=1))
    np.testing.assert_array_equal(
        rollout.tokens_BS[:, slots][:, 1:], np.tile(ids, (12, 1)))
  got = update.of_attempts(rollout.logp_BS, rollout.layout)
  expected = _trainer_logps(config, testing.params(config), rollout)
  np.testing.assert_allclose(got, expected, atol=1e-5)
  two = testing.sample(config, attempt_tokens=(6, 5))
  np.testing.assert_array_equal(rollout.tokens_BS[:, :22], two.tokens_BS)


def test_one_program_for_all_steps_of_a_bucket():
  testing.sample()
  compiled = testing._sampler.cache_info().currsize
  program = testing._sampler(testing.model_config(), 3, (6, 5), 1.0,
                             testing.STOPS, testing.PAD)
  before = program._cache_size()
  for step in range(3):
    testing.sample(step=step, seed=step)
  assert program._cache_size() == before
  assert testing._sampler.cache_info().currsize == compiled


def test_the_loop_ends_when_every_row_has():
  # With every id a stop, one token ends the attempt; the cache behind it was
  # never written, so it still holds what it was born with.
  config = testing.model_config(unroll_decode=False)
  tree, (prompt, valid) = testing.params(config), testing.prompts(2)
  layout = types.Layout(7, (6,), ())

  @jax.jit
  def attempt(prompt, valid):
    prompts, rows = attempts._prefill(config, tree, prompt, valid, 1, layout,
                                      testing.PAD)
    return decode.decode_attempt(
        config, tree, prompts, rows,
        jax.random.split(jax.random.key(0), 2), attempt=1, start=7,
        length=6, temperature=1.0,
        stop_ids=tuple(range(testing.VOCAB)), pad_id=testing.PAD)

  rows, ended, _ = attempt(prompt, valid)
  assert ended.all() and (np.sum(rows.attempt_BS, axis=1) == 1).all()
  for cache_LBKSH in rows.cache:
    written = np.abs(cache_LBKSH).max(axis=(0, 1, 2, 4)) > 0
    np.testing.assert_array_equal(written, np.arange(6) < 1)


@pytest.mark.parametrize('form', ['llama', 'gemma2'])
def test_what_stands_in_the_padding_does_not_matter(form):
  config, tree = _model(form)
  tokens, valid = testing.prompts(4)
  noisy = testing.sample(config, tree=tree,
                         prompt=(np.where(valid, tokens, 11), valid))
  plain = testing.sample(config, tree=tree)
  np.testing.assert_array_equal(noisy.tokens_BS, plain.tokens_BS)
  np.testing.assert_array_equal(noisy.logp_BS, plain.logp_BS)


def test_a_pad_id_that_is_a_stop_id_ends_no_attempt():
  # As in SmolLM2, where both are <|im_end|>: dead slots differ, nothing else.
  plain = testing.sample()
  rollout = testing.sample(pad_id=testing.STOP)
  for name in ('valid_BS', 'attempt_BS', 'logp_BS', 'length_BA',
               'truncated_BA'):
    np.testing.assert_array_equal(getattr(rollout, name), getattr(plain, name),
                                  err_msg=name)
  np.testing.assert_array_equal(
      rollout.tokens_BS,
      np.where(plain.valid_BS, plain.tokens_BS, testing.STOP))


def test_samples_share_one_prefill():
  # The prompt is read in a batch of N rows, not of N * G.
  config = testing.model_config(unroll_decode=False)
  tokens, valid = testing.prompts(4)
  program = testing._sampler(config, 3, (6, 5), 1.0, testing.STOPS,
                             testing.PAD)
  text = program.lower(
      testing.params(config), tokens, valid, (jnp.array([7, 8, 9]),),
      jax.random.key(0), np.int32(0), np.arange(12)).as_text()
  width = config.width
  assert f'tensor<4x7x{width}xf32>' in text
  assert f'tensor<12x7x{width}xf32>' not in text


def test_layout_refuses_a_wrong_number_of_splices():
  with pytest.raises(ValueError, match='3 attempts need 2 splices, got 1'):
    types.Layout(4, (1, 1, 1), (2,))
  layout = types.Layout(4, (3, 2), (5,))
  assert dataclasses.asdict(layout)['prompt'] == 4
  assert layout.starts == (4, 12) and layout.slots == 14


def test_the_program_does_not_grow_with_the_samples_of_a_problem():
  # With 1,000 samples it took minutes to compile: an operation for each.
  config = testing.model_config()

  def operations(samples):
    numbers = np.arange(2 * samples, dtype=np.int32)
    program = testing._sampler(config, samples, (6, 5), 1.0, testing.STOPS,
                               testing.PAD)
    text = program.lower(
        testing.params(config), *testing.prompts(2), (jnp.array(SPLICE),),
        jax.random.key(0), np.int32(0), numbers).as_text()
    return len(text.splitlines())

  assert operations(100) == operations(1000)


@pytest.mark.parametrize('samples', [1, 2, 16, 17, 40])
def test_queries_of_a_prompt_together_are_those_of_its_rows(samples):
  x_BKQX = jnp.arange(3 * samples * 2 * 4 * 5).reshape(3 * samples, 2, 4, 5)
  together = attention._together(x_BKQX, 3)
  assert together.shape == (3, 2, samples * 4, 5)
  np.testing.assert_array_equal(together[1, 0, :4], x_BKQX[samples, 0])
  np.testing.assert_array_equal(
      attention._apart(together, 3 * samples), x_BKQX)
