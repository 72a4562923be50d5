"""Small tokenizers with the special tokens and turns of real model families.

The templates are written for these tests; they give the turns of the families,
not their texts.
"""

import dataclasses
import io
import json

import sentencepiece
import tokenizers

MERGES = (('c', 'a'), ('ca', 't'), ('Ċ', '1'), ('Ċ', 'Ċ'))
"""Of the byte-level tokenizers: 'cat', a newline and a 1, two newlines."""

GEMMA = """\
{{ bos_token }}{% if messages[0].role == 'system' %}
{{ raise_exception('no system here') }}{% endif %}
{% for m in messages %}
{{ '<start_of_turn>' + ('model' if m.role == 'assistant' else m.role) + '\\n' }}
{{- m.content | trim }}<end_of_turn>
{% endfor %}
{% if add_generation_prompt %}{{ '<start_of_turn>model\\n' }}{% endif %}"""

LLAMA = """\
{{ bos_token }}{% set day = '26 Jul 2024' %}
{% if strftime_now is defined %}{% set day = strftime_now('%d') %}{% endif %}
{{ '<|start_header_id|>system<|end_header_id|>\\n\\nDay: ' + day }}<|eot_id|>
{%- for m in messages %}
{{ '<|start_header_id|>' + m.role + '<|end_header_id|>\\n\\n' }}
{{- m.content | trim + '<|eot_id|>' }}
{%- endfor %}
{% if add_generation_prompt %}
{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}"""

CHATML = """\
{% if SYSTEM and messages[0].role != 'system' %}
{{ '<|im_start|>system\\n' + SYSTEM + '<|im_end|>\\n' }}{% endif %}
{%- for m in messages %}
{{- '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"""

QWEN3 = CHATML.replace('SYSTEM', "''").replace(
    'm.content', "m.content.split('</think>')[-1]") + """
{%- if add_generation_prompt and enable_thinking is false %}
{{- '<think>\\n\\n</think>\\n\\n' }}{% endif %}"""

CHATML_TOKENS = ('<|endoftext|>', '<|im_start|>', '<|im_end|>')


@dataclasses.dataclass(frozen=True)
class Family:
  """A family: its tokens, template and what has to come of them.

  Attributes:
    specials: names, with ids from 0.
    template: Jinja text.
    bos, eos: of tokenizer_config.json.
    begins: whether tokenizer.json puts `bos` before a text.
    eos_ids: of generation_config.json.
    question: tokens of the first prompt with the question '1cat '.
    splice: tokens of the splice with the instruction '1cat '.
    stops: names.
    ordinary: tokens found in any text.
  """

  specials: tuple[str, ...]
  template: str
  bos: str | None
  eos: str
  begins: bool
  eos_ids: int | list[int]
  question: tuple[str, ...]
  splice: tuple[str, ...]
  stops: tuple[str, ...]
  ordinary: tuple[str, ...] = ()


def _turn(start, role, *rest):
  return (start, *role, *rest)


_GEMMA_USER = _turn('<start_of_turn>', 'user', 'Ċ1', 'cat', '<end_of_turn>',
                    'Ċ', '<start_of_turn>', *'model', 'Ċ')
_LLAMA_USER = ('<|start_header_id|>', *'user', '<|end_header_id|>', 'Ċ', 'Ċ1',
               'cat', '<|eot_id|>', '<|start_header_id|>', *'assistant',
               '<|end_header_id|>', 'ĊĊ')
_CHATML_USER = ('<|im_start|>', *'user', 'Ċ1', 'cat', 'Ġ', '<|im_end|>', 'Ċ',
                '<|im_start|>', *'assistant', 'Ċ')

