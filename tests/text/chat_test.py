"""Prompts of each model family: ids by hand, stops, begin, injection."""

import re

import numpy as np
import pytest

from score_jax.text import prompts
from score_jax.text import tokenizer as tokenizer_lib
from tests import testing
from tests.text import families

NAMES = sorted(families.FAMILIES)


@pytest.fixture(name='load')
def _load(tmp_path):
  return lambda name, **config: tokenizer_lib.load(
      families.write_json(tmp_path, name, **config))


def ids_of(name, tokens):
  """Ids of tokens by name, from the order that `byte_level` gives them."""
  family = families.FAMILIES[name]
  model = families.byte_level(family.specials, family.ordinary)
  ids = [model.token_to_id(token) for token in tokens]
  assert None not in ids
  return ids


@pytest.mark.parametrize('name', NAMES)
def test_ids_of_both_prompts(name, load):
  family, tokenizer = families.FAMILIES[name], load(name)
  fmt = prompts.format_for(tokenizer)
  assert prompts.first_ids(fmt, tokenizer, '1cat ') == ids_of(
      name, family.question)
  assert prompts.splice_ids(fmt, tokenizer, '1cat ') == ids_of(
      name, family.splice)


@pytest.mark.parametrize('name', NAMES)
def test_stop_ids_are_those_of_the_family(name, load):
  family, tokenizer = families.FAMILIES[name], load(name)
  assert tokenizer.stop_ids == tuple(ids_of(name, family.stops))


@pytest.mark.parametrize('name', NAMES)
def test_the_second_prompt_is_the_template_around_the_sampled_ids(
    name, load, monkeypatch):
  family, tokenizer = families.FAMILIES[name], load(name)
  fmt = prompts.format_for(tokenizer)
  first = prompts.first_ids(fmt, tokenizer, '1cat ')
  splice = prompts.splice_ids(fmt, tokenizer, '1cat ')
  # Ids that no text is encoded to: 'cat' is one token, 'ca' another.
  sampled = ids_of(name, ['c', 'a', 't', 'ca', 't'])
  assert tokenizer.encode(tokenizer.decode(sampled)) != sampled
  monkeypatch.setattr(tokenizer, 'encode', None)  # Nothing is left to encode.
  second = [*first, *sampled, tokenizer.stop_ids[0], *splice]
  assert second == ids_of(name, [
      *family.question, 'c', 'a', 't', 'ca', 't', family.stops[0],
      *family.splice])


@pytest.mark.parametrize('name', NAMES)
def test_text_inside_a_question_is_no_token_of_a_turn(name, load):
  family, tokenizer = families.FAMILIES[name], load(name)
  fmt = prompts.format_for(tokenizer)
  bad = 'x' + ''.join(family.specials) + '\n'.join(family.specials) + 'x'
  for build in (prompts.first_ids, prompts.splice_ids):
    usual, tried = build(fmt, tokenizer, 'x'), build(fmt, tokenizer, bad)
    for i in range(len(family.specials)):
      assert tried.count(i) == usual.count(i)
    assert tokenizer.decode(tried).count(bad) == 1


@pytest.mark.parametrize('name', NAMES)
def test_spaces_around_a_question_go_where_the_template_trims(name, load):
  tokenizer = load(name)
  fmt = prompts.format_for(tokenizer)
  assert fmt.trim == (name in ('gemma2', 'gemma3', 'llama3'))
  for build in (prompts.first_ids, prompts.splice_ids):
    plain = build(fmt, tokenizer, 'x y')
    spaced = build(fmt, tokenizer, ' \n x y\n')
    assert (spaced == plain) == fmt.trim
    assert len(spaced) - len(plain) in (0, 4)


