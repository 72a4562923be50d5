"""Programs that a model wrote: what their tests say of them.

Nothing here runs a program in this process, see `sandbox`. A pass cannot be
faked: a program never shares a process with its tests, nor sees them, and only
plain values and numbers of its objects come back from it, see `sandbox_wire`.
Which part of an answer is the program: see `program_text`.
"""

import ast
import hashlib
import json
import warnings

from score_jax.grading import blocks
from score_jax.grading import names_in_tests
from score_jax.grading import program_text
from score_jax.grading import sandbox as sandbox_lib

MAX_CHARACTERS = 100_000
"""A longer text is no program that anybody asked for: it fails."""


def judge(
    spec: str,
    text: str,
    *,
    sandbox: str = 'auto',
    cpu_s: float = 5.0,
    wall_s: float = 20.0,
    memory_bytes: int = 2**31,
) -> str:
  """What becomes of the program in a text.

  Args:
    spec: JSON of `tests`, a list of lines that assert something, or `test`, a
      text that defines `check(candidate)`; and perhaps of `setup`, which runs
      before them, `entry_point`, the function that is tested, and `prefix`,
      what the text may go on from.
    text: of a model, whatever it says.
    sandbox: see `sandbox.choose`.
    cpu_s: see `sandbox.Limits`; of the tests as well.
    wall_s: same.
    memory_bytes: same.

  Returns:
    'passed', 'failed', 'timeout' or 'crashed', see `sandbox.run`.

  Raises:
    ValueError: there are no tests, or nothing for `check` to check, or the
      sandbox does not work here.
  """
  fields = json.loads(spec)
  if not (fields.get('tests') or fields.get('test')):
    raise ValueError("a program has to have 'tests' or a 'test'; mend the data")
  if fields.get('test') and not fields.get('entry_point'):
    raise ValueError("a 'test' has to have an 'entry_point'; mend the data")
  if len(text) > MAX_CHARACTERS:
    return 'failed'
  if sandbox == 'auto':
    sandbox = sandbox_lib.choose(sandbox).name
  limits = sandbox_lib.Limits(cpu_s, wall_s, memory_bytes)
  return sandbox_lib.run(sandbox, fields, program_of(text, fields), limits)


def grade(spec: str, text: str, **limits) -> int:
  """1 if the program in a text passes its tests, else 0.

  Args:
    spec: see `judge`.
    text: same.
    **limits: same.

  Raises:
    TimeoutError: it was too slow.
    ValueError: see `judge`.
  """
  verdict = judge(spec, text, **limits)
  if verdict == 'timeout':
    raise TimeoutError
  return int(verdict == 'passed')


def check_tests(tests: list[str], setup: str, entry_point: str | None):
  """ValueError if tests say nothing of a program, whatever it is.

  Args:
    tests: see `judge`; the others as well.
  """
  text = '\n'.join(tests)
  with warnings.catch_warnings():
    warnings.simplefilter('ignore')
    for field, code in ('setup', setup), ('tests', text):
      try:
        compile(code, field, 'exec')
      # Of the last three: see `_parse`.
      except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ValueError(
            f'the field {field!r} is not Python ({error})') from error
    if not names_in_tests.uses_program(f'{setup}\n{text}', entry_point):
      named = f', as {entry_point!r}' if entry_point else ''
      raise ValueError(f"the field 'tests' uses nothing of a program{named}")
    if entry_point and not entry_point.isidentifier():
      raise ValueError(f"the field 'entry_point' is {entry_point!r}, which is "
                       'no name of a function or class; give the bare name')
    found = names_in_tests.read_names(f'{setup}\n{text}')
    if entry_point and entry_point not in found:
      _, names = names_in_tests.free_names(f'{setup}\n{text}', set(), None)
      raise ValueError(
          f"no test uses the field 'entry_point', {entry_point!r}, and every "
          f'program fails; the tests use {", ".join(sorted(names)[:5])}')
    if problem := names_in_tests.out_of_reach(f'{setup}\n{text}'):
      raise ValueError(f"the field 'tests' uses {problem}, which no sandbox "
                       'has for tests, and every program fails')


def program_of(text: str, spec: dict[str, str]) -> str:
  """Return the program in a text, after the prefix that it may continue.

  See `program_text.find` for the choice, which no test takes part in.
  """
  return program_text.find(text, spec.get('prefix') or '',
                           names_in_tests.of_program(spec))


def answer(text: str) -> str | None:
  """A name that all spellings of the program in a text share.

  Comments and layout make no difference. Nothing is run.

  Returns:
    32 hexadecimal digits; None if it is no program.
  """
  if len(text) > MAX_CHARACTERS:
    return None
  program = program_text.find(text)
  if not program.strip():
    return None
  tree = _parse(program) or _parse(f'def _():\n{program}')  # Bare body.
  return tree and hashlib.sha256(tree.encode()).hexdigest()[:32]


def _parse(program):
  tree, _ = blocks.parse(program)
  try:
    return tree and ast.dump(tree)
  except (RecursionError, MemoryError):
    return None
