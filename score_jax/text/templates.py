"""Chat templates: the Jinja text of a tokenizer, rendered into turns.

Rendered as `transformers` does (trim_blocks, lstrip_blocks, loop controls,
`raise_exception`, `tojson`), in a sandbox. Clock and chance are kept out: there
is no `strftime_now`, so a template that asks for today's date writes the fixed
date that it has for such a case, and a prompt is the same on every day.

A template is compiled and rendered in a process of `rendering`, with limits of
processor time, memory and wall time, and only when a tokenizer is loaded:
prompts are put together from the turns.
"""

import dataclasses
import functools
import json
import os
import pathlib
import signal
import subprocess
import sys

_SCRIPT = pathlib.Path(__file__).with_name('rendering.py')
CPU_S, MEMORY_BYTES, WALL_S = 5, 2**30, 60
"""Most processor time, address space and wall time of the process."""


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
    ValueError: the template fails, asks for what is not there, takes too long
      or too much memory, or leaves out, repeats, reorders or alters the
      messages.
  """
  answer = _answer(template, bos, eos, bool(thinking))
  if isinstance(answer, str):
    raise _refusal(answer)
  question, instruction, trim = answer
  return Turns(tuple(question), tuple(instruction), trim)


def _refusal(words):
  return ValueError(
      'the chat template of the tokenizer cannot be used: '
      + ' '.join(words.split())[:300]
  )


@functools.lru_cache(maxsize=64)  # A tokenizer's is read more than once.
def _answer(template, bos, eos, thinking) -> list | str:
  """The fields of `Turns`, or why there are none."""
  request = {
      'template': template, 'bos': bos, 'eos': eos, 'thinking': thinking,
      'path': [part for part in sys.path if os.path.isabs(part)]}
  try:
    done = subprocess.run(
        [sys.executable, '-I', str(_SCRIPT), str(CPU_S), str(MEMORY_BYTES)],
        cwd='/', check=False,
        input=json.dumps(request).encode(), stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, timeout=WALL_S, start_new_session=True)
  except subprocess.TimeoutExpired as error:
    raise _refusal(f'it takes more than {WALL_S} s') from error
  except OSError as error:
    raise _refusal(f'no process to render it: {error.strerror}') from error
  if done.returncode:
    return _ended(done.returncode)
  answer = json.loads(done.stdout)
  return answer.get('refusal') or answer['turns']


def _ended(code):
  """Why the process gave no answer."""
  if code in (-signal.SIGXCPU, -signal.SIGKILL):
    return f'it takes more than {CPU_S} s of processor time'
  if code < 0:
    return f'its rendering ended with {signal.Signals(-code).name}'
  return f'its rendering ended with exit code {code}'
