"""Folders of tokenizers: which files count, what they say, writing them."""

import json
import os
import shutil

import pytest
import tokenizers

from score_jax.text import folders
from score_jax.text import prompts
from score_jax.text import tokenizer as tokenizer_lib
from tests.text import families
from tests.text.gguf_tokenizer_test import write_gemma
from tests.text.gguf_tokenizer_test import write_gguf


def refusal(call, *arguments):
  with pytest.raises(ValueError) as error:
    call(*arguments)
  assert '\n' not in str(error.value)
  return str(error.value)


def write(folder, name, **fields):
  (folder / name).write_text(json.dumps(fields))


def same(one, other):
  """Whether two tokenizers agree in everything that is asked of them."""
  names = ('vocab_size', 'pad_id', 'bos_id', 'stop_ids', 'bos_token',
           'eos_token', 'chat_template')
  texts = ['1cat ', 'a  b', '<|im_end|><end_of_turn></s><b>', '\u00e9\n\n', '']
  return (
      [getattr(one, name) for name in names]
      == [getattr(other, name) for name in names]
      and all(one.encode(text, specials=specials)
              == other.encode(text, specials=specials)
              for text in texts for specials in (False, True)))


def test_json_comes_before_model_before_gguf(tmp_path):
  write_gguf(tmp_path / 'a.gguf')
  assert folders.choose_file(tmp_path).name == 'a.gguf'
  assert tokenizer_lib.load(tmp_path).vocab_size == 290
  (tmp_path / 'tokenizer.model').write_bytes(families.gemma_pieces())
  assert folders.choose_file(tmp_path).name == 'tokenizer.model'
  assert tokenizer_lib.load(tmp_path).stop_ids == (1, 5)
  families.write_json(tmp_path, 'qwen3')
  assert folders.choose_file(tmp_path).name == 'tokenizer.json'
  assert tokenizer_lib.load(tmp_path).stop_ids == (2, 0)


def test_a_folder_without_one_tokenizer_is_refused(tmp_path):
  words = refusal(tokenizer_lib.load, tmp_path)
  for name in ('tokenizer.json', 'tokenizer.model', 'GGUF', str(tmp_path)):
    assert name in words
  for name in 'ab':
    write_gguf(tmp_path / f'{name}.gguf')
  assert '2 GGUF files, name the one to load: a.gguf, b.gguf' in refusal(
      tokenizer_lib.load, tmp_path)


@pytest.mark.parametrize('token', ['<|im_start|>', {'content': '<|im_start|>'}])
def test_names_of_tokens_are_texts_or_objects(tmp_path, token):
  families.write_json(tmp_path, 'qwen3', bos_token=token, add_bos_token=True,
                      pad_token=token)
  tokenizer = tokenizer_lib.load(tmp_path)
  assert (tokenizer.bos_token, tokenizer.bos_id) == ('<|im_start|>', 1)
  assert tokenizer.pad_id == 1


def test_special_tokens_map_fills_in(tmp_path):
  families.write_json(tmp_path, 'qwen3', eos_token=None)
  write(tmp_path, 'special_tokens_map.json', eos_token='<|endoftext|>',
        bos_token='<|im_start|>', pad_token={'content': '<|endoftext|>'})
  tokenizer = tokenizer_lib.load(tmp_path)
  assert tokenizer.eos_token == '<|endoftext|>'
  assert tokenizer.bos_token == '<|im_start|>' and tokenizer.bos_id is None
  assert tokenizer.pad_id == 0
  families.write_json(tmp_path, 'qwen3', bos_token='<|im_end|>')
  assert tokenizer_lib.load(tmp_path).bos_token == '<|im_end|>'


@pytest.mark.parametrize('eos, stops', [
    (None, (5, 1)),  # Nothing said: the special tokens with known names.
    (1, (5, 1)), ([4, 1], (5, 4, 1)), ([5, 4], (5, 4)), ([], (5, 1))])
def test_stops_are_the_end_of_turn_and_those_of_the_generation_config(
    tmp_path, eos, stops):
  families.write_json(tmp_path, 'llama3')
  write(tmp_path, 'config.json', eos_token_id=3)  # A last resort.
  write(tmp_path, 'generation_config.json', eos_token_id=eos)
  assert tokenizer_lib.load(tmp_path).stop_ids == stops


