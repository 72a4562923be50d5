"""Small tokenizers of every kind that is read, with added tokens to find.

Each entry of `BUILDERS` writes a tokenizer into a folder and returns its path.
`added_names` reads the names of its added tokens from its files, without the
code under test.
"""

import io
import json
import pathlib

import sentencepiece
from sentencepiece import sentencepiece_model_pb2 as proto
import tokenizers

from score_jax.text import gguf_file
from tests.text import families
from tests.text import gguf_tokenizer_test
from tests.text import tokenizer_test

USER, MODEL, END = '<｜User｜>', '<｜Assistant｜>', '<｜end▁of▁sentence｜>'
DEEPSEEK = (
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}"
    "{{ '" + USER + "' + m.content }}{% else %}{{ '" + MODEL
    + "' + m.content.split('</think>')[-1] + eos_token }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}{{ '" + MODEL
    + "<think>\\n' }}{% endif %}")
TURN = ("{% for m in messages %}{{ '<turn>' + m.role + '\\n' + m.content"
        " + '</turn>\\n' }}{% endfor %}{% if add_generation_prompt %}"
        "{{ '<turn>assistant\\n' }}{% endif %}")
MARKS = ('<turn>', '</turn>', '<tool call>', 'TOOL', '<\u00c9tape>')


def _token(name, **flags):
  return tokenizers.AddedToken(name, **{'normalized': False, **flags})


def _save(folder, model, **config):
  model.save(str(folder / 'tokenizer.json'))
  (folder / 'tokenizer_config.json').write_text(json.dumps(config))
  return folder


def _deepseek(folder):
  model = families.byte_level(('<｜begin▁of▁sentence｜>', END))
  model.add_tokens([_token(name) for name in (
      USER, MODEL, '<think>', '</think>', '<｜tool▁calls▁begin｜>')])
  return _save(folder, model, chat_template=DEEPSEEK, eos_token=END,
               bos_token='<｜begin▁of▁sentence｜>')


def _flags(**flags):
  """A byte-level tokenizer with all flags of added tokens."""

  def build(folder):
    model = families.byte_level(('</turn>',))
    model.normalizer = tokenizers.normalizers.NFC()
    model.add_tokens([_token(name, **flags) for name in MARKS])
    return _save(folder, model, chat_template=TURN, eos_token='</turn>')

  return build


def _words(folder):
  """Whole words of the vocabulary are tokens, and merges make added ones."""
  tokens = ['<', 't', 'u', 'r', 'n', '>', '/', 'o', 'l', 'T', 'O', 'L']
  parts = ['tu', 'rn', 'turn', '<turn', '<turn>', '</', '</turn', '</turn>',
           'TO', 'OL', 'TOOL', '<turn>t']
  merges = [('t', 'u'), ('r', 'n'), ('tu', 'rn'), ('<', 'turn'),
            ('<turn', '>'), ('<', '/'), ('</', 'turn'), ('</turn', '>'),
            ('T', 'O'), ('O', 'L'), ('TO', 'OL'), ('<turn>', 't')]
  alphabet = sorted(
      {*tokenizers.pre_tokenizers.ByteLevel.alphabet()} - {*tokens})
  names = [*tokens, *alphabet, *parts]
  model = tokenizers.Tokenizer(tokenizers.models.BPE(
      {name: i for i, name in enumerate(names)}, merges, ignore_merges=True))
  model.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(
      add_prefix_space=False, use_regex=False)
  model.decoder = tokenizers.decoders.ByteLevel()
  model.add_tokens([_token(name) for name in ('<turn>', '</turn>', 'TOOL')])
  return _save(folder, model, chat_template=TURN, eos_token='</turn>')


def _unigram(folder):
  letters = 'abcdefghijklmnopqrstuvwxyz<>/\u2581T OL\n'
  pieces = ['<unk>', '</turn>', '<turn>', 'TOOL', *letters,
            *(f'<0x{byte:02X}>' for byte in range(256))]
  model = tokenizers.Tokenizer(tokenizers.models.Unigram(
      [(piece, -1.0 - len(piece)) for piece in pieces], unk_id=0,
      byte_fallback=True))
  model.pre_tokenizer = tokenizers.pre_tokenizers.Metaspace(
      prepend_scheme='first')
  model.decoder = tokenizers.decoders.Sequence([
      tokenizers.decoders.ByteFallback(),
      tokenizers.decoders.Metaspace(prepend_scheme='first')])
  model.add_special_tokens(['<unk>', '</turn>'])
  model.add_tokens([_token('<turn>'), _token('TOOL', normalized=True)])
  return _save(folder, model, chat_template=TURN, eos_token='</turn>')


