"""The bytes of single tokens, against the text that a tokenizer decodes."""

import os
import random

import pytest
import sentencepiece
from sentencepiece import sentencepiece_model_pb2 as proto
import tokenizers

from score_jax.text import token_bytes
from score_jax.text import tokenizer as tokenizer_lib
from tests.text import families
from tests.text import pieces_test

REAL = os.environ.get('SCORE_JAX_TOKENIZERS', '')
PACKAGED = ('chain', 'bands', 'hops')


def _check(vocabulary, decode, size, count=400):
  """Compares random ids; texts with characters cut in two are left out."""
  rng, compared = random.Random(0), 0
  for _ in range(count):
    ids = [rng.randrange(size) if rng.random() < 0.6
           else rng.randrange(min(size, 300)) for _ in range(rng.randrange(8))]
    text = decode(ids)
    if '\ufffd' not in text:
      assert vocabulary.joined(ids).decode() == text, ids
      compared += 1
  assert compared > count // 5


@pytest.mark.parametrize('name', PACKAGED)
def test_tokenizers_of_the_embedded_tasks(name):
  path = f'{os.path.dirname(tokenizer_lib.__file__)}/../tasks/{name}.model'
  tokenizer = tokenizer_lib.load(path)
  _check(tokenizer.token_bytes(), tokenizer.decode, tokenizer.vocab_size)


@pytest.mark.skipif(not REAL, reason='SCORE_JAX_TOKENIZERS names no folder')
@pytest.mark.parametrize('name', sorted(os.listdir(REAL)) if REAL else ())
def test_real_tokenizers(name):
  folder = os.path.join(REAL, name)
  file, = [f for f in os.listdir(folder) if f.startswith(
      ('tokenizer.json', 'tokenizer.model')) or f.endswith('.gguf')]
  tokenizer = tokenizer_lib.load(os.path.join(folder, file))
  vocabulary = tokenizer.token_bytes()
  _check(vocabulary, tokenizer.decode, tokenizer.vocab_size)
  for i in (*tokenizer.special_ids.values(), *tokenizer.stop_ids):
    assert vocabulary.later[i] == vocabulary.first[i] == b''


@pytest.mark.parametrize('prefix', [False, True])
@pytest.mark.parametrize('extra', [False, True])
def test_sentencepiece_drops_spaces_at_the_start_as_it_decodes(prefix, extra):
  message = proto.ModelProto.FromString(families.gemma_pieces())
  settings = message.normalizer_spec
  settings.add_dummy_prefix, settings.remove_extra_whitespaces = prefix, extra
  model = sentencepiece.SentencePieceProcessor(
      model_proto=message.SerializeToString())
  vocabulary = token_bytes.of_sentencepiece(model)
  assert (vocabulary.later == vocabulary.first) == (not prefix and not extra)
  size = model.vocab_size()
  _check(vocabulary, model.decode, size)
  spaced = [i for i in range(size) if model.id_to_piece(i).startswith('\u2581')
            or model.is_control(i)] or [0]
  assert len(spaced) > 3
  rng = random.Random(1)
  for _ in range(300):
    ids = rng.choices(spaced, k=rng.randrange(5)) + rng.choices(range(size))
    text = model.decode(ids)
    if '\ufffd' not in text:
      assert vocabulary.joined(ids).decode() == text, ids


def test_a_sentencepiece_model_that_rewrites_text_is_refused():
  message = proto.ModelProto.FromString(families.gemma_pieces())
  message.denormalizer_spec.precompiled_charsmap = b'x'

  class Model:
    serialized_model_proto = message.SerializeToString

  with pytest.raises(ValueError, match='rewrites decoded text.*stop_strings'):
    token_bytes.of_sentencepiece(Model())


_D = tokenizers.decoders
_FUSED = [_D.Replace('\u2581', ' '), _D.ByteFallback(), _D.Fuse()]


@pytest.mark.parametrize('decoder', [
    _D.ByteLevel(), _D.Sequence(_FUSED), _D.Sequence([_D.ByteLevel()]),
    _D.Sequence([*_FUSED, _D.Strip(' ', 1, 0)]),
    _D.Metaspace('\u2581', 'always'), _D.Metaspace('\u2581', 'first'),
    _D.Metaspace('\u2581', 'never'),
    _D.Sequence([_D.ByteFallback(), _D.Metaspace('\u2581', 'always')])])
def test_every_kind_of_decoder(decoder):
  names = ['\u2581a', 'a', '\u2581', '\u2581\u2581b\u2581', '<0x20>', '<0xC3>',
           '<0xA9>', '<0x0A>', '\u0120x', '\u010a', '\u00c3\u00a9', '\u4e16',
           '<s>', 'a b', '<0xZZ>', 'b', ' ']
  model = tokenizers.Tokenizer(tokenizers.models.WordLevel(
      {name: i for i, name in enumerate(names)}, 'a'))
  model.add_special_tokens(['<s>'])
  model.add_tokens([tokenizers.AddedToken('a b', special=False)])
  model.decoder = decoder
  vocabulary = token_bytes.of_huggingface(model, len(names) + 2, {15})
  assert vocabulary.later[15] == b'' == vocabulary.later[-1]  # Dead; no id.
  alive = [i for i in range(len(names)) if i != 15]
  rng = random.Random(2)
  for _ in range(500):
    ids = rng.choices(alive, k=rng.randrange(1, 5))
    text = model.decode(ids)
    if '\ufffd' not in text:
      assert vocabulary.joined(ids).decode() == text, ids


@pytest.mark.parametrize('decoder', [
    None, _D.WordPiece(), _D.BPEDecoder(), _D.CTC(),
    _D.Sequence([_D.Replace(tokenizers.Regex('a+'), ' ')]),
    _D.Sequence([_D.Strip(' ', 1, 0)]),
    _D.Sequence([_D.Fuse(), _D.Strip(' ', 0, 1)]),
    _D.Sequence([_D.Fuse(), _D.Strip(' ', 2, 0)])])
def test_a_decoder_whose_tokens_have_no_bytes_of_their_own_is_refused(decoder):
  model = tokenizers.Tokenizer(tokenizers.models.WordLevel({'a': 0}, 'a'))
  if decoder is not None:
    model.decoder = decoder
  with pytest.raises(ValueError) as error:
    token_bytes.of_huggingface(model, 1, ())
  text = str(error.value)
  assert 'config.task.stop_strings="()"' in text and '\n' not in text


def test_one_vocabulary_from_two_files():
  # SentencePiece, and a tokenizer.json of the same pieces.
  data = families.gemma_pieces()
  model = pieces_test.bpe_json(data, pieces_test.SPECIALS)
  sp = sentencepiece.SentencePieceProcessor(model_proto=data)
  one, two = token_bytes.of_sentencepiece(sp), token_bytes.of_huggingface(
      model, sp.vocab_size(), ())
  unknown = {sp.piece_to_id(name) for name in pieces_test.SPECIALS}
  for i in range(sp.vocab_size()):
    assert i in unknown or one.later[i] == two.later[i], sp.id_to_piece(i)


def test_a_padded_vocabulary_has_no_bytes_there():
  vocabulary = token_bytes.TokenBytes([b'a', b' b'], [b'a', b'b'])
  larger, smaller = vocabulary.of_size(4), vocabulary.of_size(1)
  assert larger.later == [b'a', b' b', b'', b''] and len(larger.first) == 4
  assert larger.joined([2, 1, 3, 1]) == b'b b'
  assert smaller.later == [b'a']
