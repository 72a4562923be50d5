"""Folders of PEFT with random adapters, and what they have to compute."""

import json
import os

import numpy as np

from score_jax.models import families
from score_jax.models import safetensors_writer

CONFIG = {
    'peft_type': 'LORA', 'task_type': 'CAUSAL_LM', 'r': 3, 'lora_alpha': 5,
    'target_modules': ['q_proj', 'o_proj', 'up_proj', 'down_proj'],
    'bias': 'none', 'base_model_name_or_path': None, 'lora_dropout': 0.1,
    'fan_in_fan_out': False, 'init_lora_weights': True, 'use_rslora': False,
    'use_dora': False, 'modules_to_save': None, 'layers_to_transform': None,
    'layers_pattern': None, 'rank_pattern': {}, 'alpha_pattern': {},
    'inference_mode': True, 'auto_mapping': None, 'revision': None,
    'peft_version': '0.21.2', 'megatron_config': None,
    'megatron_core': 'megatron.core', 'trainable_token_indices': None,
    'loftq_config': {}, 'eva_config': None, 'corda_config': None,
    'alora_invocation_tokens': None, 'use_qalora': False,
    'qalora_group_size': 16, 'layer_replication': None, 'lora_bias': False,
    'target_parameters': None, 'exclude_modules': None, 'arrow_config': None,
    'ensure_weight_tying': False}
"""As peft 0.21 writes it."""

PREFIX = 'base_model.model.'


def linears(config) -> dict[str, tuple[int, int]]:
  """Shapes [out, in] of the linear modules of a model, by their names."""
  return {name.removesuffix('.weight'): row.shape
          for row in families.table(config) if row.name.endswith('proj.weight')
          for name in families.names(config, row)}


def tensors(modules, ranks, seed=1, dtype=np.float32, dora=False):
  """Random adapters of modules, by PEFT's names.

  Args:
    modules: shapes by name.
    ranks: by name.
  """
  rng, out = np.random.default_rng(seed), {}
  for name, (outs, ins) in modules.items():
    of = lambda *shape: rng.standard_normal(shape).astype(dtype)
    out[f'{PREFIX}{name}.lora_A.weight'] = of(ranks[name], ins)
    out[f'{PREFIX}{name}.lora_B.weight'] = of(outs, ranks[name])
    if dora:
      out[f'{PREFIX}{name}.lora_magnitude_vector'] = np.abs(of(outs)) + 1
  return out


def write(folder, arrays, **config):
  """Writes adapter_config.json and adapter_model.safetensors."""
  folder.mkdir(parents=True, exist_ok=True)
  aside = folder / 'aside'
  specs = {name: (a.shape, a.dtype) for name, a in arrays.items()}
  with safetensors_writer.Writer(aside, specs, 2**60) as writer:
    for name, array in arrays.items():
      writer.put(name, array)
  os.replace(aside / 'model.safetensors', folder / 'adapter_model.safetensors')
  aside.rmdir()
  (folder / 'adapter_config.json').write_text(json.dumps(CONFIG | config))
  return folder
