"""Programs that try to pass tests which they do not pass, or to do harm.

Each is (name, what it tries, text). In the texts, OUTSIDE stands for a folder
that everybody may write to, PORT for a local port on which something listens,
and PID for the process that grades.
"""

WRONG = 'def add(a, b):\n  return a * b + 1\n'

_EXIT = (
    ('sys_exit', 'end well before the tests', 'import sys\nsys.exit(0)'),
    ('os_exit', 'end at once', 'import os\nos._exit(0)'),
    ('passed_status', 'end with the status of tests that passed',
     'import os\nos._exit(7)'),
    ('quit', 'end by the function of the prompt', WRONG + 'quit()'),
    ('raise_system_exit', 'end by an exception', 'raise SystemExit(0)'),
    ('exit_in_call', 'end when called',
     'import os\ndef add(a, b):\n  os._exit(0)'),
    ('passed_status_in_call', 'end as tests that passed when called',
     'import os\ndef add(a, b):\n  os._exit(7)'),
    ('exit_in_atexit', 'end well at the end',
     'import atexit, os\natexit.register(os._exit, 0)\n' + WRONG),
    ('exec_true', 'become a program that ends well',
     'import os\nos.execv("/bin/true", ["true"])'),
    ('keyboard_interrupt', 'pass for an interrupt of the user',
     'def add(a, b):\n  raise KeyboardInterrupt'),
    ('generator_exit', 'raise what few catch',
     'def add(a, b):\n  raise GeneratorExit'),
    ('stop_iteration', 'end the loops of the tests',
     'def add(a, b):\n  if a == 2: raise StopIteration\n'
     '  return a + b if a != 3 else 0'),
    ('assertion_error', 'raise what the tests raise',
     'def add(a, b):\n  raise AssertionError'),
    ('thread_exit', 'end from a thread while the tests run',
     'import threading, os\n'
     'threading.Timer(0.001, os._exit, [0]).start()\n' + WRONG),
)

_MARKERS = (
    ('print_markers', 'say that all passed',
     WRONG + 'print("PASSED\\npassed\\nOK\\n1\\nAll tests passed")'),
    ('write_all_files', 'say so on all files that may be open',
     WRONG + 'import os\nfor fd in range(256):\n'
     '  for text in (b"passed", b"1", b"{\\"verdict\\": \\"passed\\"}"):\n'
     '    try: os.write(fd, text)\n    except OSError: pass\n'),
    ('frame_of_pass', 'answer before it is asked',
     WRONG + 'import json, os\n'
     'def frame(x):\n  x = json.dumps(x).encode()\n'
     '  return len(x).to_bytes(4, "big") + x\n'
     'for value in (5, True, ["set", [1, 2]]):\n'
     '  os.write(3, frame(["is", value]))\n'),
    ('frame_of_true', 'answer True to each question',
     'import json, os\nx = json.dumps(["is", True]).encode()\n'
     'while True: os.write(3, len(x).to_bytes(4, "big") + x)\n'),
    ('frame_of_call', 'call functions of the tests by number',
     WRONG + 'import json, os\nfor n in range(20):\n'
     '  x = json.dumps(["call", ["tuple", [["yours", n]]], ["dict", []]])\n'
     '  os.write(3, len(x).to_bytes(4, "big") + x.encode())\n'),
    ('frame_of_eval', 'have the tests run its code',
     WRONG + 'import json, os\n'
     'for op in ("eval", "exec", "run", "get", "name", "__import__"):\n'
     '  x = json.dumps([op, ["tuple", ["1"]], ["dict", []]])\n'
     '  os.write(3, len(x).to_bytes(4, "big") + x.encode())\n'),
    ('frame_too_long', 'announce more than memory holds',
     'import os\nos.write(3, b"\\xff\\xff\\xff\\xff" + b"0" * 1000)\n' + WRONG),
    ('frame_no_json', 'send what is no message',
     'import os\nos.write(3, b"\\0\\0\\0\\5hello")\n' + WRONG),
    ('frame_deep', 'send lists in lists',
     'import os\nx = b"[" * 100000\n'
     'os.write(3, len(x).to_bytes(4, "big") + x)\n' + WRONG),
    ('pickle', 'be unpickled',
     'import os\nclass X:\n  def __reduce__(self):\n'
     '    return os._exit, (7,)\ndef add(a, b):\n  return X()'),
)