FAMILIES = {
    'gemma2': Family(
        ('<pad>', '<eos>', '<bos>', '<start_of_turn>', '<end_of_turn>'), GEMMA,
        '<bos>', '<eos>', True, 1, ('<bos>', *_GEMMA_USER),
        ('Ċ', *_GEMMA_USER), ('<end_of_turn>', '<eos>')),
    'gemma3': Family(
        ('<pad>', '<eos>', '<bos>', '<start_of_turn>', '<end_of_turn>'), GEMMA,
        '<bos>', '<eos>', True, [1, 4], ('<bos>', *_GEMMA_USER),
        ('Ċ', *_GEMMA_USER), ('<end_of_turn>', '<eos>')),
    'llama3': Family(
        ('<|begin_of_text|>', '<|end_of_text|>', '<|start_header_id|>',
         '<|end_header_id|>', '<|eom_id|>', '<|eot_id|>'), LLAMA,
        '<|begin_of_text|>', '<|eot_id|>', True, [1, 4, 5],
        ('<|begin_of_text|>', '<|start_header_id|>', *'system',
         '<|end_header_id|>', 'ĊĊ', *'Day:', 'Ġ', *'26ĠJulĠ2024', '<|eot_id|>',
         *_LLAMA_USER),
        _LLAMA_USER, ('<|eot_id|>', '<|end_of_text|>', '<|eom_id|>')),
    'smollm2': Family(
        CHATML_TOKENS, CHATML.replace('SYSTEM', "'Be kind'"),
        '<|im_start|>', '<|im_end|>', False, 2,
        ('<|im_start|>', *'system', 'Ċ', *'BeĠkind', '<|im_end|>', 'Ċ',
         *_CHATML_USER),
        ('Ċ', *_CHATML_USER), ('<|im_end|>',)),
    'qwen2.5': Family(
        CHATML_TOKENS, CHATML.replace('SYSTEM', "'Be Q'"),
        None, '<|im_end|>', False, [2, 0],
        ('<|im_start|>', *'system', 'Ċ', *'BeĠQ', '<|im_end|>', 'Ċ',
         *_CHATML_USER),
        ('Ċ', *_CHATML_USER), ('<|im_end|>', '<|endoftext|>')),
    'qwen3': Family(
        CHATML_TOKENS, QWEN3, None, '<|im_end|>', False, [2, 0],
        (*_CHATML_USER, '<think>', 'ĊĊ', '</think>', 'ĊĊ'),
        ('Ċ', *_CHATML_USER, '<think>', 'ĊĊ', '</think>', 'ĊĊ'),
        ('<|im_end|>', '<|endoftext|>'), ('<think>', '</think>')),
}


def byte_level(specials=(), ordinary=()) -> tokenizers.Tokenizer:
  """Bytes, the `MERGES`, special tokens with ids from 0, others at the end."""
  alphabet = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
  names = [*specials, *alphabet, *(a + b for a, b in MERGES)]
  model = tokenizers.Tokenizer(tokenizers.models.BPE(
      {name: i for i, name in enumerate(names)}, list(MERGES)))
  model.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(
      add_prefix_space=False, use_regex=False)
  model.decoder = tokenizers.decoders.ByteLevel()
  model.add_special_tokens(list(specials))
  model.add_tokens([
      tokenizers.AddedToken(name, normalized=False) for name in ordinary])
  return model


def write_json(folder, name, **config):
  """A folder with the tokenizer.json of a family; `config` wins."""
  family = FAMILIES[name]
  model = byte_level(family.specials, family.ordinary)
  if family.begins:
    model.post_processor = tokenizers.processors.TemplateProcessing(
        single=f'{family.bos} $A', special_tokens=[
            (family.bos, family.specials.index(family.bos))])
  model.save(str(folder / 'tokenizer.json'))
  write_config(folder, family, **config)
  (folder / 'generation_config.json').write_text(
      json.dumps({'eos_token_id': family.eos_ids}))
  return folder


def write_config(folder, family, **config):
  (folder / 'tokenizer_config.json').write_text(json.dumps({
      'bos_token': family.bos, 'eos_token': {'content': family.eos},
      'chat_template': family.template, **config}))


LINES = ['user', 'model', '1 cat and 23 cats', 'a<b> is <i>x</i>', 'the end of',
         'def f(x):\n  return x\n\n', 'turn and return, start of it', 'aaabbb']


def gemma_pieces() -> bytes:
  """A SentencePiece model in the manner of Gemma's.

  Its turns are pieces that the user defined, as are newlines, runs of spaces
  and tags of HTML ('</s>' of a line that is struck out).
  """
  model = io.BytesIO()
  sentencepiece.SentencePieceTrainer.train(
      sentence_iterator=iter(LINES * 5), model_writer=model, model_type='bpe',
      vocab_size=400, hard_vocab_limit=False, byte_fallback=True,
      normalization_rule_name='identity', add_dummy_prefix=False,
      remove_extra_whitespaces=False, split_digits=True,
      split_by_whitespace=False, pad_id=0, eos_id=1, bos_id=2, unk_id=3,
      eos_piece='<eos>', bos_piece='<bos>', num_threads=1, minloglevel=2,
      allow_whitespace_only_pieces=True, user_defined_symbols=[
          '<start_of_turn>', '<end_of_turn>', '\n', '\n\n', '\u2581\u2581',
          '<b>', '</s>'])
  return model.getvalue()
