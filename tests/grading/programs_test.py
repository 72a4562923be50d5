"""Programs: where they are in a text, and what their tests say of them."""

import ast
from concurrent import futures
import itertools
import json
import warnings

import pytest

from score_jax.grading import programs
from score_jax.grading import sandbox
from tests import real_data

_GOOD = 'def add(a, b):\n  return a + b\n'
_LIMITS = {'cpu_s': 20.0, 'wall_s': 60.0, 'memory_bytes': 2**31}


def _judge(text, *tests, **spec):
  if tests:
    spec['tests'] = list(tests)
  return programs.judge(json.dumps(spec), text, **_LIMITS)


@pytest.mark.parametrize('text, program', [
    ('x = 1', 'x = 1'),
    ('Here:\n```python\nx = 1\n```\nor\n```python\nx = 2\ny = 3\n```\nDone.',
     'x = 2\ny = 3'),
    ('```py\nx = 1\n```', 'x = 1'),
    ('```\nx = 1\n```', 'x = 1'),
    ('```python\nx = 1\ny = ', 'x = 1\ny = '),  # Cut off.
    ('```python\n    return 1\n```', '    return 1'),
    ('```python\n```\nSorry:\n```python\nx = 1\n```', 'x = 1'),
    ('```python\r\nx = 1\r\n```\r\nDone.', 'x = 1'),
    ('```python\nx = "```"\n```', 'x = "```"'),
    ('Sure.\n[BEGIN]\nx = 1\n[DONE]\nAnother task.\n[BEGIN]', 'x = 1'),
    ('x = 1\n[DONE]\nx = 2', 'x = 1'),
    ('    return 1\n[DONE]', '    return 1'),
    ('', ''),
])
def test_where_a_program_is_in_a_text(text, program):
  assert programs.program_of(text, {}) == program


def test_a_completion_goes_behind_its_prefix():
  prefix = 'import math\n\ndef half(x):\n  """Half of x."""\n'
  spec = {'entry_point': 'half', 'prefix': prefix,
          'test': 'def check(candidate):\n  assert candidate(4) == 2\n'}
  assert _judge('  return x / 2', **spec) == 'passed'
  assert _judge('```python\n  return x / 2\n```', **spec) == 'passed'
  assert _judge('  y = math.floor(x)\n  return y / 2', **spec) == 'passed'
  # A whole program, with and without what the prefix imports.
  assert _judge('def half(x):\n  return math.floor(x / 2)', **spec) == 'passed'
  assert _judge('  return x', **spec) == 'failed'
  assert _judge('', **spec) == 'failed'
  assert _judge('I cannot do that.', **spec) == 'failed'


def test_a_check_that_calls_itself_runs():
  spec = {'entry_point': 'half', 'test': (
      'def check(half):\n  assert half(4) == 2\n\ncheck(half)')}
  assert _judge('def half(x): return x / 2', **spec) == 'passed'
  assert _judge('def half(x): return x', **spec) == 'failed'


def test_each_test_has_to_pass():
  assert _judge(_GOOD, 'assert add(2, 3) == 5', 'assert add(0, 0) == 0'
                ) == 'passed'
  assert _judge('def add(a, b): return 5', 'assert add(2, 3) == 5',
                'assert add(0, 0) == 0') == 'failed'
  assert _judge(_GOOD, 'assert add(2, 3) == 5', 'assert other() == 0'
                ) == 'failed'


def test_setup_runs_before_the_tests():
  assert _judge(_GOOD, 'assert add(x, math.pi) > 4', setup='import math\nx = 1'
                ) == 'passed'
  assert _judge('class Pair:\n  def __init__(self, a): self.a = a\n'
                'def first(p): return p.a', 'assert first(pair) == 3',
                setup='pair = Pair(3)') == 'passed'


def test_a_function_can_have_the_name_of_a_builtin():
  assert _judge('def sum(a, b): return a + b', 'assert sum(2, 3) == 5'
                ) == 'passed'
  # But where something else is tested, builtins are what they are.
  assert _judge('def set(x): return 1\ndef f(): return [1]',
                'assert set(f()) == set([2])') == 'failed'


@pytest.mark.parametrize('value', [
    'None', 'True', '0', '-1', '2**53', '-2**200', '10**5000', '0.1', '1e300',
    'float("inf")', '2 - 1j', '""', '"a\\n\\xe9\\ud800\\0"', 'b"\\0\\xff"',
    '[]', '[1, [2.0, "3"]]', '()', '(1, (2,))', '{1, 2}', 'range(1, 9, 2)',
    '{1: [2], "a": None, (1, 2): {3}}'])
def test_plain_values_go_there_and_come_back(value):
  test = f'x = {value}\nassert same(x) == x and type(same(x)) is type(x)'
  assert _judge('def same(x): return x', test) == 'passed'
  assert _judge('def same(x): return [x]', test) == 'failed'


