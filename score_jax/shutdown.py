"""Stopping between two steps when asked to, so that a run ends saved."""

import signal


class Stopped(Exception):
  """The run was asked to stop; what can be kept is saved."""


class StopRequest:
  """Catches SIGTERM, and the first SIGINT, and only remembers it.

  A second SIGINT (Ctrl-C pressed twice) interrupts at once. To be entered in
  the main thread, where Python handles signals.

  Attributes:
    requested: whether a signal came. The loop looks at it between two steps.
  """

  def __init__(self):
    self.requested = False
    self._old_handlers = {}

  def __enter__(self) -> 'StopRequest':
    for number in (signal.SIGTERM, signal.SIGINT):
      self._old_handlers[number] = signal.signal(number, self._on_signal)
    return self

  def __exit__(self, *unused):
    for number, handler in self._old_handlers.items():
      # None: it was not set from Python, so it cannot be put back.
      signal.signal(number, signal.SIG_DFL if handler is None else handler)

  def _on_signal(self, number, unused_frame):
    self.requested = True
    if number == signal.SIGINT:
      signal.signal(signal.SIGINT, signal.default_int_handler)
