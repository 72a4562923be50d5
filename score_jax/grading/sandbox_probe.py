"""A program that tries to get out of a sandbox, for its self-test.

It tries rules and not a list of files: each file and folder that it finds by
walking is opened to be written, or gets a new file. Only plain files are
opened: to open a device can do harm.
"""

PROGRAM = '''
import ctypes, os, socket, stat, sys

_MOST = 3000  # Files and folders under each root.
_ROOTS = ('/proc', '/sys', '/dev', '/etc', '/run', '/tmp', '/var', '/home',
          '/root', '/mnt', '/srv')
_libc = ctypes.CDLL(None, use_errno=True)

def _walk(root):
  """Folders first, so that none hides the others."""
  queue, seen = [root], 0
  for folder in queue:
    yield folder, True
    try:
      entries = list(os.scandir(folder))
    except OSError:
      continue
    for entry in entries:
      seen += 1
      if seen > _MOST:
        return
      try:
        mode = entry.stat(follow_symlinks=False).st_mode
      except OSError:
        continue
      if stat.S_ISDIR(mode):
        queue.append(entry.path)
      elif stat.S_ISREG(mode):
        yield entry.path, False

def _writes(scratch):
  roots = [*_ROOTS, *sys.path, *filter(None, (os.environ.get('HOME'),))]
  for root in dict.fromkeys(roots):
    for path, is_folder in _walk(root):
      if scratch and os.path.realpath(path).startswith(scratch):
        continue
      new = os.path.join(path, 'score_jax_probe')
      try:
        if is_folder:
          os.close(os.open(new, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
          os.unlink(new)
        else:
          os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))
        return path
      except OSError:
        pass
  raise OSError

def _memory():
  for process in os.listdir('/proc'):
    if process.isdigit() and int(process) != os.getpid():
      try:
        return open(f'/proc/{process}/mem', 'rb')
      except OSError:
        pass
  raise OSError

def _calls(call, *arguments):
  if call(*arguments) < 0:
    raise OSError

def _disk():
  """Pages of files without a name, until the kernel refuses one."""
  _libc.mmap.restype = ctypes.c_void_p
  try:
    for _ in range(200):
      with open('x', 'w+b', buffering=0) as file:
        if file.write(bytes(2**20)) < 2**20:
          raise OSError
        _libc.mmap(None, ctypes.c_size_t(1), 1, 2, file.fileno(),
                   ctypes.c_long(0))
      os.unlink('x')
  finally:
    if os.path.exists('x'):
      os.unlink('x')

def out(outside, secret, all_of_them):
  scratch = os.getcwd() if os.getcwd() != '/' else ''
  found = []
  def tries(what, function, *arguments):
    try:
      function(*arguments)
      if what not in found:
        found.append(what)
    except OSError:
      pass
  tries('network', socket.socket)
  tries('network', socket.socket, socket.AF_UNIX)
  tries('write', open, outside, 'w')
  tries('empty', os.truncate, secret, 0)
  tries('empty', os.open, '/dev/null', os.O_RDONLY | os.O_TRUNC)
  tries('read', open, secret)
  if not all_of_them:  # Nothing would hold them.
    return found
  tries('write', _writes, scratch)
  tries('process', lambda: os.fork() or os._exit(0))
  tries('signal', os.kill, os.getppid(), 0)
  tries('memory', _memory)
  for pid in (1, os.getppid()):
    tries('memory', _calls, _libc.ptrace, 0x4206, pid, 0, 0)
    tries('memory', _calls, _libc.process_vm_readv, pid, None, 0, None, 0, 0)
  tries('shared memory', _calls, _libc.shmget, 0, 4096, 0o1600)
  tries('shared memory', _calls, _libc.memfd_create, b'x', 0)
  tries('message queue', _calls, _libc.msgget, 0, 0o1600)
  tries('namespace', _calls, _libc.unshare, 0x10000000)
  tries('disk', _disk)
  import colorsys  # Python's own files can be read.
  return found
'''
