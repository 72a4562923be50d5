"""What the tokens of a tokenizer are for: begin, stops, padding, template.

The file of a tokenizer says little of this; the files of its Hugging Face
folder do: tokenizer_config.json, special_tokens_map.json, chat_template.jinja,
generation_config.json and config.json. All of them may be missing.
"""

from collections.abc import Callable
from collections.abc import Mapping
import dataclasses
import functools
import json
import os
from pathlib import Path
import re

from score_jax.text import reading
from score_jax.text import templates

STOPS = ('<|im_end|>', '<|eot_id|>', '<end_of_turn>', '</s>', '<eos>',
         '<|end_of_text|>', '<|endoftext|>')
"""Tokens that end a turn or a text, the end of a turn first."""

MARKS = ('<|im_start|>', '<|im_end|>', '<|start_header_id|>',
         '<|end_header_id|>', '<|eot_id|>', '<start_of_turn>', '<end_of_turn>')
"""Tokens around a turn. '</s>' may be one of HTML instead."""

PADS = ('<pad>', '<|pad|>', '[PAD]', '<|finetune_right_pad_id|>')
"""Tokens for padding."""


@dataclasses.dataclass(frozen=True)
class Settings:
  """What is said about the tokens of a tokenizer; '' or None where nothing is.

  Attributes:
    chat_template: Jinja text.
    bos, eos, pad: names of tokens.
    add_bos: whether a sequence begins with `bos`.
    specials: names of special tokens.
    added: names of tokens that were added, special or not.
    eos_ids: ids that end an answer (generation_config.json).
    model_eos_ids: the same of the model (config.json), a last resort.
  """

  chat_template: str = ''
  bos: str = ''
  eos: str = ''
  pad: str = ''
  add_bos: bool | None = None
  specials: tuple[str, ...] = ()
  added: tuple[str, ...] = ()
  eos_ids: tuple[int, ...] = ()
  model_eos_ids: tuple[int, ...] = ()


def read_settings(folder: str | os.PathLike) -> Settings:
  """The settings that lie in a folder.

  Raises:
    ValueError: one of the files is damaged.
  """
  folder = Path(folder)
  path = folder / 'tokenizer_config.json'
  config = _read_json(path)
  tokens = {**_read_json(folder / 'special_tokens_map.json'),
            **{key: value for key, value in config.items() if value}}
  names = {key: _name(path, key, tokens.get(f'{key}_token'))
           for key in ('bos', 'eos', 'pad')}
  return Settings(
      chat_template=_template(folder, path, config),
      add_bos=config.get('add_bos_token'),
      specials=_specials(path, tokens, names.values()),
      added=_added(path, folder, tokens),
      eos_ids=_eos_ids(folder / 'generation_config.json'),
      model_eos_ids=_eos_ids(folder / 'config.json'),
      **names,
  )


def choose_stops(
    path: str | os.PathLike,
    settings: Settings,
    find: Callable[[str], int | None],
    specials: Mapping[str, int],
    vocab_size: int,
) -> tuple[int, ...]:
  """Ids that end an attempt, the end of a turn in the chat template first.

  Then those of generation_config.json and the end of the tokenizer; without
  that file, the tokens of `STOPS` too; without any of these, those of
  config.json.

  Args:
    path: of the tokenizer, for messages.
    settings: see `Settings`.
    find: the id of a token by name, or None.
    specials: ids of the special tokens; a token that is not among them is a
      known stop only where no other is.
    vocab_size: ids of the tokenizer.

  Raises:
    ValueError: there is none, or the tokenizer lacks one.
  """
  known = _found(specials.get, STOPS) or _found(find, STOPS)
  ids = settings.eos_ids + _found(find, (settings.eos,))
  if not settings.eos_ids:
    ids += known
  ids = _found(find, (_turn_end(settings, find, {*ids, *known}),)) + ids
  ids = tuple(dict.fromkeys(ids or settings.model_eos_ids))
  if not ids:
    raise ValueError(
        f'{path} has no token to stop an attempt with; one of these must be '
        f'among its tokens: {" ".join(STOPS)}'
    )
  if max(ids) >= vocab_size:
    raise ValueError(
        f'{path}: the files beside it name the stop token {max(ids)}, but '
        f'there are {vocab_size} tokens; they belong to another tokenizer'
    )
  return ids


