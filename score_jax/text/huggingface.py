"""Tokenizers of the package `tokenizers`: tokenizer.json and GGUF files."""

from collections.abc import Iterable
import json
import os
from pathlib import Path

import tokenizers

from score_jax.text import gguf_file

STOPS = ('<|im_end|>', '<|eot_id|>', '<end_of_turn>', '</s>', '<eos>',
         '<|end_of_text|>', '<|endoftext|>')
"""Tokens that end a turn or a text, the end of a turn first."""

PADS = ('<pad>', '<|pad|>', '[PAD]', '<|finetune_right_pad_id|>')
"""Tokens for padding."""

GGUF_CONTROL = 3
"""The type of special tokens in `tokenizer.ggml.token_type`."""


class HuggingFaceTokenizer:
  """A `tokenizers.Tokenizer` as a `tokenizer.Tokenizer` (see the protocol)."""

  def __init__(
      self,
      path: str | os.PathLike,
      model: tokenizers.Tokenizer,
      stop_ids: tuple[int, ...],
      pad_id: int,
      bos_id: int | None,
      chat_template: str,
  ):
    """Wraps `model`.

    Raises:
      ValueError: ordinary text would become a stop token; names `path`.
    """
    self._special = model
    self._plain = tokenizers.Tokenizer.from_str(model.to_str())
    self._plain.encode_special_tokens = True  # As text, in spite of the name.
    self.vocab_size = max(model.get_vocab().values()) + 1
    self.stop_ids = stop_ids
    self.pad_id = pad_id
    self.bos_id = bos_id
    self.chat_template = chat_template
    for i in stop_ids:
      name = model.id_to_token(i)
      if i in self.encode(name):
        raise ValueError(
            f'{path}: the text {name!r} inside a question would end its turn; '
            'mark this token as special in the tokenizer file'
        )

  def encode(self, text: str, specials: bool = False) -> list[int]:
    model = self._special if specials else self._plain
    return model.encode(text, add_special_tokens=False).ids

  def decode(self, ids: Iterable[int]) -> str:
    dead = {self.pad_id, *self.stop_ids}
    return self._special.decode([i for i in map(int, ids) if i not in dead])


class JsonTokenizer(HuggingFaceTokenizer):
  """A `tokenizer.json` file of the Hugging Face `tokenizers` package.

  The file does not say what its tokens are for. Stop and padding tokens are
  known by their names (`STOPS`, `PADS`), the begin is what the file itself puts
  before an empty text, and the chat template is that of a
  `tokenizer_config.json` beside it.
  """

  def __init__(self, path: str | os.PathLike):
    """Loads the file; ValueError if missing, damaged or without a stop."""
    data = read_bytes(path)
    try:
      model = tokenizers.Tokenizer.from_str(data.decode('utf-8'))
    except Exception as error:  # The package raises bare Exceptions.
      raise ValueError(f'{path} is not a tokenizer.json: {error}') from error
    stop_ids = _known(model, STOPS)
    if not stop_ids:
      raise ValueError(
          f'{path} has no token to stop an attempt with; one of these must be '
          f'among its tokens: {" ".join(STOPS)}'
      )
    model.no_truncation()  # The file may ask for both.
    model.no_padding()
    first = model.encode('').ids[:1]
    super().__init__(
        path, model, stop_ids,
        pad_id=(_known(model, PADS) + stop_ids)[0],
        bos_id=first[0] if first and first[0] not in stop_ids else None,
        chat_template=_neighbouring_template(path),
    )


def from_gguf(path: str | os.PathLike) -> HuggingFaceTokenizer:
  """The tokenizer inside a GGUF file, from its `tokenizer.ggml.*` fields.

  Supports byte-level BPE with the pre-tokenizer 'smollm': digits one by one,
  the rest split as in GPT-2.

  Raises:
    ValueError: a file that is missing or damaged, or another kind of tokenizer.
  """
  file = gguf_file.GgufFile(path)
  kind = (file.require('tokenizer.ggml.model', str),
          file.require('tokenizer.ggml.pre', str))
  if kind != ('gpt2', 'smollm'):
    raise ValueError(
        f'{path}: the tokenizer is of kind {"/".join(kind)}; gpt2/smollm is '
        "supported; else set config.model.tokenizer to the model's "
        'tokenizer.json'
    )
  tokens = file.require('tokenizer.ggml.tokens', list)
  model = _byte_level_bpe(file, tokens)
  eos = _token_id(file, 'eos', tokens)
  stop_ids = (eos, *(i for i in _known(model, STOPS) if i != eos))
  bos = None
  if file.get('tokenizer.ggml.add_bos_token', bool, False):
    bos = _token_id(file, 'bos', tokens)
  pad = eos
  if file.get('tokenizer.ggml.padding_token_id', int) is not None:
    pad = _token_id(file, 'padding', tokens)
  return HuggingFaceTokenizer(
      path, model, stop_ids, pad, bos,
      file.get('tokenizer.chat_template', str, ''),
  )


def read_bytes(path: str | os.PathLike, size: int = -1) -> bytes:
  """The first `size` bytes of a tokenizer file (-1: all), or a ValueError."""
  try:
    with open(path, 'rb') as file:
      return file.read(size)
  except OSError as error:
    raise ValueError(
        f'cannot read the tokenizer {path}: {error.strerror}'
    ) from error


def _known(model, names):
  """Ids of those of `names` that are tokens of a `tokenizers` model."""
  ids = (model.token_to_id(name) for name in names)
  return tuple(i for i in ids if i is not None)


def _neighbouring_template(path):
  config = Path(path).with_name('tokenizer_config.json')
  if not config.exists():
    return ''
  try:
    template = json.loads(read_bytes(config)).get('chat_template') or ''
  except (ValueError, AttributeError) as error:
    raise ValueError(f'{config} is damaged: {error}') from error
  if not isinstance(template, str):
    raise ValueError(f'{config}: chat_template must be one text')
  return template


def _byte_level_bpe(file, tokens):
  """A `tokenizers.Tokenizer` from the fields of a GGUF file."""
  types = file.require('tokenizer.ggml.token_type', list)
  merges = file.require('tokenizer.ggml.merges', list)
  vocab = {token: i for i, token in enumerate(tokens)}
  if not len(vocab) == len(tokens) == len(types):
    raise ValueError(
        f'{file.path}: {len(tokens)} tokens, {len(vocab)} of them different, '
        f'with {len(types)} types; the file is damaged'
    )
  try:
    bpe = tokenizers.models.BPE(vocab, [tuple(m.split(' ')) for m in merges])
  except Exception as error:  # The package raises bare Exceptions.
    raise ValueError(f'{file.path}: damaged merges: {error}') from error
  model = tokenizers.Tokenizer(bpe)
  model.pre_tokenizer = tokenizers.pre_tokenizers.Sequence([
      tokenizers.pre_tokenizers.Digits(individual_digits=True),
      tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False),
  ])
  model.decoder = tokenizers.decoders.ByteLevel()
  model.add_special_tokens([
      tokenizers.AddedToken(token, special=True, normalized=False)
      for token, kind in zip(tokens, types, strict=True)
      if kind == GGUF_CONTROL
  ])
  return model


def _token_id(file, role, tokens):
  name = f'tokenizer.ggml.{role}_token_id'
  value = file.require(name, int)
  if not 0 <= value < len(tokens):
    raise ValueError(
        f'{file.path}: {name} is {value}, but there are {len(tokens)} tokens'
    )
  return value
