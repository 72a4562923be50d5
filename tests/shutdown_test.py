"""Signals are remembered, and handlers put back."""

import os
import signal

import pytest

from score_jax import shutdown


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_only_remembered(number):
  before = signal.getsignal(number)
  with shutdown.StopRequest() as stop:
    assert not stop.requested
    os.kill(os.getpid(), number)
    assert stop.requested
  assert signal.getsignal(number) is before


def test_second_interrupt_is_immediate():
  before = signal.getsignal(signal.SIGINT)
  with pytest.raises(KeyboardInterrupt):
    with shutdown.StopRequest() as stop:
      os.kill(os.getpid(), signal.SIGINT)
      assert stop.requested
      os.kill(os.getpid(), signal.SIGINT)
  assert signal.getsignal(signal.SIGINT) is before


def test_second_sigterm_still_waits_for_the_step():
  with shutdown.StopRequest() as stop:
    os.kill(os.getpid(), signal.SIGTERM)
    os.kill(os.getpid(), signal.SIGTERM)
    assert stop.requested


def test_handlers_come_back_after_an_error():
  before = [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)]
  with pytest.raises(ZeroDivisionError):
    with shutdown.StopRequest():
      raise ZeroDivisionError
  assert [
      signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)] == before
