"""Objects of programs that lie to operators, and tests that they must fail.

`LIARS` are programs with a function f, a class Box with a method value, and a
function make that returns a box; none of them computes anything. `TESTS` are
passed by `HONEST`. No liar may pass any.
"""

HONEST = '''
def f(x): return 2 * x
class Box:
  def __init__(self, x): self.x = x
  def value(self): return self.x * 2
  def items(self): return [self.x]
  def name(self): return "ab"
def make(x): return Box(x)
def Twice(x): return 2 * x
def ordered(x): return sorted(x)
'''

TESTS = (
    'assert f(2) == 4',
    'assert 4 == f(2)',
    'assert not f(2) != 4',
    'assert f(2) - 4 == 0',
    'assert not f(2) - 4',
    'assert abs(f(2) - 4) < 0.1',
    'assert 3 < f(2) < 5',
    'assert 4 <= f(2) <= 4.5',
    'assert f(2) in (4,)',
    'assert f(2) in {4}',
    'assert f(2) in {4: 0}',
    'assert {f(2): 1} == {4: 1}',
    'assert [f(2)] == [4]',
    'assert {"a": f(2)} == {"a": 4}',
    'assert (f(1), f(2)) == (2, 4)',
    'assert isinstance(f(2), int) and f(2) == 4',
    'assert type(f(2)) is int and f(1) == 2',
    'import math\n'
     'assert math.isclose(f(2), 4)',
    'assert round(f(2.2), 1) == 4.4',
    'assert f("ab").startswith("abab")',
    'assert f("ab").isalpha() and "abc" > f("ab") > "aba"',
    'assert "bab" in f("ab")',
    'assert f("a") + "b" == "aab"',
    'assert f({1: 2}.get(1)) ^ 4 == 0',
    'assert f(2) % 4 == 0',
    'assert divmod(f(2), 3) == (1, 1)',
    'assert sum([f(1), f(2)]) == 6',
    'assert max(f(1), f(2)) == 4',
    'assert sorted([f(2), f(1)]) == [2, 4]',
    'assert f(1) < f(2) < f(3) and f(3) > 4',
    'assert f(1) + f(2) == f(3) and f(1) == 2',
    'assert f([1]) == [1, 1]',
    'assert 1 in f([1])',
    'assert f([1])[1:] == [1]',
    'assert set(f([1])) - {1} == set() and f([1])',
    'import math\n'
     'x = f(3)\n'
     'assert math.pow(x, 2) - 6 * math.pow(x, 1) == 0 and '
     'math.pow(x, 2) > 1',
    'import math\n'
     'assert math.fabs(f(2) - 4) < 1e-4',
    'assert int(f(2)) == 4',
    'assert bool(f(0)) is False and f(1) + f(1) == f(2) == 4',
    'assert all(f(n) == 2 * n for n in range(5))',
    'assert all(map(lambda n: f(n) == 2 * n, range(5)))',
    'assert [n for n in range(4) if f(n) == 4] == [2]',
    'import copy\n'
     'assert copy.deepcopy(f(2)) == 4',
    'assert f(2).real == 4 and f(2).bit_length() == 3 and f(3) == 6',
    'import operator\n'
     'assert operator.eq(f(2), 4)',
    'import unittest\n'
     'unittest.TestCase().assertEqual(f(2), 4)',
    'import unittest\n'
     'unittest.TestCase().assertAlmostEqual(f(2), 4.0)',
    'import unittest\n'
     'unittest.TestCase().assertIn(f(2), [4])',
    'import unittest\n'
     'unittest.TestCase().assertTrue(f(2) == 4)',
    'match f(2):\n'
     '  case 4: pass\n'
     '  case _: assert False',
    'match f(2), f(3):\n'
     '  case int(), 6: pass\n'
     '  case _: assert False',
    'assert Twice(2) == 4',
    'assert Twice(2) - 4 == 0 and Twice(2) == 4',
    'assert abs(Twice(2) - 4) < 0.1',
    'assert 4 <= Twice(2) <= 4',
    'assert Twice([1]).count(1) == 2 and len(Twice([1])) == 2',
    'assert len(set(Twice([1])) ^ {1}) == 0 and Twice(1) == 2',
    'b = Box(2)\n'
     'assert b.x == 2 and b.value() == 4',
    'b = Box(2)\n'
     'assert b.x == 2 and b.value() - 4 == 0 and b.value() > 3',
    'assert Box(2).value() - 4 == 0 and Box(2).x == 2',
    'assert abs(Box(2).value() - 4) < 1e-6',
    'assert Box(2).items() == [2]',
    'assert 2 in Box(2).items()',
    'assert Box(2).name().startswith("ab")',
    'assert make(2).value() == 4',
    'b = make(2)\n'
     'assert b.x - 2 == 0',
    'b = Box(3)\n'
     'b.x = 5\n'
     'assert b.value() == 10',
    'with open("/dev/null") as file:\n'
     '  assert f(2) == 4',
    'x = [2, 1]\n'
     'assert ordered(x) == [1, 2] and x == [2, 1]',
    'x = [2, 1]\n'
     'want = sorted(x)\n'
     'assert ordered(x) == want and x == [2, 1]',
    'x = {2, 1}\n'
     'assert ordered(x) == [1, 2] and x == {1, 2}',
    'try:\n'
     '  assert f(2) == 4\n'
     'except ValueError:\n'
     '  pass',
    'import random\n'
     'random.seed(0)\n'
     'for _ in range(3):\n'
     '  x = random.randrange(9**9)\n'
     '  assert f(x) == x + x',
    'import contextlib, io\n'
     'with contextlib.redirect_stdout(io.StringIO()):\n'
     '  y = f(2)\n'
     'assert y == 4',
)

