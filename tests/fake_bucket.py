"""A bucket on this machine: what the libraries ask of Google Cloud Storage.

`Server` speaks the part of its JSON API that gcsfs, TensorStore and
google-cloud-storage use, with generations, conditions, pages and MD5. Objects
are in memory.
"""

import base64
import hashlib
from http import server as http_server
import json
import re
import threading
from urllib import parse

PERMISSIONS = tuple(f'storage.objects.{name}'
                    for name in ('create', 'delete', 'get', 'list'))


class Server:
  """Runs in a thread until it is closed.

  Attributes:
    buckets: the objects of each bucket, (generation, content) by name.
    permissions: what everybody has in all of them.
    composite: names of objects of which no MD5 is known.
    before_write: is called with the name of each object before it is written
      or deleted; an exception is answered as '503 unavailable'.
    requests: of all, the method and the path.
  """

  def __init__(self, *buckets: str):
    self.buckets = {name: {} for name in buckets}
    self.permissions = PERMISSIONS
    self.composite = set()
    self.before_write = lambda name: None
    self.requests = []
    self.lock = threading.RLock()
    self.uploads = {}
    self._generations = iter(range(1, 2**62))
    self._http = http_server.ThreadingHTTPServer(('127.0.0.1', 0), _Handler)
    self._http.daemon_threads = True
    self._http.handle_error = lambda *unused: None  # Of clients that left.
    self._http.bucket_server = self
    threading.Thread(target=self._http.serve_forever, daemon=True).start()

  @property
  def url(self) -> str:
    """Where it is, without a slash at the end."""
    return f'http://127.0.0.1:{self._http.server_port}'

  @property
  def environ(self) -> dict[str, str]:
    """What makes the libraries of a process go here."""
    return {'STORAGE_EMULATOR_HOST': self.url,
            'TENSORSTORE_GCS_HTTP_URL': self.url, 'NO_GCE_CHECK': 'true',
            'GOOGLE_AUTH_TOKEN_FOR_TESTING': 'token'}

  def close(self):
    """Stops answering."""
    self._http.shutdown()
    self._http.server_close()

  def files(self, bucket: str, folder: str = '') -> dict[str, bytes]:
    """Contents by name, without the folder before it."""
    with self.lock:
      return {name.removeprefix(folder).lstrip('/'): content
              for name, (_, content) in self.buckets[bucket].items()
              if name.startswith(folder)}

  def put(self, bucket: str, name: str, content: bytes) -> dict:
    """Writes an object; returns what is said of it."""
    with self.lock:
      self.buckets[bucket][name] = next(self._generations), content
      return self.about(bucket, name)

  def about(self, bucket: str, name: str) -> dict:
    """What a listing says of an object."""
    generation, content = self.buckets[bucket][name]
    md5 = base64.b64encode(hashlib.md5(content).digest()).decode()
    return {
        'kind': 'storage#object', 'bucket': bucket, 'name': name,
        'id': f'{bucket}/{name}/{generation}', 'generation': str(generation),
        'metageneration': '1', 'size': str(len(content)),
        'timeCreated': '2026-01-01T00:00:00.000Z',
        'updated': '2026-01-01T00:00:00.000Z',
    } | ({} if name in self.composite else {'md5Hash': md5})


