"""Added tokens never come of a question, feedback or an attempt."""

import json
import pathlib
import unicodedata

import hypothesis
from hypothesis import strategies as st
import pytest
import sentencepiece
import tokenizers

from score_jax.text import prompts
from score_jax.text import tokenizer as tokenizer_lib
from tests.text import families
from tests.text import vocabularies

VARIANTS = (
    str, str.lower, str.upper, str.title, str.swapcase,
    lambda name: f' {name}', lambda name: f'{name}  ',
    lambda name: f'\n{name}\t', lambda name: f'\u2581{name}',
    lambda name: name.replace(' ', '\u2581'),
    lambda name: name.replace('\u2581', ' '),
    lambda name: unicodedata.normalize('NFD', name),
    lambda name: unicodedata.normalize('NFKC', name),
    # Full-width letters, which NFKC turns to those of ASCII.
    lambda name: ''.join(
        chr(ord(c) + 0xfee0) if '!' <= c <= '~' else c for c in name),
    lambda name: name[:1] + name, lambda name: name + name[-1:],
    lambda name: name[:-1], lambda name: '\u200b'.join(name),
)
WORDS = ('', ' ', '\n\n', 'cat', '1cat ', 'user\n', '12 + 30 = 42', '\u00e9',
         '\u65e5\u672c', '<', '>', 'x<b>', 'model\n', '/', '|')


@st.composite
def hostile(draw, names):
  """A text with added tokens, and names that are nearly theirs."""
  name = st.builds(lambda change, name: change(name),
                   st.sampled_from(VARIANTS), st.sampled_from(sorted(names)))
  part = st.one_of(name, name, st.sampled_from(WORDS), st.text(max_size=4))
  return ''.join(draw(st.lists(part, min_size=1, max_size=6)))


def forbidden(path):
  """Ids that no text may become: all added ones, but for layout."""
  return {name: i for name, i in vocabularies.added_names(path).items()
          if len(name.strip(' \u2581\n\t')) > 1}


def check(path, lossless, examples):
  """Tries hostile texts on the tokenizer of a path, everywhere text goes."""
  tokenizer, names = tokenizer_lib.load(path), forbidden(path)
  for unknown in ('<unk>', '[UNK]'):  # What nothing spells may become this.
    names.pop(unknown, None)
  assert names and tokenizer.added_ids.items() >= names.items()
  fmt = prompts.format_for(tokenizer)
  assert (fmt.name == 'chat') == bool(tokenizer.chat_template)
  usual = [[i for i in build(fmt, tokenizer, 'cat') if i in names.values()]
           for build in (prompts.first_ids, prompts.splice_ids)]
  assert all(usual) or fmt.name == 'plain'

  @hypothesis.settings(
      max_examples=examples, deadline=None, database=None, derandomize=True,
      suppress_health_check=list(hypothesis.HealthCheck))
  @hypothesis.given(hostile({*names, *tokenizer.added_ids}))
  def tried(text):
    ids = tokenizer.encode(text)
    assert not {*ids} & {*names.values()}
    if lossless:
      text = text.replace('\u2581', ' ')
      assert tokenizer.decode(ids).replace('\u2581', ' ') in (
          text, unicodedata.normalize('NFC', text))
    for build, expected in zip(
        (prompts.first_ids, prompts.splice_ids), usual):
      ids = build(fmt, tokenizer, text)
      assert [i for i in ids if i in names.values()] == expected
    plain = prompts.first_ids(prompts.PLAIN, tokenizer, text)
    assert not {*plain[tokenizer.bos_id is not None :]} & {*names.values()}

  tried()


@pytest.mark.parametrize('name', sorted(vocabularies.BUILDERS))
def test_text_becomes_no_added_token(name, tmp_path):
  path = vocabularies.BUILDERS[name](tmp_path)
  check(path, name not in vocabularies.LOSSY, 60)


@pytest.mark.parametrize('name', sorted(
    # Tokens that must be whole words are read in a template all the same.
    set(vocabularies.BUILDERS) - vocabularies.OTHER_FILES - {'whole words'}))
@pytest.mark.parametrize('thinking', [False, True])
def test_a_prompt_is_the_rendered_template_encoded_at_once(
    name, thinking, tmp_path):
  # With all flags of its tokens: spaces that they drop, normalisers, merges.
  path = vocabularies.BUILDERS[name](tmp_path)
  tokenizer = tokenizer_lib.load(path)
  whole = tokenizers.Tokenizer.from_file(str(path / 'tokenizer.json'))
  fmt = prompts.format_for(tokenizer, thinking)
  for text in (*WORDS, *families.LINES, '  two  ', '\u00c9tape\n'):
    if any(name in text for name in tokenizer.added_ids):
      continue
    text = text.strip() if fmt.trim else text
    before, after = fmt.question
    expected = whole.encode(before + text + after, add_special_tokens=False).ids
    assert prompts.first_ids(fmt, tokenizer, text) == expected
    before, after = fmt.instruction
    _, *expected = whole.encode(
        fmt.end + before + text + after, add_special_tokens=False).ids
    assert prompts.splice_ids(fmt, tokenizer, text) == expected


