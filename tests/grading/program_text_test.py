"""Where the program is in an answer, in many layouts; what is none."""

from concurrent import futures
import contextlib
import signal

import pytest

from score_jax.grading import programs
from score_jax.grading import sandbox
from tests.grading import layouts

_LIMITS = sandbox.Limits(20.0, 60.0, 2**31)

_PREFIX = ('from typing import List\n\n\ndef above(xs: List[int], y: int):\n'
           '    """ Those above y.\n    >>> above([1, 2], 1)\n    [2]\n'
           '    """\n')
_BODY = ('    found = []\n    for x in xs:\n        if x > y:\n'
         '            found.append(x)\n\n    return found\n')
_WRONG_BODY = _BODY.replace('x > y', 'x < y')
_CHECK = {
    'entry_point': 'above', 'prefix': _PREFIX,
    'test': 'def check(candidate):\n  assert candidate([3, 1, 2], 1) == [3, 2]'}
_WHOLE = ('import math\nLIMIT = 3\nTABLE = {}\nTABLE[0] = 1\n\n'
          'def helper(x):\n    """Doc.\n    ```\n    helper(1)\n    ```\n'
          '    """\n    return x + TABLE[0]\n\n'
          'def area(r):\n    return math.floor(helper(r) * LIMIT)\n')
_WRONG_WHOLE = _WHOLE.replace('LIMIT)', 'LIMIT) + 1')
_LINES = {'tests': ['assert area(1) == 6', 'assert area(2) == 9']}


def _check(jobs):
  """Which of (name, spec, text, whether it is right) are judged wrongly."""
  name = sandbox.choose('auto').name

  def is_wrong(job):
    _, spec, text, is_right = job
    program = programs.program_of(text, spec)
    verdict = sandbox.run(name, spec, program, _LIMITS)
    return (verdict == 'passed') != is_right

  with futures.ThreadPoolExecutor(4) as threads:
    return [job[0] for job, wrong in zip(jobs, threads.map(is_wrong, jobs))
            if wrong]


def test_a_body_counts_in_every_layout():
  forms = layouts.FENCED | layouts.PLAIN | layouts.BODY
  assert _check([
      ((name, is_right), _CHECK, form(body, 'above'), is_right)
      for name, form in forms.items()
      for body, is_right in ((_BODY, True), (_WRONG_BODY, False))]) == []


@pytest.mark.parametrize('spec, right, wrong, entry', [
    (_LINES, _WHOLE, _WRONG_WHOLE, 'area'),
    (_CHECK, _PREFIX + _BODY, _PREFIX + _WRONG_BODY, 'above'),
], ids=['tests', 'check'])
def test_a_program_counts_in_every_layout(spec, right, wrong, entry):
  forms = layouts.FENCED | layouts.PLAIN | layouts.WHOLE
  assert _check([
      ((name, is_right), spec, form(program, entry), is_right)
      for name, form in forms.items()
      for program, is_right in ((right, True), (wrong, False))]) == []


_ADD = 'def add(a, b):\n  return a + b'
_HELPED = 'def add(a, b):\n  return plus(a, b)'
_PLUS = 'def plus(a, b):\n  return a + b'
_MEMO = ('def add(a, b):\n  return MEMO.get((a, b), a + b)')


def _blocks(*codes):
  return '\n\nNext:\n\n'.join(f'```python\n{code}\n```' for code in codes)


