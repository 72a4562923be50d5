"""LoRA adapters in folders of PEFT: read, merged into their base, written.

    adapter_config.json        see `peft_config`
    adapter_model.safetensors  base_model.model.MODULE.lora_A.weight [r, in]
                               base_model.model.MODULE.lora_B.weight [out, r]
        with DoRA also         base_model.model.MODULE.lora_magnitude_vector

A matrix W [out, in] becomes W + w B A, and with DoRA (2402.09353)
m (W + w B A) / n: m [out] is the magnitude vector, n the norm of each row. Sums
are in float32.
"""

from collections.abc import Callable
import dataclasses
import functools
import os
from pathlib import Path

import numpy as np

from score_jax import config as config_lib
from score_jax import files
from score_jax.models import families
from score_jax.models import layers
from score_jax.models import peft_config
from score_jax.models import safetensors
from score_jax.models import safetensors_writer
from score_jax.models import stored

CONFIG, WEIGHTS = 'adapter_config.json', 'adapter_model.safetensors'
_PICKLED = 'adapter_model.bin'
_PREFIX = 'base_model.model.'
# Of multimodal models, whose text model is what is read; see `hf`.
_MULTIMODAL = ('model.language_model.', 'language_model.model.')
_IDLE = ('vision_tower.', 'model.vision_tower.', 'multi_modal_projector.',
         'model.multi_modal_projector.')
_LINEAR = ('heads_in', 'heads_out', 'transposed')
_DTYPES = ('F32', 'F16', 'BF16')
_MOST_LISTED = 10


def is_adapter(folder: str | os.PathLike) -> bool:
  """Return whether a folder holds an adapter, or a part of one."""
  return any(os.path.lexists(Path(folder) / name)
             for name in (CONFIG, WEIGHTS, _PICKLED))


def base_folder(folder: str | os.PathLike) -> Path:
  """Return the folder of the weights that an adapter belongs to.

  It is the same folder where that has weights of a model, and otherwise what
  `base_model_name_or_path` of its adapter_config.json names.

  Raises:
    ValueError: adapter_config.json is missing or damaged, or names no folder.
  """
  folder = Path(folder)
  values = files.read_json(folder / CONFIG)
  if not isinstance(values, dict):
    raise ValueError(f'{folder} holds an adapter without {CONFIG}; bring that '
                     'file back')
  named = values.get('base_model_name_or_path')
  named = Path(named) if isinstance(named, str) and named else None
  has_folder = named is not None and named.is_dir()
  if any(os.path.lexists(folder / name)
         for name in (safetensors.SINGLE, safetensors.INDEX)):
    if has_folder and not named.samefile(folder):
      raise ValueError(
          f'{folder} holds weights of a model and an adapter to those of '
          f'{named}; remove one, or set base_model_name_or_path in {CONFIG} to '
          'the folder of the weights that are meant')
    return folder
  if not has_folder or is_adapter(named):
    what = 'holds an adapter itself' if has_folder else 'is no folder here'
    raise ValueError(
        f'{folder} holds an adapter and no weights of a model; its {CONFIG} '
        f'names base_model_name_or_path={str(named)!r:.200}, which {what}; '
        'download the base model and set the field to its folder')
  return named


