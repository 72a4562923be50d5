"""Tests see objects, exceptions, changes and output of a program."""

import json

import pytest

from score_jax.grading import programs

_LIMITS = {'cpu_s': 20.0, 'wall_s': 60.0, 'memory_bytes': 2**31}


def _judge(program, test, **spec):
  return programs.judge(json.dumps({'tests': [test]} | spec), program,
                        **_LIMITS)


_V = '''
import math
class V:
  def __init__(self, x): self.x = x
  def __eq__(self, o): return isinstance(o, V) and self.x == o.x
  def __hash__(self): return hash(self.x)
  def __lt__(self, o): return self.x < (o.x if isinstance(o, V) else o)
  def __gt__(self, o): return self.x > (o.x if isinstance(o, V) else o)
  def __add__(self, o): return V(self.x + (o.x if isinstance(o, V) else o))
  __radd__ = __add__
  def __sub__(self, o): return V(self.x - o.x)
  def __mul__(self, k): return V(self.x * k)
  __rmul__ = __mul__
  def __matmul__(self, o): return self.x * o.x
  def __iadd__(self, o): self.x += o.x; return self
  def __neg__(self): return V(-self.x)
  def __abs__(self): return abs(self.x)
  def __float__(self): return float(self.x)
  def __int__(self): return int(self.x)
  def __round__(self, n=0): return round(self.x, n)
  def __divmod__(self, o): return divmod(self.x, o)
  def __pow__(self, n): return V(self.x ** n)
  def __bool__(self): return self.x != 0
  def __format__(self, spec): return format(self.x, spec)
  def __repr__(self): return f"V({self.x})"
  def __call__(self, y): return self.x * y
  def plus(self, o): return V(self.x + o.x)
  @staticmethod
  def zero(): return V(0)
  @classmethod
  def of(cls, text): return cls(int(text))
class M:
  def __init__(self): self.d = {}
  def __setitem__(self, k, v): self.d[k] = v
  def __getitem__(self, k): return self.d[k]
  def __delitem__(self, k): del self.d[k]
  def __contains__(self, k): return k in self.d
  def __len__(self): return len(self.d)
  def __iter__(self): return iter(sorted(self.d))
  def __reversed__(self): return iter(sorted(self.d, reverse=True))
  def keys(self): return self.d.keys()
  def __enter__(self): self.d['open'] = True; return self
  def __exit__(self, *a): self.d['open'] = False; self.d['error'] = a[0]
class Sub(V):
  def plus(self, o): return Sub(super().plus(o).x + 1)
def total(xs): return sum(x.x for x in xs)
'''

# Each test fails on one of these changes.
_CHANGES = (
    ('self.x = x', 'self.x = 0'), ('self.d[k] = v', 'pass'),
    ('isinstance(o, V) and self.x == o.x', 'False'),
    ('class Sub(V)', 'class Sub(M)'), ('return self.x < ', 'return 0 * '),
    ('self.d.keys()', '[]'), ('self.d[\'open\'] = False', 'return True'),
    ('def total', 'V.__name__, V.__init__ = "W", None\ndef total'),
)


