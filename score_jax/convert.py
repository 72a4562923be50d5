"""Weights from one format to another, one tensor at a time.

    python -m score_jax.convert --from=DIR_OR_FILE --to=DIR
        [--format=hf|orbax|peft] [--dtype=bfloat16] [--shard_gb=5]
        [--stage=stage2]

From a Hugging Face folder, a GGUF file, a folder made by this command, a name
of packaged weights, or the workdir of a run (with adapters merged). To a
Hugging Face folder, for transformers or vLLM, or an Orbax folder, which
`config.model.checkpoint` takes; or, of a run with LoRA, the adapters alone to a
folder of PEFT. Without `--format`, what is Orbax becomes
Hugging Face and the other way round; without `--dtype`, numbers stay as stored.

Everything is written into DIR.partial, the JSON file that makes it load last,
and then renamed. Exit codes: 0 done, 2 bad input, 130 Ctrl-C.
"""

import ctypes
import dataclasses
import math
import os
import pathlib
import time
from typing import NamedTuple

from absl import flags
import jax
import numpy as np

from score_jax import checkpoint
from score_jax import config as config_lib
from score_jax import door
from score_jax import files
from score_jax import new_folder
from score_jax import tasks
from score_jax import trained
from score_jax import weights
from score_jax.models import families
from score_jax.models import peft
from score_jax.models import safetensors_writer
from score_jax.models import stored
from score_jax.models import variants
from score_jax.text import tokenizer as tokenizer_lib

_M_MMAP_THRESHOLD = -3  # Of malloc.h.


class Source(NamedTuple):
  """What is converted.

  Attributes:
    model: the weights.
    tokenizer: its file or folder, '' if the weights come without one.
    is_orbax: whether the weights are in Orbax.
    what: in words.
    run: what `model` was trained as, None if it is not of a run.
  """

  model: stored.Model
  tokenizer: str
  is_orbax: bool
  what: str
  run: trained.Trained | None = None


def open_source(name: str, stage: str = '') -> Source:
  """Opens what `--from` names.

  Raises:
    ValueError: it is not there, damaged, or of no known kind.
  """
  path = files.opened(name)
  with new_folder.named_errors(path):
    is_run = path.is_dir() and trained.is_run(path)
  if is_run:
    found = trained.open_trained(path, stage)
    config = found.config
    return Source(found.model, _tokenizer_of_run(config), True,
                  f'{found.stage} at step {found.step}', found)
  if stage:
    raise ValueError(f'--stage={stage}: {name} is not the workdir of a run')
  files.check_on_disk('--from', name)
  if name in variants.PACKAGED:
    path = pathlib.Path(variants.weights_path(name))
  is_orbax = weights.is_converted(path)
  return Source(weights.open_model(path), _tokenizer_of(path), is_orbax,
                'Orbax' if is_orbax else path.name)


def _tokenizer_of_run(config):
  if config.model.tokenizer:
    return config.model.tokenizer
  if config.model.checkpoint:
    return _tokenizer_of(
        pathlib.Path(variants.weights_path(config.model.checkpoint)))
  return tasks.make(config.task).tokenizer


def _tokenizer_of(path):
  names = ('tokenizer.json', 'tokenizer.model')
  if path.is_file() or any((path / name).exists() for name in names):
    return str(path)
  if peft.is_adapter(path) and (base := peft.base_folder(path)) != path:
    return _tokenizer_of(base)
  return ''


def convert(
    source: Source,
    to: pathlib.Path,
    output: str,
    dtype: str | None = None,
    shard_bytes: int = 5 * 10**9,
):
  """Writes a model to a new folder, which appears when it is whole.

  Args:
    source: see `open_source`.
    to: the folder; may exist if it is empty.
    output: 'hf', 'orbax' or 'peft'.
    dtype: of all numbers; None leaves each as it is stored.
    shard_bytes: most bytes of a safetensors file, where a tensor fits.

  Raises:
    ValueError: the folder is not empty, or another conversion is writing it;
      the model has no form in this format, a number does not fit the dtype, or
      the disk is full.
  """
  if output == 'peft' and not (source.run and source.run.adapters):
    raise ValueError(f'--format=peft: {source.model.where} has no adapters of '
                     'a run; name the workdir of a run with '
                     'config.model.lora.rank, and Stage I or II of it')
  _give_memory_back()
  model = source.model
  if dtype:
    params = {path: dataclasses.replace(param, dtype=np.dtype(dtype))
              for path, param in model.params.items()}
    model = dataclasses.replace(model, dtype=dtype, params=params)
  size = sum(math.prod(param.shape) * np.dtype(param.dtype).itemsize
             for param in model.params.values())
  write = {'hf': _write_hf, 'orbax': _write_orbax, 'peft': _write_peft}[output]
  with new_folder.new_folder(to) as aside:
    # Orbax, when the disk is full, ends with hundreds of lines.
    new_folder.check_space(aside, 0 if output == 'peft' else size)
    write(source, model, aside, shard_bytes)


def _give_memory_back():
  """Asks the C library to return freed arrays to the system at once.

  Else the heap of each thread keeps what it once needed, several times as much
  as is in use. Other systems than Linux do without.
  """
  mallopt = getattr(ctypes.CDLL(None), 'mallopt', None)
  if mallopt is not None:
    mallopt(_M_MMAP_THRESHOLD, 2**20)


