"""What the model has to compute and to read, for `roofline`."""

from score_jax import arithmetic
from score_jax import config as config_lib

ModelConfig = config_lib.ModelConfig


def products(model: ModelConfig) -> list[tuple[int, int]]:
  """Inputs and outputs of each matrix of a layer."""
  D, F = model.width, model.mlp_width
  queries = model.num_heads * model.head_dim
  keys = model.num_kv_heads * model.head_dim
  return [(D, queries), (D, keys), (D, keys), (queries, D), (D, F), (D, F),
          (F, D)]


def prefill_flops(model: ModelConfig, rows: int, tokens: int) -> float:
  """Of all layers, for whole prompts; no token is scored."""
  return rows * (2 * arithmetic.block_weights(model) * tokens
                 + arithmetic.attention(model, tokens))


def decode_s(
    model: ModelConfig,
    rows: int,
    samples: int,
    prompt: int,
    tokens: int,
    flops_per_s: float,
    bytes_per_s: float,
) -> float:
  """Least seconds to decode so many tokens of each row behind a prompt.

  For each token the longer of two times: of its operations, and of reading all
  weights once and the keys and values of all rows, those of a prompt once for
  its samples, float32.
  """
  D, V = model.width, model.vocab_size
  weights = arithmetic.block_weights(model) + D * V
  pair = model.num_layers * arithmetic.pair_flops(model)
  seconds = 0.0
  for seen in range(prompt + 1, prompt + tokens + 1):
    flops = rows * (2 * weights + pair * seen)
    slots = rows * (seen - prompt) + rows // samples * prompt
    cache = 2 * model.num_layers * model.num_kv_heads * model.head_dim * slots
    seconds += max(flops / flops_per_s, 4 * (weights + cache) / bytes_per_s)
  return seconds
