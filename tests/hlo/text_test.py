"""What is read of HLO text."""

from score_jax.hlo import text
from tests.hlo import program


def test_bytes_of_arrays():
  shape = '(f32[2,3]{1,0:T(8,128)}, /*index=1*/bf16[5]{0}, pred[7], s32[])'
  sizes = [text.num_bytes(*a) for a in text.arrays(shape)]
  assert sizes == [24, 10, 7, 4]
  assert text.layouts(shape) == [(24, '1,0:T(8,128)'), (10, '0'), (7, ''),
                                 (4, '')]


def test_computations_run_as_often_as_the_loops_around_them():
  module = text.read(program.TEXT)
  expected = {'main': 1, 'outer': 5, 'inner': 15, 'fused': 15, 'add_up': 1}
  assert {name: module.runs[name] for name in expected} == expected
  assert {'fused', 'add', 'all-reduce-scatter.3'} <= module.inner
  assert not {'main', 'outer', 'inner', 'inner_condition'} & module.inner


def test_loops_of_fewer_rows_do_not_run_where_no_row_ends_early():
  line = 'condition=%inner_condition, body=%inner'
  named = lambda scope: program.TEXT.replace(
      line, f'{line}, metadata={{op_name="jit(f)/attempt_1/{scope}while"}}')
  module = text.read(named('fewer/'))
  assert module.runs['outer'] == 5 and 'inner' not in module.runs
  assert not text.attempt_loops(module)
  module = text.read(named(''))
  assert module.runs['inner'] == 15
  assert text.attempt_loops(module) == {1: 'inner'}


def test_branches_run_as_often_as_they_are_taken():
  told = """
%near (p: f32[]) -> f32[] {
  ROOT %p = f32[] parameter(0)
}

%far (q: f32[]) -> f32[] {
  ROOT %q = f32[] parameter(0)
}

ENTRY %main (a: f32[]) -> f32[] {
  ROOT %c = f32[] conditional(%i, %a, %a), branch_computations={%near, %far}
}
"""
  layers = program.TEXT.replace(
      'ROOT %fusion.1 = f32[4,2]{1,0} fusion(%a, %w), kind=kOutput,'
      ' calls=%fused', told.splitlines()[-2]) + told.partition('ENTRY')[0]
  assert '%near' in layers
  read = lambda *taken: [
      text.read(layers, taken).runs[name] for name in ('near', 'far')]
  assert read(2, 1) == [10, 5]  # Of 15 layers two thirds are near.
  assert read() == read(1, 1, 1) == [15, 15]


def test_loops_of_the_compiler_count_in_unsigned_numbers():
  told = program.TEXT.replace('s32[]{:T(128)} constant(3)',
                              'u32[]{:T(128)} constant(3)')
  assert told != program.TEXT and text.read(told).runs['inner'] == 15


def test_a_loop_that_is_unrolled_runs_as_often_as_its_counter_steps():
  module = text.read('''
%body (b: (f32[2], u32[])) -> (f32[2], u32[]) {
  %b = (f32[2]{0}, u32[]) parameter(0)
  %old = u32[] get-tuple-element(%b), index=1
  %x = f32[2]{0} get-tuple-element(%b), index=0
  %two = u32[] constant(2)
  %new = u32[] add(%old, %two)
  ROOT %t = (f32[2]{0}, u32[]) tuple(%x, %new)
}

%condition (c: (f32[2], u32[])) -> pred[] {
  %c = (f32[2]{0}, u32[]) parameter(0)
  %at = u32[] get-tuple-element(%c), index=1
  %seven = u32[] constant(7)
  ROOT %less = pred[] compare(%at, %seven), direction=LT
}

ENTRY %main (a: (f32[2], u32[])) -> (f32[2], u32[]) {
  %a = (f32[2]{0}, u32[]) parameter(0)
  ROOT %w = (f32[2]{0}, u32[]) while(%a), condition=%condition, body=%body
}
''')
  assert module.runs['body'] == 4  # At 0, 2, 4 and 6.
