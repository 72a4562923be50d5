"""Bytes that are read and written in HBM, by hand."""

import pytest

from score_jax.hlo import text
from score_jax.hlo import traffic

FUSED = '''
%sliced (p: f32[6,8], i: s32[]) -> f32[1,8] {
  %p = f32[6,8]{1,0} parameter(0)
  %i = s32[] parameter(1)
  ROOT %d = f32[1,8]{1,0} dynamic-slice(%p, %i), dynamic_slice_sizes={1,8}
}

%written (q: f32[6,8], r: f32[1,8]) -> f32[6,8] {
  %q = f32[6,8]{1,0} parameter(0)
  %r = f32[1,8]{1,0} parameter(1)
  ROOT %u = f32[6,8]{1,0} dynamic-update-slice(%q, %r)
}

%renamed (s: f32[6,8]) -> f32[48] {
  %s = f32[6,8]{1,0} parameter(0)
  ROOT %b = f32[48]{0} bitcast(%s)
}

%nested (t: f32[6,8]) -> f32[] {
  %t = f32[6,8]{1,0} parameter(0)
  %f = f32[48]{0} fusion(%t), kind=kLoop, calls=%renamed
  ROOT %n = f32[] negate(%f)
}
'''


@pytest.mark.parametrize('line,size', [
    # An array of 6 x 8 x 4 = 192 bytes, a row of it 32.
    ('f32[6,8]{1,0} negate(%a)', 192 + 192),
    ('f32[6,8]{1,0:S(1)} negate(%a)', 192),  # Into an inner memory.
    ('f32[1,8]{1,0} dynamic-slice(%a, %i)', 32 + 32),
    ('f32[6,8]{1,0} dynamic-update-slice(%a, %row)', 32 + 32),
    ('f32[1,8]{1,0} fusion(%a, %i), calls=%sliced', 32 + 4 + 32),
    ('f32[1,8]{1,0:S(1)} fusion(%a, %i), calls=%sliced', 32 + 4),
    ('f32[6,8]{1,0} fusion(%a, %row), calls=%written', 32 + 32),
    ('f32[] fusion(%a), calls=%nested', 192 + 4),
    ('(f32[6,8]{1,0:S(1)}, f32[6,8]{1,0}, u32[]{:S(2)}) copy-start(%a)', 192),
    ('((f32[6,8]{1,0}), f32[1,8]{1,0:S(1)}, s32[]{:S(2)}) slice-start(%a)', 32),
    ('f32[6,8]{1,0} copy-done(%a)', 0),
    ('f32[48]{0} bitcast(%a)', 0),
])
def test_what_an_instruction_reads_and_writes(line, size):
  module = text.read(FUSED + f'''
ENTRY %main (a: f32[6,8], i: s32[], row: f32[1,8]) -> f32[6,8] {{
  %a = f32[6,8]{{1,0}} parameter(0)
  %i = s32[] parameter(1)
  %row = f32[1,8]{{1,0}} parameter(2)
  ROOT %x = {line}
}}
''')
  assert traffic.accessed(module) == size


LOOP = '''
%layer (l: (f32[8])) -> (f32[8]) {
  %l = (f32[8]{0}) parameter(0)
  %w = f32[8]{0} get-tuple-element(%l), index=0
  ROOT %m = f32[8]{0} negate(%w)
}

%layers (k: (f32[8])) -> pred[] {
  %three = s32[] constant(3)
}

%token (t: (f32[8])) -> (f32[8]) {
  %t = (f32[8]{0}) parameter(0)
  %h = f32[4]{0} negate(%s)
  %s = f32[4]{0} iota()
  ROOT %while.2 = (f32[8]{0}) while(%t), condition=%layers, body=%layer, metadata={op_name="jit(s)/attempt_2/while/body/while"}
}

%tokens (u: (f32[8])) -> pred[] {
  %ten = s32[] constant(10)
}

ENTRY %main (a: (f32[8])) -> (f32[8]) {
  %a = (f32[8]{0}) parameter(0)
  ROOT %while.1 = (f32[8]{0}) while(%a), condition=%tokens, body=%token, metadata={op_name="jit(s)/attempt_2/while"}
}
'''  # noqa: E501


def test_a_token_is_one_trip_of_its_attempts_loop():
  module = text.read(LOOP)
  assert text.attempt_loops(module) == {2: 'token'}
  token = 3 * (32 + 32) + (16 + 16) + 16
  assert traffic.of_loop(module, 'token') == token
  assert traffic.accessed(module) == 10 * token
