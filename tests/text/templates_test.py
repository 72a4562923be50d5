"""Chat templates: turns by hand, trimming, templates that cannot be used."""

import json
import subprocess
import sys

import jinja2
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
  words = refusal(loop + body + '{% endfor %}{% endfor %}')
  assert 'it takes more than 1000000 steps' in words


X = "{% set ns = namespace(x='xxxxxxxxxx', n=9999999) %}"
FORTY = X + '{% for i in range(40) %}{% set '
MEMORY, CPU, DEEP, LONG, POWER = (
    'it needs more than 256 MiB of memory', 'more than 1 s of processor time',
    'nested too deeply', 'more than 1000000 characters',
    'only as a product of numbers')


@pytest.mark.parametrize('template, words', [
    # Computed while the template is compiled.
    ('{{ [1]|slice(1000000000)|list|length }}', CPU),
    ("{{ 'x'|center(9999999999)|length }}", MEMORY),
    ("{{ '%9999999999d'|format(1)|length }}", MEMORY),
    ("{{ [1]|batch(1000000000, 'x')|list|length }}", MEMORY),
    ("{{ [1]|tojson(indent=999999999)|length }}", MEMORY),
    # In one call.
    ("{{ 'x'.center(9999999999) }}", MEMORY),
    ("{{ '%9999999999d' % 1 }}", MEMORY),
    ("{{ '{:9999999999}'.format(1) }}", MEMORY),
    ("{{ 'x'.ljust(9999999999) }}", MEMORY),
    ("{{ '1'.zfill(99999999999) }}", MEMORY),
    ("{{ 'a\n'|indent(999999999999) }}", MEMORY),
    ("{{ (1).to_bytes(9999999999, 'big')|length }}", MEMORY),
    ("{{ '" + 'a' * 999 + "'" + f".replace('a', '{'a' * 999}')" * 3 + ' }}',
     MEMORY),
    # Step by step.
    (FORTY + 'ns.x = ns.x ~ ns.x %}{% endfor %}', MEMORY),
    (FORTY + 'ns.x = ns.x + ns.x %}{% endfor %}', MEMORY),
    (FORTY + 'ns.n = ns.n * ns.n %}{% endfor %}' + LOOP, CPU),
    ('{{ 9 ** 9 ** 9 ** 9 }}', POWER),
    ('{{ [0] * 9999999999 }}', POWER),
    ('{% for i in range(99999999999) %}{% endfor %}', 'Range too big'),
    # In depth and in length.
    ('{{ ' + '(' * 99999 + '1' + ')' * 99999 + ' }}', DEEP),
    ('{{ ' + '[' * 5000 + ']' * 5000 + ' }}', DEEP),
    ('{{ ' + '-' * 50_000 + '1 }}', DEEP),
    ('{% if true %}' * 3000 + 'x' + '{% endif %}' * 3000, DEEP),
    ('{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}', DEEP),
    ('{% for i in range(90000) %}xxxxxxxxxxxx{% endfor %}', LONG),
    ("{{ 'x'.center(2000000) }}", LONG),
    ('x' * 1_000_001, LONG),
    # Chance.
    ('{{ [1, 2]|random }}', "No filter named 'random'"),
    ('{{ lipsum() }}', "'lipsum' is undefined"),
])
def test_a_template_that_takes_too_much_is_refused(
    template, words, monkeypatch):
  # One of the two limits is far away, so that the other one comes first.
  cpu_s, memory_bytes = (1, 2**33) if words is CPU else (99, 2**28)
  monkeypatch.setattr(templates, 'CPU_S', cpu_s)
  monkeypatch.setattr(templates, 'MEMORY_BYTES', memory_bytes)
  assert words in refusal(template)


def test_a_template_is_refused_after_the_wall_limit(monkeypatch):
  monkeypatch.setattr(templates, 'WALL_S', 0)
  assert 'it takes more than 0 s' in refusal(LOOP + 'wall')


@pytest.mark.parametrize('program, words', [
    ('import os; os.kill(os.getpid(), 11)', 'ended with SIGSEGV'),
    ('import os; os.kill(os.getpid(), 9)', 'more than 5 s of processor time'),
    ('exit(3)', 'ended with exit code 3'),
])
def test_a_process_that_ends_without_an_answer_is_refused(
    program, words, tmp_path, monkeypatch):
  script = tmp_path / 'script.py'
  script.write_text(program)
  monkeypatch.setattr(templates, '_SCRIPT', script)
  assert words in refusal(f'{LOOP}{words}')


def test_a_template_is_compiled_in_the_process_alone(monkeypatch):
  monkeypatch.setattr(jinja2.Environment, 'from_string', None)
  monkeypatch.setattr(jinja2.Environment, 'compile', None)
  assert read(LOOP + 'alone').trim is False


def test_a_template_is_rendered_once(monkeypatch):
  read(LOOP + 'once')
  monkeypatch.setattr(templates.subprocess, 'run', None)
  assert read(LOOP + 'once') == read(LOOP + 'once')


def test_the_process_imports_no_jax_and_no_numpy(tmp_path):
  # `sys.modules` after one request, by a script instead of the real one.
  script = tmp_path / 'script.py'
  script.write_text(
      templates._SCRIPT.read_text().replace('  json.dump(answer, sys.stdout)', (
          "  answer = {'refusal': ' '.join(sorted("
          "{name.split('.')[0] for name in sys.modules}))}\n"
          '  json.dump(answer, sys.stdout)')))
  request = {'path': sys.path, 'template': LOOP, 'bos': '', 'eos': '',
             'thinking': False}
  done = subprocess.run(
      [sys.executable, '-I', str(script), '5', str(2**30)], check=True,
      input=json.dumps(request).encode(), stdout=subprocess.PIPE)
  loaded = json.loads(done.stdout)['refusal'].split()
  assert 'jinja2' in loaded
  assert not {'jax', 'numpy', 'score_jax', 'tokenizers'} & {*loaded}
