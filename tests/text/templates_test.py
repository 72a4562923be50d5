"""Chat templates: turns by hand, trimming, templates that cannot be used."""

import sys
import time

import pytest

from score_jax.text import templates
from tests.text import families

TURN = '{{ m.content }}'
LOOP = '{% for m in messages %}' + TURN + '|{% endfor %}'

USER = '<|im_start|>user\n', '<|im_end|>\n<|im_start|>assistant\n'


def read(template, thinking=False):
  return templates.read_turns(template, '<bos>', '<eos>', thinking)


def refusal(template):
  with pytest.raises(ValueError) as error:
    read(template)
  words = str(error.value)
  assert words.startswith('the chat template of the tokenizer cannot be used: ')
  assert '\n' not in words and len(words) < 400
  return words


def test_gemma():
  after = '<end_of_turn>\n<start_of_turn>model\n'
  assert read(families.GEMMA) == templates.Turns(
      ('<bos><start_of_turn>user\n', after),
      ('<end_of_turn>\n<start_of_turn>user\n', after), True)


def test_llama_has_a_date_that_is_not_of_today():
  header = '<|start_header_id|>{}<|end_header_id|>\n\n'.format
  after = '<|eot_id|>' + header('assistant')
  system = '<bos>' + header('system') + 'Day: 26 Jul 2024<|eot_id|>'
  assert read(families.LLAMA) == templates.Turns(
      (system + header('user'), after),
      ('<|eot_id|>' + header('user'), after), True)


@pytest.mark.parametrize('system, before', [
    ("'Be kind'", '<|im_start|>system\nBe kind<|im_end|>\n'), ("''", '')])
def test_chatml_with_and_without_a_system_text(system, before):
  template = families.CHATML.replace('SYSTEM', system)
  assert read(template) == templates.Turns(
      (before + USER[0], USER[1]), ('<|im_end|>\n' + USER[0], USER[1]), False)


def test_thoughts_are_off_unless_asked_for():
  empty = '<think>\n\n</think>\n\n'
  assert read(families.QWEN3) == templates.Turns(
      (USER[0], USER[1] + empty),
      ('<|im_end|>\n' + USER[0], USER[1] + empty), False)
  assert read(families.QWEN3, thinking=True) == templates.Turns(
      USER, ('<|im_end|>\n' + USER[0], USER[1]), False)


def test_jinja_is_that_of_transformers():
  # Blocks take their line, loop controls, JSON without HTML escapes, a block
  # around answers, and the two tokens.
  template = (
      '  {% if true %}\n{{ bos_token }}{{ eos_token }}{% endif %}\n'
      "{{ {'a': '<é>'} | tojson }}"
      '{% for m in messages %}{% if loop.index > 3 %}{% break %}{% endif %}'
      '{% if m.role == "assistant" %}{% generation %}' + TURN
      + '{% endgeneration %}{% else %}{{ m.role }}:' + TURN
      + '{% endif %}|{% endfor %}')
  assert read(template) == templates.Turns(
      ('<bos><eos>{"a": "<é>"}user:', '|'), ('|user:', '|'), False)


@pytest.mark.parametrize('template, words', [
    ('{% for m in messages', 'unexpected end of template'),
    ('{{ raise_exception("not\nthis model") }}', 'not this model'),
    ('{{ messages[0].tool.name }}', 'no attribute'),
    ('{{ 1 / 0 }}', 'division by zero'),
    (LOOP + '{{ strftime_now("%Y") }}', 'must not depend on the clock'),
    ('hello', 'after 0 of 1 messages the next is written 0 times'),
    ('', 'after 0 of 1 messages the next is written 0 times'),
    (LOOP + LOOP, 'after 0 of 1 messages the next is written 2 times'),
    ('{% for m in messages[::-1] %}' + TURN + '{% endfor %}',
     'after 1 of 3 messages the next is written 0 times'),
    ('{% for m in messages %}{% if m.role == "user" %}' + TURN
     + '{% endif %}{% endfor %}', 'after 1 of 3 messages'),
    ('{{ messages[0].content }}', 'after 1 of 3 messages'),
    (LOOP.replace(TURN, '{{ m.content | upper }}'), 'after 0 of 1 messages'),
    (LOOP.replace(TURN, "{{ m.content.lstrip('\\n') }}"),
     'spaces around a message'),
    (LOOP.replace(TURN, "{{ m.content.strip('\\n') }}"),
     'trims some messages or spaces and others not'),
    (LOOP.replace(TURN, '{{ m.content.lstrip() }}'), 'spaces around a message'),
    (LOOP.replace(TURN, '{{ m.content | trim if loop.first else m.content }}'),
     'trims some messages or spaces and others not'),
    ("{{ ''.__class__.__mro__ }}", 'unsafe'),
    ('{{ 10 ** 10 ** 10 }}', 'only as a product of numbers'),
    ("{{ 'x' * 10 ** 9 }}", 'only as a product of numbers'),
])
def test_a_template_that_cannot_be_used_is_refused(template, words):
  assert words in refusal(template)


@pytest.mark.parametrize('body', ['x', '', '{% set x = messages | length %}'])
def test_a_template_that_does_not_end_is_refused(body):
  loop = '{% for i in range(90000) %}{% for i in range(90000) %}'
  start = time.monotonic()
  words = refusal(loop + body + '{% endfor %}{% endfor %}')
  assert 'it takes more than 1000000 steps' in words
  assert time.monotonic() - start < 30  # Two hours without a limit.


def test_the_tracer_of_the_caller_comes_back():
  tracer = lambda *_: None
  before = sys.gettrace()
  sys.settrace(tracer)
  try:
    read(LOOP)
    assert sys.gettrace() is tracer
    refusal('{{ 1 / 0 }}')
    assert sys.gettrace() is tracer
  finally:
    sys.settrace(before)
