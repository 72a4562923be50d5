"""The live display of a stage: a bar on a terminal, a few lines elsewhere."""

import io
import shutil
import sys
import time
from typing import TextIO

import tqdm

from score_jax import hosts

_BAR = ('{desc} {percentage:3.0f}%|{bar}| {n}/{total} '
        '[{remaining} left{postfix}]')
_LINE_EVERY_S = 10.0
_LINES = 10  # Also one line whenever another tenth is done.


class Progress:
  """Shows how far a stage is; a context manager."""

  def __init__(
      self, title: str, total: int, start: int = 0, stream: TextIO | None = None
  ):
    """Starts the clock.

    Args:
      title: stands before the bar or line.
      total: steps in all.
      start: steps done before, in an earlier run; they took no time here.
      stream: where to; if None, the standard error of process 0.
    """
    self._stream = stream or (
        sys.stderr if hosts.is_first() else io.StringIO())
    self._title, self._total, self._start = title, total, start
    self._began = self._told = time.monotonic()
    self._tenth = start * _LINES // max(total, 1)
    self._bar = None
    if self._stream.isatty():
      columns, lines = shutil.get_terminal_size()  # 80 x 24 if not known.
      self._bar = tqdm.tqdm(
          total=total, initial=start, desc=title, file=self._stream,
          bar_format=_BAR, ncols=columns, nrows=lines)

  def __enter__(self) -> 'Progress':
    return self

  def __exit__(self, *unused):
    self.close()

  def update(self, step: int, fields: dict[str, float | str]):
    """Shows that `step` steps are done, and `fields` by their names."""
    words = '  '.join(f'{name} {_short(x)}' for name, x in fields.items())
    if self._bar is not None:
      self._bar.set_postfix_str(words, refresh=False)
      self._bar.update(step - self._bar.n)
    elif self._is_due(step):
      self.say(f'{self._title} {step}/{self._total}  {words}  '
               f'[{self._times(step)}]')

  def say(self, line: str):
    """Prints a line above the bar."""
    if self._bar is not None:
      self._bar.write(line, file=self._stream)
    else:
      print(line, file=self._stream, flush=True)

  def close(self):
    """Leaves the bar as it is and ends its line."""
    if self._bar is not None:
      self._bar.close()

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
