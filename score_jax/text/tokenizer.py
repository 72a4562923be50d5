"""Tokenizers: one protocol over SentencePiece, tokenizer.json and GGUF files.

Text never becomes a special token by accident: '<|im_end|>' written inside a
question is encoded as ordinary characters, unless the caller says `specials`.
"""

from collections.abc import Iterable
import os
import re
from typing import Protocol

import sentencepiece

from score_jax.text import gguf_file
from score_jax.text import huggingface


class Tokenizer(Protocol):
  """Text to ids and back.

  Attributes:
    vocab_size: the largest id plus one.
    pad_id: id of dead slots; may equal a stop id, so read masks, not ids.
    bos_id: id that every sequence begins with, or None.
    stop_ids: ids that end an attempt. The first is the end-of-turn token, which
      closes an attempt that ran out of tokens.
    chat_template: the Jinja template that the model was tuned with, or ''.
  """

  vocab_size: int
  pad_id: int
  bos_id: int | None
  stop_ids: tuple[int, ...]
  chat_template: str

  def encode(self, text: str, specials: bool = False) -> list[int]:
    """Ids of `text`; never adds a begin or end.

    Args:
      text: any text.
      specials: read the names of special tokens in `text` as these tokens.
        Only for text of our own, never for a question.
    """

  def decode(self, ids: Iterable[int]) -> str:
    """The text of `ids`, without padding, stop and other special tokens.

    Ids from `vocab_size` on (of a model with a padded vocabulary) are left out.
    """


class SentencePieceTokenizer:
  """A SentencePiece `.model` file."""

  chat_template = ''

  def __init__(self, path: str | os.PathLike):
    """Loads the file; ValueError if it is missing, damaged or without eos."""
    data = huggingface.read_bytes(path)
    self._model = sentencepiece.SentencePieceProcessor()
    try:
      self._model.LoadFromSerializedProto(data)
    except RuntimeError as error:
      raise ValueError(
          f'{path} is not a tokenizer: neither a whole SentencePiece model, '
          'nor a tokenizer.json, nor a GGUF file'
      ) from error
    # Cut short between two pieces, a model still loads, with fewer pieces.
    if not {2, 3} <= _sections(data):
      raise ValueError(
          f'{path} is a damaged SentencePiece model: it lacks the '
          'specifications that follow its pieces; copy it again'
      )
    if self._model.eos_id() < 0:
      raise ValueError(
          f'{path}: the SentencePiece model has no end piece to stop an '
          'attempt with; train it with eos_id=2'
      )
    self.vocab_size = self._model.vocab_size()
    self.stop_ids = (self._model.eos_id(),)
    bos = self._model.bos_id()
    self.bos_id = bos if bos >= 0 else None
    pad = self._model.pad_id()
    self.pad_id = pad if pad >= 0 else self._model.eos_id()
    controls = [self._model.id_to_piece(i) for i in range(self.vocab_size)
                if self._model.is_control(i)]
    self._controls = re.compile('(' + '|'.join(map(re.escape, controls)) + ')')

  def encode(self, text: str, specials: bool = False) -> list[int]:
    if not specials:
      return self._model.encode(text)
    ids = []
    for i, part in enumerate(self._controls.split(text)):  # Odd: the controls.
      ids += [self._model.piece_to_id(part)] if i % 2 else self.encode(part)
    return ids

  def decode(self, ids: Iterable[int]) -> str:
    return self._model.decode(
        [i for i in map(int, ids) if i < self.vocab_size]
    )


def load(path: str | os.PathLike) -> Tokenizer:
  """The tokenizer of a file, by what the file is.

  Args:
    path: a GGUF file, a `tokenizer.json`, or a SentencePiece `.model`.

  Raises:
    ValueError: the file is missing, damaged, or of another kind.
  """
  head = huggingface.read_bytes(path, 256)
  if head.startswith(gguf_file.MAGIC):
    return huggingface.from_gguf(path)
  if head.lstrip().startswith(b'{'):
    return huggingface.JsonTokenizer(path)
  return SentencePieceTokenizer(path)


def check_fits(tokenizer: Tokenizer, vocab_size: int):
  """Checks that the model has a row for every id of the tokenizer.

  A model may have more (a vocabulary padded to a round number).

  Raises:
    ValueError: the tokenizer has ids that the model lacks.
  """
  if tokenizer.vocab_size > vocab_size:
    raise ValueError(
        f'the tokenizer does not fit the model: it has {tokenizer.vocab_size} '
        f'ids and config.model.vocab_size is {vocab_size}'
    )


def _sections(data):
  """Numbers of the fields of `data`, a protocol buffer of messages."""
  numbers, at = set(), 0
  while at < len(data):
    numbers.add(data[at] >> 3)
    length = shift = 0
    at += 1
    while data[at] > 127:  # A length in base 128, lowest digit first.
      length += (data[at] & 127) << shift
      shift += 7
      at += 1
    at += 1 + length + (data[at] << shift)
  return numbers