def open_model(
    folder: str | os.PathLike, open_base: Callable[[Path], stored.Model]
) -> stored.Model:
  """Open an adapter merged into its base.

  Args:
    folder: of PEFT, with or without the weights of the base.
    open_base: opens the weights in a folder.

  Raises:
    ValueError: as `base_folder`, `peft_config.read` and `open_base`; or tensors
      that are missing, unknown, or of another shape or dtype.
  """
  folder = Path(folder)
  base = open_base(base_folder(folder))
  try:
    adapter = peft_config.read(files.read_json(folder / CONFIG))
  except peft_config.Refusal as error:
    raise ValueError(f'{folder / CONFIG}: {error}') from error
  tensors = _open_tensors(folder)
  names = _text_names(tensors)
  prefix = next((prefix for prefix in _MULTIMODAL if any(
      name.startswith(prefix) for name in names)), 'model.')
  modules = _modules(base.config, prefix)
  _check_heads(folder, adapter, base.config, prefix)
  targets = {module: row for module, (row, _) in modules.items()
             if adapter.is_target(module, row.path[0] == 'blocks')}
  _check(folder, adapter, targets, names, tensors)
  found = {name: tensors[theirs] for name, theirs in names.items()}
  params = dict(base.params)
  for row in {row.path: row for row in targets.values()}.values():
    of_row = {number: module for module, (r, number) in modules.items()
              if r.path == row.path and module in targets}
    param = params[row.path]
    read = functools.partial(
        _merged, param, row, base.config.head_dim, adapter, found, of_row)
    params[row.path] = dataclasses.replace(
        param, read=read, dtype=np.dtype(np.float32))
  return dataclasses.replace(
      base, where=str(folder), params=params,
      dtype=stored.most_common_dtype(params.values()),
      remarks=(*base.remarks,
               f'{folder}: its LoRA adapter is merged into the weights'))


def _open_tensors(folder):
  path = folder / WEIGHTS
  if not os.path.lexists(path):
    if os.path.lexists(folder / _PICKLED):
      raise ValueError(
          f'{folder / _PICKLED}: pickled weights are not read, as they can run '
          f'code; convert them to {WEIGHTS}')
    raise ValueError(f'{folder} has {CONFIG} and no {WEIGHTS}; bring that file '
                     f'back, or remove {CONFIG}')
  return safetensors.open_folder(path)


def _text_names(tensors) -> dict[str, str]:
  """Tensors of the text model, by their names without the prefix of PEFT."""
  names = {}
  for theirs in tensors:
    name = theirs.removeprefix(_PREFIX)
    if name in names:
      raise ValueError(f'{tensors.path} has the tensor {name} twice, with and '
                       f'without {_PREFIX}')
    if not name.startswith(_IDLE):
      names[name] = theirs
  return names


def _modules(config, prefix) -> dict[str, tuple[families.Tensor, int]]:
  """Row and number of each linear module, by its whole name."""
  found = {}
  for row in families.table(config):
    if row.kind in _LINEAR:
      for number, name in enumerate(families.names(config, row)):
        if name.startswith('model.'):
          name = prefix + name.removeprefix('model.')
        found[name.removesuffix('.weight')] = row, number
  return found


def _check_heads(folder, adapter, config, prefix):
  """ValueError for adapters of matrices that have no linear module."""
  wrong = [name for name in (f'{prefix}embed_tokens',)
           if adapter.is_target(name, is_linear=False)]
  if config.tied_head and adapter.is_target('lm_head', is_linear=False):
    wrong.append('lm_head')
  if wrong:
    raise ValueError(
        f'{folder / CONFIG}: target_modules has {", ".join(wrong)}; adapters '
        'of an embedding, or of a head that is tied to it, are not supported')


def _check(folder, adapter, targets, names, tensors):
  """ValueError unless the tensors are those that the config describes."""
  expected = {}
  for module, row in targets.items():
    rank, (outs, ins) = adapter.rank_of(module), row.shape
    expected |= {f'{module}.lora_A.weight': (rank, ins),
                 f'{module}.lora_B.weight': (outs, rank)}
    if adapter.dora:
      expected[f'{module}.lora_magnitude_vector'] = (outs,)
  if not expected:
    raise ValueError(f'{folder / CONFIG}: target_modules matches no matrix of '
                     'the model')
  wrong = [f'{name} is {tensors.dtypes[theirs]} {tensors.shapes[theirs]}, not '
           f'{"|".join(_DTYPES)} {expected[name]}'
           for name, theirs in names.items() if name in expected and (
               tensors.shapes[theirs] != expected[name]
               or tensors.dtypes[theirs] not in _DTYPES)]
  problems = [
      ('missing', sorted(expected.keys() - names)),
      ('not targets of its config', sorted(names.keys() - expected)),
      ('of another shape or dtype', wrong)]
  problems = [f'{what}: {_listed(items)}' for what, items in problems if items]
  if problems:
    raise ValueError(f'{folder / WEIGHTS} does not fit {CONFIG}; tensors '
                     f'{"; ".join(problems)}')


