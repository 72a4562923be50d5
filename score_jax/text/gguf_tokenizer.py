"""The tokenizer inside a GGUF file, from its `tokenizer.ggml.*` fields."""

import os

from sentencepiece import sentencepiece_model_pb2 as proto
import tokenizers

from score_jax.text import gguf_file
from score_jax.text import huggingface
from score_jax.text import pieces
from score_jax.text import roles

UNKNOWN, CONTROL, DEFINED, BYTE = 2, 3, 4, 6
"""Types of `tokenizer.ggml.token_type`; those of SentencePiece."""

SPACE = '\u2581'
"""A space in the pieces of SentencePiece."""

# Contractions, words, numbers, punctuation and spaces, each in pieces of their
# own; {} takes the numbers. The pattern of GPT-4 with other numbers, as the
# tokenizer.json files of Llama 3 and Qwen have it.
SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|{}|"
    r' ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+'
)
NUMBERS = {'llama-bpe': r'\p{N}{1,3}', 'qwen2': r'\p{N}'}


def load(path: str | os.PathLike):
  """The tokenizer inside a GGUF file.

  Supports byte-level BPE (gpt2) with the pre-tokenizers 'smollm' (digits one by
  one, the rest split as in GPT-2), 'llama-bpe' and 'qwen2', and SentencePiece
  BPE (llama).

  Raises:
    ValueError: a file that is missing or damaged, or another kind of tokenizer.
  """
  file = gguf_file.GgufFile(path)
  kind = file.require('tokenizer.ggml.model', str)
  pre = file.get('tokenizer.ggml.pre', str, 'default')
  if kind == 'llama':
    return _sentencepiece(file)
  if kind == 'gpt2' and pre in ('smollm', *NUMBERS):
    return _byte_level(file, pre)
  raise ValueError(
      f'{path}: the tokenizer is of kind {kind}/{pre}; llama, gpt2/smollm, '
      f'{", ".join(f"gpt2/{name}" for name in NUMBERS)} are supported; else '
      "set config.model.tokenizer to the model's tokenizer.json"
  )


def _byte_level(file, pre):
  """A `tokenizers` tokenizer as `huggingface.HuggingFaceTokenizer`."""
  tokens, types = _tokens(file)
  settings = _settings(file, tokens)
  merges = file.require('tokenizer.ggml.merges', list)
  vocab = {token: i for i, token in enumerate(tokens)}
  if len(vocab) != len(tokens):
    raise ValueError(
        f'{file.path}: {len(tokens)} tokens, {len(vocab)} of them different; '
        'the file is damaged'
    )
  try:
    bpe = tokenizers.models.BPE(
        vocab, [tuple(m.split(' ')) for m in merges],
        ignore_merges=pre == 'llama-bpe')
  except Exception as error:  # The package raises bare Exceptions.
    raise ValueError(f'{file.path}: damaged merges: {error}') from error
  model = tokenizers.Tokenizer(bpe)
  model.pre_tokenizer = _split(pre)
  model.decoder = tokenizers.decoders.ByteLevel()
  if pre == 'qwen2':
    model.normalizer = tokenizers.normalizers.NFC()
  _add_tokens(model, tokens, types)
  bos_id = None
  if settings.add_bos:
    bos_id = _token_id(file, 'bos', tokens)
    huggingface.put_begin(model, settings.bos)
  return huggingface.HuggingFaceTokenizer(file.path, model, settings, bos_id)


def _split(pre):
  """How text is cut before BPE."""
  if pre == 'smollm':
    first = tokenizers.pre_tokenizers.Digits(individual_digits=True)
  else:
    pattern = tokenizers.Regex(SPLIT.format(NUMBERS[pre]))
    first = tokenizers.pre_tokenizers.Split(pattern, 'isolated')
  rest = tokenizers.pre_tokenizers.ByteLevel(
      add_prefix_space=False, use_regex=pre == 'smollm')
  return tokenizers.pre_tokenizers.Sequence([first, rest])