@pytest.mark.parametrize('test', [
    'assert (V(1) + V(2)).x == 3', 'assert V(1) + V(2) == V(3)',
    'assert (V(1) + 2).x == 3 and (2 + V(1)).x == 3', 'assert V(2) * 3 == V(6)',
    'assert 3 * V(2) == V(6)', 'assert (V(5) - V(2)).x == 3',
    'assert V(3) @ V(4) == 12', 'assert V(2) ** 3 == V(8)',
    'assert V(1) < V(2) and not V(2) < V(1)', 'assert V(2) > V(1)',
    'assert V(1) != V(2) and V(1) == V(1)', 'assert (-V(1)).x == -1',
    'v = V(-3)\nassert abs(v) == 3 and v.x == -3',
    'v = V(2)\nassert float(v) == 2.0 and int(v) == v.x',
    'v = V(2.26)\nassert round(v, 1) == 2.3 and v.x == 2.26',
    'v = V(7)\nassert divmod(v, 3) == (2, 1) and v.x == 7',
    'v = V(3)\nassert v > 2 and v.x == 3',
    'v = V(1)\nw = v\nv += V(2)\nassert v.x == 3 and w is v',
    'assert sorted([V(3), V(1)])[0].x == 1', 'assert max(V(1), V(4)) == V(4)',
    'assert {V(1): "a"}[V(1)] == "a" and len({V(1), V(1), V(2)}) == 2',
    'assert V(1) in [V(2), V(1)] and V(3) not in [V(1)]',
    'assert [V(1), V(2)] == [V(1), V(2)] != [V(1)]',
    'assert V(1) and not V(0)', 'assert V(2)(4) == 8',
    'assert repr(V(1)) == "V(1)" and str(V(2)) == "V(2)"',
    'assert f"{V(1.234):.1f}" == "1.2"', 'assert V.zero() == V(0)',
    'assert V.of("3").x == 3', 'assert V.zero().plus(V(1)) == V(1)',
    'assert V(1).plus(V(2)) == V(3)', 'assert total([V(1), V(2)]) == 3',
    'assert sum([V(1), V(2)], V(0)).x == 3',
    'import copy\nv = V(1)\nw = copy.copy(v)\nw.x = 5\nassert v.x == 1',
    'import copy\nv = V([1])\nw = copy.deepcopy(v)\nw.x.append(2)\n'
    'assert v.x == [1] and w.x == [1, 2]',
    'assert isinstance(V(1), V) and not isinstance(1, V)',
    'assert isinstance(Sub(1), V) and not isinstance(V(1), Sub)',
    'assert isinstance(V(1), (int, V)) and not isinstance(V(1), (int, str))',
    'assert issubclass(Sub, V) and not issubclass(V, Sub)',
    'assert type(V(1)) is V and type(Sub(1)) is not V',
    'assert type(V(1)).__name__ == "V" and V(1).__class__ is V',
    'assert V.__name__ == "V"', 'v = V(1)\ndel v.x\nassert not hasattr(v, "x")',
    'm = M()\nm["k"] = 1\nm["j"] = 2\nassert m["k"] == 1 and len(m) == 2\n'
    'del m["k"]\nassert "k" not in m and "j" in m and list(m) == ["j"]',
    'm = M()\nm[1] = m[2] = 0\nassert list(reversed(m)) == [2, 1]',
    'm = M()\nm[1] = 2\nassert dict(m) == {1: 2} and {**m} == {1: 2}',
    'm = M()\nm[1, 2] = 0\nm[None] = 3\nassert m[(1, 2)] == 0 and None in m',
    'with M() as m:\n  assert m["open"]\nassert not m["open"]\n'
    'assert m["error"] is None',
    'm = M()\ntry:\n  with m:\n    raise KeyError("a")\nexcept KeyError:\n'
    '  pass\nassert m["error"] is KeyError',
    'class K(V):\n  size = 2\n  def plus(self, o):\n'
    '    return V(super().plus(o).x * self.size)\n'
    'assert K(1).plus(V(2)) == V(6) and isinstance(K(1), V)',
    'class K(V):\n  def __init__(self, x):\n    super().__init__(x + 1)\n'
    '  @property\n  def y(self): return self.x * 2\n'
    '  @staticmethod\n  def s(): return 7\n'
    '  @classmethod\n  def c(cls): return cls(1)\n'
    'assert K(1).y == 4 and K.s() == 7 and K.c().x == 2',
    'class K(V):\n  def __add__(self, o): return V(100)\n'
    'assert K(1) + V(1) == V(100)',
    'for a, b in zip([V(1), V(2)], [1, 2]):\n  assert a.x == b',
    'v = V(1)\nv.y = [1]\nv.y.append(2)\nassert v.y == [1, 2]',
])
def test_objects_of_a_program_behave_as_it_says(test):
  assert _judge(_V, test) == 'passed'
  assert _judge('V = M = Sub = total = None', test) == 'failed'
  assert 'failed' in [_judge(_V.replace(*change), test) for change in _CHANGES]