def test_plain_values_of_the_library_come_back():
  spec = {'setup': 'import collections, datetime, decimal, fractions'}
  for value in (
      'collections.Counter("aab")', 'collections.deque([1, 2])',
      'collections.OrderedDict([(2, 1), (1, 2)])', 'frozenset([1])',
      'fractions.Fraction(1, 3)', 'decimal.Decimal("0.10")',
      'datetime.datetime(2020, 1, 2, 3)', 'datetime.date(2020, 1, 2)',
      'datetime.time(1, 2)', 'datetime.timedelta(1, 2, 3)', 'bytearray(b"a")'):
    test = f'x = {value}\nassert same(x) == x and type(same(x)) is type(x)'
    assert _judge('def same(x): return x', test, **spec) == 'passed', value
  assert _judge(
      'import collections\ndef f():\n  x = collections.defaultdict(list)\n'
      '  x[1].append(2)\n  return x\n', 'assert f() == {1: [2]}') == 'passed'
  assert _judge(
      'import collections\nP = collections.namedtuple("P", "a b")\n'
      'def f(): return P(1, 2)', 'assert f() == (1, 2)') == 'passed'


@pytest.mark.parametrize('program, test', [
    ('def f(n):\n  yield from range(n)', 'assert list(f(3)) == [0, 1, 2]'),
    ('def f(n): return map(str, range(n))', 'assert next(f(3)) == "0"'),
    ('def f(d): return d.keys()', 'assert sorted(f({1: 2, 0: 3})) == [0, 1]'),
    ('def f(d): return d.items()', 'assert len(f({1: 2})) == 1'),
    ('import re\ndef f(x): return re.match("a+", x)',
     'assert f("aab").group() == "aa" and not f("b")'),
    ('def f(g, xs): return [g(x) for x in xs]',
     'assert f(lambda x: x * 2, [1, 2]) == [2, 4]'),
    ('def f(g, xs): return g(xs)', 'assert f(len, [1, 2]) == 2'),
    ('def f(xs): return sum(xs)',
     'assert f(iter([1, 2])) == f({1: 0, 2: 0}.keys()) == 3'),
    ('def f(t, x): return t(x)', 'assert f(int, "3") == 3'),
    ('def f(n): return lambda x: x + n', 'assert f(2)(3) == 5'),
    ('def f(x):\n  if x < 0: raise ValueError("low")\n  return x',
     'try:\n  f(-1)\n  assert False\nexcept ValueError as e:\n'
     '  assert str(e) == "low" and f(1) == 1'),
    ('class Stack:\n  def __init__(self): self.x = []\n'
     '  def push(self, a): self.x.append(a)\n'
     '  def __len__(self): return len(self.x)\n'
     '  def __contains__(self, a): return a in self.x\n'
     '  def __getitem__(self, n): return self.x[n]\n'
     '  def __repr__(self): return f"Stack({self.x})"\n',
     's = Stack()\ns.push(3)\ns.push(4)\ns.y = 5\n'
     'assert len(s) == 2 and 3 in s and 5 not in s and s[1] == 4\n'
     'assert s.x == [3, 4] and s.y == 5 and s == s and repr(s)\n'
     'assert str(s) == "Stack([3, 4])"'),
    ('import dataclasses\n@dataclasses.dataclass\nclass P:\n  x: int\n'
     'def f(p): return p.x', 'assert f(P(3)) == 3'),
    ('def f(x):\n  return 2 * x\nif __name__ == "__main__":\n  input()\n',
     'assert f(1) == 2'),
    ('import enum\nclass P(enum.Enum): A = 1; B = 2\ndef f(p): return P(p)',
     'assert f(1) == P.A != f(2)'),
    ('def f(*xs, k=1): return sum(xs) * k', 'assert f(1, 2, k=3) == 9'),
    ('def f(): return 1, print("PASSED")', 'assert f() == (1, None)'),
])
def test_programs_and_tests_of_many_kinds(program, test):
  assert _judge(program, test) == 'passed'
  assert _judge(program.replace('def f', 'def g').replace('class', 'x ='), test
                ) == 'failed'


def test_grade_counts_a_pass_alone():
  spec = json.dumps({'tests': ['assert add(2, 3) == 5']})
  limits = _LIMITS | {'cpu_s': 1.0}
  assert programs.grade(spec, _GOOD, **limits) == 1
  assert programs.grade(spec, 'def add(a, b): return 6', **limits) == 0
  assert programs.grade(spec, 'import os; os._exit(0)', **limits) == 0
  assert programs.grade(spec, 'x' * 10**6, **limits) == 0
  assert programs.grade(spec, '\ud800\0', **limits) == 0
  with pytest.raises(TimeoutError):
    programs.grade(spec, 'while True: pass', **limits)


def test_tests_that_are_none_are_refused():
  for spec in ({}, {'tests': []}, {'test': ''},
               {'test': 'def check(add): assert add(1, 2) == 3'}):
    with pytest.raises(ValueError, match='mend the data'):
      programs.judge(json.dumps(spec), _GOOD)