def choose_pad(
    settings: Settings, find: Callable[[str], int | None], default: int
) -> int:
  """The id of dead slots: as said, known by its name, or `default`."""
  return (*_found(find, (settings.pad, *PADS)), default)[0]


@functools.lru_cache(maxsize=8)  # Thousands of names, asked for each prompt.
def names_pattern(names: tuple[str, ...]) -> re.Pattern:
  """Finds any of the names, a longer one before one that it begins with."""
  longest = sorted(names, key=len, reverse=True)
  # Without names, a pattern that is found nowhere.
  return re.compile('|'.join(map(re.escape, longest)) or r'(?!)')


def _turn_end(settings, find, stops):
  """The name of the stop after an answer in the template, or ''.

  A template that fails is no matter here: without prompts, nobody needs it,
  and `prompts.format_for` refuses it.
  """
  if not settings.chat_template:
    return ''
  try:
    turns = templates.read_turns(
        settings.chat_template, settings.bos, settings.eos)
  except ValueError:
    return ''
  names = [*STOPS, *filter(None, (settings.eos, *settings.specials))]
  end = names_pattern(tuple(names)).match(turns.instruction[0])
  return end.group() if end and find(end.group()) in stops else ''


def _found(find, names):
  ids = (find(name) for name in names if name)
  return tuple(i for i in ids if i is not None)


def _read_json(path):
  """The object in a file, {} without one."""
  if not reading.exists(path):
    return {}
  data = reading.read_bytes(path)
  try:
    value = json.loads(data)
  except (ValueError, RecursionError) as error:
    raise ValueError(f'{path} is damaged: {error}') from error
  if not isinstance(value, dict):
    raise ValueError(f'{path} is damaged: it holds no object')
  return value


def _name(path, key, value):
  """The name of a token that is given as text, as an object, or not."""
  if isinstance(value, dict):
    value = value.get('content')
  if value is not None and not isinstance(value, str):
    raise ValueError(f'{path}: {key} must be the name of a token')
  return value or ''


def _specials(path, tokens, names):
  """Names of all tokens that the settings call special."""
  found = list(names)
  added = tokens.get('added_tokens_decoder') or {}
  if isinstance(added, dict):
    found += [_name(path, 'added_tokens_decoder', token)
              for token in added.values()
              if isinstance(token, dict) and token.get('special')]
  for key in ('additional_special_tokens', 'extra_special_tokens'):
    more = tokens.get(key) or ()
    more = more.values() if isinstance(more, dict) else more
    found += [_name(path, key, token) for token in more]
  return tuple(dict.fromkeys(filter(None, found)))


def _added(path, folder, tokens):
  """Names of all tokens that the settings call added."""
  decoder = tokens.get('added_tokens_decoder') or {}
  found = [_name(path, 'added_tokens_decoder', token)
           for token in decoder.values()] if isinstance(decoder, dict) else []
  found += _read_json(folder / 'added_tokens.json')
  return tuple(dict.fromkeys(filter(None, found)))


def _template(folder, path, config):
  """The template: of its own file, or one text of possibly several."""
  file = folder / 'chat_template.jinja'
  if reading.exists(file):
    data = reading.read_bytes(file)
    try:
      return data.decode('utf-8')
    except UnicodeDecodeError as error:
      raise ValueError(f'{file} is damaged: {error}') from error
  template = config.get('chat_template') or ''
  if isinstance(template, list):
    try:
      template = {t['name']: t['template'] for t in template}['default']
    except (KeyError, TypeError) as error:
      raise ValueError(
          f"{path}: none of the chat templates is named 'default'"
      ) from error
  if not isinstance(template, str):
    raise ValueError(f'{path}: chat_template must be a text')
  return template


def _eos_ids(path):
  """`eos_token_id` of a file, which may be one id or several."""
  value = _read_json(path).get('eos_token_id')
  ids = value if isinstance(value, list) else [value]
  ids = [i for i in ids if i is not None]
  if any(type(i) is not int or i < 0 for i in ids):
    raise ValueError(f'{path}: eos_token_id must hold ids, got {value}')
  return tuple(ids)