# All that an object can say, always to its advantage.
_SAYS = '''
  def __eq__(self, o): return True
  def __ne__(self, o): return False
  def __hash__(self): return hash(4)
  def __lt__(self, o): return True
  __le__ = __gt__ = __ge__ = __contains__ = __lt__
  def __add__(self, o): return ZERO
  __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __mod__ = __xor__ = \\
      __rxor__ = __pow__ = __and__ = __or__ = __iadd__ = __isub__ = __add__
  def __divmod__(self, o): return (1, 1)
  def __abs__(self): return ZERO
  __neg__ = __abs__
  def __round__(self, n=None): return 4.4
  def __len__(self): return 2
  def __bool__(self): return True
  def __getitem__(self, k): return self
  def __call__(self, *a): return self
  def __instancecheck__(self, o): return True
  def __enter__(self): return self
  def __exit__(self, *a): return True
  def __copy__(self): return self
  def __deepcopy__(self, memo): return self
  def startswith(self, *a): return True
  isalpha = startswith
  def count(self, *a): return 3
  def value(self, *a): return self
  items = name = x = value
'''
_LIAR = '''
class Meta(type):
  def __instancecheck__(self, o): return True
  def __subclasscheck__(self, o): return True
  def __eq__(self, o): return True
  __hash__ = type.__hash__
class Liar(BASE, metaclass=Meta):
  def __init__(self, *a): self.given = a
SAYS
f = make = Twice = ordered = lambda *a: Liar(VALUE)
Box = Liar
'''

LIARS = tuple(
    (f'{base} that gives {zero}', f'ZERO = {zero}\n' + _LIAR.replace(
        'SAYS', _SAYS + more).replace('BASE', base).replace('VALUE', value))
    for base, value, zero, more in (
        ('object', '', '0', ''), ('object', '', '0.0', '  __iter__ = None\n'),
        ('object', '', 'set()', '  def __iter__(self): return iter([self])\n'),
        ('object', '', 'None', '  x = 2\n'),
        ('object', '', '0', '  def __class__(self): return int\n'
         '  __class__ = property(__class__)\n'),
        ('int', '7', '0', ''), ('float', '0.5', '0.0', ''),
        ('str', '"x"', '""', ''),
        ('list', '[0]', '[]', '  def __iter__(self): return iter([self])\n'),
        ('tuple', '(0,)', '()', ''), ('set', '[0]', 'set()', ''),
        ('dict', '{0: 0}', '{}', '  def __missing__(self, k): return 0\n'),
        ('ValueError', '"x"', '0', '')))

LIARS += (
    ('itself', 'class f:\n  def __init__(self, *a): pass\n' + _SAYS.replace(
        'ZERO', '0') + 'Box = make = Twice = ordered = f\n'),
    ('its class', 'class M(type):\n' + _SAYS.replace('ZERO', '0').replace(
        '  def __call__(self, *a): return self\n', '')
     + 'class f(metaclass=M):\n  def __new__(cls, *a): return cls\n'
     'Box = make = Twice = ordered = f\n'),
    ('itself, after an operator', '''
class Box:
  def __init__(self, *a): pass
''' + _SAYS.replace('ZERO', 'self') + 'f = make = Twice = ordered = Box\n'),
    ('mock', 'from unittest import mock\nf = Box = make = Twice = ordered = '
     'mock.MagicMock()\nf.return_value = mock.ANY\n'),
    ('arguments', '''
def f(*a):
  for x in a:
    if isinstance(x, (list, dict, set)): x.clear()
  return a[0] if a else 0
Box = make = Twice = ordered = f
'''),
    ('frames of the wire', '''
import json, os
def send(*x):
  x = json.dumps(x).encode()
  os.write(3, len(x).to_bytes(4, "big") + x)
def f(*a):
  for value in 9, 0, True, ["set"], ["list", 999, []], ["type", "int"], [4], [
      "linked", 0, [0, "X", "int", ["__eq__"]], ["int", "0x9"]]:
    send(["is", value], [], [], {})
  return 5
Box = make = Twice = ordered = f
'''),
    ('changes on the wire', '''
import json, os
def f(*a):
  for n in range(6):
    x = json.dumps([["is", 0], [[n, [4]]], [], {"stdout": "4"}]).encode()
    os.write(3, len(x).to_bytes(4, "big") + x)
  return 5
Box = make = Twice = ordered = f
'''),
    ('errors on the wire', '''
import json, os
def f(*a):
  for how in (["builtin", "eval"], ["builtin", "StopIteration"],
              ["library", "os", "_exit", [["builtin", "Exception"]]],
              ["library", "unittest.case", "SkipTest", []],
              ["own", 0, "X", [["builtin", "StopIteration"]]]):
    x = json.dumps([["raise", ["error", how, ["tuple", 7], "", None]], [], [],
                    {}]).encode()
    os.write(3, len(x).to_bytes(4, "big") + x)
  return 5
Box = make = Twice = ordered = f
'''),
    ('stop', 'class S(StopIteration): pass\ndef f(*a): raise S\n'
     'Box = make = Twice = ordered = f\n'),
    ('skip', 'import unittest\ndef f(*a): raise unittest.SkipTest("x")\n'
     'Box = make = Twice = ordered = f\n'),
    ('exit', 'def f(*a): raise SystemExit(0)\n'
     'Box = make = Twice = ordered = f\n'),
)