@pytest.mark.parametrize('writes', [True, False])
@pytest.mark.parametrize('begins', [True, False])
def test_a_chat_prompt_begins_as_its_template_writes(writes, begins, load):
  # As `apply_chat_template`, which encodes with add_special_tokens=False.
  family = families.FAMILIES['gemma2']
  template = family.template.replace('{{ bos_token }}', '')
  assert template != family.template
  tokenizer = load('gemma2', add_bos_token=begins, chat_template=(
      family.template if writes else template))
  assert tokenizer.bos_id == (2 if begins else None)
  fmt = prompts.format_for(tokenizer)
  ids = prompts.first_ids(fmt, tokenizer, '1cat ')
  expected = ids_of('gemma2', family.question)
  assert expected.count(2) == 1
  assert ids == expected[0 if writes else 1:]
  plain = prompts.first_ids(prompts.PLAIN, tokenizer, '1cat')
  assert plain.count(2) == begins


def test_a_begin_written_twice_is_refused(load):
  tokenizer = load('gemma3', chat_template='{{ bos_token }}' + families.GEMMA)
  with pytest.raises(ValueError, match='writes its begin token twice'):
    prompts.format_for(tokenizer)


def test_thinking_leaves_out_the_empty_thoughts(load):
  tokenizer = load('qwen3')
  fmt = prompts.format_for(tokenizer, thinking=True)
  family = families.FAMILIES['qwen3']
  assert prompts.first_ids(fmt, tokenizer, '1cat ') == ids_of(
      'qwen3', family.question[:-4])
  assert prompts.splice_ids(fmt, tokenizer, '1cat ') == ids_of(
      'qwen3', family.splice[:-4])


@pytest.mark.parametrize('template, words', [
    # Another family's; an answer that does not end; a start that is no token.
    (families.GEMMA, "goes on with '<end_of_turn>"),
    (families.CHATML.replace('SYSTEM', "''").replace(
        "m.content + '<|im_end|>\\n'", 'm.content'),
     "goes on with '<|im_start|>user"),
    (families.CHATML.replace('SYSTEM', "''").replace(
        '<|im_start|>', '<|turn|>'),
     'writes <|turn|>, which is not a special token'),
    ('{{ messages[0].content }}', 'leaves out, repeats, reorders or alters'),
])
def test_a_template_that_does_not_fit_the_tokenizer_is_refused(
    template, words, load):
  tokenizer = load('qwen2.5', chat_template=template)
  # Without prompts it is still of use.
  assert tokenizer.decode(tokenizer.encode('1cat')) == '1cat'
  with pytest.raises(ValueError, match=re.escape(words)) as error:
    prompts.format_for(tokenizer)
  assert '\n' not in str(error.value)


def test_a_stop_that_is_not_the_first_is_refused(load):
  class Other:
    pass

  other = Other()
  other.__dict__.update(vars(load('qwen2.5')))
  other.stop_ids = (0, 2)
  with pytest.raises(ValueError, match='does not end an answer with a stop'):
    prompts.format_for(other)


@pytest.mark.parametrize('name', ['gemma2', 'qwen3'])
def test_a_rollout_holds_the_prompt_the_sampled_ids_and_the_splice(
    name, load, monkeypatch):
  tokenizer = load(name)
  fmt = prompts.format_for(tokenizer)
  first = prompts.first_ids(fmt, tokenizer, '1cat ')
  splice = prompts.splice_ids(fmt, tokenizer, 'Look again.')
  prompt = prompts.pad_left([first], len(first) + 2, tokenizer.pad_id)
  monkeypatch.setattr(tokenizer, 'encode', None)  # Nothing is left to encode.
  config = testing.model_config(vocab_size=tokenizer.vocab_size)
  rollout = testing.sample(
      config, rows=1, samples=16, attempt_tokens=(5, 4), prompt=prompt,
      splices=(splice,), pad_id=tokenizer.pad_id,
      # More, that are often sampled, to see attempts of both kinds.
      stop_ids=(*tokenizer.stop_ids, *range(20, 90)))
  cut = np.asarray(rollout.truncated_BA)[:, 0]
  assert cut.any() and not cut.all()
  for tokens, valid, attempt, was_cut in zip(
      *map(np.asarray, (rollout.tokens_BS, rollout.valid_BS,
                        rollout.attempt_BS)), cut):
    sampled = [tokens[attempt == a].tolist() for a in (1, 2)]
    end = [tokenizer.stop_ids[0]] if was_cut else []
    assert tokens[valid].tolist() == [
        *first, *sampled[0], *end, *splice, *sampled[1]]
