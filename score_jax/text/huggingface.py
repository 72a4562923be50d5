"""Tokenizers of the package `tokenizers`, such as tokenizer.json files."""

from collections.abc import Iterable
import os
from pathlib import Path

import tokenizers

from score_jax.text import added_tokens
from score_jax.text import folders
from score_jax.text import reading
from score_jax.text import roles
from score_jax.text import token_bytes


class HuggingFaceTokenizer:
  """A `tokenizers.Tokenizer` as a `tokenizer.Tokenizer` (see the protocol)."""

  def __init__(
      self,
      path: str | os.PathLike,
      model: tokenizers.Tokenizer,
      settings: roles.Settings,
      bos_id: int | None,
      source: Path | None = None,
  ):
    """Wraps `model`.

    Args:
      path: of the tokenizer, for messages.
      model: without truncation and padding.
      settings: see there.
      bos_id: id that every sequence begins with, or None.
      source: the folder to copy in `save`, or None: `model` is written out.

    Raises:
      ValueError: there is no stop token; names `path`.
    """
    _add_named(model, settings)
    self._special = model
    self._encoder = added_tokens.Encoder(model, settings.chat_template)
    self._source = source
    self.vocab_size = max(model.get_vocab().values()) + 1
    self.special_ids = {
        token.content: i
        for i, token in model.get_added_tokens_decoder().items()
        if token.special}
    self.stop_ids = roles.choose_stops(
        path, settings, model.token_to_id, self.special_ids, self.vocab_size)
    self.pad_id = roles.choose_pad(
        settings, model.token_to_id, self.stop_ids[0])
    self.bos_id = bos_id
    begin = '' if bos_id is None else model.id_to_token(bos_id)
    self.bos_token = settings.bos or begin
    self.eos_token = settings.eos or model.id_to_token(self.stop_ids[0])
    self.chat_template = settings.chat_template
    self.added_ids = self._encoder.barred
    self._check_stops(path)

  def _check_stops(self, path):
    for i in self.stop_ids:
      name = self._special.id_to_token(i)
      if name and i in self.encode(name):
        raise ValueError(
            f'{path}: the text {name!r} inside a question would end its turn, '
            f'as a stop is the token {i}; take the generation_config.json and '
            'config.json that belong to this tokenizer, or mark the token as '
            'special in it'
        )

  def encode(self, text: str, specials: bool = False) -> list[int]:
    if not specials:
      return self._encoder.encode(text)
    text = added_tokens.characters(text)
    return self._special.encode(text, add_special_tokens=False).ids

  def encode_between(self, before: str, text: str, after: str) -> list[int]:
    return self._encoder.encode_between(before, text, after)

  def decode(self, ids: Iterable[int]) -> str:
    dead = {self.pad_id, *self.stop_ids}
    return self._special.decode([i for i in map(int, ids) if i not in dead])

  def token_bytes(self) -> token_bytes.TokenBytes:
    return token_bytes.of_huggingface(
        self._special, self.vocab_size, {self.pad_id, *self.stop_ids})

  def save(self, folder: str | os.PathLike):
    if self._source:
      folders.copy(self._source, folder)
    else:
      folders.write(folder, {'tokenizer.json': self._special.to_str().encode()},
                    self._special.id_to_token, self, 'PreTrainedTokenizerFast')


def load_json(path: str | os.PathLike) -> HuggingFaceTokenizer:
  """A `tokenizer.json` file of the Hugging Face `tokenizers` package.

  The file does not say what its tokens are for. That is known by their names
  (`roles.STOPS`, `roles.PADS`), from what the file itself puts before an empty
  text, and from the files beside it (see `roles`).

  Raises:
    ValueError: it is missing, damaged or without a stop.
  """
  path = Path(path)
  data = reading.read_bytes(path)
  try:
    model = tokenizers.Tokenizer.from_str(data.decode('utf-8'))
  except Exception as error:  # The package raises bare Exceptions.
    raise ValueError(f'{path} is not a tokenizer.json: {error}') from error
  model.no_truncation()  # The file may ask for both.
  model.no_padding()
  settings = roles.read_settings(path.parent)
  return HuggingFaceTokenizer(
      path, model, settings, _begin(model, settings),
      source=folders.source(path, 'tokenizer.json'))


def _add_named(model, settings):
  """Adds the tokens that the files next to a tokenizer.json call added.

  Transformers does the same. A name that the vocabulary lacks is left out.
  """
  known = {token.content: token
           for token in model.get_added_tokens_decoder().values()}
  found = [name for name in (*settings.specials, *settings.added)
           if model.token_to_id(name) is not None]
  for name in dict.fromkeys(found):
    is_special = name in settings.specials
    token = known.get(name) or tokenizers.AddedToken(name, normalized=False)
    if name not in known or (is_special and not token.special):
      token.special = is_special
      (model.add_special_tokens if is_special else model.add_tokens)([token])


def put_begin(model: tokenizers.Tokenizer, name: str):
  """Has `model` put this token before a text, as files say it."""
  model.post_processor = tokenizers.processors.TemplateProcessing(
      single=f'{name} $A', pair=f'{name} $A {name} $B',
      special_tokens=[(name, model.token_to_id(name))])


def _begin(model, settings):
  """The id that the file or the settings put before a text, or None."""
  if settings.add_bos is False:
    return None
  if settings.add_bos and settings.bos:
    return model.token_to_id(settings.bos)
  ids = model.encode('').ids[:1]
  # A lone end is put after a text.
  ends = {model.token_to_id(name) for name in (settings.eos, *roles.STOPS)}
  return ids[0] if ids and ids[0] not in ends else None
