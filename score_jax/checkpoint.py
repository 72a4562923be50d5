"""Checkpoints: saved in the background, restored only if they are whole.

The one file that imports Orbax. On a disk or in a bucket:

    directory/50        a checkpoint of step 50
    directory/50/state  its arrays, as Orbax writes them
    directory/50/SEAL   what it holds, and how to tell that it is unhurt
    directory/100       without SEAL: a save or a delete that was cut short

The seal (see `score_jax.seal`) is what is written last and deleted first, since
folders in a bucket cannot be renamed. On a disk Orbax fills
`100.orbax-checkpoint-tmp` first. Orbax by itself reads flipped bytes of array
data back as wrong numbers, and meets other damage with errors of many kinds. So
the seal is checked before Orbax sees the files, and what Orbax then raises is a
true error.
"""

from collections.abc import Callable
from collections.abc import Iterable
from concurrent import futures
import contextlib
import errno
import json
import logging
import os
import re
import time
from typing import Any

from flax import traverse_util
import jax
import numpy as np
from orbax.checkpoint import v1

from score_jax import files
from score_jax import hosts
from score_jax import origins
from score_jax import seal as seal_lib


class Checkpoints:
  """The checkpoints in one folder, which all processes share.

  Every process calls every method; process 0 seals, checks and deletes.

  Attributes:
    directory: absolute path; made by the first save.
  """

  def __init__(self, directory: str | files.Path, keep: int,
               origin: origins.Origin | None = None):
    """Opens a folder, which may not exist yet.

    Args:
      directory: where the checkpoints are.
      keep: how many of the newest whole checkpoints stay, at least 1.
      origin: what they are of; None: only their steps are compared.

    Raises:
      ValueError: the directory is a file, or `keep` is below 1.
    """
    self.directory = files.folder(directory)
    if self.directory.exists() and not self.directory.is_dir():
      raise ValueError(f'{self.directory} is a file; checkpoints need a folder')
    if keep < 1:
      raise ValueError(f'keep is {keep}; it must be at least 1')
    self._keep = keep
    self._origin = origin
    self._damaged = set()  # Steps that `restore` has passed over.
    self._pending = None
    self._background = futures.ThreadPoolExecutor(max_workers=1)
    logging.getLogger('absl').addFilter(_worth_logging)

  def __enter__(self) -> 'Checkpoints':
    return self

  def __exit__(self, *unused):
    self.close()

  def close(self):
    """Waits for the last save; raises what `wait` raises."""
    try:
      self.wait()
    finally:
      self._background.shutdown()
      logging.getLogger('absl').removeFilter(_worth_logging)

  def latest(self) -> int | None:
    """Step of the newest checkpoint not known to be damaged, or None."""
    return max(self._sound_steps(), default=None)

  def save(self, step: int, state: Any, meta: dict):
    """Starts to save; when it returns, `state` may be donated.

    Args:
      step: above that of every checkpoint here, save damaged ones that
        `restore` has passed over: those are replaced.
      state: a pytree of arrays, sharded in any way.
      meta: JSON, given back by `restore`.

    Raises:
      ValueError: the step is not above the others; or what `wait` raises, for
        this save or the one before.
    """
    self.wait()
    newest = self.latest()
    if newest is not None and step <= newest:
      raise ValueError(
          f'step {step} cannot be saved in {self.directory}, which holds step '
          f'{newest}; resume from it, or take another directory'
      )
    meta = json.loads(json.dumps(meta))  # A copy: the caller may change it.
    seal = {'step': step, 'meta': meta, 'arrays': seal_lib.describe(state)}
    if self._origin:
      seal |= {'stage': self._origin.stages[0], 'config': self._origin.config}
    with files.named_errors(self.directory), self._space_explained(step):
      if hosts.is_first():
        files.make_folder(self.directory)
        self._sweep()
        self._delete(step)  # A damaged one: others are refused above.
      with _orbax_options():
        response = v1.save_async(self._path(step), state)
    self._pending = self._background.submit(self._finish, step, response, seal)

  def wait(self):
    """Returns when the last save is whole.

    Raises:
      ValueError: no space is left on the disk, or the bucket refuses; names
        the step that is lost and the last whole checkpoint.
    """
    pending, self._pending = self._pending, None
    if pending is not None:
      pending.result()

  def restore(
      self, abstract_state: Any, say: Callable[[str], None] = print
  ) -> tuple[Any, dict] | None:
    """Restores the newest whole checkpoint.

    Args:
      abstract_state: the pytree wanted, of `jax.ShapeDtypeStruct` with
        shardings, which may differ from those it was saved with.
      say: is told in one line of each checkpoint that is passed over.

    Returns:
      The state and its meta; None where no save ever came to its end.

    Raises:
      ValueError: there are checkpoints and none is whole; or the newest whole
        one was saved at another step than its folder is named by, by another
        stage or config, or holds other arrays than `abstract_state`.
    """
    self.wait()
    while True:
      found = hosts.from_first(lambda: self._newest_whole(say))
      self._damaged = set(found['damaged'])
      seal = found['seal']
      if seal is None:
        return self._nothing_whole()
      self._check_ours(seal, abstract_state)
      with files.named_errors(self.directory):
        state = v1.load(self._path(seal['step']), abstract_state)
      arrays = seal_lib.describe(state)
      hurt = [name for name in arrays if arrays[name] != seal['arrays'][name]]
      if not hurt:
        return state, seal['meta']
      self._pass_over(seal['step'], f'{hurt[0]} is not what was saved', say)

  def _path(self, step):
    return self.directory / str(step)

  def _entries(self):
    """{path: whether it is sealed} of what saves have left, in no order."""
    with files.named_errors(self.directory):
      try:
        found = list(self.directory.iterdir())
      except FileNotFoundError:
        return {}
      return {path: path.name.isdecimal() and seal_lib.is_on(path)
              for path in found if re.fullmatch(r'\d+(\..*)?', path.name)}

  def _sound_steps(self):
    """Steps of the checkpoints not known to be damaged, rising."""
    steps = {int(path.name) for path, sealed in self._entries().items()
             if sealed}
    return sorted(steps - self._damaged)

  def _partials(self):
    """What was cut short."""
    return sorted(path for path, sealed in self._entries().items()
                  if not sealed)

  def _sweep(self):
    for path in self._partials():  # What resists, the next save sweeps again.
      files.remove_tree(path)

  def _delete(self, step):
    seal_lib.remove(self._path(step))
    files.remove_tree(self._path(step))

  def _finish(self, step, response, seal):
    """In the background: makes a save whole, then deletes what is too old."""
    with files.named_errors(self.directory), self._space_explained(step):
      response.result()
      if hosts.is_first():
        seal_lib.write(self._path(step), seal)
        self._damaged.discard(step)
        for old in self._damaged.union(self._sound_steps()[:-self._keep]):
          self._delete(old)

  @contextlib.contextmanager
  def _space_explained(self, step):
    """Turns 'no space left' into one line, after sweeping up."""
    try:
      yield
    except Exception as error:
      if not _no_space(error):
        raise
      if hosts.is_first():
        for _ in range(20):  # Other threads of Orbax may write for a moment.
          self._sweep()
          time.sleep(0.05)
      steps = reversed(self._sound_steps())
      last = next((s for s in steps if not _read_seal(self._path(s))[1]), None)
      remains = 'no whole one is left' if last is None else (
          f'the last whole one is of step {last}')
      raise ValueError(
          f'the checkpoint of step {step} could not be saved, for no space is '
          f'left in {self.directory}; {remains}; free some space and start '
          'again with the same --workdir'
      ) from error

  def _newest_whole(self, say):
    """On process 0: the seal of the newest whole checkpoint, or None."""
    steps = self._sound_steps()
    for path in self._partials():
      if int(path.name.split('.')[0]) > max(steps, default=-1):
        say(f'checkpoint {path} is half-written (it has no SEAL); passed over')
    for step in reversed(steps):
      seal, fault = _read_seal(self._path(step))
      if not fault:
        origins.check(self._path(step), seal, self._origin)
        return {'seal': seal, 'damaged': sorted(self._damaged)}
      self._pass_over(step, fault, say)
    return {'seal': None, 'damaged': sorted(self._damaged)}

  def _pass_over(self, step, fault, say):
    self._damaged.add(step)
    say(f'checkpoint {self._path(step)} is damaged ({fault}); passed over')

  def _nothing_whole(self):
    if not self._damaged:
      return None
    steps = ', '.join(map(str, sorted(self._damaged)))
    raise ValueError(
        f'no checkpoint in {self.directory} is whole (damaged: {steps}); bring '
        'one back from a copy, or remove the folder to start from the beginning'
    )

  def _check_ours(self, seal, abstract_state):
    differ = seal_lib.differences(seal['arrays'], abstract_state)
    if differ:
      more = f' and {len(differ) - 4} more' if len(differ) > 4 else ''
      raise ValueError(
          f'checkpoint {self._path(seal["step"])} is of another model or '
          f'optimizer: {"; ".join(differ[:4])}{more}; use the configuration '
          'that saved it, or another --workdir'
      )