def test_tests_that_use_nothing_of_a_program_are_passed_by_none():
  assert _judge(_GOOD, '# add(2, 3) is 5') == 'failed'
  assert _judge(_GOOD, 'assert 2 + 3 == 5') == 'failed'
  assert _judge(_GOOD, 'assert add(2, 3) == 5') == 'passed'


def test_an_answer_is_the_program_whatever_its_layout():
  answer = programs.answer(_GOOD)
  assert len(answer) == 32
  same = 'Here it is:\n```python\ndef add(a,b): # It\n\n  return (a+b)\n```'
  assert programs.answer(same) == answer
  assert programs.answer(_GOOD.replace('+', '-')) != answer
  # A bare body, as behind a signature.
  assert programs.answer('    return 1') == programs.answer('  return 1  # One')
  assert programs.answer('    return 1') != programs.answer('    return 2')


@pytest.mark.parametrize('text', [
    '', ' \n', 'I cannot do that.', 'x = ', 'x = 1\0', '\ud800',
    '(' * 50_000, 'x = ' + '(' * 5_000 + ')' * 5_000, 'x = ' + '-' * 50_000,
    'x = ' + '[' * 150 + ']' * 150 + '(', 'x = ' + '1+' * 40_000 + '1',
    'x' + '.x' * 40_000, '9' * 10_000, 'x = 1\n' * 100_000,
    'if x:\n' + ''.join(' ' * n + 'if x:\n' for n in range(1, 300))])
def test_what_is_no_program_has_no_answer(text):
  assert programs.answer(text) is None


# Appended to a program, this spoils what its function FUNCTION returns.
_SPOIL = '''
def _spoilt(value):
  if isinstance(value, bool):
    return not value
  if isinstance(value, (int, float, complex)):
    return -2 * value - 1
  for kind, more in (str, 'x'), (list, [0]), (tuple, (0,)):
    if isinstance(value, kind):
      return value + more
  return 0

def _spoil(function):
  return lambda *a, **k: _spoilt(function(*a, **k))

FUNCTION = _spoil(FUNCTION)
'''
_FORGET = 'FUNCTION = lambda *a, **k: None\n'


def _mbpp(tests, setup, code):
  with warnings.catch_warnings(action='ignore'):  # Of the escapes in it.
    body = ast.parse(code).body
  functions = {node.name for node in body if isinstance(node, ast.FunctionDef)}
  called = {node.func.id for node in ast.walk(ast.parse('\n'.join(tests)))
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
  return {'tests': tests, 'setup': setup}, code, min(functions & called)


def _human_eval(row, solution):
  spec = {name: row[name] for name in ('test', 'entry_point')}
  return (spec | {'prefix': row['prompt']}, row['prompt'] + row[solution],
          row['entry_point'])


def _references():
  """(spec, program, function) of all that are given."""
  def lines(*path):
    path = real_data.folder(path[0]) / path[1]
    return map(json.loads, path.read_text().splitlines())
  for row in lines('mbpp', 'mbpp.jsonl'):
    yield _mbpp(row['test_list'] + row['challenge_test_list'],
                row['test_setup_code'], row['code'])
  path = real_data.folder('mbpp') / 'sanitized-mbpp.json'
  for row in json.loads(path.read_text()):
    yield _mbpp(row['test_list'], '\n'.join(row['test_imports']), row['code'])
  for name in ('humaneval/humaneval', 'humanevalfix/humanevalfix_python'):
    for row in lines(*f'{name}.jsonl'.split('/')):
      yield _human_eval(row, 'canonical_solution')


def _verdicts(jobs):
  name = sandbox.choose('auto').name

  def one(job):
    return programs.judge(json.dumps(job[0]), job[1], sandbox=name, **_LIMITS)

  with futures.ThreadPoolExecutor(4) as threads:
    return list(threads.map(one, jobs))


def _check_references(every):
  jobs = list(itertools.islice(_references(), 0, None, every))
  passed = _verdicts(jobs)
  assert [job for job, verdict in zip(jobs, passed) if verdict != 'passed'
          ] == []
  for mutation in _SPOIL, _FORGET:
    spoilt = [(spec, f'{program}\n' + mutation.replace('FUNCTION', function))
              for spec, program, function in jobs]
    assert [job for job, verdict in zip(spoilt, _verdicts(spoilt))
            if verdict == 'passed'] == []
  return len(jobs)


def test_references_pass_and_spoilt_ones_fail():
  assert _check_references(41) >= 40


@pytest.mark.slow
def test_all_references_pass_and_all_spoilt_ones_fail():
  assert _check_references(1) >= 974 + 427 + 124 + 124


@pytest.mark.slow
def test_what_is_to_be_repaired_fails():
  path = real_data.folder('humanevalfix') / 'humanevalfix_python.jsonl'
  rows = list(map(json.loads, path.read_text().splitlines()))
  broken = [_human_eval(row, 'buggy_solution') for row in rows]
  assert 'passed' not in _verdicts(broken)
