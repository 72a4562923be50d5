"""What a program's time is split into."""

import jax
import jax.numpy as jnp
import pytest

from benchmarks import breakdown
from score_jax.hlo import text

# A layer's product alone, one inside of a fusion, with the vocabulary of 7
# tokens, and of attention.
_PROGRAM = '''HloModule jit_program

%fused (a: f32[2,3], b: f32[3,5]) -> f32[2,5] {
  %a = f32[2,3] parameter(0)
  %b = f32[3,5] parameter(1)
  ROOT %inner = f32[2,5] dot(%a, %b), lhs_contracting_dims={1}
}

%body (p: f32[2,3]) -> f32[2,3] {
  %p = f32[2,3] parameter(0)
  ROOT %copied = f32[2,3] copy(%p)
}

ENTRY %main (...) -> f32[2,7] {
  %x = f32[2,3] parameter(0)
  %w = f32[3,5] parameter(1)
  %head = f32[5,7] parameter(2)
  %q = f32[4,2,3] parameter(3)
  %k = f32[4,3,6] parameter(4)
  %looped = f32[2,3] call(%x), to_apply=%body
  %dot.1 = f32[2,5] dot(%x, %w), lhs_contracting_dims={1}
  %fusion.1 = f32[2,5] fusion(%x, %w), kind=kCustom, calls=%fused
  %dot.2 = f32[4,2,6] dot(%q, %k), lhs_batch_dims={0}, lhs_contracting_dims={2}
  ROOT %dot.3 = f32[2,7] dot(%fusion.1, %head), lhs_contracting_dims={1}
}
'''


def _kinds(*ran):
  return breakdown.kinds(text.read(_PROGRAM), ran, vocabulary=7)


def test_kinds_by_hand():
  found = _kinds(('dot.1', 1.0), ('fusion.1', 4.0), ('dot.1', 2.0),
                 ('dot.2', 0.5), ('dot.3', 9.0), ('copied', 8.0),
                 ('looped', 100.0))
  assert found == {
      'products with the vocabulary': (9.0, 2 * 2 * 5 * 7),
      'copy': (8.0, 0.0),
      'products with weights': (7.0, 3 * (2 * 2 * 3 * 5)),
      'products with a batch': (0.5, 2 * 4 * 2 * 6 * 3)}
  assert list(found)[0] == 'products with the vocabulary'


def test_the_trace_of_another_program_is_not_read():
  with pytest.raises(ValueError, match="'dot.9'.*another one"):
    _kinds(('dot.1', 1.0), ('dot.9', 1.0))


def test_a_trace_has_the_operations_of_the_program():
  @jax.jit
  def program(x, w):
    with_w = lambda _, x: jnp.tanh(x @ w)
    return jax.lax.fori_loop(0, 5, with_w, x)

  given = jnp.ones((64, 32)), jnp.ones((32, 32))
  compiled = program.lower(*given).compile()
  ran = breakdown.traced(lambda: compiled(*given))
  found = breakdown.kinds(text.read(compiled.as_text()), ran, vocabulary=7)
  seconds, flops = found['products with weights']
  assert seconds > 0
  assert flops == 5 * 2 * 64 * 32 * 32
