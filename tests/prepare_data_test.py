"""The command: what it says and leaves, done twice, killed, or given bad files.
"""

import re
import subprocess
import sys

import pytest

from score_jax import datasets
from score_jax import prepare_data
from score_jax.datasets import base
from score_jax.datasets import reading
from tests.datasets import mini


@pytest.fixture(name='root')
def _root(tmp_path):
  return mini.write_all(tmp_path / 'root')


def _command(*args, before=''):
  """The command in a process of its own, after some lines of code."""
  code = (f'import sys, runpy; sys.argv = ["prepare_data", *{args!r}]; {before}'
          '\nrunpy.run_module("score_jax.prepare_data", run_name="__main__")')
  return subprocess.run([sys.executable, '-W', 'ignore', '-c', code],
                        capture_output=True, text=True)


def _files(folder):
  return {path.relative_to(folder): path.read_bytes()
          for path in folder.rglob('*') if path.is_file()}


def test_all_data_sets_are_prepared_and_a_line_says_each_split(
    root, tmp_path, capsys):
  prepare_data.prepare_all(root, tmp_path / 'data')
  lines = capsys.readouterr().out.splitlines()
  assert [line.split(': ')[0] for line in lines if line[0] != ' '] == [
      'math train', 'math test', 'gsm8k train', 'gsm8k test', 'svamp train',
      'svamp challenge', 'svamp test', 'mbpp prompt', 'mbpp test',
      'mbpp validation', 'mbpp train', 'mbpp_sanitized prompt',
      'mbpp_sanitized test', 'mbpp_sanitized train', 'humaneval test',
      'humanevalfix test']
  assert lines[0] == ('math train: 2 rows, checksum not known, in '
                      f'{tmp_path / "data" / "math" / "1.0.0"}')
  assert '  math: math500_dev250.jsonl: 2 of the 500 rows of the split' in lines
  assert {path.name for path in (tmp_path / 'data').iterdir()} == set(
      datasets.DATA_SETS)


def test_doing_it_again_changes_nothing(root, tmp_path, capsys):
  prepare_data.prepare_all(root, tmp_path / 'data')
  before = _files(tmp_path / 'data')
  said = capsys.readouterr().out
  prepare_data.prepare_all(root, tmp_path / 'data')
  assert _files(tmp_path / 'data') == before
  assert capsys.readouterr().out == re.sub(
      r'known, in', 'known, already in', said)


def test_the_folder_of_a_single_set_is_told_by_what_is_in_it(
    root, tmp_path, capsys):
  to = tmp_path / 'data'
  (root / 'math' / 'math500_dev250.jsonl').rename(root / 'math' / 'test.jsonl')
  for name in ('gsm8k', 'math'):  # Both are train.jsonl and test.jsonl.
    prepare_data.prepare_all(root / name, to)
    out = capsys.readouterr().out
    assert out.startswith(f'{name} train: ')
    assert f'not in {root / name}: ' in out and 'svamp (SVAMP.json)' in out
    assert f'{name} (' not in out
  assert {path.name for path in to.iterdir()} == {'gsm8k', 'math'}


def test_tasks_of_mbpp_that_humaneval_has_are_said(root, tmp_path, capsys):
  rows = mini.FILES['mbpp/mbpp.jsonl']
  mini.write(root / 'mbpp' / 'mbpp.jsonl', [
      *rows, rows[0] | {'task_id': 602, 'text': 'adds 1. '}])
  prepare_data.prepare_all(root, tmp_path / 'data')
  assert ('mbpp: 1 left out of train, held out as well: mbpp-602 = HumanEval/1'
          in capsys.readouterr().out.splitlines())


def test_other_files_do_not_replace_what_was_prepared(root, tmp_path):
  prepare_data.prepare_all(root, tmp_path / 'data')
  before = _files(tmp_path / 'data')
  mini.write(root / 'gsm8k' / 'test.jsonl',
             mini.FILES['gsm8k/test.jsonl'][:1])
  folder = tmp_path / 'data' / 'gsm8k' / '1.0.0'
  with pytest.raises(reading.BadData) as error:
    prepare_data.prepare_all(root, tmp_path / 'data')
  assert error.value.lines == [
      f'gsm8k: {folder} was made of other files; delete it, or name another '
      'folder with --to']
  assert _files(tmp_path / 'data') == before


def test_damage_is_found(root, tmp_path):
  prepare_data.prepare_all(root, tmp_path / 'data')
  [file] = (tmp_path / 'data' / 'svamp').rglob('*-test.array_record*')
  other = file.with_name(file.name.replace('-test', '-train'))
  file.write_bytes(other.read_bytes())  # A whole file, of other rows.
  with pytest.raises(reading.BadData, match='svamp: .* is damaged'):
    prepare_data.prepare_all(root, tmp_path / 'data')


