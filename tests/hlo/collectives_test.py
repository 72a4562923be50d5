"""What moves between devices, by hand."""

import jax
from jax.sharding import Mesh
import numpy as np
import pytest

from score_jax.hlo import collectives
from score_jax.hlo import text
from tests.hlo import program


@pytest.fixture(name='mesh')
def _mesh():
  return Mesh(np.array(jax.devices()[:4]).reshape(1, 2, 2),
              ('data', 'fsdp', 'tensor'))


def test_collectives_by_kind_axis_and_bytes_of_their_results(mesh):
  assert collectives.moved(text.read(program.TEXT), mesh) == {
      ('all-gather', 'fsdp'): (15, 15 * 8 * 2 * 4),
      ('all-reduce', 'tensor'): (5, 5 * 4 * 2 * 4),
      ('collective-permute', 'tensor'): (1, 6 * 2),
      ('all-gather', 'fsdp+tensor'): (1, 8 * 4),
      ('reduce-scatter', 'fsdp'): (1, 2 * 2 * 4)}


def test_what_a_device_sends_of_a_result():
  # The rest is held by 3 others, or 1, or 7; a sum goes around twice.
  mesh = jax.sharding.AbstractMesh((1, 4, 2), ('data', 'fsdp', 'tensor'))
  assert collectives.sent({
      ('all-gather', 'fsdp'): (9, 400), ('reduce-scatter', 'fsdp'): (9, 10),
      ('collective-permute', 'fsdp'): (9, 7), ('all-reduce', 'tensor'): (9, 50),
      ('all-to-all', 'fsdp+tensor'): (9, 80), ('all-gather', '?'): (9, 500),
      ('all-reduce', 'data, between slices'): (9, 500)}, mesh) == {
          'fsdp': 300 + 30 + 7, 'tensor': 50, 'fsdp+tensor': 70}


def test_a_group_of_devices_in_another_order(mesh):
  # Devices 0 2 1 3 as [2, 1, 2]: along axis_0 stand 0 and 1.
  module = text.read('''ENTRY %main (p: f32[4]) -> f32[4] {
  ROOT %r = f32[4]{0} all-reduce(%p), replica_groups=mesh['axis_0'=2,'axis_1'=1,'axis_2'=2], device_ids=([2,2]T(1,0)) {'axis_0'}, to_apply=%add
}
%add (x: f32[]) -> f32[] {
}
''')  # noqa: E501
  assert collectives.moved(module, mesh) == {('all-reduce', 'tensor'): (1, 16)}


def test_a_collective_that_is_spread_over_fusions_counts_once(mesh):
  gather = ('  ROOT %g = f32[8]{0} all-gather(%p), channel_id=3, '
            'replica_groups=[1,4]<=[4], backend_config='
            '{"async_collective_fusion_config":{}}\n}\n')
  spread = ''.join(
      f'%{name} (p: f32[2]) -> f32[8] {{\n  %p = f32[2]{{0}} parameter(0)\n'
      + gather for name in ('one', 'two', 'three'))
  module = text.read(spread + '''ENTRY %main (a: f32[2]) -> f32[8] {
  %a = f32[2]{0} parameter(0)
  %async-collective-start.1 = f32[8]{0} fusion(%a), calls=%one
  %fusion.2 = f32[8]{0} fusion(%a), calls=%two
  ROOT %async-collective-done.1 = f32[8]{0} fusion(%a), calls=%three
}
''')
  assert collectives.moved(module, mesh) == {
      ('all-gather', 'fsdp+tensor'): (1, 32)}


def test_what_slices_send_to_each_other_is_told_apart(mesh):
  module = text.read('''ENTRY %main (a: f32[6]) -> f32[6] {
  %a = f32[6]{0} parameter(0)
  %send.1 = (f32[6]{0}, u32[], token[]) send(%a), channel_id=25, frontend_attributes={_xla_megascale_target="{1,2}x{0:3}",_xla_megascale_transfer_type="ALL_REDUCE"}
  ROOT %send-done.1 = token[] send-done(%send.1), channel_id=25, frontend_attributes={_xla_megascale_transfer_type="ALL_REDUCE"}
}
''')  # noqa: E501
  assert collectives.moved(module, mesh) == {
      ('all-reduce', 'data, between slices'): (1, 24)}
