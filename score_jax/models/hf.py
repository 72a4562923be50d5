"""Reads Hugging Face folders: config.json and safetensors.

`families` has the names; the arrays are views of mapped files, turned to our
axes without a copy.
"""

import dataclasses
import functools
import math
import os
from pathlib import Path

import numpy as np

from score_jax import config as config_lib
from score_jax import files
from score_jax.models import families
from score_jax.models import quantised
from score_jax.models import safetensors
from score_jax.models import stored

_HEAD, _EMBEDDING = 'lm_head.weight', 'model.embed_tokens.weight'
_PIECE = 2**22  # Numbers that are compared at once.
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
  """Open a folder and check everything but the numbers in it.

  As in transformers, an output matrix of a model that calls itself tied is kept
  if its numbers differ from those of the embedding.

  Args:
    folder: with `config.json` and `model.safetensors` or its shards.

  Raises:
    ValueError: as `families.fields` and `safetensors.open_folder`; quantised
      weights; or tensors that are missing, unknown or of another shape or
      dtype, all listed.
  """
  folder = Path(folder)
  config, remarks = _read_config(folder)
  tensors = safetensors.open_folder(folder)
  names = _text_names(tensors)
  dtypes = {ours: tensors.dtypes[name] for ours, name in names.items()}
  quantised.check_tensors(folder, names.values(), dtypes)
  _check_dtypes(folder, dtypes)
  if config.tied_head and _has_a_head(names, tensors):
    config = dataclasses.replace(config, tied_head=False)
    remarks.append(
        f'{folder}: config.json says tie_word_embeddings, but {_HEAD} differs '
        'from the embedding; it is kept, and the model is not tied')
  rows = families.table(config)
  expected = {name: row.shape for row in rows
              for name in families.names(config, row)}
  stored.check_tensors(
      str(folder), expected,
      {ours: tensors.shapes[name] for ours, name in names.items()},
      f'the {config.family} model that its config.json describes')
  arrays = {ours: tensors[name] for ours, name in names.items()}
  params = {row.path: _stored(row, config, arrays) for row in rows}
  return stored.Model(str(folder), config,
                      stored.most_common_dtype(params.values()), params,
                      tuple(remarks))


def _read_config(folder):
  """The model that config.json describes, and remarks on its fields."""
  path = folder / 'config.json'
  values = files.read_json(path)
  if not isinstance(values, dict):
    raise ValueError(f'{folder} has no config.json of a model; name a Hugging '
                     'Face folder with config.json and *.safetensors')
  fields, remarks = families.read(values, str(path))
  return config_lib.ModelConfig(**fields), remarks


def _text_names(tensors) -> dict[str, str]:
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
    if ours in found:
      raise ValueError(f'{tensors.path} has the tensor {ours} twice: '
                       f'{found[ours]} and {name}; remove one')
    found[ours] = name
  return found


def _has_a_head(names, tensors) -> bool:
  """Whether a model that is called tied has an output matrix that differs.

  One that is equal is left out of `names`. If it is the only one of the two,
  it is the embedding, too.
  """
  if _HEAD not in names:
    return False
  if _EMBEDDING not in names:
    names[_EMBEDDING] = names.pop(_HEAD)
    return False
  if _are_equal(tensors[names[_HEAD]], tensors[names[_EMBEDDING]]):
    del names[_HEAD]
    return False
  return True


def _are_equal(a, b) -> bool:
  """Whether two mapped matrices have the same numbers, read piece by piece."""
  if a.shape != b.shape:
    return False
  rows = max(1, _PIECE // max(1, math.prod(a.shape[1:])))
  for start in range(0, len(a), rows):
    pieces = (x[start : start + rows].astype(np.float32) for x in (a, b))
    if not np.array_equal(*pieces):
      return False
  return True


def _check_dtypes(folder, dtypes):
  wrong = [f'{name} is {dtype}' for name, dtype in dtypes.items()
           if dtype not in _FLOATS]
  if wrong:
    raise ValueError(
        f'{folder}: weights must be {", ".join(_FLOATS)}; '
        f'{stored.listed(wrong)}; take a checkpoint that is not quantised')


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