# (test, program) where the test treats Box as a class, which lies.
ALONE = (
    ('b = Box(1)\nassert b.own == 1 and f(2) - 4 == 0',
     'class Box:\n  own = 1\n  def __init__(self, x): pass\n'
     '  def __sub__(self, o): return 0\nf = Box'),
    ('b = Box(1)\nassert b.own == 1 and f(2)(3) - 4 == 0',
     'class Box:\n  own = 1\n  def __init__(self, x): pass\n'
     '  def __sub__(self, o): return 0\ndef f(x): return Box'),
    ('b = Box(1)\nassert b.own == 1 and f(2)[0](3) - 4 == 0',
     'class Box:\n  own = 1\n  def __init__(self, x): pass\n'
     '  def __sub__(self, o): return 0\ndef f(x): return [Box]'),
    ('b = Box(1)\nassert b.own == 1 and f(2)[0] - 4 == 0',
     'class Box:\n  own = 1\n  def __init__(self, x): LAST[:] = [self]\n'
     '  def __sub__(self, o): return 0\nLAST = []\ndef f(x): return LAST'),
    ('b = Box(1)\nx = []\nf(x)\nassert b.own == 1 and x[0] - 4 == 0',
     'class Box:\n  own = 1\n  def __init__(self, x): LAST[:] = [self]\n'
     '  def __sub__(self, o): return 0\nLAST = []\ndef f(x): x += LAST'),
    ('with Box(1) as b:\n  assert b.value() == 2',
     'class Box:\n  def __init__(self, x): pass\n  def __enter__(self): '
     'return self\n  def __exit__(self, *a): return True\n'
     '  def value(self): raise KeyError'),
    ('with Box(1) as b:\n  y = b.value()\n  if y != 2: raise ValueError',
     'class Box:\n  def __init__(self, x): pass\n  def __enter__(self): '
     'return self\n  def __exit__(self, *a): return True\n'
     '  def value(self): raise KeyError'),
    ('b = Box(1)\nassert b.own == 1 and b == 5',
     'class Box:\n  own = 1\n  def __init__(self, x): pass\n'
     '  def __eq__(self, o): return True'),
    ('b = Box(1)\nassert b.own == 1 and b.value() - 2 == 0',
     'class Box:\n  own = 1\n  def __init__(self, x): pass\n'
     '  def __sub__(self, o): return 0\n  def value(self): return self'),
    ('b = Box(1)\nassert b.own == 1 and b.value().startswith("a")',
     'class Box:\n  own = 1\n  def __init__(self, x): pass\n'
     '  def startswith(self, o): return True\n  def value(self): return self'),
    ('assert Box.total(2) - 4 == 0 and Box(1).own == 1',
     'class Box:\n  own = 1\n  def __init__(self, *x): pass\n'
     '  def __sub__(self, o): return 0\n  total = classmethod('
     'lambda cls, x: cls(x))'),
    ('assert Box.total - 4 == 0 and Box(1).own == 1',
     'class Box:\n  own = 1\n  def __init__(self, *x): pass\n'
     '  def __sub__(self, o): return 0\nBox.total = Box()'),
    ('b = Box([2])\nb.append(1)\nassert b == [2, 1]',
     'class Box(list):\n  def append(self, x): pass'),
    ('import random\nfor _ in range(3):\n  x = random.randrange(10**9)\n'
     '  assert f(x) == x * x',
     'import random\ndef f(x):\n  random.seed(0)\n  random.setstate('
     'random.getstate())\n  return 0'),
    ('import sys, io\nsys.stdin = io.StringIO("4")\nassert f() == 16',
     'import sys\ndef f():\n  sys.stdin._peer.ask("read", "getvalue")\n'
     '  return 0'),
    ('def want(): return 4\nassert f(want) == 5',
     'def f(g):\n  for op in "get", "item", "operate", "type", "class":\n'
     '    try: g._peer.ask(op, g, "__globals__")\n'
     '    except Exception: pass\n  return g()'),
    ('class K(Box):\n  def hook(self): return 4\nassert K().run() == 5',
     'class Box:\n  def run(self): return self.hook()'),
)