def _read_seal(folder):
  """(seal, '') of a whole checkpoint, (None, fault) of another."""
  with files.named_errors(folder):  # Of a bucket, which are no faults.
    try:
      return seal_lib.read(folder), ''
    except ValueError as error:
      return None, str(error)


def _orbax_options():
  options = v1.Context()
  # Else a folder that cannot be made keeps threads waiting for minutes.
  options.asynchronous.create_directories_asynchronously = False
  return options


def _no_space(error):
  """Whether an error, or one behind it, says that the disk is full.

  TensorStore raises a ValueError with the system's words, Python an OSError.
  """
  words = [os.strerror(code) for code in (errno.ENOSPC, errno.EDQUOT)]
  while error is not None:
    if any(word in str(error) for word in words):
      return True
    error = error.__cause__ or error.__context__
  return False


def _worth_logging(record):
  """Leaves out the tracebacks that Orbax logs of errors that `wait` raises."""
  return '_SignalingThread' not in str(record.msg)


def write_arrays(
    folder: files.Path,
    arrays: Iterable[tuple[tuple[str, ...], np.ndarray]],
    meta: dict,
    group_bytes: int,
):
  """Writes arrays, some at a time, and seals them.

  For one process; the caller makes the folder appear whole, by renaming what
  is around it.

  Args:
    folder: new.
    arrays: each with its path, such as ('blocks', 'mlp', 'up', 'kernel', '0').
    meta: JSON.
    group_bytes: most bytes that are written together, where an array fits;
      about four times as much memory is used.
  """
  described, group, size = {}, {}, 0
  for path, array in arrays:
    if group and size + array.nbytes > group_bytes:
      described |= _write_group(folder, group)
      group, size = {}, 0
    group['params', *path] = array
    size += array.nbytes
    del array  # Else it stays while the next one is read.
  described |= _write_group(folder, group)
  v1.partial.finalize(folder)
  seal_lib.write(folder, {'meta': meta, 'arrays': described})


