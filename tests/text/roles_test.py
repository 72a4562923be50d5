"""Roles of tokens: which names count, and when."""

import json

from score_jax.text import roles
from score_jax.text import tokenizer as tokenizer_lib
from tests.text import families


def test_a_longer_name_is_found_before_one_that_it_begins_with():
  pattern = roles.names_pattern(('<a', '<a>', 'b.'))
  assert pattern.findall('<a><ab.bc') == ['<a>', '<a', 'b.']
  assert roles.names_pattern(()).findall('any') == []


def test_a_known_name_that_is_not_special_is_no_stop(tmp_path):
  # Gemma's '</s>' ends a struck-out line of HTML.
  families.byte_level(('<eos>',), ('</s>',)).save(
      str(tmp_path / 'tokenizer.json'))
  tokenizer = tokenizer_lib.load(tmp_path)
  assert tokenizer.stop_ids == (0,)
  assert len(tokenizer.encode('</s>')) == 4


def test_a_model_file_begins_unless_told_not_to(tmp_path):
  (tmp_path / 'tokenizer.model').write_bytes(families.gemma_pieces())
  for add, begin in ((None, 2), (True, 2), (False, None)):
    (tmp_path / 'tokenizer_config.json').write_text(
        json.dumps({'add_bos_token': add}))
    tokenizer = tokenizer_lib.load(tmp_path)
    assert (tokenizer.bos_id, tokenizer.bos_token) == (begin, '<bos>')
