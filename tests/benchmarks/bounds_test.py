"""Bounds of decode and prefill, by hand."""

import pytest

from benchmarks import bounds
from score_jax import arithmetic
from score_jax import config as config_lib

MODEL = config_lib.ModelConfig(
    vocab_size=100, num_layers=2, width=8, num_heads=2, num_kv_heads=1,
    head_dim=4, mlp_width=16)
# Query 8 x 8, key and value 8 x 4, out 8 x 8, three of 8 x 16; two layers.
WEIGHTS = 2 * (64 + 32 + 32 + 64 + 3 * 128)


def test_products_are_all_the_weights_of_a_layer():
  assert sum(ins * outs for ins, outs in bounds.products(MODEL)) * 2 == WEIGHTS
  assert arithmetic.block_weights(MODEL) == WEIGHTS


def test_prefill_counts_weights_and_causal_pairs():
  # 1 + 2 + 3 pairs, 4 operations a layer, head and dimension.
  assert bounds.prefill_flops(MODEL, 5, 3) == 5 * (
      2 * WEIGHTS * 3 + 4 * 2 * 2 * 4 * 6)


def test_decode_is_bound_by_operations_where_memory_is_fast():
  flops = sum(3 * (2 * (WEIGHTS + 800) + 64 * seen) for seen in (11, 12))
  assert bounds.decode_s(MODEL, 3, 3, 10, 2, 1.0, 1e30) == pytest.approx(flops)


def test_decode_is_bound_by_memory_where_operations_are_fast():
  # Keys and values: 2 x 2 layers x 1 head x 4, of 6 rows and of two prompts of
  # 10 slots.
  read = sum(4 * (WEIGHTS + 800 + 16 * (6 * own + 2 * 10)) for own in (1, 2))
  assert bounds.decode_s(MODEL, 6, 3, 10, 2, 1e30, 1.0) == pytest.approx(read)
