"""Checkpoints: bit-exact, restored only if whole, and no save is ever torn."""

import errno
import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from score_jax import checkpoint
from score_jax import origins
from score_jax import seal
from score_jax import types

P = jax.sharding.PartitionSpec
# A disk that is full says so in these ways (seen on a small tmpfs): TensorStore
# when data or a lock file does not fit, Python when metadata does not.
NO_SPACE = (
    ValueError(
        'RESOURCE_EXHAUSTED: Failed writing: "d/1f": Failed to write 1109736 '
        "bytes to file 16: No space left on device [os_error_code='28']"
    ),
    ValueError(
        'RESOURCE_EXHAUSTED: Failed to open: "state/_sharding.__lock": No '
        "space left on device [os_error_code='28']"
    ),
    OSError(errno.ENOSPC, 'No space left on device', 'state/_METADATA'),
    OSError(errno.EDQUOT, 'Disk quota exceeded'),
)


def make_state(step: int) -> types.TrainState:
  """Weights of two dtypes, Adam's moments and counts, empty optax states."""
  w, b = jax.random.split(jax.random.key(step))
  params = {
      'w': jax.random.normal(w, (16, 8)),
      'b': jax.random.normal(b, (8,), jnp.bfloat16),
  }
  schedule = optax.cosine_decay_schedule(1.0, 10)
  tx = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(schedule))
  _, opt_state = tx.update(params, tx.init(params), params)
  return types.TrainState(jnp.int32(step), params, opt_state)


def abstract(state, sharding=None):
  """What to restore; all leaves under one sharding, or as they are."""
  return jax.tree.map(
      lambda x: jax.ShapeDtypeStruct(
          x.shape, x.dtype, sharding=sharding or x.sharding),
      state,
  )


def assert_same_bits(got, want):
  assert jax.tree.structure(got) == jax.tree.structure(want)
  for x, y in zip(jax.tree.leaves(got), jax.tree.leaves(want)):
    assert x.dtype == y.dtype
    assert np.asarray(x).tobytes() == np.asarray(y).tobytes()


def save_steps(folder, steps, keep=9):
  with checkpoint.Checkpoints(folder, keep) as checkpoints:
    for step in steps:
      checkpoints.save(step, make_state(step), {'stage': 'stage1', 'at': step})


def restore(folder, state=None):
  """(state, meta) or None, and what was said on the way."""
  said = []
  wanted = abstract(state or make_state(0))
  with checkpoint.Checkpoints(folder, keep=9) as checkpoints:
    return checkpoints.restore(wanted, said.append), said


@pytest.fixture(name='two', scope='module')
def two_checkpoints(tmp_path_factory):
  """A folder with whole checkpoints of steps 1 and 2; to be copied."""
  folder = tmp_path_factory.mktemp('two')
  save_steps(folder, [1, 2])
  return folder


def files_of(folder):
  return sorted(p for p in folder.rglob('*') if p.is_file())


def test_restores_every_bit_and_the_meta(two):
  (state, meta), said = restore(two)
  assert_same_bits(state, make_state(2))
  assert meta == {'stage': 'stage1', 'at': 2}
  assert not said


def test_special_floats_come_back_bit_for_bit(tmp_path):
  bits = jnp.array([0x80000000, 0x7FC00001, 0xFF800000, 1], jnp.uint32)
  state = {'x': jax.lax.bitcast_convert_type(bits, jnp.float32)}
  with checkpoint.Checkpoints(tmp_path, keep=1) as checkpoints:
    checkpoints.save(1, state, {})
  (got, _), _ = restore(tmp_path, state)
  assert_same_bits(got, state)


def test_sharded_over_eight_devices_restores_onto_one_and_back(tmp_path):
  assert jax.device_count() == 8
  mesh = jax.make_mesh(
      (4, 2), ('fsdp', 'tensor'), axis_types=(jax.sharding.AxisType.Auto,) * 2)
  spread = jax.NamedSharding(mesh, P('fsdp', 'tensor'))
  everywhere = jax.NamedSharding(mesh, P())
  one = jax.sharding.SingleDeviceSharding(jax.devices()[3])
  state = make_state(1)
  shardings = jax.tree.map(
      lambda x: spread if x.ndim == 2 else everywhere, state)
  with checkpoint.Checkpoints(tmp_path, keep=2) as checkpoints:
    checkpoints.save(1, jax.device_put(state, shardings), {})
    on_one, _ = checkpoints.restore(abstract(state, one))
    checkpoints.save(2, on_one, {})
    wanted = jax.tree.map(
        lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s),
        state, shardings)
    back, _ = checkpoints.restore(wanted)
  assert_same_bits(on_one, state)
  assert {x.sharding for x in jax.tree.leaves(on_one)} == {one}
  assert_same_bits(back, state)
  assert back.params['w'].sharding == spread


