"""One process alone, and what is refused before processes join."""

import threading

import pytest

from score_jax import hosts


def test_one_process_needs_nobody():
  assert not hosts.several() and hosts.is_first() and hosts.number() == 0
  hosts.barrier()
  assert hosts.from_first(lambda: {'a': [1]}) == {'a': [1]}
  assert hosts.totals({'n': 2, 's': 0.5}) == {'n': 2, 's': 0.5}
  assert hosts.any_of(True) is True and hosts.any_of(False) is False
  hosts.check_same('config', {'a': '1'})


@pytest.mark.parametrize('given,said', [
    (('here:1', 2, 2), '--process_id=2 with --num_processes=2: processes are'),
    (('here:1', 0, 0), '--process_id=0 with --num_processes=0: processes are'),
    (('here:1', 2, -1), '--process_id=-1 with --num_processes=2'),
    (('here', 2, 0), '--coordinator_address=here has no port; use HOST:PORT'),
    (('here:', 2, 0), '--coordinator_address=here: has no port'),
    (('', 0, -1), 'this machine is no host of a TPU slice'),
])
def test_bad_addresses_are_refused(given, said):
  with pytest.raises(ValueError) as error:
    hosts.join(*given)
  assert said in str(error.value) and '\n' not in str(error.value)


class Store:
  """The key-value store of jax, for threads that play processes."""

  def __init__(self, processes):
    self.values = {}
    self._barrier = threading.Barrier(processes)

  def key_value_set(self, name, value, allow_overwrite):
    assert allow_overwrite
    self.values[name] = value

  def key_value_dir_get(self, folder):
    return [(name, value) for name, value in self.values.items()
            if name.startswith(folder)]

  def wait_at_barrier(self, unused_name, unused_ms):
    self._barrier.wait(timeout=10)