def _add_tokens(model, tokens, types):
  """Marks tokens that are whole: special, or found in any text."""
  whole = lambda kind: [
      tokenizers.AddedToken(
          token, special=kind == CONTROL, normalized=False)
      for token, t in zip(tokens, types, strict=True) if t == kind]
  model.add_special_tokens(whole(CONTROL))
  model.add_tokens(whole(DEFINED))


def _sentencepiece(file):
  """The `ModelProto` that the fields came from, as far as they tell."""
  tokens, types = _tokens(file)
  scores = file.require('tokenizer.ggml.scores', list)
  if len(scores) != len(tokens):
    raise ValueError(
        f'{file.path}: {len(tokens)} tokens with {len(scores)} scores; the '
        'file is damaged'
    )
  if file.get('tokenizer.ggml.unknown_token_id', int) is None:
    unknown = types.index(UNKNOWN) if UNKNOWN in types else 0
  else:
    unknown = _token_id(file, 'unknown', tokens)
  message = proto.ModelProto()
  for i, (token, score, kind) in enumerate(
      zip(tokens, scores, types, strict=True)):
    if i == unknown or kind == UNKNOWN:  # There is to be one, and only one.
      kind = UNKNOWN if i == unknown else CONTROL
    # Some are written with plain spaces there, runs of spaces above all.
    message.pieces.add(
        piece=token.replace(' ', SPACE), score=score, type=kind)
  settings = _settings(file, tokens)
  _specify(message, file, settings, tokens[unknown], BYTE in types)
  return pieces.SentencePieceTokenizer(
      file.path, message.SerializeToString(), settings)


def _specify(message, file, settings, unknown, byte_fallback):
  """Fills in how the pieces are to be used."""
  trainer, normalizer = message.trainer_spec, message.normalizer_spec
  trainer.model_type = proto.TrainerSpec.BPE
  trainer.vocab_size = len(message.pieces)
  trainer.byte_fallback = byte_fallback
  names = [piece.piece for piece in message.pieces]
  for role, name in (('unk', unknown), ('bos', settings.bos),
                     ('eos', settings.eos), ('pad', settings.pad)):
    setattr(trainer, f'{role}_id', names.index(name) if name else -1)
    if name:
      setattr(trainer, f'{role}_piece', name)
  normalizer.name = 'identity'
  normalizer.add_dummy_prefix = file.get(
      'tokenizer.ggml.add_space_prefix', bool, True)
  normalizer.remove_extra_whitespaces = file.get(
      'tokenizer.ggml.remove_extra_whitespaces', bool, False)


def _tokens(file):
  """Tokens and their types."""
  tokens = file.require('tokenizer.ggml.tokens', list)
  types = file.require('tokenizer.ggml.token_type', list)
  if len(tokens) != len(types):
    raise ValueError(
        f'{file.path}: {len(tokens)} tokens with {len(types)} types; the file '
        'is damaged'
    )
  return tokens, types


def _settings(file, tokens):
  """What the fields say about the tokens."""
  names = {}
  for role, key in (('bos', 'bos'), ('eos', 'eos'), ('padding', 'pad')):
    if file.get(f'tokenizer.ggml.{role}_token_id', int) is not None:
      names[key] = tokens[_token_id(file, role, tokens)]
  _token_id(file, 'eos', tokens)
  default = file.require('tokenizer.ggml.model', str) == 'llama'
  return roles.Settings(
      chat_template=file.get('tokenizer.chat_template', str, ''),
      add_bos=file.get('tokenizer.ggml.add_bos_token', bool, default),
      **names)


def _token_id(file, role, tokens):
  name = f'tokenizer.ggml.{role}_token_id'
  value = file.require(name, int)
  if not 0 <= value < len(tokens):
    raise ValueError(
        f'{file.path}: {name} is {value}, but there are {len(tokens)} tokens'
    )
  return value
