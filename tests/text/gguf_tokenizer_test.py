"""Tokenizers inside GGUF files: the same ids as the files they came from."""

import json

import gguf
import pytest
from sentencepiece import sentencepiece_model_pb2 as proto
import tokenizers

from score_jax.text import tokenizer as tokenizer_lib
from tests.text import families
from tests.text.tokenizer_test import CHAT
from tests.text.tokenizer_test import refusal
from tests.text.tokenizer_test import train_json


def write_gguf(path, kind='gpt2', pre='smollm', **fields):
  """A GGUF file with the tokenizer of `train_json` and no tensors."""
  model = fields.get('model') or train_json()
  model = json.loads(model.to_str())['model']
  tokens = sorted(model['vocab'], key=model['vocab'].get)
  writer = gguf.GGUFWriter(path, 'llama')
  writer.add_tokenizer_model(kind)
  writer.add_tokenizer_pre(pre)
  writer.add_token_list(fields.get('tokens', tokens))
  writer.add_token_types(fields.get(
      'types', [3] * len(CHAT) + [1] * (len(tokens) - len(CHAT))))
  if 'scores' in fields:
    writer.add_token_scores(fields['scores'])
  writer.add_token_merges([' '.join(pair) for pair in model['merges']])
  writer.add_bos_token_id(1)
  writer.add_eos_token_id(fields.get('eos', 2))
  writer.add_add_bos_token(fields.get('add_bos', False))
  writer.add_chat_template(fields.get('template', '<|im_start|>'))
  if 'pad' in fields:
    writer.add_pad_token_id(fields['pad'])
  writer.write_header_to_file()
  writer.write_kv_data_to_file()
  writer.write_tensors_to_file()
  writer.close()
  return path


def write_gemma(path, data, types=None):
  """A GGUF file with a SentencePiece model, written as llama.cpp does."""
  pieces = proto.ModelProto.FromString(data).pieces
  names = {piece.piece: i for i, piece in enumerate(pieces)}
  turns = ('<start_of_turn>', '<end_of_turn>', '<unk>')
  writer = gguf.GGUFWriter(path, 'gemma3')
  writer.add_tokenizer_model('llama')
  writer.add_tokenizer_pre('default')
  # What the user defined has plain spaces; turns and <unk> are of control.
  writer.add_token_list([
      piece.piece.replace('\u2581', ' ') if piece.type == 4 else piece.piece
      for piece in pieces])
  writer.add_token_types(types or
      [3 if piece.piece in turns else piece.type for piece in pieces])
  writer.add_token_scores([piece.score for piece in pieces])
  writer.add_bos_token_id(names['<bos>'])
  writer.add_eos_token_id(names['<eos>'])
  writer.add_pad_token_id(names['<pad>'])
  writer.add_unk_token_id(names['<unk>'])
  writer.add_add_bos_token(True)
  writer.add_add_space_prefix(False)
  writer.add_chat_template(families.GEMMA)
  writer.write_header_to_file()
  writer.write_kv_data_to_file()
  writer.close()
  return path


def test_gives_the_ids_of_the_tokenizer_inside(tmp_path):
  train_json().save(str(tmp_path / 'tokenizer.json'))
  chat = tokenizer_lib.load(tmp_path / 'tokenizer.json')
  tokenizer = tokenizer_lib.load(write_gguf(tmp_path / 'a.gguf'))
  for text in ('Check it and answer', ' again.\n\n it', 'é <|im_end|>'):
    assert tokenizer.encode(text) == chat.encode(text)
    assert tokenizer.decode(tokenizer.encode(text)) == text
  assert tokenizer.encode('it<|im_end|>', specials=True)[-1] == 2
  assert (tokenizer.stop_ids, tokenizer.bos_id) == ((2, 0), None)
  assert tokenizer.vocab_size == 290
  assert tokenizer.chat_template == '<|im_start|>'


def test_splits_digits_one_by_one(tmp_path):
  tokenizer = tokenizer_lib.load(write_gguf(tmp_path / 'a.gguf'))
  singles = [tokenizer.encode(digit)[0] for digit in '10']
  assert tokenizer.encode('10') == singles
  assert tokenizer.encode(': 10') == [*tokenizer.encode(': '), *singles]


def test_pad_and_begin_are_those_of_the_file(tmp_path):
  path = write_gguf(tmp_path / 'a.gguf', add_bos=True, pad=0)
  tokenizer = tokenizer_lib.load(path)
  assert (tokenizer.pad_id, tokenizer.bos_id) == (0, 1)


@pytest.mark.parametrize('fields, words', [
    ({'kind': 't5'}, 'of kind t5/smollm; llama, gpt2/smollm, gpt2/llama-bpe, '
     'gpt2/qwen2 are supported'),
    ({'pre': 'falcon'}, 'of kind gpt2/falcon; llama, gpt2/smollm'),
    ({'eos': 999}, 'tokenizer.ggml.eos_token_id is 999'),
    ({'kind': 'llama'}, 'no metadata field tokenizer.ggml.scores'),
    ({'kind': 'llama', 'scores': [0.0]}, '290 tokens with 1 scores'),
    ({'types': [1]}, '290 tokens with 1 types'),
    ({'tokens': ['a'] * 290}, '290 tokens, 1 of them different'),
    ({'tokens': [f'x{i}' for i in range(290)]}, 'damaged merges'),
])
def test_another_kind_is_refused(tmp_path, fields, words):
  assert words in refusal(write_gguf(tmp_path / 'a.gguf', **fields))


