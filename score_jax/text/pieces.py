"""Tokenizers of the package `sentencepiece`: `.model` files."""

from collections.abc import Iterable
import dataclasses
import os
from pathlib import Path

import sentencepiece
from sentencepiece import sentencepiece_model_pb2 as proto

from score_jax.text import added_tokens
from score_jax.text import folders
from score_jax.text import reading
from score_jax.text import roles
from score_jax.text import token_bytes

CONTROL = proto.ModelProto.SentencePiece.CONTROL
DEFINED = proto.ModelProto.SentencePiece.USER_DEFINED
SPACE = '\u2581'
"""A space in a piece."""


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
    self._model = _with_controls(_parse(path, data), settings)
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
    self._plain = _with_barred(model, settings)
    self.added_ids = {
        model.id_to_piece(i).replace(SPACE, ' '): i
        for i in range(self.vocab_size) if self._plain.is_control(i)}
    self._pattern = roles.names_pattern(tuple(self.added_ids))
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
    text = added_tokens.characters(text)
    if not specials:
      return self._plain.encode(text)
    ids, at = [], 0
    for found in self._pattern.finditer(text):
      ids += self._plain.encode(text[at:found.start()])
      ids.append(self.added_ids[found.group()])
      at = found.end()
    return ids + self._plain.encode(text[at:])

  def encode_between(self, before: str, text: str, after: str) -> list[int]:
    # The text is encoded with that of the template up to the next token on
    # either side, as it may merge with it.
    ends = [found.end() for found in self._pattern.finditer(before)]
    left, found = max(ends, default=0), self._pattern.search(after)
    right = found.start() if found else len(after)
    return (self.encode(before[:left], specials=True)
            + self.encode(before[left:] + text + after[:right])
            + self.encode(after[right:], specials=True))

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
      path, reading.read_bytes(path), roles.read_settings(path.parent),
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


def _with_controls(model, settings):
  """The model with every special token as a control piece.

  A piece that the user defined is found inside ordinary text, which could then
  open or end a turn; a control piece never is.
  """
  names = {*roles.MARKS, *settings.specials}
  ids = [i for i in map(model.piece_to_id, names)
         if not (model.is_unknown(i) or model.is_control(i))]
  if not ids:
    return model
  return _controlled(model, ids)


def _with_barred(model, settings):
  """The model with every token that text must not become as a control piece."""
  message = proto.ModelProto.FromString(model.serialized_model_proto())
  ids = {piece.piece: i for i, piece in enumerate(message.pieces)
         if piece.type == DEFINED}
  ids |= {name: i for name in settings.added
          for i in [model.piece_to_id(name.replace(' ', SPACE))]
          if not (model.is_unknown(i) or model.is_control(i))}

  def cannot_spell(names):
    plain = _controlled(model, [ids[name] for name in names])
    return [name for name in names if plain.unk_id() in plain.encode(
        name.replace(SPACE, ' '))]

  return _controlled(model, [ids[name] for name in added_tokens.barred(
      ids, settings.chat_template, cannot_spell)])


def _controlled(model, ids):
  """The model with these pieces, which text then never becomes, as control."""
  if not ids:
    return model
  message = proto.ModelProto.FromString(model.serialized_model_proto())
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