_PLAIN = '''
import array, collections, enum, pathlib, typing, uuid
class S(list):
  def push(self, x): self.append(x)
  def top(self): return self[-1]
class D(dict):
  def twice(self, k): self[k] = self[k] * 2
  def __missing__(self, k): return 7
class T(str):
  def shout(self): return T(self.upper() + "!")
class N(int):
  def next(self): return N(self + 1)
class Mod(int):
  def __add__(self, o): return Mod((int(self) + int(o)) % 7)
  def mod(self): return 7
class Pair(tuple):
  def swap(self): return Pair((self[1], self[0]))
class Bag(set):
  def put(self, x): self.add(x)
class Log(list):
  def append(self, x): super().append(x * 2)
  def __len__(self): return 100
  def all(self): return list(self)
P = collections.namedtuple("P", "a b")
class Q(typing.NamedTuple):
  a: int
  b: int = 3
  def total(self): return self.a + self.b
class C(enum.IntEnum):
  RED = 1
  BLUE = 2
class E(str, enum.Enum):
  A = "a"
class F(enum.Flag):
  R = 1
  W = 2
def point(a, b): return P(a, b)
def groups():
  d = collections.defaultdict(list)
  d["x"].append(1)
  return d
def last(n): return collections.deque(maxlen=n)
def same(x): return x
def path(x): return pathlib.Path("a") / x
def ident(): return uuid.UUID(int=5)
def numbers(): return array.array("i", [1, 2])
def first(p): return p.a
def color(x): return C(x)
def logged(): return Log([1])
def modulo(): return Mod(5)
'''


@pytest.mark.parametrize('test', [
    's = S()\ns.push(4)\ns.push(5)\nassert s == [4, 5] and s.top() == 5\n'
    'assert len(s) == 2 and s[0] == 4 and isinstance(s, list)',
    's = S([1])\ns.append(2)\nassert s.top() == 2 and s.pop() == 2\n'
    'assert s.top() == 1',
    's = S([2, 1])\ns.sort()\ns += [9]\nassert s.top() == 9 and s == [1, 2, 9]',
    'd = D(a=1)\nd.twice("a")\nassert d == {"a": 2} and d["b"] == 7',
    'd = D()\nd["q"] = 2\nd.twice("q")\nassert d.pop("q") == 4 and not d',
    't = T("ab")\nassert t.shout() == "AB!" and t + "c" == "abc"\n'
    'assert t.shout().shout() == "AB!!"',
    'n = N(3)\nassert n.next() == 4 and n + 1 == 4 and n.next().next() == 5',
    'm = Mod(5)\nassert m.mod() == 7 and m + 4 == 2 and m + Mod(3) == 1',
    'p = Pair((1, 2))\nassert p.swap() == (2, 1) and p.swap().swap() == p',
    'b = Bag()\nb.put(1)\nb.put(1)\nassert b == {1} and b | {2} == {1, 2}',
    'b = Log()\nb.append(2)\nassert b.all() == [4] and len(b) == 100',
    'p = point(1, 2)\nassert p.a == 1 and p.b == 2 and p == (1, 2)\n'
    'assert p._asdict() == {"a": 1, "b": 2} and p._replace(a=5) == (5, 2)',
    'a, b = point(1, 2)\nassert (a, b) == (1, 2) and point(1, 2)._fields == '
    '("a", "b")', 'assert repr(point(1, 2)) == "P(a=1, b=2)"',
    'assert Q(1).total() == 4 and Q(1) == (1, 3) and Q(1).b == 3',
    # Of what a function returns, the content counts: it could say anything.
    'assert len(logged()) == 1 and logged() == [1]',
    'assert modulo() + 4 == 9 and modulo() == 5',
    'import collections\nR = collections.namedtuple("R", "a c")\n'
    'assert first(R(3, 4)) == 3',
    'd = groups()\nassert d == {"x": [1]} and d["new"] == [] and len(d) == 2',
    'd = last(2)\nd.extend([1, 2, 3])\nassert list(d) == [2, 3]\n'
    'assert d.maxlen == 2',
    'import collections\nx = collections.deque([1], maxlen=3)\n'
    'assert same(x) == x and same(x).maxlen == 3 and same(x) is x',
    'import pathlib\nassert path("b") == pathlib.Path("a/b")\n'
    'assert path("b").name == "b" and path("c.d").suffix == ".d"',
    'import uuid\nassert ident() == uuid.UUID(int=5) and ident().int == 5',
    'import array\nassert numbers() == array.array("i", [1, 2])',
    'assert list(numbers()) == [1, 2] and numbers().typecode == "i"',
    'assert color(1) == 1 and color(1) == C.RED and color(2).name == "BLUE"',
    'assert C.RED < C.BLUE and C.RED.value == 1 and C.RED is C.RED',
    'assert E.A == "a" and E.A.name == "A" and E.A.value == "a"',
    'assert F.R | F.W == F(3) and [x.name for x in C] == ["RED", "BLUE"]',
    'assert isinstance(S(), S) and not isinstance([], S)\n'
    'assert issubclass(S, list)',
    'assert isinstance(point(1, 2), P) and isinstance(point(1, 2), tuple)',
    'assert same(slice(1, 2)) == slice(1, 2) and same(...) is ...',
    'import datetime as d\nx = d.datetime(2020, 1, 1, tzinfo=d.timezone.utc)\n'
    'assert same(x) == x and same(x).tzinfo == x.tzinfo',
])
def test_values_keep_what_their_class_adds(test):
  assert _judge(_PLAIN, test) == 'passed'
  nothing = ('D = T = N = Mod = Pair = Bag = Log = P = Q = C = E = F = point = '
             'groups = last = same = path = ident = numbers = first = color = '
             'S = lambda *a, **k: None')
  assert _judge(nothing, test) == 'failed'