def test_state_may_be_donated_once_save_returns(tmp_path):
  add = jax.jit(lambda s: jax.tree.map(lambda x: x + 1, s), donate_argnums=0)
  state = {'x': jnp.zeros((512, 512))}
  with checkpoint.Checkpoints(tmp_path, keep=1) as checkpoints:
    checkpoints.save(1, state, {})
    for _ in range(20):
      state = add(state)
    (got, _) = checkpoints.restore(abstract(state))
  np.testing.assert_array_equal(got['x'], 0.0)


def test_nothing_saved_yet(tmp_path):
  with checkpoint.Checkpoints(tmp_path / 'none', keep=1) as checkpoints:
    assert checkpoints.latest() is None
    assert checkpoints.restore(abstract(make_state(0))) is None
  assert not (tmp_path / 'none').exists()


def truncate(path):
  path.write_bytes(path.read_bytes()[:-1])


def flip(path):
  data = bytearray(path.read_bytes())
  data[len(data) // 2] ^= 0x10
  path.write_bytes(data)


@pytest.mark.parametrize('damage', [truncate, flip, lambda path: path.unlink()])
def test_any_damaged_file_sends_us_to_the_older_one(two, tmp_path, damage):
  names = [p.relative_to(two) for p in files_of(two / '2')]
  assert len(names) >= 9
  for i, name in enumerate(names):
    if damage in (truncate, flip) and not (two / name).stat().st_size:
      continue  # An empty file has nothing to lose.
    folder = shutil.copytree(two, tmp_path / str(i))
    damage(folder / name)
    (state, meta), said = restore(folder)
    assert_same_bits(state, make_state(1))
    assert meta['at'] == 1
    assert len(said) == 1
    assert str(folder / '2') in said[0]
    assert name.relative_to('2').as_posix() in said[0]


def test_arrays_that_differ_from_those_saved_are_found(two, tmp_path):
  """Damage on the way from the device to the file, which no file shows."""
  folder = shutil.copytree(two, tmp_path / 'c')
  content = seal.read(folder / '2')
  shutil.rmtree(folder / '2' / 'state')
  shutil.copytree(folder / '1' / 'state', folder / '2' / 'state')
  (folder / '2' / 'SEAL').unlink()
  seal.write(folder / '2', content)
  (state, _), said = restore(folder)
  assert_same_bits(state, make_state(1))
  assert len(said) == 1 and '.step is not what was saved' in said[0]


def test_none_whole_is_an_error_and_nothing_is_removed(two, tmp_path):
  folder = shutil.copytree(two, tmp_path / 'c')
  for step in '12':
    flip(folder / step / 'state' / '_METADATA')
  with pytest.raises(ValueError, match='no checkpoint in .* is whole') as error:
    restore(folder)
  assert str(folder) in str(error.value) and '\n' not in str(error.value)
  assert {p.name for p in folder.iterdir()} == {'1', '2'}


@pytest.mark.parametrize('step', [2, 3])
def test_the_next_save_replaces_what_was_damaged(two, tmp_path, step):
  folder = shutil.copytree(two, tmp_path / 'c')
  truncate(folder / '2' / 'SEAL')
  with checkpoint.Checkpoints(folder, keep=2) as checkpoints:
    assert checkpoints.latest() == 2
    checkpoints.restore(abstract(make_state(0)), lambda line: None)
    assert checkpoints.latest() == 1
    assert (folder / '2').exists()
    checkpoints.save(step, make_state(5), {'at': 5})
    checkpoints.wait()
    assert checkpoints.latest() == step
  (state, meta), said = restore(folder)
  assert_same_bits(state, make_state(5))
  assert meta == {'at': 5} and not said
  assert sorted(p.name for p in folder.iterdir()) == ['1', str(step)]


def test_half_written_save_is_passed_over_and_can_be_repeated(two, tmp_path):
  folder = shutil.copytree(two, tmp_path / 'c')
  for name in ('3', '3.orbax-checkpoint-tmp'):
    shutil.copytree(folder / '2' / 'state', folder / name / 'state')
  (_, meta), said = restore(folder)
  assert meta['at'] == 2
  assert len(said) == 2 and all('half-written' in line for line in said)
  save_steps(folder, [3])
  (state, _), said = restore(folder)
  assert_same_bits(state, make_state(3))
  assert not said
  assert sorted(p.name for p in folder.iterdir()) == ['1', '2', '3']


def test_a_first_save_cut_short_loses_nothing(two, tmp_path):
  shutil.copytree(two / '1', tmp_path / '1.orbax-checkpoint-tmp')
  found, said = restore(tmp_path)
  assert found is None
  assert len(said) == 1 and 'half-written' in said[0]


def test_foreign_state_is_named_leaf_by_leaf(two):
  state = make_state(0)
  params = {'w': jnp.zeros((16, 9)), 'b': state.params['b'], 'c': jnp.zeros(2)}
  other = types.TrainState(state.step, params, state.opt_state)
  with pytest.raises(ValueError) as error:
    restore(two, other)
  message = str(error.value)
  assert '\n' not in message and str(two / '2') in message
  for part in ("['w'] is float32[16, 8] there and float32[16, 9] here",
               "['c'] is absent there and float32[2] here"):
    assert part in message
  assert "['b']" not in message


def test_keeps_the_newest(tmp_path):
  save_steps(tmp_path, [1, 2, 3, 4], keep=2)
  assert sorted(p.name for p in tmp_path.iterdir()) == ['3', '4']


def test_old_ones_stay_until_the_new_one_is_whole(two, tmp_path, monkeypatch):
  folder = shutil.copytree(two, tmp_path / 'c')
  seen = []
  write = seal.write

  def watched(new, content):
    seen.append(sorted(p.name for p in folder.iterdir()))
    write(new, content)

  monkeypatch.setattr(seal, 'write', watched)
  save_steps(folder, [3], keep=1)
  assert seen == [['1', '2', '3']]
  assert [p.name for p in folder.iterdir()] == ['3']


def test_a_step_that_is_not_newer_is_refused(two, tmp_path):
  folder = shutil.copytree(two, tmp_path / 'c')
  with pytest.raises(ValueError, match='step 2 cannot be saved in .* step 2'):
    save_steps(folder, [2])


def test_bad_arguments(tmp_path):
  (tmp_path / 'file').write_text('x')
  with pytest.raises(ValueError, match='file is a file'):
    checkpoint.Checkpoints(tmp_path / 'file', keep=1)
  with pytest.raises(ValueError, match='keep is 0'):
    checkpoint.Checkpoints(tmp_path, keep=0)


class FailedSave:
  """A save that has begun to write, and fails in the background."""

  def __init__(self, path, error):
    (path / 'state').mkdir(parents=True)
    (path / 'state' / 'd').write_text('half')
    self.error = error

  def result(self):
    raise RuntimeError('save failed') from self.error


@pytest.mark.parametrize('error', NO_SPACE)
def test_full_disk_is_one_line_and_leaves_the_last_whole_one(
    two, tmp_path, monkeypatch, error):
  monkeypatch.setattr(checkpoint.time, 'sleep', lambda seconds: None)
  folder = shutil.copytree(two, tmp_path / 'c')
  flip(folder / '2' / 'SEAL')  # So that the last whole one is 1.
  checkpoints = checkpoint.Checkpoints(folder, keep=2)
  with monkeypatch.context() as patch:
    patch.setattr(
        checkpoint.v1, 'save_async', lambda path, _: FailedSave(path, error))
    checkpoints.save(3, make_state(3), {})
    with pytest.raises(ValueError) as caught:
      checkpoints.close()
  message = str(caught.value)
  assert '\n' not in message
  for part in ('step 3', 'no space is left', str(folder), 'is of step 1;'):
    assert part in message
  assert sorted(p.name for p in folder.iterdir()) == ['1', '2']
  (state, _), _ = restore(folder)
  assert_same_bits(state, make_state(1))


def test_full_disk_before_the_background_starts(tmp_path, monkeypatch):
  def fail(path, state):
    raise NO_SPACE[2]

  monkeypatch.setattr(checkpoint.time, 'sleep', lambda seconds: None)
  monkeypatch.setattr(checkpoint.v1, 'save_async', fail)
  with checkpoint.Checkpoints(tmp_path, keep=2) as checkpoints:
    with pytest.raises(ValueError, match='step 1 could not .* no whole one is'):
      checkpoints.save(1, make_state(1), {})


def test_other_errors_of_a_save_are_not_hidden(tmp_path, monkeypatch):
  monkeypatch.setattr(
      checkpoint.v1, 'save_async',
      lambda path, _: FailedSave(path, PermissionError(13, 'denied')))
  checkpoints = checkpoint.Checkpoints(tmp_path, keep=2)
  checkpoints.save(1, make_state(1), {})
  with pytest.raises(RuntimeError, match='save failed'):
    checkpoints.wait()
  checkpoints.close()


def test_meta_is_copied_when_saved(tmp_path):
  meta = {'list': [1]}
  with checkpoint.Checkpoints(tmp_path, keep=1) as checkpoints:
    checkpoints.save(1, {'x': jnp.zeros(2)}, meta)
    meta['list'].append(2)
  (_, got), _ = restore(tmp_path, {'x': jnp.zeros(2)})
  assert json.dumps(got) == '{"list": [1]}'


CONFIG = {'seed': '0', 'model.width': '16'}


def origin(*stages, **config):
  return origins.Origin(stages, CONFIG | config)


@pytest.fixture(name='of_stage1', scope='module')
def _of_stage1(tmp_path_factory):
  """Checkpoints of steps 1 and 2 of Stage I that know what they are of."""
  folder = tmp_path_factory.mktemp('of_stage1')
  with checkpoint.Checkpoints(folder, 9, origin('stage1')) as saved:
    for step in (1, 2):
      saved.save(step, make_state(step), {'at': step})
  return folder


def restored(folder, wanted):
  with checkpoint.Checkpoints(folder, 9, wanted) as saved:
    return saved.restore(abstract(make_state(0)), lambda line: None)


@pytest.mark.parametrize('wanted', [
    None, origin('stage1'), origin('stage1', 'stage1b'),
    origins.Origin(('stage1',), {}), origin('stage1', new='1')])
def test_a_checkpoint_is_restored_by_what_it_is_of(of_stage1, wanted):
  assert restored(of_stage1, wanted)[1] == {'at': 2}


@pytest.mark.parametrize('wanted, words', [
    (origin('stage2'), 'was saved by stage1, and is to be one of stage2'),
    (origin('base'), 'was saved by stage1, and is to be one of base'),
    (origin('stage1b'), 'was saved by stage1, and is to be one of stage1b'),
    (origin('stage1', seed='1'),
     'is of another run: config.seed is 0 there and 1 here'),
    (origin('stage1', **{'seed': '3', 'model.width': '8'}),
     'config.model.width is 16 there and 8 here; config.seed is 0'),
])
def test_a_checkpoint_of_another_stage_or_run_is_refused(
    of_stage1, wanted, words):
  before = files_of(of_stage1)
  with pytest.raises(ValueError) as error:
    restored(of_stage1, wanted)
  line = str(error.value)
  assert '\n' not in line and str(of_stage1 / '2') in line and words in line
  assert files_of(of_stage1) == before


@pytest.mark.parametrize('steps', [('2', '3'), ('2', '9'), ('1', '7')])
@pytest.mark.parametrize('move', [shutil.move, shutil.copytree])
def test_a_step_that_was_renamed_or_copied_is_refused(
    of_stage1, tmp_path, steps, move):
  folder = shutil.copytree(of_stage1, tmp_path / 'c')
  move(folder / steps[0], folder / steps[1])
  for wanted in (None, origin('stage1')):
    with pytest.raises(ValueError) as error:
      restored(folder, wanted)
    assert str(error.value) == (
        f'checkpoint {folder / steps[1]} was saved at step {steps[0]}, so the '
        f'folder was renamed or copied; name it {steps[0]} again, or remove it')
  assert (folder / steps[1]).exists()


@pytest.mark.parametrize('stage, words', [
    ('stage1', ''), (None, ''), ('stage2', 'was saved by stage2')])
def test_one_of_an_earlier_version_is_compared_as_far_as_it_can_be(
    tmp_path, stage, words):
  with checkpoint.Checkpoints(tmp_path, 9) as saved:
    saved.save(1, make_state(1), {'stage': stage} if stage else {})
  if words:
    with pytest.raises(ValueError, match=words):
      restored(tmp_path, origin('stage1'))
  else:
    assert restored(tmp_path, origin('stage1', seed='5')) is not None
