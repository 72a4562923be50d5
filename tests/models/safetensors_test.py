"""Safetensors folders: exact bytes, lazy reads, shards, and refusals."""

import errno
import gc
import json
import os
import pickle
import resource
import tracemalloc
import zipfile

import hypothesis
from hypothesis import strategies as st
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

from score_jax.models import safetensors
from score_jax.models import safetensors_writer

BF16 = np.dtype(ml_dtypes.bfloat16)
DTYPES = [np.dtype(np.float64), np.dtype(np.float32), np.dtype(np.float16),
          BF16]
LARGE = 10**12
POINTER = ('version https://git-lfs.github.com/spec/v1\noid sha256:0a1b\n'
           'size 134217728\n')
PLAIN = {'a': ((2,), np.float32), 'b': ((3,), np.float32)}


def draw(shape, dtype, seed=0):
  """Random bits: NaN with payloads, infinities and subnormals among them."""
  dtype = np.dtype(dtype)
  size = int(np.prod(shape, dtype=int)) * dtype.itemsize
  bits = np.random.default_rng(seed).integers(0, 256, size, np.uint8)
  return bits.view(dtype).reshape(shape)


def specs_of(tensors):
  return {name: (a.shape, a.dtype) for name, a in tensors.items()}


def save(folder, tensors, shard_bytes=LARGE, order=None, **options):
  with safetensors_writer.Writer(
      folder, specs_of(tensors), shard_bytes, **options) as writer:
    for name in order or tensors:
      writer.put(name, tensors[name])
  return folder


def assert_same(found, tensors):
  """Bit for bit."""
  assert dict(found.shapes) == {n: a.shape for n, a in tensors.items()}
  for name, array in tensors.items():
    assert found[name].dtype == array.dtype
    assert found[name].shape == array.shape
    assert found[name].tobytes() == array.tobytes()


def entry(begin, end, shape=None, dtype='U8'):
  return {'dtype': dtype, 'shape': [end - begin] if shape is None else shape,
          'data_offsets': [begin, end]}


def raw(path, header, size, length=None):
  """A file by the words of the format, with `size` bytes of data."""
  text = header if isinstance(header, bytes) else json.dumps(header).encode()
  length = len(text) if length is None else length
  path.write_bytes(
      length.to_bytes(8, 'little') + text + bytes(i % 256 for i in range(size)))
  return path


def tree(folder):
  return sorted(path.name for path in folder.iterdir())


def shapes_of(path):
  """What a file written here says of itself, read without our reader."""
  text = path.read_bytes()
  length = int.from_bytes(text[:8], 'little')
  return json.loads(text[8:8 + length]), text[8 + length:]


def refusal(call, *args, named=None):
  with pytest.raises(ValueError) as error:
    call(*args)
  text = str(error.value)
  assert '\n' not in text
  assert str(named or args[0]) in text
  return text


def opening(path, named=None):
  return refusal(safetensors.open_folder, path, named=named)


@pytest.fixture(name='file')
def _file(tmp_path):
  return tmp_path / 'a.safetensors'


# Writing, and reading back.


def test_bytes_worked_by_hand(tmp_path):
  save(tmp_path, {'w': np.array([[1.0, -2.0]], np.float32),
                  'v': np.array([1.0], BF16)}, metadata={'k': 'v'})
  header, data = shapes_of(tmp_path / 'model.safetensors')
  assert header == {
      '__metadata__': {'k': 'v'},
      'w': {'dtype': 'F32', 'shape': [1, 2], 'data_offsets': [0, 8]},
      'v': {'dtype': 'BF16', 'shape': [1], 'data_offsets': [8, 10]}}
  assert data == bytes.fromhex('0000803f 000000c0 803f')


def test_a_file_worked_by_hand_is_read(file):
  raw(file, {'w': entry(0, 8, [2, 1], 'F32'), 'v': entry(8, 10, [1], 'BF16')},
      0)
  with open(file, 'ab') as out:
    out.write(bytes.fromhex('0000803f 000000c0 803f'))
  found = safetensors.open_folder(file)
  np.testing.assert_array_equal(found['w'], [[1.0], [-2.0]])
  np.testing.assert_array_equal(found['v'].astype(np.float32), [1.0])
  assert found.dtypes == {'w': 'F32', 'v': 'BF16'}
  assert (found['w'].dtype, found['v'].dtype) == (np.float32, BF16)


@pytest.mark.parametrize('length', range(1, 10))
def test_data_start_at_a_multiple_of_8(tmp_path, length):
  save(tmp_path, {'x' * length: draw((3,), BF16)})
  text = (tmp_path / 'model.safetensors').read_bytes()
  assert int.from_bytes(text[:8], 'little') % 8 == 0
  assert len(text) % 8 == 6


def test_tensors_are_aligned_whatever_their_order(tmp_path):
  tensors = {'a': draw((3,), np.float16), 'b': draw((3,), np.float32),
             'c': draw((), BF16), 'd': draw((2,), np.float64)}
  found = safetensors.open_folder(save(tmp_path, tensors))
  assert_same(found, tensors)
  assert all(found[name].flags.aligned for name in found)


