"""Programs that pass only if they get out of a sandbox, or leave something.

`python -m tests.grading.hostile_isolation NAME` tries them all in the sandbox
NAME as the user who runs it, and prints JSON: a verdict for each.
"""

import json
import os
import sys
import tempfile

from score_jax.grading import programs
from score_jax.grading import sandbox

_SPEC = json.dumps({'tests': ['assert add(2, 3) == 5']})
_LIMITS = {'cpu_s': 5.0, 'wall_s': 20.0, 'memory_bytes': 2**30}

# `got` is called for each success.
_HEAD = '''
import ctypes, glob, os, socket, stat, sys, tempfile
libc = ctypes.CDLL(None)
found = []
def tries(function, *arguments):
  try:
    if function(*arguments) not in (-1, None, False):
      found.append(function)
  except (OSError, ValueError, AttributeError, ImportError):
    pass
def walk(root, most=4000):
  for folder, _, files in os.walk(root):
    for name in files:
      path = os.path.join(folder, name)
      most -= 1
      if most < 0: return
      try:
        if stat.S_ISREG(os.lstat(path).st_mode): yield path
      except OSError: pass
def opens(path, flags=os.O_WRONLY):
  return os.open(path, flags) >= 0
def maps(file, size, flags):
  """Not as `mmap` does it, which keeps a copy of the open file."""
  libc.mmap.restype = ctypes.c_void_p
  at = libc.mmap(None, ctypes.c_size_t(size), 3, flags, file.fileno(),
                 ctypes.c_long(0))
  assert at not in (None, 2**64 - 1)
  return at
def add(a, b):
  return a + b if found else 0
'''
_FOLDERS = ('[*sys.path, os.path.dirname(os.path.dirname(os.__file__)), '
            '"/", "/tmp", "/var/tmp", "/dev", "/dev/shm/..", "/run", "/home", '
            '"/root", "/proc", "OUTSIDE", os.environ.get("HOME", "/root"), '
            'os.environ.get("TMPDIR", "/tmp"), os.path.dirname(sys.executable)'
            ', "PACKAGE", "PACKAGE/..", "PACKAGE/grading"]')

