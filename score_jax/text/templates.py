"""Chat templates: the Jinja text of a tokenizer, rendered into turns.

Rendered as `transformers` does (trim_blocks, lstrip_blocks, loop controls,
`raise_exception`, `tojson`), in a sandbox. The clock is kept out: there is no
`strftime_now`, so a template that asks for today's date writes the fixed date
that it has for such a case, and a prompt is the same on every day.
"""

from collections.abc import Callable
from collections.abc import Sequence
import contextlib
import dataclasses
import json
import sys

import jinja2
from jinja2 import ext
from jinja2 import sandbox

QUESTION, ANSWER, INSTRUCTION = 'scoreQUESTION', 'scoreANSWER', 'scoreAGAIN'
"""Stand in for the messages; what is rendered around them are the turns."""

SPACES = ('\n', ' ')
"""Put around a message, in turn, to see whether the template trims it."""

STEPS = 1_000_000
"""Most steps of a rendering: lines of the compiled template and calls."""


@dataclasses.dataclass(frozen=True)
class Turns:
  """The text around the messages of a conversation.

  Attributes:
    question: before and after the first question, up to where the answer
      begins.
    instruction: from the end of the answer up to the next message of the user,
      and after that up to where the next answer begins.
    trim: whether messages lose the spaces and newlines around them.
  """

  question: tuple[str, str]
  instruction: tuple[str, str]
  trim: bool


def read_turns(
    template: str, bos: str, eos: str, thinking: bool = False
) -> Turns:
  """The turns of a chat template.

  Args:
    template: Jinja text.
    bos: the token that the template knows as `bos_token`, or ''.
    eos: likewise `eos_token`.
    thinking: `enable_thinking`, for templates that know it.

  Raises:
    ValueError: the template fails, asks for what is not there, takes too long,
      or leaves out, repeats, reorders or alters the messages.
  """
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
    raise _refusal('it trims some messages or spaces and others not')
  return Turns(tuple(question), tuple(pieces[-2:]), trims.pop())


def _refusal(words):
  return ValueError(
      'the chat template of the tokenizer cannot be used: '
      + ' '.join(words.split())[:300]
  )


def _trims(render, messages, pieces, space):
  """Whether space around the last message is gone from the rendering."""
  padded = _pieces(
      render((*messages[:-1], space + messages[-1] + space)), messages)
  kept = [*pieces[:-2], pieces[-2] + space, space + pieces[-1]]
  if padded not in (pieces, kept):
    raise _refusal('it changes the spaces around a message, but not all')
  return padded == pieces


def _pieces(text: str, messages: Sequence[str]) -> list[str]:
  """What stands before, between and after the messages."""
  pieces = []
  for message in messages:
    if text.count(message) != 1:
      raise _refusal(
          'it leaves out, repeats, reorders or alters a message: after '
          f'{len(pieces)} of {len(messages)} messages the next is written '
          f'{text.count(message)} times'
      )
    before, _, text = text.partition(message)
    pieces.append(before)
  return [*pieces, text]


def _renderer(template, variables) -> Callable[[Sequence[str]], str]:
  """Renders messages that alternate between the user and the assistant."""
  environment = _Environment(
      trim_blocks=True, lstrip_blocks=True,
      extensions=[ext.loopcontrols, _Generation])
  environment.filters['tojson'] = _tojson
  environment.globals['raise_exception'] = _raise

  def render(contents):
    messages = [
        {'role': 'assistant' if i % 2 else 'user', 'content': content}
        for i, content in enumerate(contents)]
    try:
      compiled = environment.from_string(template)
      with _bounded(STEPS):
        return compiled.render(messages=messages, **variables)
    except Exception as error:  # A foreign program: anything may come.
      words = str(error) or type(error).__name__
      if 'strftime_now' in words:
        words += '; prompts must not depend on the clock'
      raise _refusal(words) from error

  return render


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


class _Environment(sandbox.ImmutableSandboxedEnvironment):
  """A sandbox without products that could fill the memory in one step."""

  intercepted_binops = frozenset(['*', '**'])

  def call_binop(self, context, operator, left, right):
    numbers = isinstance(left, int | float) and isinstance(right, int | float)
    if operator == '**' or not numbers:
      raise jinja2.exceptions.SecurityError(
          f'{operator} is allowed only as a product of numbers')
    return left * right


class _Generation(ext.Extension):
  """{% generation %}: marks answers for other programs, writes nothing."""

  tags = {'generation'}

  def parse(self, parser):
    next(parser.stream)
    return parser.parse_statements(['name:endgeneration'], drop_needle=True)


def _raise(message):
  raise jinja2.exceptions.TemplateError(message)


def _tojson(value, ensure_ascii=False, indent=None, separators=None,
            sort_keys=False):
  # Jinja's own escapes HTML.
  return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent,
                    separators=separators, sort_keys=sort_keys)
