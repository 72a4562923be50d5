"""Folders of Hugging Face tokenizers: which file to load, writing them."""

from collections.abc import Callable
import json
import os
from pathlib import Path
import shutil

from score_jax import files
from score_jax.text import reading
from score_jax.text import roles

FILES = ('tokenizer.json', 'tokenizer.model', 'tokenizer_config.json',
         'special_tokens_map.json', 'added_tokens.json', 'vocab.json',
         'merges.txt', 'chat_template.jinja', 'generation_config.json')
"""What belongs to a tokenizer, by the names of transformers."""


def choose_file(folder: str | os.PathLike) -> Path:
  """The tokenizer file of a folder, or of the base of an adapter in it.

  Raises:
    ValueError: there is none, or there are several GGUF files.
  """
  folder = Path(folder)
  for name in ('tokenizer.json', 'tokenizer.model'):
    if reading.exists(folder / name):
      return folder / name
  base = _base(folder)
  if base is not None:
    return choose_file(base)
  found = sorted(folder.glob('*.gguf'))
  if len(found) > 1:
    raise ValueError(
        f'{folder} has {len(found)} GGUF files, name the one to load: '
        f'{", ".join(path.name for path in found[:5])}'
    )
  if not found:
    raise ValueError(
        f'{folder} has no tokenizer: neither tokenizer.json, nor '
        'tokenizer.model, nor a GGUF file'
    )
  return found[0]


def _base(folder):
  """The folder of the model that an adapter of PEFT belongs to, or None."""
  path = folder / 'adapter_config.json'
  values = files.read_json(path) if reading.exists(path) else None
  named = isinstance(values, dict) and values.get('base_model_name_or_path')
  if not named or not isinstance(named, str) or not os.path.isdir(named):
    return None
  # One adapter on another has no end.
  is_adapter = reading.exists(Path(named) / 'adapter_config.json')
  return None if is_adapter else Path(named)


def source(path: Path, name: str) -> Path | None:
  """The folder of `path` if this is a whole folder as transformers has them."""
  beside = path.with_name('tokenizer_config.json').exists()
  return path.parent if beside and path.name == name else None


def copy(source: Path, folder: str | os.PathLike):
  """Copies the files of a tokenizer, unchanged.

  Raises:
    ValueError: one cannot be read or written.
  """
  folder = Path(folder)
  try:
    folder.mkdir(parents=True, exist_ok=True)
    names = [name for name in FILES if (source / name).is_file()]
    if not {'tokenizer.json', 'tokenizer.model'} & {*names}:
      raise FileNotFoundError(2, 'the tokenizer is no longer there')
    for name in names:
      if (source / name).resolve() != (folder / name).resolve():
        shutil.copyfile(source / name, folder / name)
  except OSError as error:
    raise ValueError(
        f'cannot copy the tokenizer {source} to {folder}: {error.strerror}'
    ) from error


def write(
    folder: str | os.PathLike,
    files: dict[str, bytes],
    name: Callable[[int], str],
    tokenizer,
    kind: str,
):
  """Writes a tokenizer that has no folder of its own.

  Args:
    folder: made if it is missing.
    files: contents by file name.
    name: of a token, by id.
    tokenizer: a `tokenizer.Tokenizer`.
    kind: the class that transformers takes for it.

  Raises:
    ValueError: a file cannot be written.
  """
  named = (tokenizer.bos_token, tokenizer.eos_token, name(tokenizer.pad_id))
  config = {
      'tokenizer_class': kind,
      'bos_token': tokenizer.bos_token or None,
      'eos_token': tokenizer.eos_token,
      'pad_token': name(tokenizer.pad_id),
      'additional_special_tokens': [
          mark for mark in roles.MARKS
          if mark in tokenizer.special_ids and mark not in named],
      'add_bos_token': tokenizer.bos_id is not None,
      'clean_up_tokenization_spaces': False,
  }
  if tokenizer.bos_id is not None:  # What `SentencePieceBackend` asks for it.
    config['special_tokens_pattern'] = 'bos'
  if tokenizer.chat_template:
    config['chat_template'] = tokenizer.chat_template
  text = json.dumps(config, indent=2, ensure_ascii=False) + '\n'
  folder = Path(folder)
  try:
    folder.mkdir(parents=True, exist_ok=True)
    for file, data in {**files, 'tokenizer_config.json': text.encode()}.items():
      (folder / file).write_bytes(data)
  except OSError as error:
    raise ValueError(
        f'cannot write the tokenizer to {folder}: {error.strerror}'
    ) from error
