"""Renders a chat template around stand-ins for messages, in a process alone.

A template is a foreign program: a constant in it is computed while it is
compiled, and one filter can fill the memory. So `templates` runs this file as a
script, which limits itself before it reads anything. It knows the standard
library and jinja2 alone.

    argv    most seconds of processor time, and bytes of address space
    stdin   {"path", "template", "bos", "eos", "thinking"}; `path` is sys.path
    stdout  {"turns": [question, instruction, trim]} or {"refusal": words}
"""

from collections.abc import Callable
from collections.abc import Sequence
import contextlib
import json
import resource
import sys

QUESTION, ANSWER, INSTRUCTION = 'scoreQUESTION', 'scoreANSWER', 'scoreAGAIN'
"""Stand in for the messages; what is rendered around them are the turns."""

SPACES = ('\n', ' ')
"""Put around a message, in turn, to see whether the template trims it."""

STEPS = 1_000_000
"""Most steps of a rendering: lines of the compiled template and calls."""
MOST_CHARACTERS = 1_000_000
"""Of the template, and of the turns that it writes."""


class Refusal(Exception):
  """The template cannot be used."""


def main():
  """Answers one request."""
  cpu_s, memory_bytes = map(int, sys.argv[1:])
  _limit(cpu_s, memory_bytes)
  request = json.load(sys.stdin)
  sys.path[:] = request.pop('path')
  try:
    answer = {'turns': turns(**request)}
  except Refusal as error:
    answer = {'refusal': str(error)}
  except MemoryError:
    answer = {
        'refusal': f'it needs more than {memory_bytes >> 20} MiB of memory'}
  except RecursionError:
    answer = {'refusal': 'it is nested too deeply'}
  json.dump(answer, sys.stdout)


def _limit(cpu_s, memory_bytes):
  """Bounds what this process can take; the system ends it beyond that."""
  for name, most in (('CORE', 0), ('FSIZE', 0), ('CPU', cpu_s),
                     ('AS', memory_bytes)):
    with contextlib.suppress(ValueError, OSError):  # macOS has no limit AS.
      resource.setrlimit(getattr(resource, f'RLIMIT_{name}'), (most, most))


def turns(template: str, bos: str, eos: str, thinking: bool) -> list:
  """Return `question`, `instruction` and `trim` of `templates.Turns`.

  Raises:
    Refusal: as the ValueError of `templates.read_turns`.
  """
  if len(template) > MOST_CHARACTERS:
    raise Refusal(f'it has more than {MOST_CHARACTERS} characters')
  render = _renderer(template, {
      'bos_token': bos, 'eos_token': eos, 'enable_thinking': thinking,
      'add_generation_prompt': True, 'tools': None, 'documents': None})
  first = (QUESTION,)
  second = (QUESTION, ANSWER, INSTRUCTION)
  question = _pieces(render(first), first)
  pieces = _pieces(render(second), second)
  trims = {_trims(render, messages, found, space) for space in SPACES
           for messages, found in ((first, question), (second, pieces))}
  if len(trims) > 1:
    raise Refusal('it trims some messages or spaces and others not')
  return [question, pieces[-2:], trims.pop()]

def _trims(render, messages, pieces, space):
  """Whether space around the last message is gone from the rendering."""
  padded = _pieces(
      render((*messages[:-1], space + messages[-1] + space)), messages)
  kept = [*pieces[:-2], pieces[-2] + space, space + pieces[-1]]
  if padded not in (pieces, kept):
    raise Refusal('it changes the spaces around a message, but not all')
  return padded == pieces


def _pieces(text: str, messages: Sequence[str]) -> list[str]:
  """Return the text before, between and after the messages."""
  pieces = []
  for message in messages:
    if text.count(message) != 1:
      raise Refusal(
          'it leaves out, repeats, reorders or alters a message: after '
          f'{len(pieces)} of {len(messages)} messages the next is written '
          f'{text.count(message)} times'
      )
    before, _, text = text.partition(message)
    pieces.append(before)
  return [*pieces, text]


def _renderer(template, variables) -> Callable[[Sequence[str]], str]:
  """Renders messages that alternate between the user and the assistant."""
  compiled = _guarded(_environment().from_string, template)

  def render(contents):
    messages = [
        {'role': 'assistant' if i % 2 else 'user', 'content': content}
        for i, content in enumerate(contents)]
    with _bounded(STEPS):
      text = _guarded(compiled.render, messages=messages, **variables)
    if len(text) > MOST_CHARACTERS:
      raise Refusal(f'it writes more than {MOST_CHARACTERS} characters')
    return text

  return render


def _guarded(call, *arguments, **variables):
  """The result of a foreign program, from which any exception may come."""
  try:
    return call(*arguments, **variables)
  except (MemoryError, RecursionError):
    raise
  except Exception as error:
    words = str(error) or type(error).__name__
    if 'strftime_now' in words:
      words += '; prompts must not depend on the clock'
    raise Refusal(words) from error


@contextlib.contextmanager
def _bounded(steps):
  """Ends what runs too long; counts steps, so not a matter of the machine."""
  left = steps

  def trace(frame, event, argument):
    nonlocal left
    left -= 1
    if left < 0:
      raise RuntimeError(f'it takes more than {steps} steps')
    return trace

  before = sys.gettrace()
  sys.settrace(trace)
  try:
    yield
  finally:
    sys.settrace(before)


def _environment():
  """Jinja as transformers sets it up, in a sandbox."""
  import jinja2  # Found on the path of the request.
  from jinja2 import ext
  from jinja2 import sandbox

  class Environment(sandbox.ImmutableSandboxedEnvironment):
    """A sandbox without products that could fill the memory in one step."""

    intercepted_binops = frozenset(['*', '**'])

    def call_binop(self, context, operator, left, right):
      numbers = (isinstance(left, int | float)
                 and isinstance(right, int | float))
      if operator == '**' or not numbers:
        raise jinja2.exceptions.SecurityError(
            f'{operator} is allowed only as a product of numbers')
      return left * right

  class Generation(ext.Extension):
    """{% generation %}: marks answers for other programs, writes nothing."""

    tags = {'generation'}

    def parse(self, parser):
      next(parser.stream)
      return parser.parse_statements(['name:endgeneration'], drop_needle=True)

  def fail(message):
    raise jinja2.exceptions.TemplateError(message)

  environment = Environment(
      trim_blocks=True, lstrip_blocks=True,
      extensions=[ext.loopcontrols, Generation])
  environment.filters['tojson'] = _tojson
  del environment.filters['random'], environment.globals['lipsum']
  environment.globals['raise_exception'] = fail
  return environment


def _tojson(value, ensure_ascii=False, indent=None, separators=None,
            sort_keys=False):
  # Jinja's own escapes HTML.
  return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent,
                    separators=separators, sort_keys=sort_keys)


if __name__ == '__main__':
  main()
