"""Counts of HLO text, by hand."""

import jax
from jax.sharding import Mesh
import numpy as np
import pytest

from score_jax import hlo_costs

TEXT = '''HloModule jit_step, is_scheduled=true

%add (x: f32[], y: f32[]) -> f32[] {
  %x = f32[] parameter(0)
  %y = f32[] parameter(1)
  ROOT %sum = f32[] add(%x, %y)
}

%fused (p: f32[4,8], q: f32[8,2]) -> f32[4,2] {
  %p = f32[4,8]{1,0:T(8,128)} parameter(0)
  %q = f32[8,2]{1,0:T(8,128)S(1)} parameter(1)
  ROOT %convolution.1 = f32[4,2]{1,0} convolution(%p, %q), dim_labels=bf_io->bf
}

%all-reduce-scatter.3 (p.9: f32[4,2]) -> f32[2,2] {
  %p.9 = f32[4,2]{1,0} parameter(0)
  ROOT %all-reduce.9 = f32[4,2]{1,0} all-reduce(%p.9), replica_groups=[2,2]<=[2,2]T(1,0), to_apply=%add
}

%inner_condition (c: (s32[])) -> pred[] {
  %three = s32[]{:T(128)} constant(3)
  ROOT %lt = pred[] compare(%i, %three), direction=LT
}

%inner (c.1: (s32[], /*index=1*/f32[4,8])) -> (s32[]) {
  %w = f32[8,2]{1,0} all-gather(%part), replica_groups={{0,2},{1,3}}, dimensions={0}
  ROOT %fusion.1 = f32[4,2]{1,0} fusion(%a, %w), kind=kOutput, calls=%fused
}

%outer_condition (c.2: (s32[])) -> pred[] {
  %five = s32[]{:T(128)} constant(5)
  ROOT %and = pred[] and(%lt, %not)
}

%outer (c.3: (s32[])) -> (s32[]) {
  %while.1 = (s32[], f32[4,8]{1,0}) while(%tuple), condition=%inner_condition, body=%inner
  ROOT %r = f32[4,2]{1,0} all-reduce(%b), replica_groups=mesh['axis_0'=2,'axis_1'=2] {'axis_1'}, to_apply=%add
}

%open (c.4: (pred[])) -> pred[] {
  ROOT %more = pred[] get-tuple-element(%c.4), index=0
}

%add_up (c.5: (pred[])) -> (pred[]) {
  ROOT %move = bf16[6]{0} collective-permute(%d), source_target_pairs={{0,1},{1,0}}
}

ENTRY %main (a.1: f32[4,8]) -> f32[2,2] {
  %a.1 = f32[4,8]{1,0} parameter(0)
  %while.2 = (s32[]) while(%t), condition=%outer_condition, body=%outer
  %while.3 = (pred[]) while(%u), condition=%open, body=%add_up
  %start = (f32[2]{0}, f32[8]{0}) all-gather-start(%e), replica_groups=[1,4]<=[4]
  %done = f32[8]{0} all-gather-done(%start)
  ROOT %fusion.2 = f32[2,2]{1,0} fusion(%g), kind=kCustom, calls=%all-reduce-scatter.3
}
'''  # noqa: E501


@pytest.fixture(name='mesh')
def _mesh():
  return Mesh(np.array(jax.devices()[:4]).reshape(1, 2, 2),
              ('data', 'fsdp', 'tensor'))


def test_products_in_nested_loops_count_as_often_as_they_run(mesh):
  # [4, 8] x [8, 2], a multiply and an add each, 3 times in each of 5.
  assert hlo_costs.costs(TEXT, mesh).flops == 5 * 3 * (2 * 4 * 2 * 8)


def test_collectives_by_kind_axis_and_bytes_of_their_results(mesh):
  assert hlo_costs.costs(TEXT, mesh).collectives == {
      ('all-gather', 'fsdp'): (15, 15 * 8 * 2 * 4),
      ('all-reduce', 'tensor'): (5, 5 * 4 * 2 * 4),
      ('collective-permute', 'tensor'): (1, 6 * 2),
      ('all-gather', 'fsdp+tensor'): (1, 8 * 4),
      ('reduce-scatter', 'fsdp'): (1, 2 * 2 * 4)}


def test_a_group_of_devices_in_another_order(mesh):
  # Devices 0 2 1 3 as [2, 1, 2]: along axis_0 stand 0 and 1.
  text = '''ENTRY %main (p: f32[4]) -> f32[4] {
  ROOT %r = f32[4]{0} all-reduce(%p), replica_groups=mesh['axis_0'=2,'axis_1'=1,'axis_2'=2], device_ids=([2,2]T(1,0)) {'axis_0'}, to_apply=%add
}
%add (x: f32[]) -> f32[] {
}
'''  # noqa: E501
  assert hlo_costs.costs(text, mesh).collectives == {
      ('all-reduce', 'tensor'): (1, 16)}


def test_a_loop_without_a_bound_is_told(mesh):
  assert hlo_costs.costs(TEXT, mesh).unknown_loops == 1


def test_a_batch_axis_in_a_window_is_not_counted_twice(mesh):
  # The batch of 4 is an axis of the window: of its 4 x 4 places 4 count.
  text = '''ENTRY %main (p: f32[4,8,16]) -> f32[4,8,32] {
  %p = f32[4,8,16]{2,1,0} parameter(0)
  %q = f32[4,16,32]{2,1,0} parameter(1)
  ROOT %c = f32[4,8,32]{2,1,0} convolution(%p, %q), window={size=4 stride=3 lhs_dilate=4}, dim_labels=0bf_0io->0bf
}
'''  # noqa: E501
  assert hlo_costs.costs(text, mesh).flops == 4 * (2 * 8 * 16 * 32)


def test_bytes_of_arrays():
  shape = '(f32[2,3]{1,0:T(8,128)}, /*index=1*/bf16[5]{0}, pred[7], s32[])'
  sizes = [hlo_costs.num_bytes(*a) for a in hlo_costs.arrays(shape)]
  assert sizes == [24, 10, 7, 4]