_ERRORS = '''
import json
class MyError(ValueError):
  pass
class Coded(Exception):
  def __init__(self, code, *, hint=None):
    super().__init__(f"code {code}")
    self.code, self.hint = code, hint
  def double(self): return self.code * 2
class Deeper(Coded, KeyError): pass
class Base(Exception):
  level = 3
  def __str__(self): return "base!"
def fail(kind, *a):
  if kind == "mine": raise MyError(*a)
  if kind == "coded": raise Coded(5, hint="h")
  if kind == "deeper": raise Deeper(6)
  if kind == "base": raise Base("x", 1)
  if kind == "json": json.loads("{")
  if kind == "key": return {}["a"]
  if kind == "unicode": b"\\xff".decode()
  if kind == "file": open("not there")
  if kind == "exit": raise SystemExit(4)
  if kind == "from": raise MyError("a") from KeyError("b")
  if kind == "stop": raise StopIteration
  if kind == "value": raise ValueError("v")
  if kind == "zero": return 1 / 0
def give(): return MyError("given")
def again(f):
  try:
    f()
  except MyError as e:
    return e.args[0]
  except ValueError:
    return "other"
class It:
  def __init__(self): self.n = 0
  def __iter__(self): return self
  def __next__(self):
    self.n += 1
    if self.n > 3: raise StopIteration
    return self.n
'''


def _raises(kind, how, check='True'):
  return (f'try:\n  fail({kind!r}, "m")\nexcept {how} as e:\n  ok = {check}\n'
          'else:\n  ok = False\nassert ok')


@pytest.mark.parametrize('test', [
    _raises('mine', 'ValueError', 'str(e) == "m" and e.args == ("m",)'),
    _raises('mine', 'MyError', 'isinstance(e, ValueError)'),
    _raises('mine', '(KeyError, MyError)', 'type(e).__name__ == "MyError"'),
    _raises('mine', 'Exception', 'isinstance(e, MyError)'),
    _raises('coded', 'Coded', 'e.code == 5 and e.hint == "h"'),
    _raises('coded', 'Coded', 'str(e) == "code 5" and e.double() == 10'),
    _raises('deeper', 'KeyError', 'e.code == 6'),
    _raises('deeper', 'Coded', 'isinstance(e, LookupError)'),
    _raises('base', 'Base', 'str(e) == "base!" and e.args == ("x", 1)'),
    _raises('base', 'Base', 'e.level == 3 and Base.level == 3'),
    'import json\n' + _raises('json', 'json.JSONDecodeError', 'e.pos == 1'),
    _raises('json', 'ValueError', '"line 1" in str(e)'),
    _raises('key', 'KeyError', 'e.args == ("a",) and str(e) == "\'a\'"'),
    _raises('key', 'LookupError', 'type(e) is KeyError'),
    _raises('unicode', 'UnicodeDecodeError', 'e.start == 0'),
    _raises('file', 'FileNotFoundError', 'e.errno == 2'),
    _raises('file', 'OSError'), _raises('exit', 'SystemExit', 'e.code == 4'),
    _raises('from', 'MyError'), _raises('stop', 'RuntimeError'),
    _raises('zero', 'ArithmeticError'),
    _raises('value', 'MyError').replace(
        'else', 'except ValueError as e:\n  ok = type(e) is ValueError\nelse'),
    'assert issubclass(MyError, ValueError) and issubclass(Deeper, Coded)',
    'assert not issubclass(MyError, KeyError)',
    'e = MyError("x")\nassert str(e) == "x" and isinstance(e, MyError)',
    'e = Coded(3)\nassert e.code == 3 and e.double() == 6 and e.hint is None',
    'assert isinstance(give(), MyError) and str(give()) == "given"',
    'def g(): raise MyError("from the test")\n'
    'assert again(g) == "from the test"',
    'def g(): raise ValueError("x")\nassert again(g) == "other"',
    'assert list(It()) == [1, 2, 3] and sum(It()) == 6',
    'import contextlib\nwith contextlib.suppress(MyError):\n'
    '  fail("mine")\n  assert False\nassert fail("none") is None',
    'import unittest\nt = unittest.TestCase()\n'
    'with t.assertRaises(MyError) as c:\n  fail("mine", "q")\n'
    'assert str(c.exception) == "q"\n'
    'with t.assertRaisesRegex(ValueError, "^v$"):\n  fail("value")',
])
def test_exceptions_keep_their_classes(test):
  assert _judge(_ERRORS, test) == 'passed'
  wrong = ('MyError = Coded = Deeper = Base = None\n'
           'def fail(*a): raise AssertionError\ndef give(): return 5\n'
           'def again(f): return 0\ndef It(): return [1]\n')
  assert _judge(wrong, test) == 'failed'