@pytest.mark.parametrize('dtype', DTYPES)
def test_every_bit_pattern_comes_back(tmp_path, dtype):
  patterns = np.arange(2**16, dtype=np.uint16)  # All of the 16-bit types.
  bits = np.repeat(patterns[:, None], dtype.itemsize // 2, axis=1)
  tensors = {'w': np.ascontiguousarray(bits).view(dtype)}
  assert_same(safetensors.open_folder(save(tmp_path, tensors)), tensors)


def test_arrays_are_read_only(tmp_path):
  found = safetensors.open_folder(save(tmp_path, {'w': draw((3,), BF16)}))
  with pytest.raises(ValueError, match='read-only'):
    found['w'][0] = 1
  with pytest.raises(ValueError):
    found['w'].flags.writeable = True


def test_names_are_those_of_a_mapping(file):
  raw(file, {'a': entry(0, 4, [1], 'F32'), 'i': entry(4, 8, [1], 'I32')}, 8)
  found = safetensors.open_folder(file)
  assert (sorted(found), len(found)) == (['a', 'i'], 2)
  assert 'i' in found and 'x' not in found
  with pytest.raises(KeyError):
    found['x']


def test_data_out_of_alignment_are_read(file):
  raw(file, {'u': entry(0, 1), 'w': entry(1, 13, [3], 'F32')}, 13)
  found = safetensors.open_folder(file)['w']
  expected = np.frombuffer(bytes(range(1, 13)), np.float32)
  np.testing.assert_array_equal(found, expected)
  np.testing.assert_array_equal(np.asarray(jnp.asarray(found)), expected)


def test_views_that_are_not_contiguous_are_written(tmp_path):
  base = draw((4, 6, 5), BF16)
  tensors = {'t': base.T, 's': base[::-2, 1:5:3, ::2],
             'b': np.broadcast_to(base[0, 0], (3, 5)), 'f': np.asfortranarray(
                 draw((3, 4), np.float32))}
  assert_same(safetensors.open_folder(save(tmp_path, tensors)), tensors)


def test_arrays_of_jax_are_written(tmp_path):
  tensors = {'w': jnp.arange(6, dtype=jnp.bfloat16).reshape(2, 3)}
  with safetensors_writer.Writer(
      tmp_path, {'w': ((2, 3), jnp.bfloat16)}, 1) as writer:
    writer.put('w', tensors['w'])
  assert_same(safetensors.open_folder(tmp_path),
              {'w': np.asarray(tensors['w'])})


def test_folder_is_made_and_holds_only_the_weights(tmp_path):
  folder = save(tmp_path / 'x' / 'y', {'w': draw((3,), BF16)})
  assert tree(folder) == ['model.safetensors']


_SPECS = st.dictionaries(
    st.text(max_size=8).filter(lambda name: name != '__metadata__'),
    st.tuples(st.lists(st.integers(0, 4), max_size=4).map(tuple),
              st.sampled_from(DTYPES)),
    max_size=6)


@hypothesis.settings(max_examples=100, deadline=None)
@hypothesis.given(_SPECS, st.integers(1, 300), st.randoms())
def test_any_tensors_in_any_order(tmp_path_factory, specs, most, random):
  try:
    ''.join(specs).encode()
  except UnicodeEncodeError:
    hypothesis.reject()
  tensors = {name: draw(*spec, seed=i)
             for i, (name, spec) in enumerate(specs.items())}
  order = list(tensors)
  random.shuffle(order)
  folder = tmp_path_factory.mktemp('any')
  save(folder, tensors, most, order)
  assert_same(safetensors.open_folder(folder), tensors)
  for path in folder.glob('*.safetensors'):
    header, _ = shapes_of(path)
    held = [tensors[name].nbytes for name in header if name != '__metadata__']
    assert sum(held) <= most or len(held) == 1


# Shards.


def shards(folder):
  """Names of the tensors in each file, in the order of the files."""
  return [set(shapes_of(path)[0]) - {'__metadata__'}
          for path in sorted(folder.glob('*.safetensors'))]


@pytest.mark.parametrize('most, expected', [
    (1, [{'a'}, {'b'}, {'c'}, {'d'}]),
    (19, [{'a'}, {'b'}, {'c', 'd'}]),
    (20, [{'a', 'b'}, {'c', 'd'}]),  # Exactly full.
    (31, [{'a', 'b'}, {'c', 'd'}]),
    (32, [{'a', 'b', 'c'}, {'d'}]),
    (36, [{'a', 'b', 'c', 'd'}]),
])
def test_shards_are_filled_in_order(tmp_path, most, expected):
  sizes = dict(a=2, b=3, c=3, d=1)  # 8, 12, 12 and 4 bytes.
  tensors = {name: draw((n,), np.float32) for name, n in sizes.items()}
  save(tmp_path, tensors, most)
  assert shards(tmp_path) == expected
  assert_same(safetensors.open_folder(tmp_path), tensors)


def test_a_large_tensor_has_a_shard_to_itself(tmp_path):
  tensors = {'a': draw((1,), np.float32), 'large': draw((9,), np.float32),
             'b': draw((1,), np.float32), 'none': draw((0,), np.float32)}
  save(tmp_path, tensors, 8)
  assert shards(tmp_path) == [{'a'}, {'large'}, {'b', 'none'}]


def test_names_and_index_of_shards(tmp_path):
  save(tmp_path, {name: draw((2,), BF16) for name in 'ba'}, 4)
  names = [f'model-0000{i}-of-00002.safetensors' for i in (1, 2)]
  assert tree(tmp_path) == [*names, 'model.safetensors.index.json']
  index = json.loads((tmp_path / 'model.safetensors.index.json').read_text())
  assert index == {'metadata': {'total_size': 8},
                   'weight_map': {'b': names[0], 'a': names[1]}}
  assert all(shapes_of(tmp_path / name)[0]['__metadata__'] == {'format': 'pt'}
             for name in names)


# What it costs.


def resident():
  """Bytes of memory that this process has now."""
  with open('/proc/self/statm', encoding='utf-8') as file:
    return int(file.read().split()[1]) * resource.getpagesize()


def test_a_slice_reads_only_its_pages(file):
  rows, columns = 1_000_000, 10_000  # 20 GB.
  raw(file, {'w': entry(0, rows * columns * 2, [rows, columns], 'BF16')}, 0)
  os.truncate(file, file.stat().st_size + rows * columns * 2)
  safetensors.open_folder(file)['w'][:1].copy()  # Warm.
  gc.collect()
  before = resident()
  found = safetensors.open_folder(file)
  part = found['w'].T[5:9, ::rows // 20]
  assert part.shape == (4, 20) and not part.any()
  assert resident() - before < 16 * 2**20
  assert not part.flags.owndata


def test_one_file_handle_a_shard(tmp_path):
  count = lambda: len(os.listdir('/proc/self/fd'))
  tensors = {f'w{i}': draw((2,), np.float32, i) for i in range(60)}
  save(tmp_path, tensors, 8 * 20)
  gc.collect()
  before = count()
  found = safetensors.open_folder(tmp_path)
  arrays = [found[name] for name in found]
  assert count() - before == 3
  del found, arrays
  gc.collect()
  assert count() == before


def test_writing_many_shards_needs_few_file_handles(tmp_path):
  tensors = {f'w{i}': draw((2,), np.float32, i) for i in range(300)}
  limits = resource.getrlimit(resource.RLIMIT_NOFILE)
  here = max(map(int, os.listdir('/proc/self/fd')))
  resource.setrlimit(resource.RLIMIT_NOFILE, (here + 10, limits[1]))
  try:
    save(tmp_path, tensors, 1)
  finally:
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)
  assert len(tree(tmp_path)) == 301


@pytest.mark.parametrize('turn, most', [(np.asarray, 0.1), (np.transpose, 1.1)])
def test_writing_takes_the_memory_of_one_tensor(tmp_path, turn, most):
  specs = {f'w{i}': ((1024, 1024), np.float32) for i in range(12)}
  array = turn(np.zeros((1024, 1024), np.float32))
  tracemalloc.start()
  try:
    with safetensors_writer.Writer(tmp_path, specs, 16 * 2**20) as writer:
      for name in specs:
        writer.put(name, array)
    peak = tracemalloc.get_traced_memory()[1]
  finally:
    tracemalloc.stop()
  assert peak < most * array.nbytes


# Files that are refused.


@pytest.mark.parametrize('header, size, words', [
    (b'[]', 0, 'does not begin with {'),
    (b' {}', 0, 'does not begin with {'),
    (b'', 0, 'does not begin with {'),
    (b'{"a": 1', 0, 'Expecting'),
    (b'{"\xff": 1}', 0, 'utf-8'),
    ('{}'.encode('utf-16-le'), 0, 'Expecting'),
    (b'{"a":' * 100_000, 0, 'recursion'),
    (b'{"a": ' + b'1' * 5000 + b'}', 0, 'digits'),
    (b'{"a": 1, "a": 1}', 0, "twice: 'a'"),
    (b'{"a": {"dtype": "U8", "dtype": "U8"}}', 0, "twice: 'dtype'"),
    ({'__metadata__': {'a': 1}}, 0, 'metadata'),
    ({'__metadata__': []}, 0, 'metadata'),
    ({'a': 1}, 0, "'a' is no JSON object"),
    ({'a': {}}, 0, "'a' has no dtype"),
    ({'a\nb': {}}, 0, r"'a\nb' has no dtype"),
    ({'a': entry(0, 1, dtype='F12')}, 1, "'F12'"),
    ({'a': entry(0, 1, dtype=['U8'])}, 1, "['U8']"),
    ({'a': entry(0, 1, 1)}, 1, 'shape'),
    ({'a': entry(0, 1, [-1, -1])}, 1, 'shape'),
    ({'a': entry(0, 1, [1.0])}, 1, 'shape'),
    ({'a': entry(0, 1, [True])}, 1, 'shape'),
    ({'a': entry(0, 1, ['1'])}, 1, 'shape'),
    ({'a': entry(0, 1, [1] * 65)}, 1, 'shape'),
    ({'a': entry(0, 0, [0, 2**40, 2**40])}, 0, 'shape'),
    ({'a': entry(0, 1) | {'data_offsets': None}}, 1, 'data_offsets'),
    ({'a': entry(0, 1) | {'data_offsets': [0]}}, 1, 'data_offsets'),
    ({'a': entry(0, 1) | {'data_offsets': [0, 1, 1]}}, 1, 'data_offsets'),
    ({'a': entry(0, 1) | {'data_offsets': [-1, 0]}}, 1, 'data_offsets'),
    ({'a': entry(0, 1) | {'data_offsets': [0.0, 1.0]}}, 1, 'data_offsets'),
    ({'a': entry(0, 1) | {'data_offsets': [1, 0]}}, 1, '-1 bytes'),
    ({'a': entry(0, 7, [2], 'F32')}, 7, 'has 7 bytes'),
    ({'a': entry(0, 9, [2], 'F32')}, 9, 'has 9 bytes'),
    ({'a': entry(0, 1, [1], 'F4')}, 1, 'has 1 bytes'),
    ({'a': entry(0, 1, [3], 'F4')}, 1, 'has 1 bytes'),
    ({'a': entry(0, 4), 'b': entry(3, 7)}, 7, "'b', at byte 3, overlaps"),
    ({'a': entry(0, 4), 'b': entry(0, 4)}, 8, 'overlaps'),
    ({'a': entry(0, 4), 'b': entry(2, 2)}, 4, 'overlaps'),
    ({'a': entry(0, 4), 'b': entry(5, 7)}, 7, "'b', at byte 5, leaves a hole"),
    ({'a': entry(1, 4)}, 4, 'leaves a hole'),
    ({'a': entry(0, 4)}, 3, 'has 3 bytes of data and its header tells of 4'),
    ({'a': entry(0, 4)}, 5, 'has 5 bytes of data and its header tells of 4'),
    ({}, 1, 'has 1 bytes of data and its header tells of 0'),
])
def test_a_damaged_file_is_refused(file, header, size, words):
  text = opening(raw(file, header, size))
  assert words in text and 'download it again' in text


@pytest.mark.parametrize('header, size', [
    ({}, 0),
    (b'{}    ', 0),
    ({'__metadata__': {'a': 'b'}}, 0),
    ({'a': entry(4, 5), 'b': entry(0, 4), 'c': entry(4, 4)}, 5),
    ({'a': entry(0, 0, [2**50, 0], 'F32')}, 0),
    ({'a': entry(0, 1, [1] * 64)}, 1),
    ({'a': entry(0, 1, [2], 'F4'), 'b': entry(1, 4, [4], 'F6_E2M3')}, 4),
])
def test_what_the_format_allows_is_opened(file, header, size):
  assert len(safetensors.open_folder(raw(file, header, size))) == len(
      set(shapes_of(file)[0]) - {'__metadata__'})


@pytest.mark.parametrize('length, size, words', [
    (3, 0, 'header of 3 bytes'), (2**63, 0, str(2**63)),
    (100_000_001, 200_000_000, '100000001')])
def test_a_length_of_header_that_cannot_be(file, length, size, words):
  raw(file, b'{}', 0, length)
  os.truncate(file, max(size, 10))
  tracemalloc.start()
  try:
    assert words in opening(file)
    assert tracemalloc.get_traced_memory()[1] < 10**6
  finally:
    tracemalloc.stop()


def small(path):
  """A small file with all that a header can hold."""
  header = {'__metadata__': {'format': 'pt'}, 'a': entry(0, 8, [2, 1], 'F32'),
            'b.é': entry(8, 12, [2], 'BF16'), 'z': entry(12, 12, [0], 'F64'),
            's': entry(12, 20, [], 'F64')}
  raw(path, json.dumps(header, ensure_ascii=False).encode(), 20)
  return path.read_bytes()


def test_a_file_cut_anywhere_is_refused(file):
  whole = small(file)
  for length in range(len(whole)):
    file.write_bytes(whole[:length])
    text = opening(file)
    assert 'damaged or cut short' in text
    assert length >= 8 or text.endswith(f': it has {length} bytes')


def test_one_wrong_bit_in_the_header_never_crashes(file):
  whole = small(file)
  opened = 0
  for place in range(len(whole) - 20):
    for bit in range(8):
      damaged = bytearray(whole)
      damaged[place] ^= 1 << bit
      file.write_bytes(damaged)
      try:
        found = safetensors.open_folder(file)
      except ValueError as error:
        assert str(file) in str(error) and '\n' not in str(error)
        continue
      opened += 1  # Another name, type or shape, but one that fits.
      for name in found:
        if found.dtypes[name] in ('F64', 'F32', 'F16', 'BF16'):
          assert found[name].shape == found.shapes[name]
        else:
          assert found.dtypes[name] in refusal(found.get, name, named=file)
  assert 0 < opened < 8 * (len(whole) - 20) / 2


@pytest.mark.parametrize('dtype, bits', [
    ('F8_E4M3', 8), ('F8_E5M2', 8), ('I8', 8), ('U8', 8), ('BOOL', 8),
    ('I32', 32), ('I64', 64), ('C64', 64), ('F4', 4)])
def test_other_dtypes_are_refused_when_asked_for(file, dtype, bits):
  raw(file, {'q': entry(0, bits, [8], dtype), 'w': entry(bits, bits + 4, [1],
                                                         'F32')}, bits + 4)
  found = safetensors.open_folder(file)
  assert found['w'].shape == (1,)
  assert found.dtypes['q'] == dtype
  text = refusal(found.get, 'q', named=file)
  assert f"'q' is of dtype {dtype}" in text and 'BF16' in text


# Folders that are refused.


def test_no_such_folder_says_what_was_looked_for(tmp_path):
  text = opening(tmp_path / 'x')
  assert 'model.safetensors or model.safetensors.index.json' in text


def test_what_is_no_plain_file_is_not_waited_for(tmp_path):
  os.mkfifo(tmp_path / 'pipe')
  assert 'no such file' in opening(tmp_path / 'pipe')


def test_an_empty_folder_says_what_was_looked_for(tmp_path):
  text = opening(tmp_path)
  assert 'no model.safetensors and no model.safetensors.index.json' in text


@pytest.mark.parametrize('name', [
    'pytorch_model.bin', 'model.pt', 'a.pth', 'b.ckpt', 'consolidated.00.pth'])
def test_a_folder_of_pickled_weights_is_refused(tmp_path, name):
  (tmp_path / name).write_bytes(b'x')
  (tmp_path / 'config.json').write_text('{}')
  text = opening(tmp_path)
  assert f"it has '{name}': pickled weights are not read" in text
  assert 'convert them to safetensors' in text


def test_another_safetensors_file_in_the_folder_is_pointed_at(tmp_path):
  raw(tmp_path / 'weights.safetensors', {}, 0)
  assert ("it has 'weights.safetensors': rename the file with all weights of "
          'the model to model.safetensors') in opening(tmp_path)


@pytest.mark.parametrize('names', [
    ('model-00001-of-00002.safetensors',),
    ('model-00002-of-00002.safetensors',),
    ('model-00001-of-00003.safetensors', 'model-00003-of-00003.safetensors'),
    ('pytorch_model-00001-of-00001.safetensors',),
    ('model-00001-of-00002.safetensors', 'other.safetensors')])
def test_shards_without_an_index_ask_for_it(tmp_path, names):
  for name in names:
    raw(tmp_path / name, {}, 0)
  message = opening(tmp_path)
  assert f"it has shards: {names[0]!r}" in message
  assert 'download model.safetensors.index.json' in message


def test_a_lone_shard_that_is_all_of_the_model_is_read(tmp_path):
  raw(tmp_path / 'model-00001-of-00001.safetensors',
      {'a': entry(0, 4, [1], 'F32')}, 4)
  assert list(safetensors.open_folder(tmp_path)) == ['a']


@pytest.mark.parametrize('name', [
    'model.safetensors', 'model.safetensors.index.json',
    'model-00001-of-00001.safetensors'])
@pytest.mark.parametrize('make, words', [
    (lambda path: path.symlink_to('../../blobs/0a1b'),
     'is a link to ../../blobs/0a1b, which is not there'),
    (lambda path: path.write_text(POINTER), 'run `git lfs pull`'),
    (os.mkfifo, 'is not a regular file'),
    (lambda path: path.symlink_to('/dev/zero'), 'is not a regular file'),
    (os.mkdir, 'Is a directory')])
def test_what_is_no_file_is_named(tmp_path, name, make, words):
  make(tmp_path / name)
  message = opening(tmp_path)
  assert words in message and name in message


def test_shards_that_are_links_to_nothing_are_named(tmp_path):
  names = [f'model-0000{i}-of-00002.safetensors' for i in (1, 2)]
  (tmp_path / 'model.safetensors.index.json').write_text(
      json.dumps({'weight_map': dict(zip('ab', names))}))
  for name in names:
    (tmp_path / name).symlink_to('../../blobs/' + name)
  message = opening(tmp_path)
  assert f"are links to nothing, download them: {names[0]!r}" in message


def test_pickled_weights_beside_safetensors_do_not_matter(tmp_path):
  (tmp_path / 'pytorch_model.bin').write_bytes(b'x')
  raw(tmp_path / 'model.safetensors', {'a': entry(0, 4, [1], 'F32')}, 4)
  assert list(safetensors.open_folder(tmp_path)) == ['a']


class _Trap:
  """Opens a file that shows that it was unpickled."""

  def __init__(self, path):
    self.path = path

  def __reduce__(self):
    return open, (self.path, 'w')


@pytest.mark.parametrize('protocol', range(2, 6))
@pytest.mark.parametrize('name', ['pytorch_model.bin', 'm.safetensors'])
def test_a_pickle_is_refused_and_never_unpickled(tmp_path, name, protocol):
  (tmp_path / name).write_bytes(
      pickle.dumps(_Trap(str(tmp_path / 'sprung')), protocol))
  assert 'pickled weights are not read' in opening(tmp_path / name)
  assert not (tmp_path / 'sprung').exists()


@pytest.mark.parametrize('name', ['a.bin', 'a.PT', 'a.pth', 'a.ckpt', 'a.pkl'])
def test_a_name_of_pickled_weights_is_enough(tmp_path, name):
  (tmp_path / name).write_bytes(pickle.dumps([1, 'a', 2], 0))  # No magic.
  assert 'pickled weights are not read' in opening(tmp_path / name)


@pytest.mark.parametrize('name', ['model.pt', 'm.safetensors'])
def test_a_zip_is_refused(tmp_path, name):
  with zipfile.ZipFile(tmp_path / name, 'w') as file:
    file.writestr('archive/data.pkl', 'x')
  assert 'pickled weights are not read' in opening(tmp_path / name)


@pytest.mark.parametrize('length', [0x0280, 0x0580])
def test_a_length_that_looks_like_a_pickle_is_read(file, length):
  raw(file, b'{}' + b' ' * (length - 2), 0)
  assert len(safetensors.open_folder(file)) == 0


def test_a_file_and_an_index_are_too_much(tmp_path):
  save(tmp_path, {name: draw((2,), BF16) for name in 'ba'}, 4)
  raw(tmp_path / 'model.safetensors', {}, 0)
  assert 'has both' in opening(tmp_path)


def indexed(folder, weight_map, **files):
  """A folder whose file NAME.safetensors has the tensors files[NAME]."""
  for name, tensors in files.items():
    raw(folder / f'{name}.safetensors',
        {t: entry(i, i + 1) for i, t in enumerate(tensors)}, len(tensors))
  index = folder / 'model.safetensors.index.json'
  index.write_text(weight_map if isinstance(weight_map, str) else json.dumps(
      {'weight_map': {t: f'{f}.safetensors' for t, f in weight_map.items()}}))
  return index


@pytest.mark.parametrize('text, words', [
    ('', 'Expecting'), ('[]', 'no object'), ('{}', 'no weight_map'),
    ('{"weight_map": ["a"]}', 'no weight_map'),
    ('{"weight_map": {"a": 1}}', 'no weight_map'),
    ('{"weight_map": {"a": "x", "a": "x"}}', "twice: 'a'")])
def test_an_index_that_is_none(tmp_path, text, words):
  index = indexed(tmp_path, text)
  assert words in opening(tmp_path, named=index)


def test_all_missing_shards_are_listed(tmp_path):
  index = indexed(tmp_path, {'a': 'one', 'b': 'two', 'c': 'three'}, two='b')
  text = opening(tmp_path, named=index)
  assert "not there, download them: 'one.safetensors', 'three.saf" in text
  assert 'two' not in text


@pytest.mark.parametrize('weight_map, words', [
    ({'a': 'one', 'b': 'two', 'x': 'two'},
     "tensors not in the shards named for them: 'x'"),
    ({'a': 'one'}, None),
    ({'a': 'two', 'b': 'two'}, "not in the shards named for them: 'a'"),
    ({'b': 'two', 'c': 'one', 'a': 'one'},
     "not in the shards named for them: 'c'"),
])
def test_an_index_that_its_shards_do_not_fit(tmp_path, weight_map, words):
  index = indexed(tmp_path, weight_map, one='a', two='b')
  if words is None:
    assert list(safetensors.open_folder(tmp_path)) == ['a']
  else:
    assert words in opening(tmp_path, named=index)


def test_tensors_that_the_index_lacks(tmp_path):
  index = indexed(tmp_path, {'a': 'one'}, one='abc')
  assert "in a shard and not in the index: 'b', 'c'" in opening(
      tmp_path, named=index)


def test_tensors_in_two_shards(tmp_path):
  index = indexed(tmp_path, {'a': 'one', 'b': 'two'}, one='a', two='ba')
  text = opening(tmp_path, named=index)
  assert "in more than one shard: 'a'" in text


@pytest.mark.parametrize('name', [
    '../x', '/tmp/x', 'sub/x', './x', '..', '.', ''])
def test_a_shard_outside_the_folder_is_refused(tmp_path, name):
  folder = tmp_path / 'model'
  (folder / 'sub').mkdir(parents=True)
  for path in (tmp_path / 'x', folder / 'x', folder / 'sub' / 'x'):
    raw(path, {'a': entry(0, 1)}, 1)
  index = indexed(folder, json.dumps({'weight_map': {'a': name}}))
  assert f'the shard {name!r}' in opening(folder, named=index)


def test_a_damaged_shard_is_named(tmp_path):
  indexed(tmp_path, {'a': 'one', 'b': 'two'}, one='a', two='b')
  os.truncate(tmp_path / 'two.safetensors', 20)
  opening(tmp_path, named=tmp_path / 'two.safetensors')


def test_links_to_files_are_followed(tmp_path):
  """As in the cache of the Hugging Face hub."""
  raw(tmp_path / 'blob', {'a': entry(0, 4, [1], 'F32')}, 4)
  (tmp_path / 'm').mkdir()
  (tmp_path / 'm' / 'model.safetensors').symlink_to('../blob')
  assert list(safetensors.open_folder(tmp_path / 'm')) == ['a']


def test_a_file_that_may_not_be_read(file, monkeypatch):
  raw(file, {}, 0)
  monkeypatch.setattr('builtins.open', _failing(errno.EACCES))
  assert 'cannot read' in opening(file)


def _failing(code):
  def fails(*args, **options):
    raise OSError(code, os.strerror(code))
  return fails


# Writing that is refused.


@pytest.mark.parametrize('shard_bytes', [0, -1])
def test_no_room_in_a_shard(tmp_path, shard_bytes):
  refusal(safetensors_writer.Writer, tmp_path, PLAIN, shard_bytes,
          named=f'shard_bytes must be at least 1, got {shard_bytes}')
  assert not tree(tmp_path)


@pytest.mark.parametrize('specs, words', [
    ({'w': ((-1,), np.float32)}, '(-1,)'),
    ({'w': ((1.5,), np.float32)}, 'float'),
    ({'w': (3, np.float32)}, 'int'),
    ({'w': ((1,), 'float33')}, 'float33'),
    ({'w': ((1,), np.int8)}, 'int8'),
    ({'w': ((1,), '>f4')}, '>f4'),
    ({'__metadata__': ((1,), np.float32)}, '__metadata__'),
    ({3: ((1,), np.float32)}, '3'),
    ({'\ud800': ((1,), np.float32)}, 'UTF-8'),
])
def test_tensors_that_cannot_be_planned(tmp_path, specs, words):
  refusal(safetensors_writer.Writer, tmp_path, specs, 10, named=words)
  assert not tree(tmp_path)


def test_a_header_that_no_reader_takes(tmp_path, monkeypatch):
  monkeypatch.setattr(safetensors, 'MOST_HEADER', 100)
  refusal(safetensors_writer.Writer, tmp_path, PLAIN, LARGE,
          named='make shard_bytes smaller')
  assert not tree(tmp_path)


def test_metadata_are_strings(tmp_path):
  with pytest.raises(ValueError, match='metadata must be strings'):
    safetensors_writer.Writer(tmp_path, PLAIN, 10, {'step': 1})
  assert not tree(tmp_path)


@pytest.mark.parametrize('name', [
    'model.safetensors', 'model-00001-of-00002.safetensors',
    'model.safetensors.index.json'])
def test_weights_are_not_written_over(tmp_path, name):
  (tmp_path / name).write_text('kept')
  text = refusal(safetensors_writer.Writer, tmp_path, PLAIN, 1)
  assert repr(name) in text
  assert tree(tmp_path) == [name]
  assert (tmp_path / name).read_text() == 'kept'


def test_what_a_kill_left_is_written_over(tmp_path):
  (tmp_path / 'model.safetensors.partial').write_bytes(b'x' * 999)
  tensors = {'w': draw((3,), BF16)}
  save(tmp_path, tensors)
  assert tree(tmp_path) == ['model.safetensors']
  assert_same(safetensors.open_folder(tmp_path), tensors)


@pytest.mark.parametrize('name, array, words', [
    ('x', np.zeros(2, np.float32), "no tensor 'x'"),
    ('a', np.zeros(3, np.float32), '(3,)'),
    ('a', np.zeros((2, 1), np.float32), '(2, 1)'),
    ('a', np.zeros(2, np.float16), 'float16'),
    ('a', np.zeros(2, '>f4'), '>f4'),
    ('a', [0.0, 0.0], 'float64'),
    ('b', np.zeros(3, np.float32), 'put before'),
])
def test_a_tensor_that_was_not_planned(tmp_path, name, array, words):
  writer = safetensors_writer.Writer(tmp_path, PLAIN, 1)
  writer.put('b', np.ones(3, np.float32))
  assert words in refusal(writer.put, name, array, named=tmp_path)
  writer.put('a', np.ones(2, np.float32))
  writer.close()
  assert_same(safetensors.open_folder(tmp_path), {
      'a': np.ones(2, np.float32), 'b': np.ones(3, np.float32)})


@pytest.mark.parametrize('most', [1, LARGE])
def test_nothing_is_final_before_all_is_put(tmp_path, most):
  writer = safetensors_writer.Writer(tmp_path, PLAIN, most)
  writer.put('a', np.ones(2, np.float32))
  assert "were not put: 'b'" in refusal(writer.close, named=tmp_path)
  assert all(name.endswith('.partial') for name in tree(tmp_path))
  opening(tmp_path)
  writer.put('b', np.ones(3, np.float32))
  writer.close()
  writer.close()
  assert len(safetensors.open_folder(tmp_path)) == 2
  assert 'put before' in refusal(
      writer.put, 'b', np.ones(3, np.float32), named=tmp_path)


@pytest.mark.parametrize('most', [1, LARGE])
def test_an_exception_leaves_nothing(tmp_path, most):
  with pytest.raises(KeyboardInterrupt):
    with safetensors_writer.Writer(tmp_path, PLAIN, most) as writer:
      for name, (shape, dtype) in PLAIN.items():
        writer.put(name, np.zeros(shape, dtype))
      raise KeyboardInterrupt
  assert not tree(tmp_path)


def test_a_context_that_lacks_a_tensor_leaves_nothing(tmp_path):
  with pytest.raises(ValueError, match="were not put: 'a', 'b'"):
    with safetensors_writer.Writer(tmp_path, PLAIN, 1):
      pass
  assert not tree(tmp_path)


def test_a_disk_without_room_shows_itself_at_once(tmp_path):
  """By the limit on the size of a file, which the second shard passes."""
  specs = {'a': ((10,), np.float32), 'b': ((50_000,), np.float32)}
  limits = resource.getrlimit(resource.RLIMIT_FSIZE)
  resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
  try:
    text = refusal(safetensors_writer.Writer, tmp_path, specs, 1, named=(
        tmp_path / 'model-00002-of-00002.safetensors'))
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
  assert os.strerror(errno.EFBIG) in text and 'see to the disk' in text
  assert not tree(tmp_path)


@pytest.mark.parametrize('step', ['posix_fallocate', 'fsync', 'replace'])
def test_a_full_disk_is_one_line(tmp_path, monkeypatch, step):
  monkeypatch.setattr(os, step, _failing(errno.ENOSPC))
  tensors = {'a': draw((3,), BF16), 'b': draw((3,), BF16)}
  text = refusal(save, tmp_path, tensors, 1)
  assert os.strerror(errno.ENOSPC) in text and 'see to the disk' in text
  assert not tree(tmp_path)


def test_a_put_that_failed_can_be_made_again(tmp_path, monkeypatch):
  with safetensors_writer.Writer(tmp_path, {'a': ((3,), BF16)}, 1) as writer:
    with monkeypatch.context() as patch:
      patch.setattr('builtins.open', _failing(errno.EIO))
      refusal(writer.put, 'a', draw((3,), BF16), named=tmp_path)
    writer.put('a', draw((3,), BF16, 1))
  assert_same(safetensors.open_folder(tmp_path), {'a': draw((3,), BF16, 1)})


def test_all_bytes_are_with_the_disk_before_the_names(tmp_path, monkeypatch):
  calls = []
  synced, renamed = os.fsync, os.replace
  monkeypatch.setattr(os, 'fsync', lambda number: (
      calls.append(os.readlink(f'/proc/self/fd/{number}')), synced(number)))
  monkeypatch.setattr(os, 'replace', lambda old, new: (
      calls.append(new), renamed(old, new)))
  save(tmp_path, {'a': draw((3,), BF16), 'b': draw((3,), BF16)}, 1)
  files = [str(tmp_path / name) for name in tree(tmp_path)]
  assert calls == [*(name + '.partial' for name in files), *files]
  assert files[-1].endswith('index.json')


# Against the package.


@pytest.mark.parity
@pytest.mark.parametrize('most', [1, LARGE])
def test_the_package_reads_what_is_written_here(tmp_path, most):
  import safetensors as package
  import safetensors.numpy as package_numpy
  import torch
  tensors = {f'{dtype}é{shape}': draw(shape, dtype, len(shape))
             for dtype in DTYPES for shape in [(), (0, 3), (3, 1, 2), (5,)]}
  save(tmp_path, tensors, most)
  seen = set()
  for path in tmp_path.glob('*.safetensors'):
    with package.safe_open(path, 'pt') as file:
      assert file.metadata() == {'format': 'pt'}
      for name in file.keys():  # noqa: SIM118
        found, expected = file.get_tensor(name), tensors[name]
        assert tuple(found.shape) == expected.shape
        assert str(found.dtype) == f'torch.{expected.dtype}'
        bits = found.reshape(-1).view(torch.uint8).numpy()
        assert bits.tobytes() == expected.tobytes()
        seen.add(name)
    if most == 1 and 'bfloat16' not in name:  # Which numpy has not.
      loaded = package_numpy.load_file(path)
      assert loaded[name].tobytes() == tensors[name].tobytes()
  assert seen == set(tensors)


@pytest.mark.parity
def test_what_the_package_writes_is_read_here(tmp_path):
  import safetensors.torch as package
  import torch
  tensors = {f'{dtype}é{shape}': draw(shape, dtype, len(shape))
             for dtype in DTYPES for shape in [(), (0, 3), (3, 1, 2), (5,)]}
  written = {name: torch.empty(a.shape, dtype=getattr(torch, str(a.dtype)))
             for name, a in tensors.items()}
  for name, tensor in written.items():
    if tensor.numel():
      tensor.reshape(-1).view(torch.uint8).numpy()[:] = (
          tensors[name].reshape(-1).view(np.uint8))
  package.save_file(written, tmp_path / 'model.safetensors')
  assert_same(safetensors.open_folder(tmp_path), tensors)