def _write_hf(source, model, folder, shard_bytes):
  config = families.config_json(model.config, model.dtype)
  config |= _save_tokenizer(source, folder)  # First: it may be damaged.
  rows = families.table(model.config)
  specs = {name: (row.shape, model.params[row.path].dtype)
           for row in rows for name in families.names(model.config, row)}
  with safetensors_writer.Writer(folder, specs, shard_bytes) as writer:
    for row in rows:
      param = model.params[row.path]
      for number, name in enumerate(families.names(model.config, row)):
        layer = _cast(param.part(number), param.dtype, name)
        writer.put(name, families.to_theirs(row, layer))
  files.write_json(folder / 'config.json', config)


def _write_orbax(source, model, folder, shard_bytes):
  _save_tokenizer(source, folder)  # First: it may be damaged.
  arrays = (
      ((*path, number), _cast(piece, param.dtype, '/'.join(path)))
      for path, param in model.params.items()
      for number, piece in weights.pieces(param))
  meta = weights.meta(weights.fields_json(model.config), model.dtype)
  checkpoint.write_arrays(folder / weights.ARRAYS, arrays, meta,
                          shard_bytes // 8)
  files.write_json(folder / weights.MODEL_JSON,
                   meta | {'source': source.what})


def _write_peft(source, model, folder, shard_bytes):
  del shard_bytes  # Adapters are one file.
  if source.tokenizer:
    tokenizer_lib.load(source.tokenizer).save(folder)
  found = source.run
  # Adapters are small, and trained in float32.
  dtype = np.dtype('float32' if model is source.model else model.dtype)
  read = lambda path, number: _cast(
      found.adapters(path, number), dtype, '/'.join(path))
  peft.write(folder, found.config.model, _peft_base(found.config), read, dtype)


def _peft_base(config) -> str | None:
  """The Hugging Face folder that a run's base was read from, or None."""
  path = pathlib.Path(config.model.checkpoint or '.').absolute()
  is_plain = (config.model.checkpoint and (path / 'config.json').is_file()
              and not weights.is_converted(path) and not peft.is_adapter(path))
  return str(path) if is_plain else None


def _cast(array, dtype, name):
  if array.dtype == dtype:
    return array
  with np.errstate(over='ignore'):  # Found below, and named.
    out = array.astype(dtype)
  if not np.isfinite(out.astype(np.float32, copy=False)).all():
    raise ValueError(f'{name} has numbers that {np.dtype(dtype).name} cannot '
                     'hold; choose --dtype=bfloat16 or float32')
  return out


def _save_tokenizer(source, folder) -> dict:
  """Writes the tokenizer's files; returns its ids for a config.json."""
  if not source.tokenizer:
    return {}
  tokenizer = tokenizer_lib.load(source.tokenizer)
  tokenizer.save(folder)
  ids = {'eos_token_id': list(tokenizer.stop_ids),
         'pad_token_id': tokenizer.pad_id}
  if tokenizer.bos_id is not None:
    ids['bos_token_id'] = tokenizer.bos_id
  _add_stops(folder / 'generation_config.json', ids)
  return ids


def _add_stops(path, ids):
  """Makes `generate` stop where attempts do; what else is there stays."""
  found = files.read_json(path) or {}
  if not isinstance(found, dict):
    raise ValueError(f'{path.name} of the tokenizer is not an object of JSON')
  listed = found.get('eos_token_id')
  listed = listed if isinstance(listed, list) else [listed]
  if not set(ids['eos_token_id']) <= set(listed):
    files.write_json(path, ids | found | {'eos_token_id': ids['eos_token_id']})


def _define():
  flags.DEFINE_string('from', None, 'Weights: a folder, file or name.')
  flags.DEFINE_string('to', None, 'A new folder.')
  flags.DEFINE_enum('format', None, ['hf', 'orbax', 'peft'],
                    'Of the folder.')
  flags.DEFINE_enum('dtype', None, ['float32', 'float16', 'bfloat16'],
                    'Of the numbers; as stored by default.')
  flags.DEFINE_float('shard_gb', 5.0, 'Most 10^9 bytes of a file.')
  flags.DEFINE_enum('stage', None, list(config_lib.STAGES),
                    'Of a run; its last by default.')


def main():
  """Converts what the flags ask for."""
  # Formats are a matter of the host: no accelerator is taken for it.
  jax.config.update('jax_platforms', 'cpu')
  given = flags.FLAGS.flag_values_dict()
  for flag in 'from', 'to':
    if not given[flag]:
      raise ValueError(f'--{flag}=... is missing')
  shard_gb = given['shard_gb']
  if not 1e-9 <= shard_gb <= 1e9:
    raise ValueError(f'--shard_gb={shard_gb} must be a number of GB, '
                     'from 1e-9 (a byte) to 1e9')
  start = time.monotonic()
  files.check_on_disk('--to', given['to'], new=True)
  source = open_source(given['from'], given['stage'] or '')
  output = given['format'] or ('hf' if source.is_orbax else 'orbax')
  to = pathlib.Path(os.path.realpath(given['to']))
  convert(source, to, output, given['dtype'], int(shard_gb * 1e9))
  if output == 'peft' and _peft_base(source.run.config) is None:
    print('the base is no Hugging Face folder; make one for PEFT: --format=hf '
          f'with --from={source.run.config.model.checkpoint or given["from"]}'
          f'{"" if source.run.config.model.checkpoint else " --stage=base"}')
  if not source.tokenizer:
    print(f'{given["from"]} has no tokenizer; none was written')
  size = sum(path.stat().st_size for path in to.rglob('*') if path.is_file())
  print(f'{to}: {source.model.config.family}, {source.what}, as {output}, '
        f'{size / 1e9:.2f} GB in {time.monotonic() - start:.0f} s')


if __name__ == '__main__':
  door.run(main, _define, 'interrupted; no folder was made')
