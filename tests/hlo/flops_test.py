"""Operations of matrix products and kernels, by hand."""

import pytest

from score_jax.hlo import flops
from score_jax.hlo import text
from tests.hlo import program


def _entry(lines: str) -> text.Module:
  return text.read(f'ENTRY %main (p: f32[4]) -> f32[4] {{\n{lines}\n}}\n')


def test_products_in_nested_loops_count_as_often_as_they_run():
  # [4, 8] x [8, 2], a multiply and an add each, 3 times in each of 5.
  module = text.read(program.TEXT)
  assert flops.flops(module) == 5 * 3 * (2 * 4 * 2 * 8)


def test_a_loop_without_a_bound_is_told():
  assert text.read(program.TEXT).unknown_loops == 1


def test_a_batch_axis_in_a_window_is_not_counted_twice():
  # The batch of 4 is an axis of the window: of its 4 x 4 places 4 count.
  module = _entry("""  %p = f32[4,8,16]{2,1,0} parameter(0)
  %q = f32[4,16,32]{2,1,0} parameter(1)
  ROOT %c = f32[4,8,32]{2,1,0} convolution(%p, %q), window={size=4 stride=3 lhs_dilate=4}, dim_labels=0bf_0io->0bf""")  # noqa: E501
  assert flops.flops(module) == 4 * (2 * 8 * 16 * 32)


def test_a_product_that_became_a_sum_is_counted():
  # One row of 256 with a weight [256, 128]; a norm's sum is no product.
  sums = lambda name: text.read(f"""
%add (x: f32[], y: f32[]) -> f32[] {{
  ROOT %sum = f32[] add(%x, %y)
}}

ENTRY %main (p: f32[256,128]) -> f32[128] {{
  %p = f32[256,128]{{1,0}} parameter(0)
  ROOT %r = f32[128]{{0}} reduce(%p, %zero), dimensions={{0}}, to_apply=%add, metadata={{op_name="jit(s)/while/body/block/{name}" stack_frame_id=3}}
}}
""")  # noqa: E501
  assert flops.flops(sums('dot_general')) == 2 * 256 * 128
  assert flops.flops(sums('reduce_sum')) == 0


def _kernel(name, mask, rows='3,'):
  """2 heads of 256, of so many rows."""
  return _entry(f"""  %p = f32[4]{{0}} parameter(0)
  ROOT %{name}.1 = bf16[{rows}2,32,256]{{3,2,1,0}} custom-call(%p, %p), custom_call_target="tpu_custom_call", operand_layout_constraints={{s8[1,4,4]{{2,1,0}}, s8[1,4,4]{{2,1,0}}, bf16[{rows}2,32,256]{{3,2,1,0}}, bf16[{rows}1,32,256]{{3,2,1,0}}}}, frontend_attributes={{kernel_metadata={{
"xprof_metadata":"{{\\"q_layout\\": 1}}"
}}}}, metadata={{op_name="jit(s)/{mask}/vmap({name})"}}""")  # noqa: E501


def test_an_attention_kernel_counts_the_blocks_that_it_computes():
  # Of 4 x 4 blocks of 8 by 8 slots 10 are computed; 31 slots fill 4 blocks.
  mask = 'slots_31_of_31_window_31_blocks_8_by_8'
  product = 2 * 3 * 2 * (10 * 8 * 8) * 256
  counted = {name: flops.flops(_kernel(f'splash_mha_{name}', mask))
             for name in ('fwd_residuals', 'dq_no_residuals', 'dkv')}
  assert counted == {'fwd_residuals': 2 * product,
                     'dq_no_residuals': 3 * product, 'dkv': 4 * product}
  assert flops.flops(_kernel('splash_mha_dkv', mask, '')) == 4 * product / 3
  assert flops.flops(_kernel('another', mask)) == 0


@pytest.mark.parametrize('mask,blocks', [
    # A window of 8: each of 4 blocks meets itself and the one before.
    ('slots_32_of_32_window_8_blocks_8_by_8', 1 + 2 + 2 + 2),
    # The last 16 of 30 slots: 14 to 21, which need three blocks of keys, and
    # 22 to 29, which need four; with a window of 6 from slots 9 and 17 on.
    ('slots_16_of_30_window_30_blocks_8_by_8', 3 + 4),
    ('slots_16_of_30_window_6_blocks_8_by_8', 2 + 2),
    ('slots_16_of_30_window_30_blocks_8_by_16', (2 + 2) * 2)])
def test_a_kernel_counts_the_blocks_that_its_mask_reaches(mask, blocks):
  product = 2 * 3 * 2 * (blocks * 8 * 8) * 256
  assert flops.flops(_kernel('splash_mha_fwd', mask)) == 2 * product
