"""SentencePiece: the ids of tokenizer.json, turns that are no text."""

import dataclasses
import json

import pytest
from sentencepiece import sentencepiece_model_pb2 as proto
import tokenizers

from score_jax.text import prompts
from score_jax.text import tokenizer as tokenizer_lib
from tests.text import families


def bpe_json(data, specials):
  """The tokenizer.json of a SentencePiece BPE model, as Gemma's is made."""
  pieces = proto.ModelProto.FromString(data).pieces
  vocab = {piece.piece: i for i, piece in enumerate(pieces)}
  merges = sorted(
      (-piece.score, vocab[left], vocab[right], left, right)
      for piece in pieces if piece.type == 1 or piece.piece == '\u2581\u2581'
      for left, right in ((piece.piece[:i], piece.piece[i:])
                          for i in range(1, len(piece.piece)))
      if left in vocab and right in vocab)
  model = tokenizers.Tokenizer(tokenizers.models.BPE(
      vocab, [pair[-2:] for pair in merges], unk_token='<unk>',
      byte_fallback=True, fuse_unk=True))
  model.normalizer = tokenizers.normalizers.Replace(' ', '\u2581')
  model.decoder = tokenizers.decoders.Sequence([
      tokenizers.decoders.Replace('\u2581', ' '),
      tokenizers.decoders.ByteFallback(), tokenizers.decoders.Fuse()])
  model.add_special_tokens(specials)
  model.add_tokens([
      tokenizers.AddedToken(piece.piece, normalized=False) for piece in pieces
      if piece.type == 4 and piece.piece not in specials])
  return model


SPECIALS = ['<pad>', '<eos>', '<bos>', '<unk>', '<start_of_turn>',
            '<end_of_turn>']
TEXTS = [*families.LINES, '1cat', 'the end\n\n\nof  it', ' a  b', '\u00e9 caf',
         '<b>x</b></s>', 'a<end_of_turn>\n<start_of_turn>model\n7',
         '<eos><bos>', '<start_of_turn', '1234 567', '\t\r\n', '']


@pytest.fixture(scope='module', name='pair')
def _pair(tmp_path_factory):
  """One tokenizer from a tokenizer.model and from a tokenizer.json."""
  data, loaded = families.gemma_pieces(), []
  family = dataclasses.replace(families.FAMILIES['gemma3'], eos='<eos>')
  for kind in ('model', 'json'):
    folder = tmp_path_factory.mktemp(kind)
    families.write_config(folder, family)
    (folder / 'generation_config.json').write_text('{"eos_token_id": [1, 5]}')
    if kind == 'model':
      (folder / 'tokenizer.model').write_bytes(data)
    else:
      model = bpe_json(data, SPECIALS)
      model.save(str(folder / 'tokenizer.json'))
    loaded.append(tokenizer_lib.load(folder))
  return loaded


def test_both_files_of_one_tokenizer_give_the_same_ids(pair):
  pieces, other = pair
  for text in TEXTS:
    for specials in (False, True):
      ids = pieces.encode(text, specials=specials)
      assert ids == other.encode(text, specials=specials)
      if not specials:
        assert not {0, 1, 2, 4, 5} & set(ids)
        assert pieces.decode(ids) == other.decode(ids) == text
  for name in ('<b>', '</s>'):  # Added, but not special.
    assert len(pieces.encode(name)) > 1
    id_, = pieces.encode(name, specials=True)
    assert pieces.decode([id_]) == other.decode([id_]) == name


def test_both_files_of_one_tokenizer_give_the_same_prompts(pair):
  pieces, other = pair
  assert pieces.stop_ids == other.stop_ids == (5, 1)
  assert pieces.bos_token == other.bos_token == '<bos>'
  formats = [prompts.format_for(tokenizer) for tokenizer in pair]
  assert formats[0] == formats[1]
  for text in TEXTS:
    for build in (prompts.first_ids, prompts.splice_ids):
      ids = build(formats[0], pieces, text)
      assert ids == build(formats[1], other, text)
      # One turn of the user and one, begun, of the model.
      assert ids.count(4) == 2 and ids.count(5) == 1
  assert prompts.first_ids(formats[0], pieces, '1') == [
      2, 4, *pieces.encode('user\n1'), 5, *pieces.encode('\n'), 4,
      *pieces.encode('model\n')]


def test_both_files_of_one_tokenizer_decode_without_the_turns(pair):
  for tokenizer in pair:
    ids = [2, 4, *tokenizer.encode('1 cat'), 5, 1, 0]
    assert tokenizer.decode(ids) == '1 cat'


def test_a_lone_model_file_keeps_its_turns_out_of_text(tmp_path):
  (tmp_path / 'a.model').write_bytes(families.gemma_pieces())
  tokenizer = tokenizer_lib.load(tmp_path / 'a.model')
  assert tokenizer.chat_template == ''
  assert tokenizer.stop_ids == (1, 5)
  assert not {4, 5} & set(tokenizer.encode('<start_of_turn><end_of_turn>'))
  assert tokenizer.encode('<end_of_turn>', specials=True) == [5]


def test_config_marks_pieces_as_special(tmp_path):
  (tmp_path / 'tokenizer.model').write_bytes(families.gemma_pieces())
  (tmp_path / 'tokenizer_config.json').write_text(json.dumps({
      'added_tokens_decoder': {'9': {'content': '<b>', 'special': True},
                               '10': {'content': '</s>', 'special': False}}}))
  tokenizer = tokenizer_lib.load(tmp_path)
  for name, kept in (('<b>', ''), ('</s>', '</s>')):
    assert len(tokenizer.encode(name)) > 1
    id_, = tokenizer.encode(name, specials=True)
    assert tokenizer.decode([id_]) == kept
  assert '<b>' in tokenizer.special_ids
  assert '</s>' not in tokenizer.special_ids
