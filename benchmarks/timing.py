"""Times of jax programs in this process."""

from collections.abc import Callable
import time

import jax


def timed(program: Callable, *given) -> Callable[[int], float]:
  """For `numbers.alternate`: seconds of one call, its results awaited."""
  def call(unused_number) -> float:
    began = time.perf_counter()
    jax.block_until_ready(program(*given))
    return time.perf_counter() - began

  return call