_IN_PLACE = 'def f(x):\n  x.sort()\n  return x\n'
_COPIES = 'def f(x):\n  return sorted(x)\n'


@pytest.mark.parametrize('test, in_place, copies', [
    ('x = [2, 1]\nassert f(x) == [1, 2]', True, True),
    ('x = [2, 1]\nassert f(x) == [1, 2] and x == [2, 1]', False, True),
    ('x = [2, 1]\nassert f(x) == [1, 2] and x == [1, 2]', True, False),
    ('x = [2, 1]\nf(x)\nassert x == [1, 2]', True, False),
    ('x = [2, 1]\nassert f(x) is x', True, False),
    ('x = [2, 1]\nassert f(x) is not x', False, True),
    ('x = [[2, 1], [3]]\nf(x[0])\nassert x == [[1, 2], [3]]', True, False),
    ('x = ([2, 1],)\nf(*x)\nassert x == ([2, 1],)', False, True),
    ('x = {"a": [2, 1]}\nf(x["a"])\nassert x["a"] == [1, 2]', True, False),
    ('x = [2, 1]\ny = f(x)\ny.append(0)\nassert x == [1, 2, 0]', True, False),
    ('x = [2, 1]\ny = f(x)\nx.append(0)\nassert f(y) == [1, 2]', False, True),
    ('x = [2, 1]\nf(x)\nx[:] = [5, 4]\nassert f(x) == [4, 5]', True, True),
    ('x = bytearray(b"ba")\ny = list(x)\nassert f(y) == [97, 98] and y == '
     '[98, 97]', False, True),
    ('def g(x=[3, 1]): return f(x), x\nassert g() == ([1, 3], [3, 1])', False,
     True),
    ('xs = [[2, 1]] * 2\nassert list(map(f, xs)) == [[1, 2]] * 2\n'
     'assert xs == [[2, 1]] * 2', False, True),
])
def test_changes_of_arguments_show(test, in_place, copies):
  assert _judge(_IN_PLACE, test) == ('passed' if in_place else 'failed')
  assert _judge(_COPIES, test) == ('passed' if copies else 'failed')