_PATCHES = (
    ('equal_to_all', 'return an object that equals all',
     'class X:\n  def __eq__(self, other): return True\n'
     '  def __ne__(self, other): return False\n'
     '  __hash__ = lambda self: 0\n'
     'def add(a, b):\n  return X() if a == 2 else a + b'),
    ('int_equal_to_all', 'return a number that equals all',
     'class X(int):\n  def __eq__(self, other): return True\n'
     '  __hash__ = int.__hash__\n'
     'def add(a, b):\n  return X(1)'),
    ('str_equal_to_all', 'return a text that equals all',
     'class X(str):\n  def __eq__(self, other): return True\n'
     '  __hash__ = str.__hash__\n'
     'def add(a, b):\n  return X("x")'),
    ('list_equal_to_all', 'return a list that equals all',
     'class X(list):\n  def __eq__(self, other): return True\n'
     '  def __iter__(self): return iter([X()])\n'
     'def add(a, b):\n  return X()'),
    ('float_close_to_all', 'return a number that is close to all',
     'class X(float):\n  def __sub__(self, other): return 0.0\n'
     '  __rsub__ = __sub__\n  def __abs__(self): return 0.0\n'
     '  def __eq__(self, other): return True\n'
     'def add(a, b):\n  return X(1)'),
    ('holds_all', 'return an object in which everything is',
     'class X:\n  def __contains__(self, other): return True\n'
     '  def __iter__(self): return iter(())\n'
     'def add(a, b):\n  return X() if isinstance(a, str) else a + b'),
    ('mock', 'return an object that does anything',
     'import unittest.mock\ndef add(a, b):\n  return unittest.mock.ANY'),
    ('mock_function', 'be an object that does anything',
     'import unittest.mock\nadd = unittest.mock.MagicMock()'),
    ('meta_class', 'be a class that equals all',
     'class M(type):\n  def __eq__(self, other): return True\n'
     '  __hash__ = lambda self: 0\nclass add(metaclass=M):\n'
     '  def __new__(cls, *a): return cls'),
    ('own_set', 'put its own set, abs and sorted into the tests',
     'def same(*a, **k): return 1\n'
     'set = abs = sorted = len = list = tuple = str = int = same\n' + WRONG),
    ('own_builtins', 'change the functions of Python',
     'import builtins\nclass X:\n  def __eq__(self, other): return True\n'
     'for n in ("set", "abs", "sorted", "all", "len", "AssertionError"):\n'
     '  setattr(builtins, n, lambda *a, **k: X())\n' + WRONG),
    ('own_math', 'put its own math into the tests',
     'class math:\n  @staticmethod\n  def isclose(*a, **k): return True\n'
     + WRONG),
    ('own_module', 'change math for all',
     'import math, sys\nmath.isclose = lambda *a, **k: True\n'
     'sys.modules["math"] = math\n' + WRONG),
    ('own_check', 'put its own check into the tests',
     'def check(candidate): return True\n' + WRONG),
    ('own_helper', 'put its own helper into the tests',
     'def twice(x): return 0\n'
     'def add(a, b): return 0 if a == b else a + b if a != 2 else 0'),
    ('assertion_class', 'make a failed assertion harmless',
     'import builtins\nclass Quiet(BaseException):\n'
     '  def __new__(cls, *a): raise SystemExit(0)\n'
     'builtins.AssertionError = Quiet\n' + WRONG),
    ('own_unittest', 'make each test case succeed',
     'import unittest\nunittest.TestCase.run = lambda *a, **k: None\n'
     'unittest.TestCase.assertEqual = lambda *a, **k: None\n' + WRONG),
    ('own_exit', 'make each end a good one',
     'import os, sys\nend = os._exit\n'
     'sys.exit = os._exit = os.abort = lambda *a: end(7)\n' + WRONG),
    ('own_wire', 'change how answers are sent',
     'import sys\nclass X:\n  def __eq__(self, other): return True\n'
     'for m in list(sys.modules.values()):\n'
     '  if "sandbox" in getattr(m, "__name__", ""):\n'
     '    for n in list(vars(m)):\n'
     '      if callable(vars(m)[n]) and n[:2] != "__":\n'
     '        setattr(m, n, lambda *a, **k: X())\n' + WRONG),
    ('own_json', 'change what answers are made of',
     'import json\njson.dumps = lambda *a, **k: "[\\"is\\", true]"\n' + WRONG),
    ('own_compile', 'take the assertions out of what is compiled',
     'import builtins\nreal = builtins.compile\n'
     'builtins.compile = lambda text, *a, **k: real("pass", *a, **k)\n'
     'builtins.exec = lambda *a, **k: None\n' + WRONG),
    ('optimise', 'switch assertions off',
     'import sys, os\nos.environ["PYTHONOPTIMIZE"] = "2"\n'
     'try: sys.flags.optimize = 2\nexcept Exception: pass\n'
     '__debug = False\n' + WRONG),
    ('excepthook', 'hide the exceptions',
     'import sys\nsys.excepthook = lambda *a: None\n'
     'sys.unraisablehook = lambda *a: None\n' + WRONG),
    ('changed_arguments', 'change what it was given to fit',
     'def add(a, b):\n  if isinstance(a, list):\n    a.clear(); b.clear()\n'
     '  return a'),
    ('true', 'return True for all', 'def add(a, b): return True'),
    ('nan', 'return what is no number',
     'def add(a, b): return float("nan")'),
    ('none', 'return nothing', 'def add(a, b): pass'),
)

