"""Several processes, one run: who they are, and the little that they tell.

On a slice of TPUs every host runs the same program on its own devices. Arrays
are exchanged by the devices, inside programs. What is said here are a few
numbers and words between programs, by the key-value store that jax's
distributed runtime keeps on process 0. The store waits as long as a host needs
to grade or to read; collectives of a CPU would give up after seconds.

Every process must make the same calls in the same order. With one process all
of this returns at once. The one file that knows jax's client of the store,
which has no public name.
"""

from collections.abc import Callable
import dataclasses
import itertools
import json
import time
from typing import Any

import jax
from jax._src import clusters
from jax._src import distributed

from score_jax import rendezvous

_ROOT = 'score_jax'
_PATIENCE_MS = 24 * 3600 * 1000  # `score_jax.watch` ends who waits in vain.
_calls = itertools.count()


@dataclasses.dataclass
class Present:
  """What this process is at, for those who watch over it.

  Attributes:
    at: in words, such as 'stage1 step 12'.
    waits_since: by `time.monotonic`, while it waits for others; else None.
  """

  at: str = 'the start'
  waits_since: float | None = None


present = Present()


def join(
    address: str = '', count: int = 0, index: int = -1, limit_s: float = 600.0
):
  """Join the other processes, before jax is used for anything else.

  Args:
    address: HOST:PORT of process 0. Without it, it and the other two are asked
      of the TPU slice.
    count: number of processes.
    index: number of this process.
    limit_s: seconds to wait for the other processes.

  Raises:
    ValueError: this is no slice, or processes are missing; the message names
      them.
  """
  if address and not (0 <= index < count):
    raise ValueError(
        f'--process_id={index} with --num_processes={count}: processes are '
        'numbered from 0; give both beside --coordinator_address')
  port = address.rpartition(':')[2]
  if address and not (port.isdecimal() and 0 < int(port) < 2**16):
    raise ValueError(f'--coordinator_address={address} has no port; use '
                     'HOST:PORT of process 0')
  if limit_s <= 0:
    raise ValueError(f'--join_timeout_s={limit_s} must be above 0')
  # A SIGTERM is ours to handle, see `score_jax.shutdown`.
  jax.config.update('jax_enable_preemption_service', False)
  try:
    if not address:
      address, count, index = _of_the_slice(limit_s)
    rendezvous.meet(address, count, index, limit_s)
    jax.distributed.initialize(address, count, index)
  except RuntimeError as error:
    raise ValueError(
        f'the processes did not come together ({address}): '
        f'{str(error).splitlines()[0]}; name them with --coordinator_address, '
        '--num_processes and --process_id, or leave --distributed out') from (
            error)


def _of_the_slice(limit_s) -> tuple[str, int, int]:
  """Return address, count and index as jax finds them on a TPU slice."""
  found = clusters.ClusterEnv.auto_detect_unset_distributed_params(
      None, None, None, None, None, int(limit_s))[:3]
  if None in found:
    raise ValueError(
        'this machine is no host of a TPU slice; name the processes with '
        '--coordinator_address, --num_processes and --process_id, or leave '
        '--distributed out')
  return found


def several() -> bool:
  """Whether there are other processes."""
  return distributed.global_state.num_processes > 1


def number() -> int:
  """Of this process, from 0."""
  return distributed.global_state.process_id


def is_first() -> bool:
  """Whether this is process 0, which alone writes files that all share."""
  return number() == 0


def barrier():
  """Returns when every process has called it."""
  _of_all(None)


def from_first(make: Callable[[], Any]) -> Any:
  """On all processes, the JSON value that `make()` returns on process 0."""
  return _of_all(make() if is_first() else None)[0]


def totals(numbers: dict[str, int | float]) -> dict[str, int | float]:
  """The sums over all processes, name by name."""
  found = _of_all(numbers)
  return {name: sum(of[name] for of in found) for name in numbers}


def check_same(what: str, fields: dict[str, Any]):
  """ValueError if a process has other values (JSON) than process 0."""
  theirs = from_first(lambda: fields)
  for name, value in json.loads(json.dumps(fields)).items():
    if theirs.get(name) != value:
      raise ValueError(
          f'{what}.{name} is {value!r} on process {number()} and '
          f'{theirs.get(name)!r} on process 0; start all with one command')


def any_of(flag: bool) -> bool:
  """Whether the flag is true on some process: the same answer on all."""
  return any(_of_all(bool(flag)))


def _of_all(value):
  """The JSON values of all processes, by number."""
  if not several():
    return [value]
  # Two places in turn: who writes to one again has seen all leave it.
  place = f'all/{next(_calls) % 2}'
  put(f'{place}/{number():06d}', value)
  present.waits_since = time.monotonic()
  _store().wait_at_barrier(f'{_ROOT}/all', _PATIENCE_MS)
  present.waits_since = None
  return list(get_all(place).values())


def put(name: str, value: Any):
  """Leaves a value (JSON) for others to read; replaces an older one."""
  _store().key_value_set(
      f'{_ROOT}/{name}', json.dumps(value), allow_overwrite=True)


def get_all(folder: str) -> dict[str, Any]:
  """What was put under the names `folder`/..., by the rest of the name."""
  found = _store().key_value_dir_get(f'{_ROOT}/{folder}/')
  return {name.rpartition('/')[2]: json.loads(text)
          for name, text in sorted(found)}


def _store():
  return distributed.global_state.client
