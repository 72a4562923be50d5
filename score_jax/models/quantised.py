"""Recognises quantised checkpoints, which are refused by name."""

import os
import re
from typing import Any

_KEYS = ('quantization_config', 'compression_config', 'quantization')
"""Fields of config.json: transformers, compressed-tensors before 0.8, MLX."""

_FILES = {
    'hf_quant_config.json': 'ModelOpt',
    'quantize_config.json': 'GPTQ',
    'quant_config.json': 'AWQ',
}
"""Files of tools that leave config.json as it was."""

_METHODS = {
    'awq': 'AWQ', 'bitsandbytes': 'bitsandbytes', 'fp8': 'FP8',
    'fbgemm_fp8': 'FP8 (FBGEMM)', 'gptq': 'GPTQ', 'mxfp4': 'MXFP4',
    'modelopt': 'ModelOpt',
}
_TENSORS = (
    (r'\.quant_state\.bitsandbytes|\.absmax$|\.(weight_)?SCB$|\.weight_format$',
     'bitsandbytes'),
    (r'\.weight_packed$', 'compressed-tensors'),
    (r'\.weight_scale_inv$', 'FP8'),
    (r'\.g_idx$', 'GPTQ'),
    (r'\.(qweight|qzeros)$', 'GPTQ or AWQ'),
    (r'_(proj|projs)_blocks$', 'MXFP4'),
    (r'\.weight_(scale|zero_point)$|\.input_scale$',
     'FP8 or compressed-tensors'),
    (r'\.scales$', 'MLX'),
)
"""Tensors that no other checkpoint has, and what writes them."""

_WAY_OUT = ('take the checkpoint that is not quantised, in float32, float16 or '
            'bfloat16')


def check_config(values: dict[str, Any], where: str):
  """Raise a ValueError if a config.json says that its model is quantised.

  Args:
    values: its contents.
    where: its path, for messages.
  """
  inner = values.get('text_config')
  for fields in (values, inner if isinstance(inner, dict) else {}):
    for key in _KEYS:
      if fields.get(key) is not None:
        raise ValueError(
            f'{where}: the weights are quantised with {_method(fields[key])} '
            f'({key}); {_WAY_OUT}')


def check_tensors(folder: str | os.PathLike, names, dtypes: dict[str, str]):
  """Raise a ValueError if the tensors of a folder are quantised.

  Args:
    folder: its path.
    names: of all tensors in it.
    dtypes: of the tensors, as safetensors calls them.
  """
  found = next(((name, method) for pattern, method in _TENSORS
                for name in names if re.search(pattern, name)), None)
  if found is None:
    found = next(((name, f'FP8 ({dtype})') for name, dtype in dtypes.items()
                  if dtype.startswith('F8_E')), None)
  if found is not None:
    file = next((name for name in _FILES
                 if os.path.exists(os.path.join(folder, name))), None)
    name, method = found
    if file:
      name, method = file, _FILES[file]
    raise ValueError(f'{folder}: the weights are quantised with {method} '
                     f'({name}); {_WAY_OUT}')


def _method(value):
  """The name of a method, with the bits where they tell more."""
  if not isinstance(value, dict):
    return 'an unknown method'
  method = value.get('quant_method')
  if not isinstance(method, str):
    method = _unnamed(value)
  name = _METHODS.get(method, method)
  bits = value.get('bits', value.get('w_bit'))
  if name == 'bitsandbytes':
    bits = 4 if value.get('load_in_4bit') else 8
  if name == 'compressed-tensors' and isinstance(value.get('format'), str):
    return f'{name} {value["format"]}'
  return f'{name}, {bits} bits' if isinstance(bits, int) else name


def _unnamed(value):
  """The method of a group of fields without `quant_method`."""
  if value.get('load_in_4bit') or value.get('load_in_8bit'):
    return 'bitsandbytes'
  if 'quant_algo' in value or 'producer' in value:
    return 'modelopt'
  if 'config_groups' in value:
    return 'compressed-tensors'
  if 'zero_point' in value:
    return 'awq'
  if 'desc_act' in value:
    return 'gptq'
  if 'group_size' in value and 'bits' in value:
    return 'MLX'
  return 'an unknown method'