@pytest.mark.parametrize('program, test', [
    ('def f(a, b): a.append(1); return len(b)',
     'x = []\nassert f(x, x) == 1 and x == [1]'),
    ('def f(a, b): return a is b', 'x = []\nassert f(x, x) and not f([], [])'),
    ('def f(d):\n  d["n"] = d.pop("o"); d["l"].append(3)',
     'd = {"o": 1, "l": []}\nl = d["l"]\nf(d)\n'
     'assert d == {"l": [3], "n": 1} and l == [3] and d["l"] is l'),
    ('def f(s): s.discard(1); s.add(2)', 's = {1}\nf(s)\nassert s == {2}'),
    ('def f(q): q.popleft(); q.append(9)',
     'import collections\nq = collections.deque([1, 2], 2)\nf(q)\n'
     'assert list(q) == [2, 9] and q.maxlen == 2'),
    ('def f(b): b[0:1] = b"xy"', 'b = bytearray(b"ab")\nf(b)\n'
     'assert b == bytearray(b"xyb")'),
    ('def f(o): o.move_to_end("a")',
     'import collections\no = collections.OrderedDict(a=1, b=2)\nf(o)\n'
     'assert list(o) == ["b", "a"]'),
    ('def f(c): c.subtract("aab")',
     'import collections\nc = collections.Counter("ab")\nf(c)\n'
     'assert c == {"a": -1, "b": 0}'),
    ('def f(d): d["x"].append(1); return d["y"]',
     'import collections\nd = collections.defaultdict(list)\n'
     'assert f(d) == [] and d == {"x": [1], "y": []}'),
    ('def f(x): x.append(x)', 'x = []\nf(x)\nassert x[0] is x'),
    ('def f(x): x[0][0].append(1)',
     'i = []\nx = [(i,)]\nf(x)\nassert i == [1]'),
    ('def f(x): x.clear()', 'x = [1]\ny = [x, x]\nf(x)\nassert y == [[], []]'),
    ('def f(x): del x[::2]', 'x = [1, 2, 3]\nf(x)\nassert x == [2]'),
    ('def f(x, acc=[]):\n  acc.append(x)\n  return acc',
     'a = f(1)\nb = f(2)\nassert a == [1, 2] and a is b'),
    ('class Box:\n  def __init__(self, x): self.x = x\n'
     '  def put(self, y): self.x.append(y)\n  def get(self): return self.x',
     'x = [1]\nb = Box(x)\nb.put(2)\nassert x == [1, 2] and b.get() is x\n'
     'x.append(3)\nassert b.get() == [1, 2, 3] and b.x[2] == 3\n'
     'b.get().clear()\nassert x == []'),
    ('class Box:\n  def __init__(self): self.x = []\n'
     '  def get(self): return list(self.x)\n  def put(self, y): '
     'self.x.append(y)',
     'b = Box()\nb.put(1)\nb.get().append(2)\nassert b.get() == [1]'),
    ('KEPT = []\ndef f(x):\n  for k in KEPT: k.append(0)\n  KEPT.append(x)',
     'x, y = [1], [2]\nf(x)\nf(y)\nassert x == [1, 0] and y == [2]\n'
     'f([])\nassert x == [1, 0, 0] and y == [2, 0]'),
    ('def f(g, x):\n  x.append(1)\n  g()\n  return len(x)',
     'x = []\nassert f(lambda: x.append(2), x) == 2 and x == [1, 2]'),
    ('def f(g, x):\n  g(x)\n  return x',
     'x = [1]\nassert f(lambda y: y.append(y is x), x) == [1, True]'),
    ('def f(x):\n  x.append(1)\n  raise ValueError',
     'x = []\ntry:\n  f(x)\nexcept ValueError: pass\nassert x == [1]'),
    ('def f(x):\n  for i in range(3):\n    x.append(i)\n    yield i',
     'x = []\nfor n, _ in enumerate(f(x)):\n  assert len(x) == n + 1'),
    ('def f(out): out.write("hi"); print("!", file=out)',
     'import io\nout = io.StringIO()\nf(out)\n'
     'assert out.getvalue() == "hi!\\n"'),
    ('def f(file): return [line.strip() for line in file]',
     'import io\nx = io.StringIO("a\\nb\\n")\nassert f(x) == ["a", "b"]\n'
     'assert x.read() == ""'),
    ('def f(m):\n  for r in m:\n    r.reverse()',
     'm = [[1, 2], [3, 4]]\nr = m[0]\nf(m)\nassert m == [[2, 1], [4, 3]]\n'
     'assert r == [2, 1] and m[0] is r'),
    ('def f(n): return [[0] * n] * n', 'm = f(2)\nm[0][0] = 1\n'
     'assert m == [[1, 0], [1, 0]] and m[0] is m[1]'),
])
def test_changes_and_identity_of_many_kinds(program, test):
  assert _judge(program, test) == 'passed'
  copied = ('import copy\n' + program +
            '\nimport functools\ndef _wrap(g):\n'
            '  return lambda *a: copy.deepcopy(g(*copy.deepcopy(a)))\n')
  name = 'Box.__init__ = Box.get' if 'class' in program else 'f'
  if 'yield' not in program and 'class' not in program and (
      'KEPT' not in program and 'a is b' not in program
      and 'm = f(2)' not in test and 'lambda' not in test
      and 'acc' not in program):
    assert _judge(f'{copied}{name} = _wrap({name})', test) == 'failed'


