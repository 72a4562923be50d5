"""Golden numbers of transformers: every family computes the same, sans torch.

`golden` says what the cases are and how they were recorded.
"""

import dataclasses
import functools

from flax import traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_jax import config as config_lib
from score_jax.models import decoder
from score_jax.models import families
from tests import testing
from tests.models import golden

# Of the largest logit: float32 sums in another order.
TOLERANCE = 1e-5


def ours(values):
  """Config and parameters of a config.json with random weights."""
  config = config_lib.ModelConfig(**families.fields(values, 'config.json'))
  flat = {}
  for row in families.table(config):
    layers = [
        families.to_ours(
            row, golden.array(name, row.shape, config.norm_plus_one),
            config.head_dim)
        for name in families.names(config, row)]
    flat[row.path] = np.stack(layers) if '{}' in row.name else layers[0]
  return config, traverse_util.unflatten_dict(flat)


def theirs(config, params):
  """Parameters as arrays by Hugging Face's names."""
  flat = traverse_util.flatten_dict(jax.device_get(params))
  return {
      name: families.to_theirs(
          row, flat[row.path][i] if '{}' in row.name else flat[row.path])
      for row in families.table(config)
      for i, name in enumerate(families.names(config, row))}


@functools.cache
def case(name):
  """Config and parameters of a case."""
  return ours(golden.CASES[name])


@functools.cache
def program(config):
  """Parameters, tokens, positions and valid to logits [B, T, V]."""

  @jax.jit
  def run(params, tokens, positions, valid):
    hidden, _ = decoder.forward(config, params, tokens, positions, valid)
    return decoder.logits(config, hidden, decoder.head(config, params))

  return run


def last_logits(config, params):
  """Logits of the last tokens of each left-padded prompt: a list of [4, V]."""
  tokens, valid = golden.padded()
  positions = np.maximum(np.cumsum(valid, axis=1) - 1, 0)
  logits = np.asarray(program(config)(params, tokens, positions, valid))
  return [row[-min(n, 4):] for row, n in zip(logits, golden.LENGTHS)]


def error(found, expected):
  """Largest difference, of the largest expected number."""
  expected = [np.asarray(row) for row in expected]
  worst = max(np.abs(a - b).max() for a, b in zip(found, expected, strict=True))
  return worst / max(np.abs(b).max() for b in expected)


@pytest.mark.parametrize('name', golden.CASES)
def test_logits_equal_those_of_transformers(name):
  expected = golden.read(name)['logits']
  assert error(last_logits(*case(name)), expected) < TOLERANCE


@pytest.mark.parametrize('name', golden.FORMS)
def test_logits_of_a_form_equal_those_of_transformers(name):
  expected = golden.read('forms')[name]
  config, params = ours(golden.FORMS[name])
  assert error(last_logits(config, params), expected) < TOLERANCE
  # A form that computes what its case does would show nothing.
  cases = [golden.read(case)['logits'] for case in golden.CASES]
  assert all(error([np.asarray(row) for row in logits], expected)
             > 30 * TOLERANCE for logits in cases)


@pytest.mark.parametrize('name', golden.FORMS)
def test_an_exported_form_is_the_same_model(name):
  config = config_lib.ModelConfig(
      **families.fields(golden.FORMS[name], 'config.json'))
  values = families.config_json(config, 'float32')
  assert config_lib.ModelConfig(
      **families.fields(values, 'config.json')) == config


# What would compute something else, were it left out, by case.
_GEMMA_OFF = [
    {'post_norms': False}, {'norm_plus_one': False}, {'embed_scale': False},
    {'activation': 'silu'}, {'attention_scale': 0.0},
    {'window': 0, 'global_every': 1}, {'global_every': 3}]
OFF = {
    'llama': [
        {'rope_scaling': config_lib.RopeScaling()}, {'norm_eps': 1e-3},
        {'rope_base': 900.0},
        {'rope_scaling': config_lib.RopeScaling(
            'llama3', 8.0, 1.0, 3.0, original_positions=32)}],
    'gemma2': _GEMMA_OFF + [
        {'window': 5}, {'attention_softcap': 0.0}, {'final_softcap': 0.0}],
    'gemma3': _GEMMA_OFF + [
        {'window': 3}, {'qk_norm': False}, {'local_rope_base': 0.0},
        {'rope_scaling': config_lib.RopeScaling()}],
    'gemma3_pairs': [
        {'window': 4}, {'window': 6}, {'local_rope_base': 500.0},
        {'final_softcap': 0.0}],
    'qwen2': [{'qkv_bias': False}],
    'qwen3': [{'qk_norm': False}],
}


@pytest.mark.parametrize('name, changes', [
    (name, changes) for name, list_ in OFF.items() for changes in list_],
    ids=str)
def test_every_feature_moves_logits_by_far_more_than_the_tolerance(
    name, changes):
  config, params = case(name)
  changed = dataclasses.replace(config, **changes)
  assert changed != config
  flat = traverse_util.flatten_dict(params)
  kept = {path: flat[path]
          for path in traverse_util.flatten_dict(decoder.abstract(changed))}
  found = last_logits(changed, traverse_util.unflatten_dict(kept))
  assert error(found, golden.read(name)['logits']) > 300 * TOLERANCE


def test_the_greedy_attempts_that_were_recorded_are_uneven():
  lengths = np.array([[[len(ids) for ids in row] for row in
                       golden.read(name)['greedy']] for name in golden.CASES])
  for a, most in enumerate(golden.ATTEMPTS):
    assert {1, 2, most} <= set(lengths[..., a].ravel())
  # In models with a window, too, attempt 1 leaves slots that are dead.
  for name in ('gemma2', 'gemma3', 'gemma3_pairs'):
    first = lengths[list(golden.CASES).index(name), :, 0]
    assert 1 <= first.min() < golden.ATTEMPTS[0] - 3


@pytest.mark.parametrize('unroll', [True, False])
@pytest.mark.parametrize('name', golden.CASES)
def test_greedy_attempts_equal_those_of_generate(name, unroll):
  config, params = case(name)
  config = dataclasses.replace(config, unroll_decode=unroll)
  assert sampled(config, params) == golden.read(name)['greedy']


def sampled(config, params):
  """Greedy attempts through the sampler: ids of each prompt and attempt."""
  rollout = jax.device_get(testing.sample(
      config, samples=1, attempt_tokens=golden.ATTEMPTS, temperature=0.0,
      stop_ids=golden.STOPS, tree=jax.tree.map(jnp.asarray, params),
      prompt=golden.padded(), splices=(golden.SPLICE,), pad_id=golden.PAD))
  return [[row[at == a].tolist() for a in (1, 2)]
          for row, at in zip(rollout.tokens_BS, rollout.attempt_BS)]