def _listed(names):
  rest = len(names) - _MOST_LISTED
  return ', '.join(names[:_MOST_LISTED]) + (
      f' and {rest} more' if rest > 0 else '')


def _merged(param, row, head_dim, adapter, tensors, of_row, number):
  """One layer of a parameter of ours with the adapter in it, float32."""
  kernel = param.read(number).astype(np.float32)
  if number not in of_row:
    return kernel
  module = of_row[number]
  a, b = (tensors[f'{module}.{name}.weight'].astype(np.float32)
          for name in ('lora_A', 'lora_B'))
  change = np.float32(adapter.weight_of(module)) * (b @ a)
  if not adapter.dora:
    return kernel + families.to_ours(row, change, head_dim)
  whole = families.to_theirs(row, kernel) + change
  norm = np.linalg.norm(whole, axis=1, keepdims=True)
  size = tensors[f'{module}.lora_magnitude_vector'].astype(np.float32)[:, None]
  return families.to_ours(row, size / norm * whole, head_dim)


def write(
    folder: Path,
    config: config_lib.ModelConfig,
    base: str | None,
    read: Callable[[tuple[str, ...], int], np.ndarray],
    dtype: np.dtype,
):
  """Write the adapters of a model as a folder of PEFT.

  Args:
    folder: a new folder, or one without weights.
    config: the model with its `lora`.
    base: the folder of the base, or None where it is not one of Hugging Face.
    read: from the path of `lora_a` or `lora_b` and a layer to its array.
    dtype: of the tensors.
  """
  lora = config.lora
  specs, parts, targets = {}, {}, set()
  for module, (row, number) in _modules(config, 'model.').items():
    if row.path[0] != 'blocks' or not layers.is_adapted(
        lora, '/'.join(row.path[1:-1])):
      continue
    targets.add(module.rpartition('.')[2])
    (outs, ins), path = row.shape, row.path[:-1]
    for name, ours, shape in (('lora_A', 'lora_a', (lora.rank, ins)),
                              ('lora_B', 'lora_b', (outs, lora.rank))):
      name = f'{_PREFIX}{module}.{name}.weight'
      specs[name] = shape, dtype
      parts[name] = (*path, ours), number
  with safetensors_writer.Writer(folder, specs, 2**63) as writer:
    for name, (path, number) in parts.items():
      layer = read(path, number)  # Our axes: [*in, rank] or [rank, *out].
      shape = specs[name][0]
      layer = layer.reshape(shape[::-1]).T
      writer.put(name, layer.astype(dtype))
  os.replace(folder / safetensors.SINGLE, folder / WEIGHTS)
  files.write_json(folder / CONFIG, _config_json(lora, base, sorted(targets)))


def _config_json(lora, base, targets):
  alpha = lora.alpha
  return {
      'peft_type': 'LORA', 'task_type': 'CAUSAL_LM',
      'base_model_name_or_path': base, 'inference_mode': True, 'r': lora.rank,
      'lora_alpha': int(alpha) if alpha % 1 == 0 else alpha,
      'target_modules': targets, 'bias': 'none', 'lora_dropout': 0.0,
      'fan_in_fan_out': False, 'init_lora_weights': True,
      'use_rslora': False, 'use_dora': False, 'modules_to_save': None,
      'layers_to_transform': None, 'rank_pattern': {}, 'alpha_pattern': {}}
