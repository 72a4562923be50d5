"""Files and checkpoints in a bucket: as on a disk, and refusals at the door."""

import asyncio
import hashlib
import logging
import pathlib
import re
import socket
import subprocess
import sys
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_jax import board
from score_jax import buckets
from score_jax import checkpoint
from score_jax import config as config_lib
from score_jax import convert
from score_jax import files
from score_jax import run as run_lib
from score_jax import seal
from score_jax import writer as writer_lib
from score_jax.report import runs
from tests import gcs


@pytest.fixture(name='server', scope='module')
def _server():
  """A bucket named 'bucket', where the libraries go."""
  server = gcs.Server('bucket')
  with pytest.MonkeyPatch.context() as patch:
    for name, value in server.environ.items():
      patch.setenv(name, value)
    yield server
  server.close()


@pytest.fixture(name='folder')
def _folder(server, request):
  """A new folder in the bucket."""
  del server
  return files.folder(f'gs://bucket/{request.node.name.split("[")[0]}')


@pytest.fixture(name='place', params=['disk', 'bucket'])
def _place(request, tmp_path):
  """A new folder on the disk, or in the bucket."""
  if request.param == 'disk':
    return tmp_path / 'run'
  return request.getfixturevalue('folder')


def state_of(step):
  return {'w': jnp.arange(12.0).reshape(4, 3) * step, 'n': jnp.int32(step)}


def restore(folder):
  """(step, n, w) or None, and what was said on the way."""
  said = []
  wanted = jax.tree.map(
      lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding),
      state_of(0))
  with checkpoint.Checkpoints(folder, 9) as saved:
    found = saved.restore(wanted, said.append)
  return found and (found[1], int(found[0]['n']), found[0]['w']), said


def save(folder, *steps, keep=9):
  with checkpoint.Checkpoints(folder, keep) as saved:
    for step in steps:
      saved.save(step, state_of(step), {'at': step})


def names(folder):
  return sorted(path.name for path in folder.iterdir())


def test_files_are_replaced_and_read_alike(place):
  place.mkdir(parents=True, exist_ok=True)
  assert files.read_json(place / 'a.json') is None
  assert files.read_lines(place / 'a.jsonl') == []
  files.write_json(place / 'a.json', {'old': 1})
  files.write_json(place / 'a.json', {'new': 'é\n'})
  files.write_lines(place / 'a.jsonl', ['{"b": 1}', '{"b": 2}'])
  assert files.read_json(place / 'a.json') == {'new': 'é\n'}
  assert files.read_lines(place / 'a.jsonl') == [
      ('{"b": 1}', {'b': 1}), ('{"b": 2}', {'b': 2})]
  assert names(place) == ['a.json', 'a.jsonl']
  files.remove_tree(place)
  files.remove_tree(place)
  assert not place.exists()


def test_a_log_goes_on_where_another_process_left_it(place):
  place.mkdir(parents=True, exist_ok=True)
  path = place / 'log'
  for piece in (b'a\n', b'b\n'):
    log = files.Log(path)
    log.append(piece)
    log.append(b'x\n')
    log.flush()
  assert path.read_bytes() == b'a\nx\nb\nx\n'
  log.replace(['c'])
  log.append(b'd\n')
  log.flush()
  assert path.read_bytes() == b'c\nd\n'


def test_an_object_is_written_half_a_minute_after_the_last_time(
    server, folder, monkeypatch):
  now = 100.0
  monkeypatch.setattr(files.time, 'monotonic', lambda: now)
  log = files.Log(folder / 'log')
  written = lambda: server.files('bucket', folder.name).get('log')
  log.append(b'1')
  now += 29
  log.append(b'2')
  assert written() is None
  now += 2
  log.append(b'3')
  assert written() == b'123'
  now += 29
  log.append(b'4')
  assert written() == b'123'
  log.flush()
  assert written() == b'1234'
  asked = len(server.requests)
  log.flush()
  assert len(server.requests) == asked


def test_the_writer_s_files_are_the_same_in_a_bucket(tmp_path, folder):
  for place in (tmp_path, folder):
    writer = writer_lib.Writer(place)
    for step in (1, 2, 3):
      writer.metrics('stage1', step, {'loss': 1 / step})
      writer.timing('stage1', step, {'step_s': step})
    writer.flush()
    writer.rewind('stage1', 2)
    writer.metrics('stage1', 3, {'loss': 9.0})
    writer.transcripts('stage1', [{'id': 'p'}])
    writer.results({'stages': {}})
    writer.flush()
    events = list((place / 'tensorboard' / 'stage1').iterdir())
    assert len(events) == 2
  for name in ('metrics.jsonl', 'timings.jsonl', 'transcripts.jsonl',
               'results.json'):
    assert (folder / name).read_bytes() == (tmp_path / name).read_bytes()