def test_the_model_config_is_the_last_resort(tmp_path):
  families.byte_level(('<end>', '<begin>')).save(
      str(tmp_path / 'tokenizer.json'))
  assert 'no token to stop an attempt with' in refusal(
      tokenizer_lib.load, tmp_path)
  write(tmp_path, 'config.json', eos_token_id=[0])
  assert tokenizer_lib.load(tmp_path).stop_ids == (0,)
  write(tmp_path, 'tokenizer_config.json', eos_token='<begin>')
  assert tokenizer_lib.load(tmp_path).stop_ids == (1,)


@pytest.mark.parametrize('file, fields, words', [
    ('generation_config.json', {'eos_token_id': '2'}, 'must hold ids, got 2'),
    ('generation_config.json', {'eos_token_id': [True]}, 'must hold ids'),
    ('generation_config.json', {'eos_token_id': [-1]}, 'must hold ids'),
    ('generation_config.json', {'eos_token_id': 999}, 'stop token 999, but'),
    ('special_tokens_map.json', {'pad_token': 3}, 'name of a token'),
    ('tokenizer_config.json', {'chat_template': {'a': 1}}, 'must be a text'),
    ('tokenizer_config.json', {'chat_template': [
        {'name': 'tool_use', 'template': ''}]}, "is named 'default'"),
])
def test_files_that_say_nonsense_are_refused(tmp_path, file, fields, words):
  families.write_json(tmp_path, 'qwen3')
  write(tmp_path, file, **fields)
  found = refusal(tokenizer_lib.load, tmp_path)
  assert words in found and str(tmp_path) in found


def test_a_stop_of_another_tokenizer_is_refused(tmp_path):
  families.write_json(tmp_path, 'qwen3')
  tokenizer = tokenizer_lib.load(tmp_path)
  letter = tokenizer.encode('e')
  write(tmp_path, 'generation_config.json', eos_token_id=letter)
  found = refusal(tokenizer_lib.load, tmp_path)
  assert "the text 'e' inside a question would end its turn" in found
  assert f'the token {letter[0]}; take the generation_config.json' in found


def test_a_damaged_file_beside_is_refused(tmp_path):
  families.write_json(tmp_path, 'qwen3')
  (tmp_path / 'generation_config.json').write_text('{"eos_')
  assert 'generation_config.json is damaged' in refusal(
      tokenizer_lib.load, tmp_path)


def test_the_template_of_several_and_of_its_own_file(tmp_path):
  families.write_json(tmp_path, 'qwen3', chat_template=[
      {'name': 'tool_use', 'template': 'no'},
      {'name': 'default', 'template': families.QWEN3}])
  assert tokenizer_lib.load(tmp_path).chat_template == families.QWEN3
  template = families.CHATML.replace('SYSTEM', "'Be kind'")
  (tmp_path / 'chat_template.jinja').write_text(template)
  tokenizer = tokenizer_lib.load(tmp_path)
  assert tokenizer.chat_template == template
  assert 'Be kind' in prompts.format_for(tokenizer).question[0]
  (tmp_path / 'chat_template.jinja').write_bytes(b'\xff')
  assert 'chat_template.jinja is damaged' in refusal(
      tokenizer_lib.load, tmp_path)


def test_a_folder_is_saved_as_it_is(tmp_path):
  source, target = tmp_path / 'source', tmp_path / 'a' / 'b'
  source.mkdir()
  families.write_json(source, 'gemma3', odd='kept')
  (source / 'chat_template.jinja').write_text(families.GEMMA)
  (source / 'model.safetensors').write_text('weights')
  write(source, 'config.json', eos_token_id=1)
  tokenizer = tokenizer_lib.load(source)
  tokenizer.save(target)
  tokenizer.save(target)
  saved = {path.name: path.read_bytes() for path in target.iterdir()}
  assert set(saved) == {
      'tokenizer.json', 'tokenizer_config.json', 'chat_template.jinja',
      'generation_config.json'}
  for name, data in saved.items():
    assert data == (source / name).read_bytes()
  assert same(tokenizer_lib.load(target), tokenizer)
  tokenizer.save(source)  # Onto itself.
  assert same(tokenizer_lib.load(source), tokenizer)
  shutil.rmtree(source)
  assert 'no longer there' in refusal(tokenizer.save, target)


