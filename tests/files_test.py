"""Files that are whole at all times."""

import errno
import os
import socket

import numpy as np
import pytest

from score_jax import files


def test_floats_come_back_bit_for_bit(tmp_path):
  values = [0.1, 1 / 3, 5e-324, 1.7976931348623157e308, -0.0]
  files.write_json(tmp_path / 'x.json', values)
  got = files.read_json(tmp_path / 'x.json')
  assert [v.hex() for v in got] == [v.hex() for v in values]


_POINTER = 'version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n'


def _socket(path):
  with socket.socket(socket.AF_UNIX) as server:
    server.bind(str(path))


@pytest.mark.parametrize('read', [files.read_json, files.read_lines,
                                  files.read_arrays])
@pytest.mark.parametrize('make, words', [
    (os.mkfifo, 'is not a regular file; name a file on a disk'),
    (_socket, 'is not a regular file'),
    (lambda path: path.symlink_to('/dev/zero'), 'is not a regular file'),
    (lambda path: path.symlink_to('/dev/tty'), 'is not a regular file'),
    (os.mkdir, 'Is a directory'),
    (lambda path: path.symlink_to('gone'), 'is a link to gone, which is not'),
    (lambda path: path.symlink_to(path.name), 'symbolic links'),
    (lambda path: path.write_text(_POINTER), 'is a Git LFS pointer'),
])
def test_what_is_no_file_is_neither_read_nor_waited_for(
    tmp_path, read, make, words):
  path = tmp_path / 'x.json'
  make(path)
  with pytest.raises(ValueError) as error:
    read(path)
  assert words in str(error.value) and 'x.json' in str(error.value)
  assert '\n' not in str(error.value)


def test_a_link_to_a_file_is_read(tmp_path):
  (tmp_path / 'blob').write_text('{"a": 1}')
  (tmp_path / 'x.json').symlink_to('blob')
  assert files.read_json(tmp_path / 'x.json') == {'a': 1}
  assert files.read_json(tmp_path / 'y.json') is None
  # Whatever else mentions the program is no pointer.
  (tmp_path / 'z.json').write_text('"version https://git-lfs.github.com/"')
  assert files.read_json(tmp_path / 'z.json').startswith('version')


def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
  path = tmp_path / 'x.json'
  files.write_json(path, {'a': 1})

  def full(descriptor):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

  monkeypatch.setattr(files.os, 'fsync', full)
  with pytest.raises(ValueError, match='x.json: No space left on device; see'):
    files.write_json(path, {'a': 2})
  assert files.read_json(path) == {'a': 1}


def test_no_moment_without_a_whole_file(tmp_path, monkeypatch):
  path = tmp_path / 'x.json'
  files.write_json(path, {'a': 1})
  seen = []
  replace = os.replace

  def watched(source, target):
    seen.append(files.read_json(path))
    replace(source, target)

  monkeypatch.setattr(files.os, 'replace', watched)
  files.write_json(path, {'a': 2})
  assert seen == [{'a': 1}]
  assert files.read_json(path) == {'a': 2}
  assert [p.name for p in tmp_path.iterdir()] == ['x.json']


@pytest.mark.parametrize('torn', ['{"a": 3', '{"a": 3}', ' '])
def test_a_line_without_its_end_is_left_out(tmp_path, torn):
  path = tmp_path / 'x.jsonl'
  files.Log(path).append(b'{"a": 1}\n')
  files.Log(path).append(b'{"a": 2}\n')
  with open(path, 'a', encoding='utf-8') as file:
    file.write(torn)
  assert files.read_lines(path) == [
      ('{"a": 1}', {'a': 1}), ('{"a": 2}', {'a': 2})]


@pytest.mark.parametrize('line', [b'{"a":', b'\xff\xfe', b'3', b''])
def test_a_bad_line_is_named(tmp_path, line):
  path = tmp_path / 'x.jsonl'
  path.write_bytes(b'{"a": 1}\n' + line + b'\n{"a": 2}\n')
  with pytest.raises(ValueError, match=f'^{path} line 2 is no') as error:
    files.read_lines(path)
  assert '\n' not in str(error.value)


def test_no_file_is_nothing(tmp_path):
  assert files.read_json(tmp_path / 'x') is None
  assert files.read_lines(tmp_path / 'x') == []


def test_numbers_that_are_not_finite_are_refused(tmp_path):
  with pytest.raises(ValueError, match='x.json cannot hold this.*nan'):
    files.write_json(tmp_path / 'x.json', {'a': float('nan')})
  assert not (tmp_path / 'x.json').exists()


def test_a_folder_in_the_way_is_named(tmp_path):
  with pytest.raises(ValueError, match=f'^{tmp_path}: Is a directory'):
    files.Log(tmp_path).append(b'x')


def test_json_that_nests_without_end_is_one_line(tmp_path):
  (tmp_path / 'deep.json').write_text('[' * 200_000)
  with pytest.raises(ValueError, match='deep.json is not JSON'):
    files.read_json(tmp_path / 'deep.json')


def test_arrays_come_back_or_are_refused(tmp_path):
  path = tmp_path / 'new' / 'x.npz'
  assert files.read_arrays(path) is None
  arrays = {'a': np.arange(3, dtype=np.int32), 'b': np.eye(2) > 0}
  files.write_arrays(path, arrays)
  found = files.read_arrays(path)
  assert found.keys() == arrays.keys()
  for name, array in arrays.items():
    np.testing.assert_array_equal(found[name], array)
    assert found[name].dtype == array.dtype
  for damaged in (path.read_bytes()[:100], b'', b'no arrays'):
    path.write_bytes(damaged)
    with pytest.raises(ValueError, match='x.npz holds no arrays') as error:
      files.read_arrays(path)
    assert '\n' not in str(error.value)
