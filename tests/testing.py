"""A small model and prompts that many tests share."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from score_jax import config as config_lib
from score_jax import keys
from score_jax.models import decoder
from score_jax.rollout import attempts

VOCAB = 23
PAD, STOP = 0, 2
# Ids that end an attempt: many, so that random models stop at uneven lengths.
STOPS = (STOP, 3, 4, 5)


def model_config(**overrides) -> config_lib.ModelConfig:
  """Two layers, grouped-query attention, sizes all different."""
  sizes = dict(vocab_size=VOCAB, num_layers=2, width=16, num_heads=4,
               num_kv_heads=2, head_dim=6, mlp_width=20, tied_head=True,
               rope_base=10_000.0)
  return config_lib.ModelConfig(**(sizes | overrides))


@functools.lru_cache
def params(config: config_lib.ModelConfig, seed: int = 0):
  """Random parameters."""
  return jax.jit(lambda key: decoder.init(config, key))(jax.random.key(seed))


def prompts(rows: int, slots: int = 7, seed: int = 0):
  """Left-padded prompts of uneven lengths: tokens and valid, [N, P]."""
  rng = np.random.default_rng(seed)
  tokens = rng.integers(6, VOCAB, (rows, slots)).astype(np.int32)
  padding = rng.integers(0, slots, (rows, 1))
  valid = np.arange(slots)[None] >= padding
  return np.where(valid, tokens, PAD), valid


@functools.cache
def _sampler(config, samples, attempt_tokens, temperature, stop_ids, pad_id):
  return jax.jit(functools.partial(
      attempts.sample_attempts, config, samples=samples,
      attempt_tokens=attempt_tokens, temperature=temperature,
      stop_ids=stop_ids, pad_id=pad_id))


def sample(config=None, *, rows=4, samples=3, attempt_tokens=(6, 5), seed=0,
           step=0, temperature=1.0, stop_ids=STOPS, tree=None, numbers=None,
           prompt=None, splices=None, pad_id=PAD, stops=None):
  """A rollout of the small model."""
  config = config or model_config()
  tree = params(config) if tree is None else tree
  tokens, valid = prompt or prompts(rows)
  if splices is None:
    splices = ((7, 8, 9),) * (len(attempt_tokens) - 1)
  if numbers is None:
    numbers = np.arange(len(tokens) * samples, dtype=np.int32)
  return _sampler(config, samples, attempt_tokens, temperature, stop_ids,
                  pad_id)(
      tree, tokens, valid, tuple(jnp.array(ids, jnp.int32) for ids in splices),
      keys.purpose_key(seed, 'rollout'), np.int32(step), numbers, stops)
