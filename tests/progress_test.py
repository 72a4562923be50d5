"""The live display: a bar on a terminal, few lines elsewhere."""

import io
import os
import threading

import pytest

from score_jax import progress


class Terminal(io.StringIO):

  def isatty(self):
    return True


@pytest.fixture(name='clock')
def fake_clock(monkeypatch):
  """A list whose one number is the time in seconds."""
  clock = [100.0]
  monkeypatch.setattr(progress.time, 'monotonic', lambda: clock[0])
  return clock


def test_lines_at_every_tenth_when_steps_are_fast(clock):
  stream = io.StringIO()
  with progress.Progress('stage1', 200, stream=stream) as shown:
    for step in range(1, 201):
      clock[0] += 0.01
      shown.update(step, {})
  lines = stream.getvalue().splitlines()
  assert [line.split()[1] for line in lines] == [
      f'{20 * k}/200' for k in range(1, 11)]


def test_lines_every_ten_seconds_when_steps_are_slow(clock):
  stream = io.StringIO()
  with progress.Progress('stage1', 1000, stream=stream) as shown:
    for step in range(1, 11):
      clock[0] += 4.0
      shown.update(step, {})
  steps = [line.split()[1] for line in stream.getvalue().splitlines()]
  assert steps == ['3/1000', '6/1000', '9/1000']


def test_line_holds_fields_and_times(clock):
  stream = io.StringIO()
  shown = progress.Progress('stage1', 40, start=20, stream=stream)
  clock[0] += 30.0
  shown.update(30, {'acc@t1': 0.41237, 'delta': '+1.9', 'tokens/s': 12345.6,
                    'KL': 1e-7})
  assert stream.getvalue() == (
      'stage1 30/40  acc@t1 0.4124  delta +1.9  tokens/s 12,346  '
      'KL 1e-07  [00:30 elapsed, 00:30 left]\n')


def test_last_step_is_told_and_a_resumed_start_is_not(clock):
  stream = io.StringIO()
  shown = progress.Progress('base', 7, start=6, stream=stream)
  shown.update(6, {})
  assert not stream.getvalue()
  shown.update(7, {})
  assert stream.getvalue().startswith('base 7/7')


def test_said_lines_stand_alone_without_a_terminal():
  stream = io.StringIO()
  with progress.Progress('base', 2, stream=stream) as shown:
    shown.say('hello')
  assert stream.getvalue() == 'hello\n'


def test_bar_on_a_terminal():
  stream = Terminal()
  with progress.Progress('stage2', 4, start=1, stream=stream) as shown:
    shown.update(2, {'acc@t1': 0.5, 'KL': 0.25})
    shown.say('a line')
    shown.update(4, {'acc@t1': 0.75, 'KL': 0.125})
  text = stream.getvalue()
  assert '25%' in text and '1/4' in text
  last = text.split('\r')[-1]
  for part in ('stage2 100%', '4/4', 'acc@t1 0.75', 'KL 0.125', 'left'):
    assert part in last
  # The said line has a line to itself: the bar is wiped before, redrawn after.
  assert '\ra line\n' in text
  assert text.endswith('\n')


def test_bar_on_a_terminal_that_does_not_know_its_size():
  ours, theirs = os.openpty()  # 0 x 0, as in some containers.
  stream = os.fdopen(theirs, 'w')
  with progress.Progress('stage2', 4, stream=stream) as shown:
    shown.update(4, {'KL': 0.125})
  stream.flush()
  text = ''
  while not text.endswith('\n'):
    text += os.read(ours, 10_000).decode()
  stream.close()
  os.close(ours)
  assert 'stage2 100%' in text and 'KL 0.125' in text


def test_a_step_that_takes_minutes_is_said_to_run(clock):
  stream = io.StringIO()
  shown = progress.Progress('evaluate base', 200, stream=stream)
  shown.doing = 'batch 1 of 1: 200 sequences'
  clock[0] += 90.0
  shown.beat()
  shown.update(200, {})
  shown.beat()
  assert stream.getvalue().splitlines() == [
      'evaluate base 0/200  batch 1 of 1: 200 sequences  [01:30 elapsed]',
      'evaluate base 200/200    [01:30 elapsed, 00:00 left]',
      'evaluate base 200/200  batch 1 of 1: 200 sequences  [01:30 elapsed]']


def test_on_a_terminal_the_bar_says_it():
  stream = Terminal()
  with progress.Progress('stage1', 40, stream=stream) as shown:
    shown.update(3, {'acc': 0.5})
    shown.beat()
  assert 'acc 0.5  at step 4' in stream.getvalue()


def test_it_is_said_without_being_asked_for_and_never_after_the_end():
  seen = threading.Event()

  class Stream(io.StringIO):

    def write(self, text):
      if 'at step 1' in text:
        seen.set()
      return super().write(text)

  stream = Stream()
  with progress.Progress('stage1', 40, stream=stream, beat_s=0.001) as shown:
    assert seen.wait(60)
  assert not shown._beats.is_alive()