@pytest.mark.parametrize('text, is_right', [
    (_blocks(_PLUS, _HELPED), True),
    (_blocks(_HELPED, _PLUS), True),
    (_blocks(_PLUS + '\nprint(plus("a", 1))\nassert plus(1, 1) == 3', _HELPED),
     True),
    (_blocks('import operator as o', 'def add(a, b): return o.add(a, b)'),
     True),
    (_blocks('MEMO = {}\nMEMO[1, 1] = 2', _MEMO), True),
    (_blocks('MEMO = {}\nMEMO[2, 3] = 4', _MEMO), False),
    (_blocks('x = 1', _ADD, 'x = add(1, "2")'), True),
    (_blocks(_ADD, 'def sub(a, b):\n  return add(a, -b)\nassert sub(1, 1)'),
     True),
    # The last that defines it counts, also if it is wrong or no Python.
    (_blocks(_ADD, 'def add(a, b):\n  return 0'), False),
    (_blocks(_ADD, 'def add(a, b):\n  return (a + b'), False),
    (_blocks('def add(a, b):\n  return 0', _ADD), True),
    (_blocks('def add(a, b:\n  return', _ADD), True),
    (_blocks('class add:\n  pass'), False),
    (_blocks('add = lambda a, b: a + b', 'print(add(1, 2))'), True),
    (f'<think>\n```python\n{_ADD}\n```\n', False),
    (f'<think>{_ADD}', False),
    (f'<think>\n{_ADD}\n</think>', False),
    (f'Is it\n{_ADD}\n?</think>\n\nI do not know.', False),
    (f'<thinking>\n{_blocks(_ADD)}\n</thinking>\nI do not know.', False),
    (f'{_blocks(_ADD)}\n<think>Is it right? ```python\ndef add', True),
    (f'<think>a</think>{_blocks(_ADD)}<think>b</think>', True),
    (f'Let\'s <think>it\'s hard</think>\n{_blocks(_ADD)}', True),
    ('def add(a, b):\n  "a <think> b"\n  return a + b', True),
    ('def add(a, b):\n  x = \'</think>\'\n  return a + b', True),
    ('def add(a, b):\n  s = "</s>", "[DONE]", "<|endoftext|>"\n'
     '  return a + b', True),
    ('def add(a, b):\n  x = DONE = 0\n  return [a + b][DONE]\n', True),
    ('def add(a, b):\n  """It\n\n  ```\n  add(1, 2)\n  ```\n  """\n'
     '  return a + b', True),
    (_blocks('def add(a, b):\n  """It\n\n```python\nadd(1, 2)\n```\n'
             '  """\n  return a + b'), True),
    ('```python def add(a, b): return a + b```', True),
    ('```python def add(a, b):\n  return a + b\n```', True),
    (f'The function is:\n\n{_ADD}\n\nIt adds.', True),
    (f'1. Code:\n\n    ```\n{_ADD}\n    ```', True),
    (f'```java\nint x;\n```\n{_blocks(_ADD)}', True),
    ('add', False),
    ('```python\n```', False),
    ('I would write add(a, b) with a return of a + b.', False),
])
def test_which_block_counts(text, is_right):
  spec = {'tests': ['assert add(2, 3) == 5', 'assert add(0, 1) == 1']}
  assert _check([(text, spec, text, is_right)]) == []


@pytest.mark.parametrize('text, is_right', [
    ('    return helper(x)\n\ndef helper(x):\n    return x / 2', True),
    ('    return helper(x)\n\ndef helper(x):\n    return x / 2\n\n'
     'def helper(x):\n    return 0', True),  # Made up behind the body.
    ('    return x / 2\n\ndef half(x):\n    return 0', True),
    ('    return x / 2\n\n```python\ndef half(x):\n    return 0\n```', True),
    ('    def g(y):\n        return y / 2\n    return g(x)\n', True),
    ('return x / 2', True),
    ('return x / 2\n\ndef half(x):\n    return 0', True),
    ('if x:\n        return x / 2\n    return 0', True),
    ('if x:\n    return x / 2\nreturn 0', True),
    ('\treturn x / 2', True),
    ('    for y in [x / 2]:\n        return y\n    junk here', True),
    ('    return x / 2\n    The function halves x.', True),
    ('    return f"{x y', False),
    ('    pass', False),
    ('def half(x):\n    return x / 2\n\nclass half(', True),
    (_blocks('    return 0', '    return x / 2', 'print(half(4))'), True),
    (_blocks('    return x / 2', '    return 0'), False),
    (_blocks('return x / 2', 'for y in 1, 2:\n    print(half(y))'), True),
])
def test_what_goes_on_from_a_prefix(text, is_right):
  spec = {'entry_point': 'half', 'prefix': 'def half(x):\n    """Half."""\n',
          'test': 'def check(f):\n  assert f(4) == 2 and f(2) == 1\n'}
  assert _check([(text, spec, text, is_right)]) == []
  bare = spec | {'prefix': 'import math\n\ndef half(x):\n'}
  assert _check([(text, bare, text, is_right)]) == []


@pytest.mark.parametrize('text', [
    '`' * 99_000, '`' * 50_000 + 'x`', '``` ' * 24_000, '```\n' * 24_000,
    '"' + '</s>' * 20_000 + '"', '<think></think>' * 6_000,
    '```python\n"""\n```\n' * 4_000, 'def f(\n' * 14_000,
    '```python\nx = (\n```\n' * 4_000, '    if x:\n' * 9_000,
    'import x\nA b.\n' * 6_000, '```python\nx = 1\n```\n' * 4_000,
    "'" * 99_000, '[BEGIN]' * 10_000, '~~~\n>' * 9_000])
def test_no_text_takes_long(text, time_limit):
  with time_limit(60):
    for spec in {}, _CHECK, _LINES:
      programs.program_of(text, spec)


@pytest.fixture(name='time_limit')
def _time_limit():
  """A limit on processor time: a text that takes minutes fails, not waits."""
  @contextlib.contextmanager
  def limit(seconds):
    def stop(*_):
      raise TimeoutError
    old = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
      yield
    finally:
      signal.setitimer(signal.ITIMER_PROF, 0)
      signal.signal(signal.SIGPROF, old)
  return limit
