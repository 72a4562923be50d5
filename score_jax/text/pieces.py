"""Tokenizers of the package `sentencepiece`: `.model` files."""

from collections.abc import Iterable
import dataclasses
import os
from pathlib import Path

import sentencepiece
from sentencepiece import sentencepiece_model_pb2 as proto

from score_jax.text import folders
from score_jax.text import roles
from score_jax.text import token_bytes

CONTROL = proto.ModelProto.SentencePiece.CONTROL


class SentencePieceTokenizer:
  """A SentencePiece model as a `tokenizer.Tokenizer` (see the protocol)."""

  def __init__(
      self,
      path: str | os.PathLike,
      data: bytes,
      settings: roles.Settings,
      source: Path | None = None,
  ):
    """Takes the model.

    Args:
      path: of the tokenizer, for messages.
      data: the model, a serialised `ModelProto`.
      settings: see there.
      source: the folder to copy in `save`, or None: `data` is written out.

    Raises:
      ValueError: `data` is damaged or has no end piece; names `path`.
    """
    self._data = data
    self._source = source
    self._model = _with_controls(_parse(path, data), data, settings)
    model = self._model
    if model.eos_id() < 0:
      raise ValueError(
          f'{path}: the SentencePiece model has no end piece to stop an '
          'attempt with; train it with eos_id=2'
      )
    self.vocab_size = model.vocab_size()
    self.special_ids = {
        model.id_to_piece(i): i for i in range(self.vocab_size)
        if model.is_control(i)}
    self._pattern = roles.names_pattern(tuple(self.special_ids))
    self.chat_template = settings.chat_template
    self._choose_roles(path, settings)

  def _choose_roles(self, path, settings):
    piece, find = self._model.id_to_piece, self.special_ids.get
    eos, bos, pad = (
        self._model.eos_id(), self._model.bos_id(), self._model.pad_id())
    self.eos_token = settings.eos or piece(eos)
    self.stop_ids = roles.choose_stops(
        path, dataclasses.replace(settings, eos=self.eos_token), find,
        self.special_ids, self.vocab_size)
    self.pad_id = pad if pad >= 0 else roles.choose_pad(settings, find, eos)
    bos = find(settings.bos, bos)
    self.bos_token = settings.bos or (piece(bos) if bos >= 0 else '')
    self.bos_id = None if bos < 0 or settings.add_bos is False else bos

  def encode(self, text: str, specials: bool = False) -> list[int]:
    if not specials:
      return self._model.encode(text)
    ids, at = [], 0
    for found in self._pattern.finditer(text):
      ids += self._model.encode(text[at:found.start()])
      ids.append(self.special_ids[found.group()])
      at = found.end()
    return ids + self._model.encode(text[at:])

  def decode(self, ids: Iterable[int]) -> str:
    return self._model.decode(
        [i for i in map(int, ids) if i < self.vocab_size]
    )

  def token_bytes(self) -> token_bytes.TokenBytes:
    return token_bytes.of_sentencepiece(self._model)

  def save(self, folder: str | os.PathLike):
    if self._source:
      folders.copy(self._source, folder)
    else:
      folders.write(folder, {'tokenizer.model': self._data},
                    self._model.id_to_piece, self, 'SentencePieceBackend')


def load(path: str | os.PathLike) -> SentencePieceTokenizer:
  """A SentencePiece `.model` file.

  Raises:
    ValueError: it is missing, damaged or without an end piece.
  """
  path = Path(path)
  return SentencePieceTokenizer(
      path, roles.read_bytes(path), roles.read_settings(path.parent),
      source=folders.source(path, 'tokenizer.model'))


def _parse(path, data):
  model = sentencepiece.SentencePieceProcessor()
  try:
    model.LoadFromSerializedProto(data)
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
  return model


def _with_controls(model, data, settings):
  """The model with every special token as a control piece.

  A piece that the user defined is found inside ordinary text, which could then
  open or end a turn; a control piece never is.
  """
  names = {*roles.MARKS, *settings.specials}
  ids = [i for i in map(model.piece_to_id, names)
         if not (model.is_unknown(i) or model.is_control(i))]
  if not ids:
    return model
  message = proto.ModelProto.FromString(data)
  for i in ids:
    message.pieces[i].type = CONTROL
  return sentencepiece.SentencePieceProcessor(
      model_proto=message.SerializeToString())


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