ATTACKS = {
    'kernel settings': 'for p in walk("/proc/sys"): tries(opens, p)',
    'kernel settings, read and write':
        'for p in walk("/proc/sys"): tries(opens, p, os.O_RDWR)',
    'kernel settings by their names':
        'for n in ("kernel/core_pattern", "kernel/panic", "vm/drop_caches", '
        '"kernel/modprobe", "kernel/hostname", "fs/suid_dumpable"):\n'
        '  for top in ("/proc/sys/", "/proc/self/root/proc/sys/", '
        '"/proc/1/root/proc/sys/", "/proc/thread-self/../../../sys/"):\n'
        '    tries(opens, top + n)',
    'sysfs': 'for p in walk("/sys"): tries(opens, p)',
    'sysrq': 'for p in glob.glob("/proc/sys*"): tries(opens, p)',
    'memory': 'for p in glob.glob("/proc/[0-9]*/mem"):\n'
              '  if str(os.getpid()) not in p: tries(opens, p, os.O_RDONLY)',
    'memory to write': 'for p in (1, os.getppid(), PID, os.getpid() - 1):\n'
                       '  tries(opens, f"/proc/{p}/mem", os.O_RDWR)',
    'memory maps': 'for p in (1, os.getppid(), PID, os.getpid() - 1):\n'
                   '  for n in ("maps", "environ", "auxv", "stack"):\n'
                   '    tries(lambda: open(f"/proc/{p}/{n}").read(1))',
    'files of others': 'for p in (1, os.getppid(), PID):\n'
                       '  tries(lambda: os.listdir(f"/proc/{p}/fd"))\n'
                       '  tries(lambda: os.listdir(f"/proc/{p}/root"))',
    'ptrace': 'for p in (1, os.getppid(), PID, os.getpid() - 1):\n'
              '  tries(libc.ptrace, 0x4206, p, 0, 0)',
    'process_vm_readv':
        'x = (ctypes.c_size_t * 2)(id(add), 8)\n'
        'for p in (1, os.getppid(), PID, os.getpid() - 1):\n'
        '  tries(libc.process_vm_readv, p, x, 1, x, 1, 0)\n'
        '  tries(libc.process_vm_writev, p, x, 1, x, 1, 0)',
    'pidfd': 'for p in (1, os.getppid(), PID):\n'
             '  tries(libc.syscall, 434, p, 0)\n'
             'for fd in range(64): tries(libc.syscall, 438, fd, 0, 0)',
    'kcmp': 'tries(libc.syscall, 312, os.getpid(), os.getppid(), 0, 0, 0)',
    'planted modules': f'for d in {_FOLDERS}:\n'
                       '  for n in ("unittest.py", "timeit.py", "x.pth", '
                       '"sitecustomize.py", "usercustomize.py", "json.py"):\n'
                       '    tries(opens, os.path.join(d, n), '
                       'os.O_WRONLY | os.O_CREAT)',
    'changed modules': 'for d in sys.path:\n'
                       '  for p in walk(d, 300): tries(opens, p)',
    'renamed modules': 'for d in sys.path:\n'
                       '  for p in list(walk(d, 50)):\n'
                       '    tries(lambda: os.rename(p, p) or True)\n'
                       '    tries(lambda: os.rename(p, "x") or True)',
    'folders': f'for d in {_FOLDERS}:\n'
               '  tries(lambda: os.mkdir(os.path.join(d, "hostile")) or True)',
    'links': f'for d in {_FOLDERS}:\n'
             '  tries(lambda: os.symlink("/etc", d + "/hostile") or True)\n'
             '  tries(lambda: os.link(__file__, d + "/hostile") or True)',
    'anonymous files': f'for d in {_FOLDERS}:\n'
                       '  tries(opens, d, os.O_TMPFILE | os.O_WRONLY)',
    'devices': 'for p in glob.glob("/dev/**", recursive=True):\n'
               '  if p not in ("/dev/null", "/dev/zero", "/dev/full") and not '
               'p.startswith(os.getcwd()): tries(opens, p, os.O_RDWR)',
    'shared memory': 'for n in range(9): tries(libc.shmget, n, 4096, 0o1666)\n'
                     'tries(libc.shm_open, b"/hostile", 66, 0o666)',
    'semaphores': 'tries(libc.semget, 7, 1, 0o1666)',
    'message queues': 'tries(libc.msgget, 7, 0o1666)\n'
                      'tries(libc.syscall, 240, b"hostile", 66, 0o666, 0)',
    'memfd': 'tries(libc.memfd_create, b"x", 0)\ntries(libc.syscall, 447, 0)',
    'sockets': 'for f in (1, 2, 10, 16, 17, 38, 40):\n'
               '  for t in (1, 2, 3): tries(socket.socket, f, t)\n'
               'tries(lambda: socket.socketpair())',
    'keyrings': 'tries(libc.syscall, 248, b"user", b"x", b"y", 1, -4)\n'
                'tries(libc.syscall, 250, 0, -4, 1)',
    'processes': 'tries(os.fork)\ntries(libc.vfork)\n'
                 'tries(libc.syscall, 435, 0, 0)',
    'namespaces': 'for f in (0x10000000, 0x20000, 0x8000000): '
                  'tries(libc.unshare, f)\n'
                  'tries(libc.setns, 3, 0)',
    'mounts': 'for d in ("/proc", "/", os.getcwd()):\n'
              '  tries(libc.umount2, d.encode(), 2)\n'
              '  tries(libc.mount, b"x", d.encode(), b"tmpfs", 0, None)',
    'root': 'for c in (os.setuid, os.seteuid, os.setgid):\n'
            '  tries(lambda: c(0) or True)\n'
            'tries(lambda: os.setgroups([0]) or True)',
    'handles': 'tries(libc.syscall, 304, -100, b"\\0" * 16, 0)',
    'io_uring': 'tries(libc.syscall, 425, 8, b"\\0" * 120)',
    'bpf': 'tries(libc.syscall, 321, 0, b"\\0" * 64, 64)\n'
           'tries(libc.syscall, 298, b"\\0" * 64, 0, -1, -1, 0)',
    'userfaultfd': 'tries(libc.syscall, 323, 0)',
    # Of disk and inodes: more than is theirs.
    'mapped, unlinked files':
        'keep = []\nfor n in range(200):\n'
        '  f = open(f"x", "w+b", buffering=0)\n'
        '  f.write(b"1" * 2**20) == 2**20 or sys.exit()\n'
        '  maps(f, 2**20, 1)\n'
        '  f.close(); os.unlink("x")\nfound.append(1)',
    'privately mapped, unlinked files':
        'keep = []\nfor n in range(200):\n'
        '  f = open(f"x", "w+b", buffering=0)\n'
        '  f.write(b"1" * 2**20) == 2**20 or sys.exit()\n'
        '  maps(f, 1, 2)\n'
        '  f.close(); os.unlink("x")\nfound.append(1)',
    'open, unlinked files':
        'keep = []\nfor n in range(200):\n'
        '  keep.append(open(f"x", "w+b", buffering=0))\n'
        '  keep[-1].write(b"1" * 2**20) == 2**20 or sys.exit()\n'
        '  os.unlink("x")\nfound.append(1)',
    'replaced files':
        'keep = []\nfor n in range(200):\n'
        '  keep.append(open(f"y", "w+b", buffering=0))\n'
        '  keep[-1].write(b"1" * 2**20) == 2**20 or sys.exit()\n'
        '  os.rename("y", "x")\nfound.append(1)',
    'holes that are filled':
        'keep = []\nfor n in range(200):\n'
        '  f = open(f"x", "w+b")\n  os.ftruncate(f.fileno(), 2**20)\n'
        '  at = maps(f, 2**20, 1)\n'
        '  for n in range(0, 2**20, 4096): ctypes.memset(at + n, 1, 1)\n'
        '  f.close(); os.unlink("x")\nfound.append(1)',
    'empty, unlinked files':
        'keep = []\nfor n in range(3000):\n'
        '  f = open(f"x", "w+b")\n  os.ftruncate(f.fileno(), 1)\n'
        '  maps(f, 1, 2)\n'
        '  f.close(); os.unlink("x")\nfound.append(1)',
    'names': 'for n in range(5000):\n'
             '  open(str(n) + "n" * 200, "w").close()\nfound.append(1)',
    'one large file': 'f = open("x", "wb", buffering=0)\nf.seek(2**30)\n'
                      'tries(f.write, b"x")\n'
                      'tries(lambda: os.ftruncate(f.fileno(), 2**30) or True)\n'
                      'tries(lambda: os.posix_fallocate(f.fileno(), 0, 2**30) '
                      'or True)',
}

