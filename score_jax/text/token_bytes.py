"""The bytes that each token adds to a decoded text.

`Tokenizer.decode` turns a list of ids into text. Stop strings are matched while
a model decodes, one token at a time, and need the bytes of each id. Ids that
`decode` leaves out (special tokens, padding) have no bytes.
"""

from collections.abc import Callable
from collections.abc import Collection
from collections.abc import Iterable
from collections.abc import Sequence
import dataclasses
import json
import re
from typing import Any

import sentencepiece
from sentencepiece import sentencepiece_model_pb2 as proto
import tokenizers

_SPACE = '\u2581'  # A space in the pieces of SentencePiece.
_BYTE = re.compile(r'<0x([0-9A-Fa-f]{2})>')


@dataclasses.dataclass(frozen=True)
class TokenBytes:
  """The bytes that every id of a vocabulary adds to a text.

  Attributes:
    later: bytes of each id.
    first: bytes of each id while the text is empty: many decoders drop a space
      at the start.
    repeats: whether the start lasts until a token has `first` bytes; else the
      first token with `later` bytes ends it.
  """

  later: Sequence[bytes]
  first: Sequence[bytes]
  repeats: bool = False

  def ends_start(self, token: int) -> bool:
    """Return whether the tokens that follow this id have their later bytes."""
    return bool((self.first if self.repeats else self.later)[token])

  def joined(self, ids: Iterable[int]) -> bytes:
    """Return the bytes of the text of `ids`."""
    found, at_start = [], True
    for i in ids:
      found.append((self.first if at_start else self.later)[i])
      at_start = at_start and not self.ends_start(i)
    return b''.join(found)

  def of_size(self, size: int) -> 'TokenBytes':
    """Return the same for a model of `size` ids; others add nothing."""
    fit = lambda found: [*found, *[b''] * (size - len(found))][:size]
    return TokenBytes(fit(self.later), fit(self.first), self.repeats)


def of_sentencepiece(model: sentencepiece.SentencePieceProcessor) -> TokenBytes:
  """Return the bytes of the pieces of a SentencePiece model.

  Args:
    model: with every special token as a control piece.

  Raises:
    ValueError: the model rewrites decoded text.
  """
  message = proto.ModelProto.FromString(model.serialized_model_proto())
  if message.denormalizer_spec.precompiled_charsmap:
    raise _unknown('its SentencePiece model rewrites decoded text '
                   '(denormalizer_spec)')
  settings, later, first = message.normalizer_spec, [], []
  cuts = settings.add_dummy_prefix or settings.remove_extra_whitespaces
  for i, piece in enumerate(message.pieces):
    text, is_cut = piece.piece, False
    if model.is_control(i):
      found = b''
    elif model.is_byte(i):
      found = bytes([int(_BYTE.fullmatch(text).group(1), 16)])
    elif model.is_unknown(i):
      found = message.trainer_spec.unk_surface.encode()
    else:
      found = text.replace(_SPACE, ' ').encode()
      is_cut = cuts and text.startswith(_SPACE)
    later.append(found)
    first.append(found[1:] if is_cut else found)
  return TokenBytes(later, first, settings.remove_extra_whitespaces)


def of_huggingface(
    model: tokenizers.Tokenizer, size: int, dead: Collection[int]
) -> TokenBytes:
  """Return the bytes of the tokens of a tokenizer.json.

  Args:
    model: the tokenizer.
    size: ids.
    dead: ids that are never decoded, besides special tokens.

  Raises:
    ValueError: the decoder of the file is of a kind whose tokens have no bytes
      of their own.
  """
  special = {i for i, token in model.get_added_tokens_decoder().items()
             if token.special}
  later_of, first_of = _decoder(json.loads(model.to_str())['decoder'])
  later, first = [], []
  for i in range(size):
    name = None if i in dead or i in special else model.id_to_token(i)
    found = b'' if name is None else later_of(name)
    later.append(found)
    first.append(found if name is None else first_of(name, found))
  return TokenBytes(later, first)


# Of a token's name: its bytes; and those at the start of a text.
_Decoder = tuple[Callable[[str], bytes], Callable[[str, bytes], bytes]]


def _decoder(settings: dict[str, Any] | None) -> _Decoder:
  """Read the decoder of a tokenizer.json."""
  kind = (settings or {}).get('type')
  same = lambda name, found: found
  if kind == 'ByteLevel':
    return _byte_level, same
  steps = settings['decoders'] if kind == 'Sequence' else [settings or {}]
  if steps and steps[0].get('type') == 'ByteLevel':
    return _byte_level, _steps(steps[1:])[1]
  return _steps(steps)


def _steps(steps) -> _Decoder:
  """Read the steps of a decoder for names with spaces written otherwise."""
  spaces, has_bytes, fused, first = [], False, False, lambda name, found: found
  for step in steps:
    kind = step.get('type')
    if kind == 'ByteFallback':
      has_bytes = True
    elif kind == 'Fuse':
      fused = True
    elif kind == 'Replace' and len(step['pattern'].get('String', '')) == 1:
      spaces.append((step['pattern']['String'], step['content']))
    elif kind == 'Metaspace':
      mark = step['replacement']
      spaces.append((mark, ' '))
      if step.get('prepend_scheme', 'always') != 'never':
        first = lambda name, found, mark=mark: later(name.replace(mark, ''))
    elif (kind == 'Strip' and fused and step['content'] == ' '
          and (step['start'], step['stop']) == (1, 0)):
      first = lambda name, found: found.removeprefix(b' ')
    else:
      raise _unknown('the decoder of its tokenizer.json has a step of the kind '
                     f'{json.dumps(step)[:80]}')

  def later(name):
    found = _BYTE.fullmatch(name) if has_bytes else None
    if found:
      return bytes([int(found.group(1), 16)])
    for mark, space in spaces:
      name = name.replace(mark, space)
    return name.encode()

  return later, first


def _byte_level(name: str) -> bytes:
  """Return the bytes that a name of byte-level BPE is written for."""
  found = [_BYTES.get(letter) for letter in name]
  # The name of an added token may have letters that are not bytes.
  return name.encode() if None in found else bytes(found)


def _byte_letters() -> dict[str, int]:
  """Return the letter of every byte in byte-level BPE (GPT-2)."""
  plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
  other = [byte for byte in range(256) if byte not in plain]
  return {chr(byte): byte for byte in plain} | {
      chr(256 + n): byte for n, byte in enumerate(other)}


_BYTES = _byte_letters()


def _unknown(why: str) -> ValueError:
  return ValueError(
      'config.task.stop_strings needs the bytes of every token of '
      f'config.model.tokenizer, and {why}; switch them off with '
      '--config.task.stop_strings="()"')
