"""Reads Hugging Face folders: config.json and safetensors.

`families` has the names; the arrays are views of mapped files, turned to our
axes without a copy.
"""

import functools
import os
from pathlib import Path

import numpy as np

from score_jax import config as config_lib
from score_jax import files
from score_jax.models import families
from score_jax.models import safetensors
from score_jax.models import stored

_FLOATS = ('F32', 'F16', 'BF16')

# Tensors that hold no weights of a text model, or hold them a second time.
_IDLE_ENDS = ('.rotary_emb.inv_freq',)
_IDLE_STARTS = ('vision_tower.', 'model.vision_tower.',
                'multi_modal_projector.', 'model.multi_modal_projector.')
# What multimodal files put before the names of the text model.
_PREFIXES = (('language_model.model.', 'model.'),
             ('model.language_model.', 'model.'),
             ('language_model.lm_head.', 'lm_head.'))


def open_model(folder: str | os.PathLike) -> stored.Model:
  """Opens a folder and checks everything but the numbers in it.

  Args:
    folder: with `config.json` and `model.safetensors` or its shards.

  Raises:
    ValueError: as `families.fields` and `safetensors.open_folder`; or tensors
      that are missing, unknown or of another shape or dtype, all listed.
  """
  folder = Path(folder)
  values = files.read_json(folder / 'config.json')
  if not isinstance(values, dict):
    raise ValueError(f'{folder} has no config.json of a model; name a Hugging '
                     'Face folder with config.json and *.safetensors')
  fields = families.fields(values, str(folder / 'config.json'))
  config = config_lib.ModelConfig(**fields)
  tensors = safetensors.open_folder(folder)
  names = _text_names(tensors, config)
  rows = families.table(config)
  expected = {name: row.shape for row in rows
              for name in families.names(config, row)}
  stored.check_tensors(
      str(folder), expected,
      {ours: tensors.shapes[name] for ours, name in names.items()},
      f'the {config.family} model that its config.json describes')
  _check_dtypes(folder, {ours: tensors.dtypes[name]
                         for ours, name in names.items()})
  arrays = {ours: tensors[name] for ours, name in names.items()}
  params = {row.path: _stored(row, config, arrays) for row in rows}
  return stored.Model(str(folder), config,
                      stored.most_common_dtype(params.values()), params)


def _text_names(tensors, config) -> dict[str, str]:
  """Tensors of the text model, by the names that a text model has for them."""
  found = {}
  for name in tensors:
    if name.startswith(_IDLE_STARTS) or name.endswith(_IDLE_ENDS):
      continue
    ours = name
    for prefix, plain in _PREFIXES:
      if name.startswith(prefix):
        ours = plain + name.removeprefix(prefix)
        break
    found[ours] = name
  if config.tied_head:  # Some files hold the embedding twice.
    found.pop('lm_head.weight', None)
  return found


def _check_dtypes(folder, dtypes):
  wrong = [f'{name} is {dtype}' for name, dtype in dtypes.items()
           if dtype not in _FLOATS]
  if wrong:
    raise ValueError(
        f'{folder}: weights must be {", ".join(_FLOATS)}; {", ".join(wrong)}; '
        'take a checkpoint that is not quantised')


def _stored(row, config, tensors) -> stored.Stored:
  names = tuple(families.names(config, row))
  dtypes = {tensors[name].dtype for name in names}
  return stored.Stored(
      names, stored.our_shape(row, config),
      dtypes.pop() if len(dtypes) == 1 else np.dtype(np.float32),
      functools.partial(_read, row, config.head_dim, tensors, names),
      stacked='{}' in row.name)


def _read(row, head_dim, tensors, names, number):
  return families.to_ours(row, tensors[names[number]], head_dim)