class _Handler(http_server.BaseHTTPRequestHandler):
  """One request."""

  protocol_version = 'HTTP/1.1'

  def log_message(self, *unused):
    """Says nothing."""

  def _answer(self):
    path, _, query = self.path.partition('?')
    self._given = dict(parse.parse_qsl(query, keep_blank_values=True))
    self._query = query
    self._host = self.server.bucket_server
    size = int(self.headers.get('Content-Length') or 0)
    self._body = self.rfile.read(size)
    if self.headers.get('Transfer-Encoding') == 'chunked':
      self._body = self._chunks()
    self._host.requests.append((self.command, self.path))
    found = re.fullmatch(
        r'(?:/upload|/download)?/storage/v1/b/([^/]+)(/o|/iam/testPermissions)?'
        r'(?:/(.+))?', path)
    if not found:
      return self._fail(404, 'no such method')
    bucket, what, name = found.groups()
    if bucket not in self._host.buckets:
      return self._fail(404, 'The specified bucket does not exist.')
    if what == '/iam/testPermissions':
      asked = parse.parse_qs(query).get('permissions', [])
      return self._send({'permissions': [
          one for one in asked if one in self._host.permissions]})
    if what is None:  # Which roles/storage.objectAdmin does not have.
      return self._fail(403, 'You do not have storage.buckets.get access.')
    needed = {'GET': 'get' if name else 'list', 'DELETE': 'delete'}
    permission = f'storage.objects.{needed.get(self.command, "create")}'
    if permission not in self._host.permissions:
      return self._fail(403, f'You do not have {permission} access.')
    with self._host.lock:
      do = {'GET': self._get if name else self._list, 'POST': self._post,
            'PUT': self._put, 'DELETE': self._delete}[self.command]
      return do(bucket, parse.unquote(name or ''))

  do_GET = do_POST = do_PUT = do_DELETE = _answer

  def _chunks(self):
    body = b''
    while size := int(self.rfile.readline(), 16):
      body += self.rfile.read(size)
      self.rfile.readline()
    self.rfile.readline()
    return body

  def _meets(self, bucket, name):
    """Answers, and says no, where a condition does not hold."""
    there = self._host.buckets[bucket].get(name, (0,))[0]
    for condition, code, holds in (
        ('ifGenerationMatch', 412, lambda number: number == there),
        ('ifGenerationNotMatch', 304, lambda number: number != there)):
      if condition in self._given and not holds(int(self._given[condition])):
        self._fail(code, 'a condition does not hold')
        return False
    return True

  def _get(self, bucket, name):
    if name not in self._host.buckets[bucket]:
      return self._fail(404, f'No such object: {bucket}/{name}')
    if not self._meets(bucket, name):
      return None
    if self._given.get('alt') != 'media':
      return self._send(self._host.about(bucket, name))
    generation, content = self._host.buckets[bucket][name]
    headers = {'x-goog-generation': str(generation),
               'x-goog-stored-content-length': str(len(content))}
    wanted = re.fullmatch(r'bytes=(\d*)-(\d*)',
                          self.headers.get('Range', '').strip())
    if not wanted:
      return self._send(content, headers=headers)
    first, last = wanted.groups()
    start = int(first) if first else max(0, len(content) - int(last))
    end = min(len(content), int(last) + 1 if first and last else len(content))
    if start >= len(content):
      return self._fail(416, 'beyond the end')
    headers['Content-Range'] = f'bytes {start}-{end - 1}/{len(content)}'
    return self._send(content[start:end], 206, headers)

  def _list(self, bucket, unused_name):
    prefix = self._given.get('prefix', '')
    delimiter = self._given.get('delimiter')
    start, end = (self._given.get(f'{side}Offset') for side in ('start', 'end'))
    after = self._given.get('pageToken', '')
    most = min(int(self._given.get('maxResults') or 1000), 1000)
    found, items, prefixes = [], [], []
    for name in sorted(self._host.buckets[bucket]):
      if (not name.startswith(prefix) or (start and name < start)
          or (end and name >= end)):
        continue
      head, cut, _ = name[len(prefix) :].partition(delimiter or '\n')
      entry = prefix + head + cut if delimiter and cut else name
      if entry > after and entry not in found:
        found.append(entry)
    for entry in found[:most]:
      if delimiter and entry.endswith(delimiter) and (
          entry not in self._host.buckets[bucket]):
        prefixes.append(entry)
      else:
        items.append(self._host.about(bucket, entry))
    more = {'nextPageToken': found[most - 1]} if len(found) > most else {}
    return self._send({'kind': 'storage#objects', 'items': items,
                       'prefixes': prefixes} | more)

  def _post(self, bucket, name):
    if 'upload_id' in self._given:
      return self._put(bucket, name)
    kind = self._given.get('uploadType')
    if kind == 'media':
      return self._write(bucket, self._given['name'], self._body)
    if kind == 'multipart':
      return self._write(bucket, *self._parts())
    name = self._given.get('name') or json.loads(self._body)['name']
    number = str(len(self._host.uploads))
    self._host.uploads[number] = [name, b'']
    return self._send({}, headers={
        'Location': f'{self._host.url}/upload/storage/v1/b/{bucket}/o'
                    f'?uploadType=resumable&upload_id={number}'})

  def _parts(self):
    """Name and content of an object that is sent with what is said of it."""
    mark = self.headers['Content-Type'].partition('boundary=')[2].strip('\'"')
    _, about, part, _ = self._body.split(f'--{mark}'.encode())
    end = b'\r\n' if about.startswith(b'\r\n') else b'\n'
    about, part = (text.split(2 * end, 1)[1].removesuffix(end)
                   for text in (about, part))
    return json.loads(about)['name'], part

  def _put(self, bucket, unused_name):
    upload = self._host.uploads[self._given['upload_id']]
    upload[1] += self._body
    total = self.headers.get('Content-Range', '').rpartition('/')[2]
    if total.isdecimal() and len(upload[1]) == int(total):
      return self._write(bucket, *upload)
    return self._send(b'', 308, {'Range': f'bytes=0-{len(upload[1]) - 1}'})

  def _write(self, bucket, name, content):
    if not self._allowed(name) or not self._meets(bucket, name):
      return None
    return self._send(self._host.put(bucket, name, content))

  def _delete(self, bucket, name):
    if name not in self._host.buckets[bucket]:
      return self._fail(404, f'No such object: {bucket}/{name}')
    if not self._allowed(name) or not self._meets(bucket, name):
      return None
    del self._host.buckets[bucket][name]
    return self._send(b'', 204)

  def _allowed(self, name):
    try:
      self._host.before_write(name)
    except OSError as error:
      self._fail(503, str(error))
      return False
    return True

  def _fail(self, code, message):
    self._send({'error': {'code': code, 'message': message,
                          'errors': [{'message': message}]}}, code)

  def _send(self, body, code=200, headers=()):
    kind = 'application/octet-stream'
    if not isinstance(body, bytes):
      body, kind = json.dumps(body).encode(), 'application/json'
    self.send_response(code)
    for key, value in dict(headers).items():
      self.send_header(key, value)
    self.send_header('Content-Type', kind)
    if code == 304 or code == 204:
      body = b''
    self.send_header('Content-Length', str(len(body)))
    self.end_headers()
    self.wfile.write(body)