_SPIES = (
    ('frames', 'read the expected values from the frames',
     'import sys\ndef add(a, b):\n  f = sys._getframe()\n  while f:\n'
     '    for v in list(f.f_locals.values()) + list(f.f_globals.values()):\n'
     '      if isinstance(v, str) and "assert add" in v:\n'
     '        return eval(v.split("==")[1].split("\\n")[0])\n'
     '    f = f.f_back\n  return 0'),
    ('gc', 'read the tests from all objects',
     'import gc\ndef add(a, b):\n  for o in gc.get_objects():\n'
     '    try:\n      if "assert add(" in str(o)[:10000] and o is not add:\n'
     '        import os; os._exit(7)\n'
     '    except Exception: pass\n  return 0'),
    ('inspect', 'read the tests from the stack',
     'import inspect\ndef add(a, b):\n  for f in inspect.stack():\n'
     '    if f.code_context and "assert" in str(f.code_context):\n'
     '      return eval(str(f.code_context[0]).split("==")[1])\n  return 0'),
    ('own_memory', 'read the tests from its memory',
     'def add(a, b):\n  with open("/proc/self/mem", "rb") as m:\n'
     '    for line in open("/proc/self/maps"):\n'
     '      lo, hi = (int(x, 16) for x in line.split()[0].split("-"))\n'
     '      m.seek(lo)\n      text = m.read(hi - lo)\n'
     '      at = text.find(b"assert add(")\n'
     '      if at >= 0: return 5\n'),
    ('memory_of_tests', 'change the memory of other processes',
     'import os\nfor p in range(max(2, os.getpid() - 4), os.getpid() + 4):\n'
     '  try: open(f"/proc/{p}/mem", "r+b").write(b"x")\n'
     '  except OSError: pass\n' + WRONG),
    ('command_lines', 'read the tests from the command lines',
     'import glob\ndef add(a, b):\n'
     '  for p in glob.glob("/proc/[0-9]*/cmdline"):\n'
     '    if "assert add" in open(p).read(): return 5\n'),
    ('files', 'look for the tests in files',
     'import os\ndef add(a, b):\n'
     '  return int(open("OUTSIDE/expected").read())'),
    ('ctypes', 'change small numbers',
     'import ctypes\n'
     'ctypes.c_long.from_address(id(5) + 24).value = 6\n' + WRONG),
    ('ctypes_null', 'crash', 'import ctypes\nctypes.string_at(0)'),
    ('settrace', 'follow the tests line by line',
     'import sys\ndef trace(frame, event, arg):\n'
     '  frame.f_trace_opcodes = True\n'
     '  if "expected" in frame.f_locals: sys.exit(0)\n  return trace\n'
     'sys.settrace(trace)\nsys.setprofile(trace)\n' + WRONG),
    ('jump', 'jump over the assertions',
     'import sys\ndef add(a, b):\n  f = sys._getframe().f_back\n'
     '  while f:\n'
     '    try: f.f_trace = lambda *a: None; f.f_lineno = f.f_lineno + 1\n'
     '    except Exception: pass\n    f = f.f_back\n  return 0\n'),
    ('del', 'act when it is thrown away',
     'import os\nclass X:\n  def __del__(self): os._exit(7)\n'
     'def add(a, b):\n  X()\n  return 0'),
    ('ptrace', 'trace its parent',
     'import ctypes, os\nlibc = ctypes.CDLL(None)\n'
     'for p in (os.getppid(), PID, os.getpid() - 1):\n'
     '  libc.ptrace(16, p, 0, 0)\n' + WRONG),
    ('core', 'leave a core file',
     'import resource, os\n'
     'resource.setrlimit(resource.RLIMIT_CORE, (-1, -1))\nos.abort()'),
)

