"""Tokenizers: ids, special tokens, files that are no tokenizers."""

import io
import json
import types

import numpy as np
import pytest
import sentencepiece
import tokenizers

from score_jax.text import tokenizer as tokenizer_lib

LINES = ['Mod 10: 7+5*3-8=?', '7+5=2, so 2', 'Check it and answer again.',
         '1 2 3 4 5 6 7 8 9 0', 'the end of it']
CHAT = ('<|endoftext|>', '<|im_start|>', '<|im_end|>')


def train_sentencepiece(**options):
  model = io.BytesIO()
  options = {
      'vocab_size': 60, 'hard_vocab_limit': False, 'character_coverage': 1.0,
      'normalization_rule_name': 'identity', 'add_dummy_prefix': False,
      'remove_extra_whitespaces': False, 'pad_id': 0, 'bos_id': 1, 'eos_id': 2,
      'unk_id': 3, 'num_threads': 1, 'minloglevel': 2, **options,
  }
  sentencepiece.SentencePieceTrainer.train(
      sentence_iterator=iter(LINES * 20), model_writer=model, **options)
  return model.getvalue()


def train_json(specials=CHAT, **added):
  model = tokenizers.Tokenizer(tokenizers.models.BPE())
  model.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(
      add_prefix_space=False)
  model.decoder = tokenizers.decoders.ByteLevel()
  trainer = tokenizers.trainers.BpeTrainer(
      vocab_size=290, show_progress=False, special_tokens=[
          tokenizers.AddedToken(name, **added) for name in specials],
      initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet())
  model.train_from_iterator(LINES * 20, trainer)
  return model


def refusal(path):
  with pytest.raises(ValueError) as error:
    tokenizer_lib.load(path)
  assert '\n' not in str(error.value)
  assert str(path) in str(error.value)
  return str(error.value)


@pytest.fixture(name='sp')
def _sp(tmp_path):
  path = tmp_path / 'a.model'
  path.write_bytes(train_sentencepiece())
  return tokenizer_lib.load(path)


@pytest.fixture(name='chat')
def _chat(tmp_path):
  path = tmp_path / 'tokenizer.json'
  train_json().save(str(path))
  return tokenizer_lib.load(path)


def test_sentencepiece_ids_of_roles(sp):
  assert (sp.pad_id, sp.bos_id, sp.stop_ids) == (0, 1, (2,))
  assert max(sp.encode(''.join(LINES))) < sp.vocab_size <= 60
  assert sp.chat_template == ''


def test_sentencepiece_adds_nothing_and_round_trips(sp):
  ids = sp.encode('Mod 10: 7+5=2')
  assert not {0, 1, 2} & set(ids)
  assert sp.decode(ids) == 'Mod 10: 7+5=2'
  assert sp.decode([0, 0, 1, *ids, 2, 0]) == 'Mod 10: 7+5=2'


def test_sentencepiece_decodes_arrays_and_drops_ids_beyond(sp):
  ids = [*sp.encode('so 2'), sp.vocab_size, 999]
  assert sp.decode(np.array(ids, np.int32)) == 'so 2'


def test_sentencepiece_reads_specials_only_where_told(sp):
  assert 2 not in sp.encode('so 2</s>')
  assert sp.encode('so 2</s>7', specials=True) == [
      *sp.encode('so 2'), 2, *sp.encode('7')]


def test_sentencepiece_without_pad_and_begin(tmp_path):
  path = tmp_path / 'a.model'
  path.write_bytes(train_sentencepiece(pad_id=-1, bos_id=-1, eos_id=1,
                                       unk_id=0))
  tokenizer = tokenizer_lib.load(path)
  assert (tokenizer.pad_id, tokenizer.bos_id) == (1, None)
  assert tokenizer.stop_ids == (1,)


def test_sentencepiece_without_end_is_refused(tmp_path):
  path = tmp_path / 'a.model'
  path.write_bytes(train_sentencepiece(eos_id=-1))
  assert 'no end piece' in refusal(path)


def test_sentencepiece_cut_anywhere_is_refused(tmp_path):
  whole = train_sentencepiece()
  path = tmp_path / 'a.model'
  # Some of these cuts fall between two pieces, where a model still loads.
  loadable = 0
  for size in range(1, len(whole) - 20):
    cut = whole[:size]
    try:
      sentencepiece.SentencePieceProcessor(model_proto=cut)
      loadable += 1
    except RuntimeError:
      pass
    path.write_bytes(cut)
    assert 'SentencePiece model' in refusal(path)
  assert loadable > 10


def test_json_ids_of_roles(chat):
  assert chat.stop_ids == (2, 0)
  assert (chat.pad_id, chat.bos_id) == (2, None)
  assert chat.vocab_size == 290