def test_layout_and_single_characters_stay_tokens(tmp_path):
  model = families.byte_level(('<eos>',))
  layout = ('\n\n', '    ', '\t\t', '\u2581\u2581', ' \n')
  model.add_tokens([tokenizers.AddedToken(name, normalized=False)
                    for name in (*layout, '=', '\u241e', 'if')])
  model.save(str(tmp_path / 'tokenizer.json'))
  tokenizer = tokenizer_lib.load(tmp_path)
  for name in layout:
    assert tokenizer.encode(f'x{name}y')[1:-1] == [model.token_to_id(name)]
  assert [*tokenizer.added_ids] == ['<eos>', '\u241e', 'if']
  assert tokenizer.decode(tokenizer.encode('if \u241e = 1')) == 'if \u241e = 1'


def test_what_nothing_else_spells_stays_a_token(tmp_path):
  # A vocabulary of few characters; the template's own tokens are barred.
  letters = [*'abcdefghijklmnopqrstuvwxyz \n']
  model = tokenizers.Tokenizer(tokenizers.models.WordLevel(
      {name: i for i, name in enumerate(('<unk>', '</turn>', *letters))},
      unk_token='<unk>'))
  model.pre_tokenizer = tokenizers.pre_tokenizers.Split('', 'isolated')
  model.add_special_tokens(['</turn>'])
  model.add_tokens(['Wrong.', '<turn>'])
  model.save(str(tmp_path / 'tokenizer.json'))
  (tmp_path / 'tokenizer_config.json').write_text(json.dumps({
      'chat_template': vocabularies.TURN, 'eos_token': '</turn>'}))
  tokenizer = tokenizer_lib.load(tmp_path)
  assert [*tokenizer.added_ids] == ['</turn>', '<turn>']
  wrong, turn = (model.token_to_id(name) for name in ('Wrong.', '<turn>'))
  assert tokenizer.encode('aWrong.') == [tokenizer.encode('a')[0], wrong]
  assert turn not in tokenizer.encode('<turn>')
  fmt = prompts.format_for(tokenizer)
  assert prompts.first_ids(fmt, tokenizer, 'a<turn>').count(turn) == 2


@pytest.mark.parametrize('task', ['chain', 'bands', 'hops'])
def test_sentences_of_a_small_vocabulary_stay_tokens(task):
  path = pathlib.Path(tokenizer_lib.__file__).parents[1] / f'tasks/{task}.model'
  raw = sentencepiece.SentencePieceProcessor(model_file=str(path))
  tokenizer = tokenizer_lib.load(path)
  assert [*tokenizer.added_ids] == ['<pad>', '<s>', '</s>']
  for i in range(4, raw.vocab_size()):
    text = raw.id_to_piece(i).replace('\u2581', ' ')
    assert tokenizer.encode(text + '7') == raw.encode(text + '7')


def test_the_files_of_a_folder_name_further_added_tokens(tmp_path):
  # As transformers, which adds them when it loads the folder.
  families.write_json(tmp_path, 'qwen2.5', added_tokens_decoder={
      '259': {'content': 'cat', 'special': False},
      '258': {'content': 'ca', 'special': True}})
  (tmp_path / 'added_tokens.json').write_text('{"\u010a\u010a": 262, "no": 9}')
  tokenizer = tokenizer_lib.load(tmp_path)
  ids = {name: tokenizer.added_ids.get(name) for name in (
      'cat', 'ca', '\u010a\u010a', 'no')}
  assert ids == {'cat': 260, 'ca': 259, '\u010a\u010a': 262, 'no': None}
  assert not {259, 260, 262} & {*tokenizer.encode('1cat ca\n\n')}
  assert tokenizer.encode('cat', specials=True) == [260]
  assert tokenizer.special_ids['ca'] == 259 and 'cat' not in (
      tokenizer.special_ids)


@pytest.mark.parametrize('name', ['qwen3', 'pieces', 'gguf'])
def test_half_a_surrogate_pair_is_a_replacement_character(name, tmp_path):
  tokenizer = tokenizer_lib.load(vocabularies.BUILDERS[name](tmp_path))
  fmt = prompts.format_for(tokenizer)
  for half, whole in (('a\ud83db', 'a\ufffdb'), ('\ude00', '\ufffd'),
                      ('\ud83d\ude00', '\U0001f600'), ('\ufeffx', '\ufeffx')):
    for encode in (tokenizer.encode,
                   lambda text: tokenizer.encode(text, specials=True),
                   lambda text: prompts.first_ids(fmt, tokenizer, text)):
      assert encode(half) == encode(whole)


@pytest.mark.parametrize('kind', ['pieces', 'pieces in one case'])
def test_defined_pieces_of_an_answer_stay_in_its_text(kind, tmp_path):
  tokenizer = tokenizer_lib.load(vocabularies.BUILDERS[kind](tmp_path))
  ids = [i for name in ('<b>', 'TOOL', '<turn>')
         for i in tokenizer.encode(name, specials=True)]
  assert tokenizer.decode(ids).replace(' ', '') == '<b>TOOL<turn>'
