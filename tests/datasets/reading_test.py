"""Files of rows: every bad one is named, by file and line."""

import gzip
import pathlib

import pytest

from score_jax.datasets import reading


def _read(name, content):
  return reading.read_rows(
      pathlib.Path(name), content,
      lambda raw, number: (number, reading.text(raw, 'a')))


def test_lines_are_counted_with_blank_ones():
  rows, bad = _read('x.jsonl', b'{"a": "b"}\n\n  \n{"a": "\xc3\xa9"}')
  assert rows == {'x.jsonl, line 1': (1, 'b'), 'x.jsonl, line 4': (4, 'é')}
  assert not bad


def test_items_of_a_list_are_named_by_the_line_they_begin_on():
  content = b'\n [ {"a":\n "b,]"},\n\n {"a": "c"}, 7\n , {"a": 1}]\n'
  rows, bad = _read('x.json', content)
  assert rows == {'x.json, line 2 (item 1)': (1, 'b,]'),
                  'x.json, line 5 (item 2)': (2, 'c')}
  assert bad == ['x.json, line 5 (item 3): not a JSON object',
                 "x.json, line 6 (item 4): the field 'a' is not a text"]


def test_packed_lines_are_read_likewise():
  assert _read('x.jsonl.gz', gzip.compress(b'{"a": "b"}')) == (
      {'x.jsonl.gz, line 1': (1, 'b')}, [])


@pytest.mark.parametrize('name, content, message', [
    ('x.jsonl', b'', 'x.jsonl is empty'),
    ('x.jsonl', b' \n\n', 'x.jsonl is empty'),
    ('x.json', b'[]', 'x.json is empty'),
    ('x.json', b'{"a": "b"}', 'x.json: cannot be read (not a JSON list)'),
    ('x.json', b'[{"a": 1}', 'x.json: cannot be read (Expecting'),
    ('x.json', b'\xff', "x.json: cannot be read ('utf-8' codec"),
    ('x.json', b'[' * 100_000, 'x.json: cannot be read ('),
    ('x.jsonl.gz', b'{"a": "b"}', 'x.jsonl.gz: cannot be read (Not a gzipped'),
    ('x.jsonl.gz', gzip.compress(b'{}' * 99, mtime=0)[:20],
     'x.jsonl.gz: cannot be read (Compressed file ended'),
])
def test_a_file_that_holds_no_rows_is_named(name, content, message):
  rows, [line] = _read(name, content)
  assert not rows and line.startswith(message) and '\n' not in line


@pytest.mark.parametrize('line, message', [
    (b'{"a": "b"', 'not JSON ('), (b'\xff\xfe', 'not JSON ('),
    (b'[' * 100_000, ''), (b'[]', 'not a JSON object'),
    (b'{}', "the field 'a' is not a text"),
    (b'{"a": " "}', "the field 'a' is not a text"),
    (b'{"a": ["b"]}', "the field 'a' is not a text"),
    (b'{"a": "\\ud800"}', "'utf-8' codec can't encode"),
])
def test_a_bad_line_is_named_and_the_others_are_read(line, message):
  rows, [bad] = _read('x.jsonl', b'{"a": "b"}\n' + line + b'\n{"a": "c"}\n')
  assert list(rows) == ['x.jsonl, line 1', 'x.jsonl, line 3']
  assert bad.startswith('x.jsonl, line 2: ' + message) and '\n' not in bad


def test_lists_of_texts():
  assert reading.texts({'a': ['b', 'c']}, 'a') == ['b', 'c']
  assert reading.texts({'a': []}, 'a', may_be_empty=True) == []
  for value in ([], 'b', None, [1], ['b', ' '], {'b': 'c'}):
    with pytest.raises(ValueError, match="the field 'a' is not a"):
      reading.texts({'a': value}, 'a')


def test_a_message_is_bounded_and_says_how_many_more():
  error = reading.BadData([f'line {n}' for n in range(1, 8)])
  assert str(error) == 'line 1; line 2; line 3; line 4; line 5; and 2 more'
  assert len(error.lines) == 7
  assert str(reading.BadData(['line 1'])) == 'line 1'


def test_a_file_that_cannot_be_read_is_named(tmp_path):
  with pytest.raises(reading.BadData, match='nowhere: No such file'):
    reading.read_bytes(tmp_path / 'nowhere')
  with pytest.raises(reading.BadData, match='Is a directory'):
    reading.read_bytes(tmp_path)