def test_event_files_are_the_same_in_a_bucket(tmp_path, folder, monkeypatch):
  monkeypatch.setattr(board.time, 'time', lambda: 1.0)
  contents = []
  for place in (tmp_path, folder):
    curves = board.Board(place, 'base')
    curves.rewind(4)
    curves.scalars(5, {'loss': 0.5})
    curves.scalars(6, {'loss': 0.25})
    curves.flush()
    (path,) = place.iterdir()
    contents.append(path.read_bytes())
  assert contents[0] == contents[1]


def test_digests_are_those_of_the_contents(server, place):
  contents = {'a': b'1', 'sub/b': b'', 'sub/deep/c': b'x' * 10**6}
  for name, content in contents.items():
    path = place / name
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write_whole(path, content)
  want = {name: hashlib.md5(x).hexdigest() for name, x in contents.items()}
  assert files.digests(place) == want
  server.composite = {f'{place.name}/{name}' for name in contents}
  try:
    assert files.digests(place) == want
  finally:
    server.composite = set()


def test_what_others_write_is_seen_at_once(server, folder):
  files.write_whole(folder / 'mine', b'1')
  assert names(folder) == ['mine'] and not (folder / 'theirs').exists()
  server.put('bucket', f'{folder.name}/theirs', b'2')
  assert names(folder) == ['mine', 'theirs'] and (folder / 'theirs').exists()
  assert set(files.digests(folder)) == {'mine', 'theirs'}


def test_checkpoints_come_back_and_the_newest_are_kept(folder):
  assert restore(folder) == (None, [])
  save(folder, 1, 2, 3, keep=2)
  assert names(folder) == ['2', '3']
  (meta, n, w), said = restore(folder)
  assert (meta, n, said) == ({'at': 3}, 3, [])
  np.testing.assert_array_equal(w, state_of(3)['w'])


def test_a_changed_or_lost_object_sends_us_to_the_older_one(server, folder):
  save(folder, 1, 2)
  inside = f'{folder.name}/2/'
  there = {f'{inside}{name}': content for name, content in server.files(
      'bucket', inside.rstrip('/')).items()}
  assert len(there) >= 10
  for name, content in there.items():
    for damaged in (None, content + b'\0'):
      if damaged is None:
        server.delete('bucket', name)
      else:
        server.put('bucket', name, damaged)
      with pytest.raises(ValueError) as error:
        seal.read(folder / '2')
      what = 'is missing' if damaged is None else 'has changed'
      assert str(error.value) == f'{name.removeprefix(inside)} {what}'
    server.put('bucket', name, content)
  server.put('bucket', f'{inside}state/_METADATA', b'{}')
  (_, n, _), said = restore(folder)
  assert n == 1 and len(said) == 1
  assert 'state/_METADATA has changed' in said[0]


def test_a_save_without_a_seal_is_passed_over_and_swept(server, folder):
  save(folder, 1, 2)
  server.delete('bucket', f'{folder.name}/2/SEAL')
  (_, n, _), said = restore(folder)
  assert n == 1
  assert said == [f'checkpoint {folder}/2 is half-written (it has no SEAL); '
                  'passed over']
  save(folder, 3)
  assert names(folder) == ['1', '3']


def test_a_seal_is_written_last_and_deleted_first(server, folder):
  order = []
  server.before_write = order.append
  try:
    save(folder, 1, 2, keep=1)
  finally:
    server.before_write = lambda name: None
  inside = lambda step: [name.rpartition('/')[2] for name in order
                         if name.startswith(f'{folder.name}/{step}/')]
  first = inside(1)
  assert first.pop(0) == 'SEAL'  # Of a damaged one, had there been one.
  assert first.count('SEAL') == 2  # Written, and deleted.
  written = first.index('SEAL')
  assert first[written + 1] == 'SEAL'
  assert 'commit_success.txt' in first[:written]
  assert 'commit_success.txt' in first[written + 2 :]
  assert inside(2)[-1] == 'SEAL'


def test_a_bucket_that_refuses_is_no_damage(server, folder):
  save(folder, 1, 2)
  server.permissions = ('storage.objects.list', 'storage.objects.create',
                        'storage.objects.delete')
  try:
    with pytest.raises(ValueError, match=f'^{folder}.*Forbidden') as error:
      restore(folder)
    assert '\n' not in str(error.value)
    with pytest.raises(ValueError, match=f'^{folder}/a.json: Forbidden'):
      files.read_json(folder / 'a.json')
  finally:
    server.permissions = gcs.PERMISSIONS
  assert restore(folder)[0][1] == 2