def test_a_file_without_tokenizer_is_refused(tmp_path):
  path = tmp_path / 'a.gguf'
  writer = gguf.GGUFWriter(path, 'llama')
  writer.write_header_to_file()
  writer.write_kv_data_to_file()
  writer.close()
  assert 'no metadata field tokenizer.ggml.model' in refusal(path)


@pytest.mark.parametrize('pre, parts', [
    # Cut by hand: contractions, words with what is before them, numbers (one
    # or up to three digits), punctuation with newlines, spaces but the last.
    ('llama-bpe', ['It', "'s", ' cafe', '\u0301', '123', '45', ' +', '  ', ' x',
                   '!!\n\n', 'a', '_b']),
    ('qwen2', ['It', "'s", ' caf\u00e9', *'12345', ' +', '  ', ' x', '!!\n\n',
               'a', '_b']),
])
def test_text_is_cut_as_the_pre_tokenizer_says(tmp_path, pre, parts):
  tokenizer = tokenizer_lib.load(write_gguf(tmp_path / 'a.gguf', pre=pre))
  text = "It's cafe\u030112345 +   x!!\n\na_b"
  assert ''.join(parts) in (text, text.replace('e\u0301', '\u00e9'))
  cut = tokenizer._special.pre_tokenizer.pre_tokenize_str(''.join(parts))
  spans = [span for _, span in cut]
  assert [''.join(parts)[a:b] for a, b in spans] == parts
  # Only Qwen's composes characters first.
  composed = tokenizer.encode('\u00e9')
  assert (tokenizer.encode('e\u0301') == composed) == (pre == 'qwen2')
  assert tokenizer.decode(tokenizer.encode(text)) == ''.join(parts)


def test_llama_takes_a_whole_word_that_no_merge_gives(tmp_path):
  # 'cats' is a token, but its parts do not merge into it.
  model = families.byte_level(CHAT)
  vocab = {**model.get_vocab(), 'cats': 263}
  assert sorted(vocab.values()) == list(range(264))
  model.model = tokenizers.models.BPE(vocab, list(families.MERGES))
  whole = {}
  for pre in ('llama-bpe', 'qwen2'):
    path = write_gguf(tmp_path / pre, pre=pre, model=model)
    whole[pre] = tokenizer_lib.load(path).encode('cats')
  assert whole['llama-bpe'] == [263]
  assert len(whole['qwen2']) == 2


def test_tokens_of_the_user_are_not_found_in_text_and_not_special(tmp_path):
  model = families.byte_level(CHAT, ('<think>',))
  model.model = tokenizers.models.BPE(
      model.get_vocab(), list(families.MERGES))
  types = [3] * 3 + [1] * 260 + [4]
  tokenizer = tokenizer_lib.load(write_gguf(
      tmp_path / 'a.gguf', pre='qwen2', model=model, types=types))
  plain = tokenizer.encode('a<think>b')
  ids = tokenizer.encode('a<think>b', specials=True)
  assert len(ids) == 3 and ids[1] == 263 and 263 not in plain
  assert tokenizer.decode(ids) == tokenizer.decode(plain) == 'a<think>b'
  assert list(tokenizer.special_ids) == list(CHAT)


def test_sentencepiece_gives_the_ids_of_the_model_inside(tmp_path):
  data = families.gemma_pieces()
  (tmp_path / 'a.model').write_bytes(data)
  original = tokenizer_lib.load(tmp_path / 'a.model')
  tokenizer = tokenizer_lib.load(write_gemma(tmp_path / 'a.gguf', data))
  texts = [*families.LINES, ' a  b', 'x\n\ny\n', '<b></s>', '\u00e9',
           '<end_of_turn>', '<unk>']
  for text in texts:
    assert tokenizer.encode(text) == original.encode(text)
    assert tokenizer.decode(tokenizer.encode(text)) == text
  for name in ('bos_id', 'bos_token', 'pad_id', 'vocab_size'):
    assert getattr(tokenizer, name) == getattr(original, name)
  # The end of turn that its template writes comes first.
  assert tokenizer.stop_ids == (5, 1) and original.stop_ids == (1, 5)


def test_one_piece_is_unknown_whatever_the_types_say(tmp_path):
  data = families.gemma_pieces()
  types = [piece.type for piece in proto.ModelProto.FromString(data).pieces]
  assert types.index(2) == 3 and types.count(2) == 1
  types[4] = 2  # <start_of_turn>
  tokenizer = tokenizer_lib.load(write_gemma(tmp_path / 'a.gguf', data, types))
  assert tokenizer.special_ids['<start_of_turn>'] == 4
  assert '<unk>' not in tokenizer.special_ids
