"""A small compiled program that many tests read."""

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