# (what the first leaves, how the next one finds it)
PAIRS = {
    'file': ('open("left", "w")', 'tries(opens, "left", os.O_RDONLY)'),
    'many files': ('for n in range(60): open(f".{n}", "w").write("x" * 999)',
                   'found += os.listdir(".")'),
    'full disk': ('for n in range(60): open(f"f{n}", "wb").write(b"1" * 2**20)',
                  'found += os.listdir(".")'),
    'files everywhere': (
        f'for d in {_FOLDERS}: tries(opens, d + "/left", 65)',
        f'for d in {_FOLDERS}: tries(opens, d + "/left", 0)'),
    'module': ('open("unittest.py", "w").write("x = 1")',
               'import unittest\nfound += [1] * hasattr(unittest, "x")'),
    'environment': ('os.environ["LEFT"] = "1"; libc.setenv(b"LEFT", b"1", 1)',
                    'found += [1] * ("LEFT" in os.environ)\n'
                    'libc.getenv.restype = ctypes.c_char_p\n'
                    'found += [1] * (libc.getenv(b"LEFT") is not None)'),
    'shared memory': ('tries(libc.shmget, 7, 4096, 0o1666)',
                      'tries(libc.shmget, 7, 4096, 0)'),
    'abstract socket': (
        'try: s = socket.socket(1, 1); s.bind("\\0left")\n'
        'except OSError: pass',
        'try: socket.socket(1, 1).connect("\\0left"); found.append(1)\n'
        'except OSError: pass'),
    'modules of Python': ('import json, builtins\njson.left = 1\n'
                          'builtins.left = 1',
                          'import json\nfound += [1] * hasattr(json, "left")'
                          '\nimport builtins\n'
                          'found += [1] * hasattr(builtins, "left")'),
    'background process': (
        'try:\n  if os.fork() == 0:\n    os.setsid()\n'
        '    while True: open("left", "w")\nexcept OSError: pass',
        'found += os.listdir(".")'),
}


def attempts(outside: str) -> list[tuple[str, str]]:
  """Return (name, text) of all programs, in the order in which they run."""
  values = {'OUTSIDE': outside, 'PID': str(os.getpid()),
            'PACKAGE': os.path.dirname(os.path.dirname(sandbox.__file__))}
  found = [(name, text) for name, text in ATTACKS.items()]
  for name, (first, second) in PAIRS.items():
    found += [(f'{name}, left', f'{first}\nfound.clear()'), (name, second)]
  for name, value in values.items():
    found = [(of, text.replace(name, value)) for of, text in found]
  return [(name, f'{_HEAD}\n{text}\n') for name, text in found]


def main(name: str):
  """Print the verdict on each, and what was found outside afterwards."""
  with tempfile.TemporaryDirectory() as outside:
    os.chmod(outside, 0o777)
    verdicts = {'works': programs.judge(
        _SPEC, 'def add(a, b): return a + b', sandbox=name, **_LIMITS)}
    for what, text in attempts(outside):
      verdicts[what] = programs.judge(_SPEC, text, sandbox=name, **_LIMITS)
    verdicts['outside'] = os.listdir(outside)
  print(json.dumps({'uid': os.getuid(), 'verdicts': verdicts}))


if __name__ == '__main__':
  main(sys.argv[1])