def _write_group(folder, group):
  """Writes some arrays, and describes them."""
  tree = traverse_util.unflatten_dict(group)
  v1.partial.save(folder, tree)
  return seal_lib.describe(jax.tree.map(jax.numpy.asarray, tree))


class Arrays:
  """The parameters in one checkpoint, of which some can be read.

  Attributes:
    folder: of one step of `Checkpoints`, or of `write_arrays`.
    meta: as it was saved.
    seal: the content of its seal.
    kinds: type and shape of each parameter by its path, such as
      'float32[2, 8]'.
  """

  def __init__(self, folder: files.Path):
    """Opens a checkpoint; process 0 compares every file with the seal.

    Raises:
      ValueError: it is damaged.
    """
    self.folder = folder
    seal, fault = hosts.from_first(lambda: _read_seal(folder))
    if fault:
      raise ValueError(f'checkpoint {folder} is damaged: {fault}')
    self.seal, self.meta = seal, seal['meta']
    self._sums = {_path_of(name): described[1]
                  for name, described in seal['arrays'].items()}
    self.kinds = {_path_of(name)[1:]: described[0]
                  for name, described in seal['arrays'].items()
                  if _path_of(name)[0] == 'params'}

  def abstract(self, path: tuple[str, ...], where=None) -> jax.ShapeDtypeStruct:
    """Shape and dtype of a parameter, to be put on one device or `where`."""
    dtype, _, shape = self.kinds[path].rstrip(']').partition('[')
    shape = tuple(map(int, shape.split(','))) if shape else ()
    where = where or jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    return jax.ShapeDtypeStruct(shape, jax.numpy.dtype(dtype), sharding=where)

  def read(
      self, paths: Iterable[tuple[str, ...]], where=None
  ) -> list[jax.Array]:
    """Some of the parameters.

    Args:
      paths: keys of `kinds`.
      where: their sharding; one device by default.

    Raises:
      ValueError: one is not what was saved.
    """
    wanted = {('params', *path): self.abstract(path, where) for path in paths}
    options = v1.Context()
    options.pytree.loading.partial_load = True
    try:
      with options:
        tree = v1.load(self.folder, traverse_util.unflatten_dict(wanted))
    except Exception as error:  # Of many kinds.
      if _read_seal(self.folder)[1]:
        raise ValueError(f'checkpoint {self.folder} was changed or removed '
                         'while it was read; start again') from error
      raise
    found = traverse_util.flatten_dict(tree)
    arrays = [found[path] for path in wanted]
    sums = seal_lib.describe(arrays).values()
    for path, (_, checksum) in zip(wanted, sums):
      if checksum != self._sums[path]:
        raise ValueError(
            f'checkpoint {self.folder} is damaged: {"/".join(path[1:])} is not '
            'what was saved')
    return arrays


def _path_of(name):
  """('params', 'embed') from ".params['embed']" or "['params']['embed']"."""
  return tuple(re.findall(r"[^\[\]'.]+", name))
