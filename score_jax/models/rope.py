"""Rotary position embedding: frequencies and their scalings for long contexts.

Formulas are those of `modeling_rope_utils.py` in transformers 5.24
(Apache-2.0), in float64 until the frequencies are rounded to float32.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np

from score_jax import config as config_lib

_NONE = config_lib.RopeScaling()


def global_angles(
    config: config_lib.ModelConfig, positions_BT: jax.Array
) -> tuple[jax.Array, jax.Array]:
  """Sine and cosine, for layers that attend to everything before them.

  Args:
    config: the model.
    positions_BT: int32 positions.

  Returns:
    Two float32 arrays [B, T, H/2], multiplied by `attention_factor`.
  """
  return _angles(config.rope_base, config.head_dim, config.rope_scaling,
                 positions_BT)


def local_angles(
    config: config_lib.ModelConfig, positions_BT: jax.Array
) -> tuple[jax.Array, jax.Array]:
  """The same for layers with a window, which may have another base."""
  if not config.local_rope_base:
    return global_angles(config, positions_BT)
  return _angles(config.local_rope_base, config.head_dim,
                 config.local_rope_scaling, positions_BT)


def frequencies(
    base: float, head_dim: int, scaling: config_lib.RopeScaling = _NONE
) -> np.ndarray:
  """Radians a position, one for each pair of dimensions, float64 [H/2].

  'llama3': waves longer than the original context over `low_freq` are slowed
  by the factor, those shorter than it over `high_freq` are kept, and those
  between are mixed in proportion (Llama 3.1, 2407.21783 section 3.1).
  'yarn': see `_yarn`.
  """
  waves = base ** (-np.arange(0, head_dim, 2) / head_dim)
  if scaling.kind == 'none':
    return waves
  if scaling.kind == 'linear':
    return waves / scaling.factor
  if scaling.kind == 'yarn':
    kept = _yarn(base, head_dim, scaling)
  else:
    turns = scaling.original_positions * waves / (2 * np.pi)
    kept = (turns - scaling.low_freq) / (scaling.high_freq - scaling.low_freq)
    kept = np.clip(kept, 0, 1)
  return kept * waves + (1 - kept) * waves / scaling.factor


def attention_factor(scaling: config_lib.RopeScaling) -> float:
  """Return what sines and cosines are multiplied by; 1 except for 'yarn'.

  0.1 ln(factor) + 1 (YaRN, 2309.00071 equation 22), unless the scaling has a
  factor, or both of DeepSeek's `mscale` and `mscale_all_dim`.
  """
  if scaling.kind != 'yarn':
    return 1.0
  if scaling.attention_factor:
    return scaling.attention_factor
  log = math.log(scaling.factor)
  if scaling.mscale and scaling.mscale_all_dim:
    return ((0.1 * scaling.mscale * log + 1)
            / (0.1 * scaling.mscale_all_dim * log + 1))
  return 0.1 * log + 1


def _yarn(base, head_dim, scaling):
  """Fraction of each wave that is kept, [H/2] (YaRN, section 3.2).

  A ramp over the pairs of dimensions: 1 up to the pair that turns `beta_fast`
  times in the original context, 0 from the one that turns `beta_slow` times.
  """

  def pair(turns):
    wave = scaling.original_positions / (turns * 2 * math.pi)
    return (head_dim * math.log(wave)) / (2 * math.log(base))

  low, high = pair(scaling.beta_fast), pair(scaling.beta_slow)
  if scaling.truncate:
    low, high = math.floor(low), math.ceil(high)
  low, high = max(low, 0), min(high, head_dim - 1)
  if low == high:
    high += 0.001
  slowed = (np.arange(head_dim // 2) - low) / (high - low)
  return 1 - np.clip(slowed, 0, 1)


def _angles(base, head_dim, scaling, positions_BT):
  waves = frequencies(base, head_dim, scaling)
  angle = (positions_BT[..., None].astype(jnp.float32)
           * waves.astype(np.float32)[None, None])
  factor = attention_factor(scaling)
  if factor == 1:
    return jnp.sin(angle), jnp.cos(angle)
  return jnp.sin(angle) * factor, jnp.cos(angle) * factor
