"""The live display of a stage: a bar on a terminal, a few lines elsewhere."""

import io
import shutil
import sys
import threading
import time
from typing import TextIO

import tqdm

from score_jax import hosts

_BAR = ('{desc} {percentage:3.0f}%|{bar}| {n}/{total} '
        '[{remaining} left{postfix}]')
_LINE_EVERY_S = 10.0
_LINES = 10  # Also one line whenever another tenth is done.
_BEAT_EVERY_S = 30.0


class Progress:
  """Shows how far a stage is; a context manager."""

  def __init__(
      self,
      title: str,
      total: int,
      start: int = 0,
      stream: TextIO | None = None,
      beat_s: float = _BEAT_EVERY_S,
  ):
    """Starts the clock.

    Args:
      title: stands before the bar or line.
      total: steps in all.
      start: steps done before, in an earlier run; they took no time here.
      stream: where to; if None, the standard error of process 0.
      beat_s: seconds without any line after which `beat` prints one.
    """
    self._stream = stream or (
        sys.stderr if hosts.is_first() else io.StringIO())
    self._title, self._total, self._start = title, total, start
    self._began = self._told = time.monotonic()
    self._tenth = start * _LINES // max(total, 1)
    self._step, self._words, self._beat_s = start, '', beat_s
    self.doing = ''  # What `beat` names: the step that is being done.
    self._closed = threading.Event()
    self._lock = threading.Lock()
    self._bar = None
    if self._stream.isatty():
      columns, lines = shutil.get_terminal_size()  # 80 x 24 if not known.
      self._bar = tqdm.tqdm(
          total=total, initial=start, desc=title, file=self._stream,
          bar_format=_BAR, ncols=columns, nrows=lines)
    self._beats = threading.Thread(target=self._beat_until_closed, daemon=True)
    self._beats.start()

  def __enter__(self) -> 'Progress':
    return self

  def __exit__(self, *unused):
    self.close()

  def update(self, step: int, fields: dict[str, float | str]):
    """Shows that `step` steps are done, and `fields` by their names."""
    words = '  '.join(f'{name} {_short(x)}' for name, x in fields.items())
    with self._lock:
      self._step, self._words = step, words
      if self._bar is not None:
        self._told = time.monotonic()
        self._bar.set_postfix_str(words, refresh=False)
        self._bar.update(step - self._bar.n)
      elif self._is_due(step):
        self.say(f'{self._title} {step}/{self._total}  {words}  '
                 f'[{self._times(step)}]')

  def beat(self):
    """Show that the step that is being done still runs, and for how long."""
    with self._lock:
      elapsed = tqdm.tqdm.format_interval(time.monotonic() - self._began)
      doing = self.doing or f'at step {self._step + 1}'
      self._told = time.monotonic()
      if self._bar is not None:
        self._bar.set_postfix_str(
            '  '.join(filter(None, (self._words, doing))), refresh=True)
      else:
        self.say(f'{self._title} {self._step}/{self._total}  {doing}  '
                 f'[{elapsed} elapsed]')

  def say(self, line: str):
    """Prints a line above the bar."""
    if self._bar is not None:
      self._bar.write(line, file=self._stream)
    else:
      print(line, file=self._stream, flush=True)

  def close(self):
    """Leaves the bar as it is and ends its line."""
    self._closed.set()
    self._beats.join()
    if self._bar is not None:
      self._bar.close()

  def _beat_until_closed(self):
    left = self._beat_s
    while not self._closed.wait(left):
      left = self._beat_s - (time.monotonic() - self._told)
      if left <= 0:
        self.beat()
        left = self._beat_s

  def _is_due(self, step):
    now = time.monotonic()
    tenth = step * _LINES // max(self._total, 1)
    due = tenth > self._tenth or now - self._told >= _LINE_EVERY_S
    if due:
      self._tenth, self._told = tenth, now
    return due

  def _times(self, step):
    elapsed = time.monotonic() - self._began
    done = step - self._start
    left = elapsed / done * (self._total - step) if done > 0 else 0.0
    return (f'{tqdm.tqdm.format_interval(elapsed)} elapsed, '
            f'{tqdm.tqdm.format_interval(left)} left')


def _short(value):
  if isinstance(value, str):
    return value
  return f'{value:,.0f}' if abs(value) >= 1000 else f'{value:.4g}'