_HARM = (
    ('loop', 'never end', 'while True: pass'),
    ('loop_in_call', 'never answer', 'def add(a, b):\n  while True: pass'),
    ('loop_catches_all', 'never end, whatever is raised',
     'import signal\nsignal.signal(signal.SIGXCPU, signal.SIG_IGN)\n'
     'while True:\n  try:\n    while True: pass\n'
     '  except BaseException: pass'),
    ('sleep', 'wait for ever', 'import time\ntime.sleep(10000)'),
    ('read_input', 'wait for the keyboard', 'input()\n' + WRONG),
    ('deadlock', 'wait for itself',
     'import threading\nx = threading.Lock()\nx.acquire()\nx.acquire()'),
    ('busy_threads', 'never end, in threads',
     'import threading\ndef f():\n  while True: pass\n'
     'for _ in range(4): threading.Thread(target=f).start()\nf()'),
    ('many_threads', 'start threads without end',
     'import threading, time\n'
     'while True: threading.Thread(target=time.sleep, args=[1000]).start()'),
    ('small_threads', 'start threads without end that take little memory',
     'import threading, time\nthreading.stack_size(2**15)\n'
     'while True: threading.Thread(target=time.sleep, args=[1000]).start()'),
    ('memory', 'eat memory', 'x = []\nwhile True: x.append(bytearray(10**7))'),
    ('memory_mapped', 'eat memory of the system',
     'import mmap\nx = []\nwhile True:\n  x.append(mmap.mmap(-1, 10**8))\n'
     '  x[-1].write(b"1" * 10**8)'),
    ('big_number', 'compute without end', 'x = 9 ** 9 ** 9'),
    ('big_answer', 'drown the tests', 'def add(a, b): return "x" * 10**9'),
    ('long_answer', 'answer without end',
     'def add(a, b):\n  while True: yield 1'),
    ('cycle', 'answer with a list in itself',
     'def add(a, b):\n  x = []\n  x.append(x)\n  return x'),
    ('deep_answer', 'answer with lists in lists',
     'def add(a, b):\n  x = []\n  for _ in range(10**5): x = [x]\n'
     '  return x'),
    ('recursion', 'overflow the stack',
     'import sys\nsys.setrecursionlimit(10**9)\n'
     'def add(a, b): return add(a, b)'),
    ('backtracking', 'never end in C',
     'import re\nre.match(r"(a+)+$", "a" * 60 + "b")'),
    ('fork_bomb', 'start processes without end',
     'import os\nwhile True:\n  try: os.fork()\n  except OSError: pass\n'),
    ('daemon', 'outlive the tests',
     'import os, time\nif os.fork() == 0:\n  os.setsid()\n'
     '  if os.fork() == 0: time.sleep(1000)\n' + WRONG),
    ('shell', 'run a command',
     'import os\nos.system("touch OUTSIDE/shell")\n' + WRONG),
    ('subprocess', 'run a program',
     'import subprocess\n'
     'subprocess.run(["touch", "OUTSIDE/subprocess"])\n' + WRONG),
    ('spawn', 'run a program in another way',
     'import os\nos.posix_spawn("/usr/bin/touch", ["touch", "OUTSIDE/spawn"], '
     '{})\n' + WRONG),
    ('write', 'write a file elsewhere',
     'open("OUTSIDE/write", "w").write("x")\n' + WRONG),
    ('write_up', 'write a file above its folder',
     'for up in ("..", "../..", "/tmp", "/dev/shm", "/var/tmp"):\n'
     '  try: open(up + "/hostile_was_here", "w")\n'
     '  except OSError: pass\n' + WRONG),
    ('link', 'write through a link',
     'import os\nos.symlink("OUTSIDE", "x")\nopen("x/link", "w")\n' + WRONG),
    ('rename', 'move a file elsewhere',
     'import os\nopen("x", "w")\nos.rename("x", "OUTSIDE/rename")\n' + WRONG),
    ('remove', 'remove files of others',
     'import os\nos.unlink("OUTSIDE/expected")\n' + WRONG),
    ('truncate', 'empty files of others',
     'import os\nos.truncate("OUTSIDE/expected", 0)\n' + WRONG),
    ('empty', 'empty files of others by reading them',
     'import os\nos.open("OUTSIDE/expected", os.O_RDONLY | os.O_TRUNC)\n'
     + WRONG),
    ('chmod', 'change the rights of files of others',
     'import os\nos.chmod("OUTSIDE/expected", 0)\n' + WRONG),
    ('make_folder', 'make a folder elsewhere',
     'import os\nos.makedirs("OUTSIDE/make/folder")\n' + WRONG),
    ('big_file', 'fill the disk with a file',
     'x = open("x", "wb")\nwhile True: x.write(b"x" * 10**7)'),
    ('many_files', 'fill the disk with files',
     'n = 0\nwhile True:\n  open(str(n), "w").write("x" * 1000)\n  n += 1'),
    ('many_open_files', 'open files without end',
     'x = []\nwhile True: x.append(open("/dev/null"))'),
    ('much_output', 'fill the log',
     'while True: print("x" * 10**6)'),
    ('connect', 'reach the network',
     'import socket\n'
     'socket.create_connection(("127.0.0.1", PORT)).send(b"x")\n' + WRONG),
    ('datagram', 'reach the network in another way',
     'import socket\ns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n'
     's.sendto(b"x", ("127.0.0.1", PORT))\n' + WRONG),
    ('url', 'load a page',
     'import urllib.request\n'
     'urllib.request.urlopen("http://127.0.0.1:PORT/")\n' + WRONG),
    ('listen', 'wait for connections',
     'import socket\ns = socket.create_server(("", 0))\ns.accept()'),
    ('kill_parent', 'kill the processes above it',
     'import os, signal\nfor p in (os.getppid(), PID):\n'
     '  try: os.kill(p, signal.SIGTERM)\n  except OSError: pass\n' + WRONG),
    ('kill_all', 'kill all processes',
     'import os, signal\nos.kill(-1, signal.SIGTERM)\n' + WRONG),
    ('kill_group', 'kill its group',
     'import os, signal\nos.killpg(0, signal.SIGTERM)\n' + WRONG),
    ('signal_by_file', 'have the kernel signal its parent',
     'import fcntl, os\nfcntl.fcntl(3, fcntl.F_SETOWN, PID)\n'
     'fcntl.fcntl(3, fcntl.F_SETFL, os.O_ASYNC)\n' + WRONG),
    ('limits_of_parent', 'take the memory of its parent',
     'import resource\n'
     'resource.prlimit(PID, resource.RLIMIT_NOFILE, (3, 3))\n' + WRONG),
    ('raise_limits', 'lift its limits',
     'import resource\nfor n in range(16):\n'
     '  try: resource.setrlimit(n, (-1, -1))\n'
     '  except (OSError, ValueError): pass\n'
     'x = bytearray(2**30)\nwhile True: pass'),
    ('slow_parent', 'slow its parent down',
     'import os\nos.setpriority(os.PRIO_PROCESS, PID, 19)\n' + WRONG),
    ('shared_memory', 'leave memory behind',
     'from multiprocessing import shared_memory\n'
     'shared_memory.SharedMemory("hostile_was_here", True, 10**6)\n' + WRONG),
    ('root', 'become root', 'import os\nos.setuid(0)\n' + WRONG),
    ('chroot', 'change what it sees',
     'import os\nos.chroot("/")\n' + WRONG),
    ('new_session', 'leave its group', 'import os\nos.setsid()\n' + WRONG),
    ('user_namespace', 'get rights in a world of its own',
     'import ctypes\n'
     'assert ctypes.CDLL(None).unshare(0x10000000) == 0\n' + WRONG),
    ('null_character', 'be no text', 'x = 1\0' + WRONG),
    ('deep_source', 'be too deep for the parser',
     'x = ' + '(' * 5000 + ')' * 5000 + '\n' + WRONG),
    ('nothing', 'be nothing', ''),
    ('long_source', 'be too long', '#' * 10**6 + '\n' + WRONG),
)

PROGRAMS = _EXIT + _MARKERS + _PATCHES + _SPIES + _HARM
