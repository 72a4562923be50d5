"""The notice of a machine that is taken away, from a server that plays one."""

import http.server
import threading
import time

import pytest

from score_jax import notice
from score_jax import shutdown


@pytest.fixture(name='server')
def _server(monkeypatch):
  """A metadata server; its values may be changed."""
  values = {'preempted': 'FALSE', 'maintenance-event': 'NONE'}

  class Handler(http.server.BaseHTTPRequestHandler):
    """Answers as Google's does, and only who asks as it wants to be asked."""

    def do_GET(self):
      name = self.path.removeprefix('/computeMetadata/v1/instance/')
      asked = self.headers.get('Metadata-Flavor') == 'Google'
      self.send_response(200 if name in values and asked else 404)
      self.end_headers()
      self.wfile.write(values.get(name, '').encode())
      values['asked'] = values.get('asked', 0) + 1

    def log_message(self, *unused):
      pass

  server = http.server.ThreadingHTTPServer(('localhost', 0), Handler)
  threading.Thread(target=server.serve_forever, daemon=True).start()
  monkeypatch.setenv('GCE_METADATA_HOST', f'localhost:{server.server_port}')
  monkeypatch.setattr(notice, '_EVERY_S', 0.01)
  yield values
  server.shutdown()
  server.server_close()


@pytest.mark.parametrize('name,value', [
    ('preempted', 'TRUE'),
    ('maintenance-event', 'TERMINATE_ON_HOST_MAINTENANCE')])
def test_a_notice_asks_the_run_to_stop(server, name, value):
  stop = shutdown.StopRequest()
  with notice.Notice(stop) as asking:
    while server.get('asked', 0) < 4:  # Twice, of both values.
      time.sleep(0.01)
    assert not stop.requested
    server[name] = value
    asking._thread.join(10)
  assert stop.requested


def test_where_there_is_no_such_server_nothing_is_asked(monkeypatch):
  monkeypatch.setenv('GCE_METADATA_HOST', 'localhost:1')
  stop = shutdown.StopRequest()
  with notice.Notice(stop) as asking:
    asking._thread.join(10)
    assert not asking._thread.is_alive() and not stop.requested