def _lower_case(kind):
  """A vocabulary of words in lower case, as tokenizers of BERT have it."""

  def build(folder):
    words = ['[UNK]', '</turn>', '<turn>', 'tool', 'user', 'cat', 'assistant',
             *'abcdefghijklmnopqrstuvwxyz0123456789<>/.?!', *(
                 '##' + c for c in 'abcdefghijklmnopqrstuvwxyz0123456789')]
    model = tokenizers.Tokenizer(kind(
        {word: i for i, word in enumerate(words)}, unk_token='[UNK]'))
    model.normalizer = tokenizers.normalizers.Sequence([
        tokenizers.normalizers.BertNormalizer(),
        tokenizers.normalizers.NFKC()])
    model.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    model.add_special_tokens(['[UNK]', _token('</turn>', normalized=True)])
    model.add_tokens([_token('<turn>', normalized=True, lstrip=True),
                      _token('TOOL', normalized=True)])
    return _save(folder, model, chat_template=TURN, eos_token='</turn>')

  return build


def _pieces(**options):
  """A SentencePiece model with turns that the user defined."""

  def build(folder):
    data = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(families.LINES * 5), model_writer=data,
        vocab_size=380, hard_vocab_limit=False, byte_fallback=True,
        num_threads=1, minloglevel=2, pad_id=0, eos_id=1, bos_id=2, unk_id=3,
        user_defined_symbols=['<turn>', '</turn>', 'TOOL', '<b>', '\u2581<in>',
                              '\n'], **options)
    (folder / 'tokenizer.model').write_bytes(data.getvalue())
    (folder / 'tokenizer_config.json').write_text(
        json.dumps({'chat_template': TURN, 'eos_token': '</turn>',
                    'additional_special_tokens': ['</turn>']}))
    return folder

  return build


def _byte_level_gguf(folder):
  model = families.byte_level(tokenizer_test.CHAT, ('<think>', '<tool>'))
  model.model = tokenizers.models.BPE(
      model.get_vocab(), list(families.MERGES))
  return gguf_tokenizer_test.write_gguf(
      folder / 'a.gguf', pre='llama-bpe', model=model,
      types=[3] * 3 + [1] * 260 + [4] * 2,
      template=families.CHATML.replace('SYSTEM', "''"))


BUILDERS = {
    **{name: lambda folder, name=name: families.write_json(folder, name)
       for name in families.FAMILIES},
    'deepseek': _deepseek,
    'plain flags': _flags(),
    'spaces around': _flags(lstrip=True, rstrip=True),
    'normalised': _flags(normalized=True),
    'whole words': _flags(single_word=True),
    'merges': _words,
    'unigram': _unigram,
    'word pieces': _lower_case(tokenizers.models.WordPiece),
    'words': _lower_case(tokenizers.models.WordLevel),
    'pieces': _pieces(model_type='bpe', add_dummy_prefix=True,
                      normalization_rule_name='nmt_nfkc'),
    'pieces in one case': _pieces(
        model_type='unigram', normalization_rule_name='nmt_nfkc_cf'),
    'gguf': _byte_level_gguf,
    'gguf of pieces': lambda folder: gguf_tokenizer_test.write_gemma(
        folder / 'a.gguf', families.gemma_pieces()),
}
LOSSY = {'word pieces', 'words', 'pieces', 'pieces in one case', 'unigram'}
"""Those whose normaliser changes text."""
OTHER_FILES = {'pieces', 'pieces in one case', 'gguf', 'gguf of pieces'}
"""Those that are no tokenizer.json."""


def added_names(path) -> dict[str, int]:
  """Ids of added tokens by name, from a tokenizer's files."""
  path = pathlib.Path(path)
  if path.is_dir():
    found = [*path.glob('tokenizer.json'), *path.glob('*.model'),
             *path.glob('*.gguf')]
    path = found[0]
  if path.suffix == '.json':
    tokens = json.loads(path.read_text())['added_tokens']
    return {token['content']: token['id'] for token in tokens}
  if path.suffix == '.model':
    pieces = proto.ModelProto.FromString(path.read_bytes()).pieces
    found = [(piece.piece, piece.type) for piece in pieces]
  else:
    reader = gguf_file.GgufFile(path)
    found = zip(reader.require('tokenizer.ggml.tokens', list),
                reader.require('tokenizer.ggml.token_type', list))
  return {name.replace('\u2581', ' ') if path.suffix == '.model' else name: i
          for i, (name, kind) in enumerate(found) if kind in (3, 4)}