def test_many_calls_leave_nothing_behind():
  test = ('xs = [list(range(50)) for _ in range(200)]\n'
          'for x in xs:\n  y = f(x)\n  assert y == list(range(50))\n')
  assert _judge(_COPIES, test) == 'passed'
  assert _judge(_IN_PLACE, test + 'assert len(xs) == 200') == 'passed'


_TALK = '''
import random, sys
def ask(): return input("Name? ")
def total(): return sum(int(x) for x in sys.stdin)
def every(): return sys.stdin.read()
def two(): return sys.stdin.readline(), sys.stdin.readline()
def raw(): return sys.stdin.buffer.read()
def say(x, **k): print(x, **k)
def say_all():
  sys.stdout.write("a"); sys.stdout.buffer.write(b"b"); sys.stdout.flush()
  print("c", end="", file=sys.stderr)
def draw(n): return [random.randint(0, 10**6) for _ in range(n)]
def mixed(xs): random.shuffle(xs); return xs
'''
_SET = 'import contextlib, io, random, sys\n'


@pytest.mark.parametrize('test', [
    'sys.stdin = io.StringIO("Ada\\n")\nassert ask() == "Ada"',
    'sys.stdin = io.StringIO("1\\n2\\n3")\nassert total() == 6',
    'sys.stdin = io.StringIO("a b\\nc")\nassert every() == "a b\\nc"',
    'sys.stdin = io.StringIO("a\\nb\\nc\\n")\n'
    'assert two() == ("a\\n", "b\\n")\n'
    'assert sys.stdin.read() == "c\\n" and every() == ""',
    'sys.stdin = io.StringIO("ab")\nassert raw() == b"ab"',
    'from unittest import mock\nwith mock.patch("builtins.input", '
    'side_effect=["x", "y"]):\n  assert ask() + ask() == "xy"',
    'import builtins\nbuiltins.input = lambda prompt: prompt + "z"\n'
    'assert ask() == "Name? z"',
    'try:\n  ask()\n  assert False\nexcept EOFError: pass',
    'out = io.StringIO()\nwith contextlib.redirect_stdout(out):\n'
    '  say("hi")\n  say(2, end="")\nassert out.getvalue() == "hi\\n2"',
    'out = io.StringIO()\nold, sys.stdout = sys.stdout, out\nsay("hi")\n'
    'sys.stdout = old\nsay("no")\nassert out.getvalue() == "hi\\n"',
    'out, err = io.StringIO(), io.StringIO()\n'
    'with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):\n'
    '  say_all()\nassert (out.getvalue(), err.getvalue()) == ("ab", "c")',
    'from unittest import mock\nwith mock.patch("sys.stdout", '
    'new_callable=io.StringIO) as out:\n  say(1)\n'
    'assert out.getvalue() == "1\\n"',
    'sys.stdin = io.StringIO("q\\n")\nout = io.StringIO()\n'
    'with contextlib.redirect_stdout(out):\n  say(ask())\n'
    'assert out.getvalue() == "Name? q\\n"',
    'random.seed(3)\na = draw(4)\nrandom.seed(3)\n'
    'assert draw(4) == a != draw(4)',
    'random.seed(3)\nx = [random.randint(0, 10**6) for _ in range(4)]\n'
    'random.seed(3)\nassert draw(4) == x',
    'random.seed(7)\nassert mixed([1, 2, 3, 4, 5]) == '
    '(lambda r, x: (r.shuffle(x), x)[1])(random.Random(7), [1, 2, 3, 4, 5])',
    'from random import seed\nseed(1)\na = draw(1)\nseed(2)\nb = draw(1)\n'
    'seed(1)\nassert a == draw(1) != b',
    'random.seed(5)\ns = random.getstate()\na = draw(2)\nrandom.setstate(s)\n'
    'assert draw(2) == a',
])
def test_streams_and_seeds_of_tests_reach_a_program(test):
  assert _judge(_TALK, test, setup=_SET) == 'passed'
  wrong = ('import itertools\nn = itertools.count()\n'
           'def ask(): return 0\ndef say(*a, **k): pass\n'
           'total = every = two = raw = say_all = say\n'
           'def draw(n_): return [next(n)]\nmixed = draw\n')
  assert _judge(wrong, test, setup=_SET) == 'failed'