def test_what_cannot_be_written_is_one_line(server, folder):
  server.permissions = buckets.READ
  try:
    with pytest.raises(ValueError, match=f'^{folder}/a: Forbidden.*bucket'):
      files.write_json(folder / 'a', 1)
    with pytest.raises(ValueError) as error:
      save(folder, 1)
  finally:
    server.permissions = gcs.PERMISSIONS
  assert '\n' not in str(error.value) and str(folder) in str(error.value)


def test_the_door_lets_those_in_who_may(server, folder):
  assert files.opened(str(folder), writes=True) == folder
  server.permissions = buckets.READ
  try:
    assert files.opened(f'{folder}/', writes=False) == folder
  finally:
    server.permissions = gcs.PERMISSIONS


def refusal(name, writes=True):
  with pytest.raises(ValueError) as error:
    files.opened(name, writes)
  assert '\n' not in str(error.value)
  return str(error.value)


def test_missing_permissions_are_named(server):
  server.permissions = buckets.READ
  try:
    assert refusal('gs://bucket/run') == (
        'gs://bucket/run: there is no permission for storage.objects.create, '
        'storage.objects.delete in the bucket; grant '
        'roles/storage.objectAdmin on gs://bucket')
  finally:
    server.permissions = gcs.PERMISSIONS


@pytest.mark.usefixtures('server')
def test_a_bucket_that_is_not_there_is_named():
  assert refusal('gs://other/run') == (
      'gs://other/run: there is no bucket other; make it: gcloud storage '
      'buckets create gs://other, or name another')


@pytest.mark.parametrize('which', ['STORAGE_EMULATOR_HOST',
                                   'TENSORSTORE_GCS_HTTP_URL'])
@pytest.mark.usefixtures('server')
def test_a_network_that_is_not_there_is_said_in_seconds(monkeypatch, which):
  with socket.socket() as nobody:
    nobody.bind(('127.0.0.1', 0))
    monkeypatch.setenv(which, f'http://127.0.0.1:{nobody.getsockname()[1]}')
    monkeypatch.setattr(buckets, '_WAIT_S', 1)
    line = refusal('gs://bucket/run')
  assert line.startswith('gs://bucket/run: the bucket cannot be reached (')
  assert line.endswith('); see to the network and to the credentials')


def test_missing_credentials_are_said(monkeypatch, tmp_path):
  monkeypatch.delenv('STORAGE_EMULATOR_HOST', raising=False)
  monkeypatch.delenv('GOOGLE_APPLICATION_CREDENTIALS', raising=False)
  monkeypatch.setenv('CLOUDSDK_CONFIG', str(tmp_path))
  monkeypatch.setenv('NO_GCE_CHECK', 'true')
  assert refusal('gs://bucket/run') == (
      'gs://bucket/run: there are no credentials here; make some: gcloud auth '
      'application-default login')


def test_gcsfs_that_is_not_installed_is_said(monkeypatch):
  monkeypatch.setattr(buckets.importlib.util, 'find_spec', lambda name: None)
  assert refusal('gs://bucket/run') == (
      'gs://bucket/run: buckets need gcsfs; install it: pip install -e '
      "'.[gcs]'")


@pytest.mark.parametrize('name', [
    'gs://', 'gs://bucket', 'gs://bucket/', 'gs:///run', 'gs:/bucket/run',
    's3://bucket/run', 'gs://Bucket/run', 'gs://bucket/run*',
    'gs://bucket/runs[1]/a', 'gs://bucket/a?/b'])
def test_other_names_are_refused(name):
  assert re.match(re.escape(name) + ': (a folder in a bucket is named|name a '
                  'folder, or) gs://BUCKET/RUN', refusal(name))


def test_what_must_be_on_a_disk_is_refused_in_a_bucket():
  config = config_lib.from_dict({})
  for field, part in (('model', {'checkpoint': 'gs://bucket/x'}),
                      ('model', {'tokenizer': 'gs://bucket/x'}),
                      ('task', {'data_dir': 'gs://bucket/x'})):
    changed = config_lib.from_dict({field: part})
    name = f'config.{field}.{next(iter(part))}'
    with pytest.raises(ValueError, match=f'^{name} gs://bucket/x .* copy it: '):
      run_lib.resolved(changed)
  assert run_lib.resolved(config) == config


@pytest.mark.parametrize('module,flag,args', [
    ('main', '--workdir', ('--config=tests/sweep_tiny.py',)),
    ('convert', '--to', ('--from=x',))])
def test_what_is_made_on_a_disk_is_refused_in_a_bucket(module, flag, args):
  ended = subprocess.run(
      [sys.executable, '-m', f'score_jax.{module}', *args, f'{flag}=gs://b/x'],
      check=False, capture_output=True, text=True)
  assert (ended.returncode, ended.stdout) == (2, '')
  assert ended.stderr == (
      f'score_jax: {flag} gs://b/x is in a bucket, and only runs may be there; '
      'name DIR, and copy what is made: gcloud storage cp --recursive DIR '
      'gs://b/x\n')


