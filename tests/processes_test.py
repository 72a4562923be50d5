"""Weights on a mesh of several processes: each reads what its devices hold."""

import json
import socket
import subprocess
import sys

import numpy as np
import pytest

from score_jax import convert
from tests import door
from tests import folders

_PROCESS = """
import json, os, sys
port, number, path = sys.argv[1:]
os.environ['XLA_FLAGS'] += ' --xla_force_host_platform_device_count=2'
import jax
jax.distributed.initialize(f'localhost:{port}', 2, int(number))
import numpy as np
from score_jax import config as config_lib
from score_jax import sharding
from score_jax import weights
from score_jax.models import decoder
from score_jax.models import stored

read = []
part = stored.Stored.part
def counted(self, number, index=...):
  array = part(self, number, index)
  read.append(array.nbytes)
  return array
stored.Stored.part = counted

config = weights.model_config(path, config_lib.ModelConfig())
mesh = sharding.make_mesh(config_lib.MeshConfig(data=1, fsdp=4, tensor=1))
where = sharding.tree_shardings(mesh, decoder.logical_axes(config))
params = weights.load_params(path, config, where)
sums = jax.jit(lambda tree: jax.tree.map(lambda x: (x * x).sum(), tree))(params)
total = sum(float(x) for x in jax.tree.leaves(sums))
print(json.dumps({'read': sum(read), 'total': total}))
"""


def _free_port():
  with socket.socket() as s:
    s.bind(('localhost', 0))
    return s.getsockname()[1]


def _load_in_two(path):
  port = str(_free_port())
  processes = [
      subprocess.Popen(
          [sys.executable, '-c', _PROCESS, port, str(n), str(path)], text=True,
          stdout=subprocess.PIPE, stderr=subprocess.PIPE) for n in range(2)]
  ended = [process.communicate(timeout=300) for process in processes]
  assert [p.returncode for p in processes] == [0, 0], ended
  return [json.loads(out.splitlines()[-1]) for out, _ in ended]


@pytest.mark.parametrize('kind', ['hf', 'orbax'])
def test_each_process_reads_what_its_devices_hold(tmp_path, kind):
  config = folders.small_config('gemma3', width=16, vocab_size=48)
  arrays = folders.write(tmp_path / 'hf', config, shard_bytes=4000)
  if kind == 'orbax':
    convert.convert(convert.open_source(str(tmp_path / 'hf')),
                    tmp_path / 'orbax', 'orbax')
  found = _load_in_two(tmp_path / kind)
  expected = sum(np.sum(np.square(a, dtype=np.float64))
                 for a in arrays.values())
  whole = sum(a.nbytes for a in arrays.values())
  # The norms of heads have no axis that is split: every process needs them.
  shared = sum(a.nbytes for name, a in arrays.items()
               if name.endswith(('q_norm.weight', 'k_norm.weight')))
  for process in found:
    np.testing.assert_allclose(process['total'], expected, rtol=1e-5)
    if kind == 'hf':
      assert process['read'] <= (whole - shared) / 2 + 2 * shared


_LATE = """
import os, sys, time
port, number = sys.argv[1], int(sys.argv[2])
os.environ['XLA_FLAGS'] += ' --xla_force_host_platform_device_count=2'
import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding, PartitionSpec
from score_jax import config as config_lib
from score_jax import cpu_collectives
from score_jax import hosts
from score_jax import sharding

hosts.join(f'localhost:{port}', 2, number)
mesh = sharding.make_mesh(config_lib.MeshConfig(data=2, fsdp=2, tensor=1))
cpu_collectives.connect(mesh)
hosts.barrier()
time.sleep(35 * number)
for axis in 'data', ('data', 'fsdp'):
  where = NamedSharding(mesh, PartitionSpec(axis))
  ones = jax.jit(lambda: jnp.ones(4), out_shardings=where)()
  print(float(jax.jit(jnp.sum)(ones)), flush=True)
"""


@pytest.mark.slow
def test_a_process_may_be_late_for_the_first_collective():
  # Gloo connects for 30 s at most; `connect` has done so before the wait.
  port = str(_free_port())
  processes = [subprocess.Popen(
      [sys.executable, '-c', _LATE, port, str(n)], text=True,
      stdout=subprocess.PIPE, stderr=subprocess.PIPE) for n in range(2)]
  ended = [process.communicate(timeout=300) for process in processes]
  assert [p.returncode for p in processes] == [0, 0], ended
  assert [out.split()[-2:] for out, _ in ended] == [['4.0', '4.0']] * 2


@pytest.mark.parametrize('index,missing', [(0, '1 of 2'), (1, '0 of 2 at')])
def test_a_process_alone_ends_in_one_line(tmp_path, index, missing):
  port = _free_port()
  ended = door.call(
      [*door.TINY, f'--workdir={tmp_path / "run"}', '--distributed',
       f'--coordinator_address=localhost:{port}', '--num_processes=2',
       f'--process_id={index}', '--join_timeout_s=1'], tmp_path / 'out')
  assert ended.code == 2
  assert ended.err.startswith(f'score_jax: process {missing}')
  assert ended.err.count('\n') == 1
  assert not (tmp_path / 'run').exists()
