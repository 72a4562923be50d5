"""TensorBoard's files: readable by others, and purged by stage."""

import pathlib
import struct

import pytest
from tensorboardX import record_writer
from tensorboardX.proto import event_pb2

from score_jax import board as board_lib


def read_events(path: pathlib.Path) -> list[event_pb2.Event]:
  """The events of a file; every checksum must be right."""
  data, events = path.read_bytes(), []
  while data:
    size = struct.unpack('<Q', data[:8])[0]
    body = data[12 : 12 + size]
    for part, check in ((data[:8], data[8:12]),
                        (body, data[12 + size : 16 + size])):
      assert struct.pack('<I', record_writer.masked_crc32c(part)) == check
    events.append(event_pb2.Event.FromString(body))
    data = data[16 + size :]
  return events


def shown(folder: pathlib.Path) -> dict[tuple[str, int], float]:
  """What TensorBoard shows of a folder: a start purges its step and later."""
  values = {}
  for path in sorted(folder.iterdir()):
    version, *events = read_events(path)
    assert version.file_version == 'brain.Event:2'
    for event in events:
      if event.HasField('session_log'):
        values = {k: v for k, v in values.items() if k[1] < event.step}
      for value in event.summary.value:
        values[value.tag, event.step] = value.simple_value
  return values


def test_points_are_there_at_once(tmp_path):
  board = board_lib.Board(tmp_path / 'b', 'stage1')
  board.scalars(3, {'acc@t1': 0.25, 'none': None, 'n': 4})
  assert shown(tmp_path / 'b') == {
      ('stage1/acc@t1', 3): 0.25, ('stage1/n', 3): 4.0}
  board.scalars(4, {'n': 5})
  assert shown(tmp_path / 'b')['stage1/n', 4] == 5.0
  assert len(list((tmp_path / 'b').iterdir())) == 1


def test_a_second_run_adds_to_the_first_unless_it_rewinds(tmp_path):
  first = board_lib.Board(tmp_path, 'base')
  for step in (1, 2, 3):
    first.scalars(step, {'n': step})
  board_lib.Board(tmp_path, 'base').scalars(4, {'n': 4})
  assert {step for _, step in shown(tmp_path)} == {1, 2, 3, 4}
  third = board_lib.Board(tmp_path, 'base')
  third.rewind(2)
  assert {step for _, step in shown(tmp_path)} == {1, 2, 3, 4}
  third.scalars(9, {'n': 9})
  assert {step for _, step in shown(tmp_path)} == {1, 2, 9}


def test_a_file_in_the_way_is_named(tmp_path):
  (tmp_path / 'b').write_text('x')
  with pytest.raises(ValueError, match=f'^{tmp_path}/b: File exists'):
    board_lib.Board(tmp_path / 'b', 'base').scalars(1, {'n': 1})