def _model(folder):
  (folder / 'a.model').write_bytes(families.gemma_pieces())
  return folder / 'a.model'


MAKERS = {
    'bytes': lambda folder: write_gguf(
        folder / 'a.gguf', template=families.QWEN3, pre='qwen2'),
    'bytes that begin': lambda folder: write_gguf(
        folder / 'a.gguf', template=families.QWEN3, add_bos=True, pad=0),
    'pieces': _model,
    'pieces of GGUF': lambda folder: write_gemma(
        folder / 'a.gguf', families.gemma_pieces()),
}


@pytest.mark.parametrize('kind', MAKERS)
def test_what_has_no_folder_is_written_out(tmp_path, kind):
  tokenizer = tokenizer_lib.load(MAKERS[kind](tmp_path))
  tokenizer.save(tmp_path / 'saved')
  again = tokenizer_lib.load(tmp_path / 'saved')
  assert same(again, tokenizer)
  if tokenizer.chat_template:
    formats = [prompts.format_for(t) for t in (tokenizer, again)]
    assert formats[0] == formats[1]
  config = json.loads(
      (tmp_path / 'saved' / 'tokenizer_config.json').read_text())
  marks = config['additional_special_tokens']
  # Those that have no other role.
  assert marks == (
      ['<start_of_turn>', '<end_of_turn>'] if 'pieces' in kind else [])


def test_the_begin_is_in_the_file_that_is_written(tmp_path):
  for begins in (True, False):
    path = write_gguf(tmp_path / f'{begins}.gguf', add_bos=begins)
    tokenizer_lib.load(path).save(tmp_path / 'saved')
    saved = tokenizers.Tokenizer.from_file(
        str(tmp_path / 'saved' / 'tokenizer.json'))
    assert (saved.encode('a').ids[0] == 1) == begins


def test_a_place_that_cannot_be_written_is_refused(tmp_path):
  (tmp_path / 'file').write_text('')
  families.write_json(tmp_path, 'qwen3')
  for path in (tmp_path, _model(tmp_path)):
    words = refusal(tokenizer_lib.load(path).save, tmp_path / 'file')
    assert words.startswith('cannot ') and str(tmp_path / 'file') in words


FILES = ('tokenizer.json', 'tokenizer_config.json', 'special_tokens_map.json',
         'generation_config.json', 'config.json', 'added_tokens.json',
         'chat_template.jinja', 'tokenizer.model', 'a.gguf')
LFS = ('version https://git-lfs.github.com/spec/v1\noid sha256:'
       f'{"0" * 64}\nsize 17209920\n')


def write_one(folder, name):
  """A folder whose tokenizer needs the file `name`."""
  if name == 'tokenizer.model':
    (folder / name).write_bytes(families.gemma_pieces())
  elif name == 'a.gguf':
    write_gguf(folder / name)
  else:
    families.write_json(folder, 'qwen3')
  return folder / name


@pytest.mark.parametrize('name', FILES)
@pytest.mark.parametrize('kind, words', [
    ('pipe', 'is a pipe or device'), ('folder', 'is a folder'),
    ('link', 'is a link to blobs/nothing, which is not there'),
    ('loop', 'is a link to '), ('pointer', '`git lfs pull`')])
def test_what_is_no_whole_file_is_refused_by_name(name, kind, words, tmp_path):
  path = write_one(tmp_path, name)
  path.unlink(missing_ok=True)
  if kind == 'pipe':
    os.mkfifo(path)
  elif kind == 'folder':
    path.mkdir()
  elif kind == 'pointer':
    path.write_text(LFS)
  else:
    path.symlink_to('blobs/nothing' if kind == 'link' else path)
  for given in (tmp_path, path) if path.name in (
      'tokenizer.json', 'tokenizer.model', 'a.gguf') and (
          kind != 'folder') else (tmp_path,):
    found = refusal(tokenizer_lib.load, given)
    assert words in found and str(path) in found


def test_links_to_files_and_devices_are_told_apart(tmp_path):
  path = write_one(tmp_path, 'tokenizer.json')
  path.rename(tmp_path / 'blob')
  path.symlink_to('blob')
  assert tokenizer_lib.load(path).stop_ids == (2, 0)
  path.unlink()
  path.symlink_to('/dev/null')
  assert 'is a pipe or device' in refusal(tokenizer_lib.load, tmp_path)