def test_data_is_kept_on_the_disk_of_each_host(monkeypatch, tmp_path, folder):
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
  assert files.on_disk(folder) == tmp_path / 'score_jax'
  assert files.on_disk(tmp_path) == tmp_path
  monkeypatch.delenv('XDG_CACHE_HOME')
  assert files.on_disk(folder) == pathlib.Path.home() / '.cache' / 'score_jax'


def test_what_libraries_make_on_a_disk_gets_there(place):
  with pytest.raises(ZeroDivisionError), files.made_on_disk(place) as made:
    (made / 'sub').mkdir(parents=True)
    (made / 'sub' / 'trace').write_bytes(b'1')
    raise ZeroDivisionError
  assert (place / 'sub' / 'trace').read_bytes() == b'1'


def test_weights_in_a_bucket_are_not_converted(folder):
  files.write_whole(folder / 'model.safetensors', b'x')
  with pytest.raises(ValueError, match='^--from gs://bucket/.* copy it'):
    convert.open_source(str(folder))


def test_a_report_names_what_is_no_run(folder):
  with pytest.raises(ValueError, match=f'^{folder} is no run'):
    runs.read([str(folder)])


def test_gcsfs_logs_no_tracebacks(folder, caplog):
  assert not (folder / 'x').exists()
  with pytest.raises(FileNotFoundError):
    (folder / 'x').read_bytes()
  assert logging.getLogger('gcsfs').level > logging.CRITICAL
  assert not caplog.records




FAULTS = (503, 429, 500, gcs.RESET, gcs.LOST)


@pytest.fixture(name='impatient')
def _impatient(monkeypatch):
  """gcsfs tries again at once, as often as it does."""
  sleep = asyncio.sleep
  monkeypatch.setattr('gcsfs.retry.asyncio', types.SimpleNamespace(
      sleep=lambda seconds: sleep(0)))


@pytest.mark.usefixtures('impatient')
@pytest.mark.parametrize('fault', FAULTS)
def test_faults_of_the_network_lose_nothing(server, folder, fault):
  folder = folder / str(fault)
  server.fault = gcs.every(5, fault)
  try:
    assert files.opened(str(folder), writes=True) == folder
    writer = writer_lib.Writer(folder)
    for step in (1, 2, 3):
      writer.metrics('stage1', step, {'loss': 1 / step})
      writer.timing('stage1', step, {'s': step})
      writer.flush()
    writer.rewind('stage1', 2, 3)
    writer.results({'stages': {}})
    server.fault = gcs.every(25, fault)
    save(folder / 'kept', 1, 2, keep=1)
    (meta, n, w), said = restore(folder / 'kept')
  finally:
    server.calm()
  assert (meta, n, said) == ({'at': 2}, 2, [])
  np.testing.assert_array_equal(w, state_of(2)['w'])
  assert names(folder / 'kept') == ['2']
  assert [row['step'] for _, row in files.read_lines(
      folder / 'metrics.jsonl')] == [1, 2]
  assert writer.read_results() == {'stages': {}}


@pytest.mark.usefixtures('impatient')
@pytest.mark.parametrize('fault', [503, 429, gcs.RESET])
def test_a_bucket_that_stays_away_is_one_line_and_nothing_is_lost(
    server, folder, fault):
  folder = folder / str(fault)
  log = files.Log(folder / 'log')
  log.append(b'1\n')
  log.flush()
  server.fault = lambda method, name: fault
  try:
    log.append(b'2\n')
    for act in (log.flush, lambda: files.read_json(folder / 'x'),
                lambda: files.write_json(folder / 'x', 1)):
      with pytest.raises(ValueError, match=f'^{folder}/') as error:
        act()
      assert '\n' not in str(error.value) and 'bucket' in str(error.value)
  finally:
    server.calm()
  assert (folder / 'log').read_bytes() == b'1\n'
  log.flush()  # What was not written is still there to be.
  assert (folder / 'log').read_bytes() == b'1\n2\n'


def test_a_checkpoint_whose_save_failed_is_no_checkpoint(server, folder):
  save(folder, 1)
  server.fault = lambda method, name: 403 if 'SEAL' in name and (
      method == 'POST') else None
  try:
    with pytest.raises(ValueError) as error:
      save(folder, 2)
  finally:
    server.calm()
  assert '\n' not in str(error.value) and str(folder) in str(error.value)
  (_, n, _), said = restore(folder)
  assert n == 1 and 'half-written' in said[0]
