"""The notice that a cloud machine gets some seconds before it is taken away.

Google's metadata server knows it: spot machines that are preempted, and
machines that are stopped for maintenance. See `shutdown.StopRequest`.
"""

import os
import threading
import urllib.error
import urllib.request

from score_jax import shutdown

_HOST = 'metadata.google.internal'
_SIGNS = {'preempted': 'TRUE',
          'maintenance-event': 'TERMINATE_ON_HOST_MAINTENANCE'}
_EVERY_S, _TIMEOUT_S = 3.0, 2.0
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Notice:
  """Asks the metadata server, if there is one, until it is told to stop."""

  def __init__(self, stop: shutdown.StopRequest):
    """`stop` is requested when a notice comes."""
    self._stop = stop
    self._ended = threading.Event()
    self._thread = threading.Thread(target=self._ask, daemon=True)

  def __enter__(self) -> 'Notice':
    self._thread.start()
    return self

  def __exit__(self, *unused):
    self._ended.set()

  def _ask(self):
    is_there = False
    while True:
      try:
        if any(_read(name) == sign for name, sign in _SIGNS.items()):
          self._stop.requested = True
          return
        is_there = True
      except OSError:
        if not is_there:
          return  # No machine of Google's cloud.
      if self._ended.wait(_EVERY_S):
        return


def _read(name):
  host = os.environ.get('GCE_METADATA_HOST', _HOST)
  request = urllib.request.Request(
      f'http://{host}/computeMetadata/v1/instance/{name}',
      headers={'Metadata-Flavor': 'Google'})
  try:
    with _OPENER.open(request, timeout=_TIMEOUT_S) as answer:
      return answer.read().decode().strip()
  except urllib.error.HTTPError:
    return None  # The server has no such value.