def test_a_killed_preparation_leaves_nothing_that_looks_whole(root, tmp_path):
  to = tmp_path / 'data'
  killed = _command(f'--data_dir={root}', f'--to={to}', before='''
import os
from score_jax.datasets import base

def torn(self, rows):
  yield 0, rows[0]
  os.kill(os.getpid(), 9)

generate = base.DataSet._generate_examples
base.DataSet._generate_examples = lambda self, rows: (
    torn if self.name == 'gsm8k' else generate)(self, rows)
''')
  assert killed.returncode == -9, killed.stderr
  assert datasets.load('math', to) is not None
  assert datasets.load('gsm8k', to) is None
  prepare_data.prepare_all(root, to)
  assert len(datasets.load('gsm8k', to).splits['train']) == 40


def test_the_command_ends_with_0(root, tmp_path):
  done = _command(f'--data_dir={root / "svamp"}', f'--to={tmp_path / "data"}')
  assert (done.returncode, done.stderr) == (0, '')
  assert done.stdout.startswith('svamp train: 2 rows, checksum not known, in ')


def test_bad_files_end_with_2_and_a_line_for_each_problem(root, tmp_path):
  mini.write(root / 'svamp' / 'SVAMP.json', [1])
  mini.write(root / 'math' / 'train.jsonl', [b'{}'] * 200)
  done = _command(f'--data_dir={root}', f'--to={tmp_path / "data"}')
  assert done.returncode == 2
  lines = done.stderr.splitlines()
  assert len(lines) == 101  # A wrong file does not fill the screen.
  assert lines[0] == (f'score_jax: math: {root / "math" / "train.jsonl"}, line '
                      "1: the field 'unique_id' is not a text")
  assert lines[-1] == 'score_jax: and 101 more'
  there = {path.name for path in (tmp_path / 'data').iterdir()}
  assert there == set(datasets.DATA_SETS) - {'math', 'svamp'}


@pytest.mark.parametrize('args, message', [
    ([], '--data_dir=FOLDER is missing'),
    (['--data_dir=nowhere'], '--data_dir=nowhere is not a folder'),
    (['--data_dir=.', 'x'], "unexpected argument 'x'; flags begin with --"),
    (['--data_dri=.'], "Unknown command line flag 'data_dri'"),
    (['--data_dir=tests'], 'tests holds no data set; known: math (train.jsonl'),
])
def test_bad_flags_end_with_2_and_one_line(args, message):
  done = _command(*args)
  assert done.returncode == 2 and not done.stdout
  [line] = done.stderr.splitlines()
  assert line.startswith(f'score_jax: {message}')


def test_strict_refuses_an_unknown_checksum(root, tmp_path):
  done = _command(f'--data_dir={root / "svamp"}', f'--to={tmp_path / "data"}',
                  '--strict')
  assert done.returncode == 2
  assert done.stderr == (
      'score_jax: svamp: SVAMP.json: its sha256 is not a known one\n')
  assert not (tmp_path / 'data').exists()


def test_a_folder_that_cannot_be_written_is_named(root, tmp_path):
  file = tmp_path / 'file'
  file.write_text('')
  with pytest.raises(reading.BadData, match=f'svamp: {file} cannot be written'):
    prepare_data.prepare_all(root / 'svamp', file)


def test_ctrl_c_ends_with_130(root, tmp_path):
  done = _command(f'--data_dir={root}', f'--to={tmp_path / "data"}', before='''
from score_jax.datasets import base

def interrupted(self, rows):
  raise KeyboardInterrupt
  yield

base.DataSet._generate_examples = interrupted
''')
  assert done.returncode == 130
  assert done.stderr == (
      'score_jax: interrupted; the same command goes on\n')


def test_prepared_sets_open_without_this_package(root, tmp_path):
  prepare_data.prepare_all(root / 'mbpp', tmp_path / 'data')
  done = subprocess.run([sys.executable, '-W', 'ignore', '-c', f'''
import sys
import tensorflow_datasets as tfds
builder = tfds.builder_from_directory({str(tmp_path / "data/mbpp/1.0.0")!r})
[row] = builder.as_data_source('train')
assert row['id'] == b'mbpp-601' and row['tests'][0] == b'assert add(0) == 601'
assert not {{'score_jax', 'tensorflow'}} & set(sys.modules)
'''], capture_output=True, text=True)
  assert done.returncode == 0, done.stderr


def test_the_classes_are_builders_of_tfds():
  assert all(issubclass(data_set, base.DataSet) and data_set.name == name
             for name, data_set in datasets.DATA_SETS.items())