def test_json_reads_specials_only_where_told(chat):
  text = '7<|im_end|>\n<|im_start|>user\n'
  plain = chat.encode(text)
  assert not {0, 1, 2} & set(plain)
  assert chat.decode(plain) == text
  assert chat.encode(text, specials=True) == [
      *chat.encode('7'), 2, *chat.encode('\n'), 1, *chat.encode('user\n')]


def test_json_decode_drops_stops_specials_and_ids_beyond(chat):
  ids = chat.encode('so 2')
  assert chat.decode(np.array([2, 1, *ids, 0, 290, 999])) == 'so 2'


def test_json_begin_is_what_the_file_puts_in_front(tmp_path):
  model = train_json(('<s>', '</s>', '<pad>'))
  model.post_processor = tokenizers.processors.TemplateProcessing(
      single='<s> $A', special_tokens=[('<s>', 0)])
  model.enable_padding(length=20, pad_id=2)
  model.enable_truncation(2)
  path = tmp_path / 'tokenizer.json'
  model.save(str(path))
  tokenizer = tokenizer_lib.load(path)
  assert tokenizer.bos_id == 0
  assert tokenizer.stop_ids == (1,)
  assert tokenizer.pad_id == 2
  assert tokenizer.decode(tokenizer.encode(LINES[0])) == LINES[0]
  assert not {0, 2} & set(tokenizer.encode(LINES[0]))


def test_json_template_comes_from_the_file_beside(tmp_path):
  path = tmp_path / 'tokenizer.json'
  train_json().save(str(path))
  beside = tmp_path / 'tokenizer_config.json'
  beside.write_text(json.dumps({'chat_template': '<|im_start|>'}))
  assert tokenizer_lib.load(path).chat_template == '<|im_start|>'
  for damaged in ('{"chat_template":', '[]', '{"chat_template": [1]}',
                  '{"chat_template": {"a": 1}}', '{"eos_token": 7}'):
    beside.write_text(damaged)
    with pytest.raises(ValueError, match='tokenizer_config.json'):
      tokenizer_lib.load(path)


def test_json_whose_stop_is_not_special_keeps_it_out_of_text(tmp_path):
  path = tmp_path / 'tokenizer.json'
  model = train_json(())
  model.add_tokens(['<|im_end|>'])
  model.save(str(path))
  tokenizer = tokenizer_lib.load(path)
  stop, = tokenizer.stop_ids
  assert tokenizer.encode('<|im_end|>', specials=True) == [stop]
  assert stop not in tokenizer.encode('<|im_end|>')
  assert tokenizer.decode([*tokenizer.encode('<|im_end|>'), stop]) == (
      '<|im_end|>')


def test_json_whose_stop_is_ordinary_text_is_refused(tmp_path):
  path = tmp_path / 'tokenizer.json'
  model = train_json(())
  model.save(str(path))
  (tmp_path / 'config.json').write_text(
      json.dumps({'eos_token_id': model.token_to_id('e')}))
  assert "the text 'e' inside a question would end" in refusal(path)


def test_json_without_stop_is_refused(tmp_path):
  path = tmp_path / 'tokenizer.json'
  train_json(()).save(str(path))
  assert 'no token to stop an attempt with' in refusal(path)


@pytest.mark.parametrize('data', [
    b'', b'hello', b'{', b'{"version": "1.0"}', b'{"a": \xff}', b'\0' * 99,
    b'GGUF', b'PK\x03\x04' + b'\0' * 99, bytes(range(256)),
])
def test_foreign_files_are_refused(tmp_path, data):
  path = tmp_path / 'file'
  path.write_bytes(data)
  refusal(path)


def test_missing_files_are_refused(tmp_path):
  assert 'No such file' in refusal(tmp_path / 'nothing.model')
  assert 'neither tokenizer.json, nor tokenizer.model' in refusal(tmp_path)


def test_special_tokens_that_never_come_up_need_no_row():
  # As in Gemma 3: 10 rows, and id 10 is a token for images.
  fields = dict(vocab_size=11, stop_ids=(1,), pad_id=0, bos_id=2)
  images = types.SimpleNamespace(special_ids={'<image>': 10}, **fields)
  tokenizer_lib.check_fits(images, 10)
  with pytest.raises(ValueError, match='11 ids'):
    tokenizer_lib.check_fits(images, 9)  # Id 9 is ordinary.
  stops = types.SimpleNamespace(
      special_ids={'<stop>': 10}, **(fields | {'stop_ids': (10,)}))
  with pytest.raises(ValueError, match='11 ids'):
    tokenizer_lib.check_fits(stops, 10)


def test_check_fits(sp):
  tokenizer_lib.check_fits(sp, sp.vocab_size)
  tokenizer_lib.check_fits(sp, sp.vocab_size + 9)
  with pytest.raises(ValueError, match=f'has {sp.vocab_size} ids and config'):
    tokenizer_lib.check_fits(sp, sp.vocab_size - 1)
