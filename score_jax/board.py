"""Event files of TensorBoard, written without a thread.

tensorboardX's SummaryWriter hands events to a thread, which dies on a full disk
and leaves the caller waiting for ever; and its flush waits for the disk. Here
an event is with the system when the call returns.
"""

import struct
import time
from typing import Any

from tensorboardX import record_writer
from tensorboardX.proto import event_pb2
from tensorboardX.proto import summary_pb2

from score_jax import files

_START = event_pb2.SessionLog(status=event_pb2.SessionLog.START)


class Board:
  """The curves of one stage, in a folder of event files.

  A stage has a folder of its own because TensorBoard forgets by step, and every
  stage counts its steps from 1.
  """

  def __init__(self, folder: files.Path, stage: str):
    self._folder = folder
    self._stage = stage
    self._log = None  # The event file; made by the first event.
    self._forget_from = None

  def scalars(self, step: int, row: dict[str, float | None]):
    """Adds a point to the curve `stage/name` of every number in `row`.

    Raises:
      ValueError: it cannot be written.
    """
    values = [
        summary_pb2.Summary.Value(tag=f'{self._stage}/{name}', simple_value=x)
        for name, x in row.items() if x is not None
    ]
    with files.named_errors(self._folder):
      if self._log is None:
        self._open()
      self._write(step=step, summary=summary_pb2.Summary(value=values))

  def rewind(self, step: int):
    """Has TensorBoard forget what is after a step, once a point is added."""
    self._forget_from = step + 1
    self._log = None

  def flush(self):
    """See `files.Log`."""
    if self._log is not None:
      self._log.flush()

  def _open(self):
    files.make_folder(self._folder)
    self._log = files.Log(
        self._folder / f'events.out.tfevents.{time.time_ns()}')
    self._write(file_version='brain.Event:2')
    if self._forget_from is not None:
      self._write(step=self._forget_from, session_log=_START)

  def _write(self, **event: Any):
    data = event_pb2.Event(
        wall_time=time.time(), **event).SerializeToString()
    size = struct.pack('<Q', len(data))
    self._log.append(size + _checked(size) + data + _checked(data))


def _checked(data):
  """The checksum that follows the size and the data of a TFRecord."""
  return struct.pack('<I', record_writer.masked_crc32c(data))
