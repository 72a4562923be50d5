"""The share of a step in which no program runs, from its trace."""

import concurrent.futures
import time

import jax
import jax.numpy as jnp
import pytest

from benchmarks import idle


def test_intervals_by_hand():
  merged = idle.merged([(5, 6), (0, 2), (1, 3), (1.5, 2), (3, 4)])
  assert merged == [(0, 4), (5, 6)]
  assert idle.length(merged) == 5
  assert idle.common(merged, [(1, 2), (3, 5.5)]) == [
      (1, 2), (3, 4), (5, 5.5)]
  assert idle.common(merged, [(4, 5)]) == []


@jax.jit
def _long(x):
  return jax.lax.fori_loop(0, 20_000, lambda _, x: jnp.sin(x), x)


def _grade(begun, done):
  with jax.profiler.TraceAnnotation('grade'):
    begun.set_result(None)
    done.result()


def test_a_step_that_waits_and_one_that_grades_beside_a_program(tmp_path):
  x = jnp.ones(1000)
  _long(x).block_until_ready()
  with (concurrent.futures.ThreadPoolExecutor(1) as pool,
        jax.profiler.trace(tmp_path)):
    with jax.profiler.StepTraceAnnotation('stage2', step_num=3):
      _long(x).block_until_ready()
      with (jax.profiler.TraceAnnotation('grade'),
            jax.profiler.TraceAnnotation('wait_for_grades')):
        time.sleep(0.1)
    with jax.profiler.StepTraceAnnotation('stage2', step_num=4):
      begun, done = concurrent.futures.Future(), concurrent.futures.Future()
      graded = pool.submit(_grade, begun, done)
      begun.result()
      _long(x).block_until_ready()
      done.set_result(None)
      graded.result()
  [path] = tmp_path.glob('plugins/profile/*/*.xplane.pb')
  waits, hides = idle.steps_of(path)
  assert (waits.name, hides.name) == ('stage2 3', 'stage2 4')
  assert 1e8 <= waits.waits_ns <= waits.idle_ns < waits.took_ns
  # Threads note the end of a program some microseconds after it.
  assert waits.graded_ns >= 1e8 and waits.hidden_ns < waits.graded_ns / 2
  assert hides.waits_ns == 0
  # The program runs while the grade does, and nothing else runs.
  ran_ns = hides.took_ns - hides.idle_ns
  assert ran_ns / 2 < hides.hidden_ns <= min(ran_ns, hides.graded_ns)


def test_half_a_trace_is_named(tmp_path):
  path = tmp_path / 'vm.xplane.pb'
  path.write_bytes(b'\x0a\xff\xff')
  with pytest.raises(ValueError, match='vm.xplane.pb is no whole trace'):
    idle.steps_of(path)
