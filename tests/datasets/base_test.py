"""Data sets: rows and splits of each, parts of them, and what is refused."""

import gzip
import hashlib
import json
import pathlib

import pytest

from score_jax import datasets
from score_jax.datasets import base
from score_jax.datasets import originals
from score_jax.datasets import reading
from score_jax.datasets import storage
from tests.datasets import mini


@pytest.fixture(name='root')
def _root(tmp_path):
  return mini.write_all(tmp_path / 'root')


def _ids(contents):
  return {split: [row['id'] for row in rows]
          for split, rows in contents.splits.items()}


def test_math(root):
  contents = datasets.load('math', root)
  assert _ids(contents) == {'train': ['train/algebra/1', 'test/algebra/5'],
                            'test': ['test/algebra/7', 'test/algebra/8']}
  assert contents.splits['train'][0] == {
      'id': 'train/algebra/1', 'problem': 'Find $x$ if $x + 1 = 0$.',
      'solution': '$x = \\boxed{-1}$.', 'answer': '-1', 'level': 'Level 3',
      'subject': 'Algebra'}
  unknown = 'its sha256 is not a known one'
  assert contents.notes == (
      f'math: train.jsonl: {unknown}',
      f'math: test_rest4500.jsonl: {unknown}',
      'math: train.jsonl + test_rest4500.jsonl: 4 of the 12000 rows of the '
      'split',
      f'math: math500_dev250.jsonl: {unknown}',
      'math: math500_dev250.jsonl: 2 of the 500 rows of the split',
      'math: 1 left out of train, no answer is given: train/algebra/2',
      'math: 1 left out of train, held out as well: train/algebra/3 = '
      'test/algebra/8')
  assert contents.checked == {'train': False, 'test': False}


def test_math_in_the_form_of_prm800k(root):
  for path in (root / 'math').iterdir():
    path.unlink()
  rows = [{'problem': f'P{n}', 'solution': 's', 'answer': '1', 'level': n,
           'subject': 'Geometry', 'unique_id': f'{n}.json'} for n in (1, 2)]
  mini.write(root / 'math' / 'train.jsonl', rows[:1])
  mini.write(root / 'math' / 'test.jsonl', rows[1:])
  contents = datasets.load('math', root)
  assert contents.splits['train'] == [
      {'id': '1.json', 'problem': 'P1', 'solution': 's', 'answer': '1',
       'level': 'Level 1', 'subject': 'Geometry'}]
  assert _ids(contents)['test'] == ['2.json']


def test_gsm8k(root):
  contents = datasets.load('gsm8k', root)
  assert {split: len(rows) for split, rows in contents.splits.items()} == {
      'train': 40, 'test': 2}
  assert contents.splits['test'][0] == {
      'id': 'gsm8k-test-1', 'question': 'Ben has 50 nuts. How many?',
      'answer': '<<1+1=2>>2.\n#### 50,000', 'number': '50000'}


def test_svamp_whole_and_as_it_is_cut_by_custom(root):
  contents = datasets.load('svamp', root)
  assert _ids(contents) == {'train': ['chal-1', 'chal-700'],
                            'test': ['chal-701'],
                            'challenge': ['chal-1', 'chal-700', 'chal-701']}
  assert contents.splits['test'] == [
      {'id': 'chal-701', 'problem': 'Ann has 701 eggs. How many?',
       'equation': '( 3.0 )', 'number': '1/2', 'type': 'Addition'}]


def test_mbpp_is_split_by_number(root):
  contents = datasets.load('mbpp', root)
  assert _ids(contents) == {
      'prompt': ['mbpp-10'], 'test': ['mbpp-11', 'mbpp-510'],
      'validation': ['mbpp-511', 'mbpp-600'], 'train': ['mbpp-601']}
  assert contents.splits['train'] == [
      {'id': 'mbpp-601', 'text': 'Write a function to add 601.',
       'code': 'def add(x):\n  return x + 601', 'setup': '',
       'tests': ['assert add(0) == 601', 'assert add\n']}]
  assert contents.notes[2:] == (
      'mbpp: 1 left out of train, its own reference fails: mbpp-927',
      'mbpp: 1 left out of train, held out as well: mbpp-974 = mbpp-11')


def test_sanitized_mbpp_has_its_imports_as_setup(root):
  contents = datasets.load('mbpp_sanitized', root)
  assert _ids(contents) == {'prompt': ['mbpp-2'], 'test': ['mbpp-11'],
                            'train': ['mbpp-601']}
  assert contents.splits['train'][0]['setup'] == 'import re'


def test_humaneval_packed_or_not(root):
  unpacked = datasets.load('humaneval', root)
  [first, _] = unpacked.splits['test']
  assert first == {
      'id': 'HumanEval/0', 'description': 'Adds 0.', 'entry_point': 'f',
      'prompt': 'def f(x):\n    """ Adds 0.\n    >>> f(0)\n    """\n',
      'solution': '    return x + 0\n',
      'test': 'def check(candidate):\n    assert candidate(0)\n'}
  path = root / 'humaneval' / 'HumanEval.jsonl'
  packed = path.with_name(path.name + '.gz')
  packed.write_bytes(gzip.compress(path.read_bytes()))
  assert datasets.load('humaneval', root) == unpacked  # Not read twice.
  path.unlink()
  assert datasets.load('humaneval', root).splits == unpacked.splits


def test_humanevalfix_leaves_the_call_of_the_tests_to_the_grader(root):
  [row] = datasets.load('humanevalfix', root).splits['test']
  assert row['test'] == 'def check(f):\n    assert f(0)\n\n'
  assert row['declaration'] + row['buggy_solution'] == (
      'def f(x):\n    return x\n')


def test_one_folder_may_hold_the_files_themselves(root):
  assert datasets.find('gsm8k', root / 'gsm8k') == root / 'gsm8k'
  assert (datasets.load('gsm8k', root / 'gsm8k').splits
          == datasets.load('gsm8k', root).splits)
  assert datasets.find('svamp', root / 'gsm8k') is None
  assert datasets.load('svamp', root / 'nowhere') is None


def test_humaneval_is_not_taken_for_its_broken_programs(tmp_path):
  for name in ('humaneval/HumanEval.jsonl', 'humanevalfix/humanevalpack.jsonl'):
    mini.write(tmp_path / pathlib.Path(name).name, mini.FILES[name])
  assert _ids(datasets.load('humaneval', tmp_path)) == {
      'test': ['HumanEval/0', 'HumanEval/1']}
  assert _ids(datasets.load('humanevalfix', tmp_path)) == {
      'test': ['Python/0']}


@pytest.mark.parametrize('name', sorted(datasets.DATA_SETS))
def test_what_was_prepared_is_what_was_read(root, tmp_path, name):
  contents = datasets.load(name, root)
  data_set = datasets.DATA_SETS[name]
  storage.write(data_set, tmp_path, contents=contents)
  back = datasets.load(name, tmp_path)
  assert {split: list(rows) for split, rows in back.splits.items()} == (
      contents.splits)
  assert back[1:] == contents[1:]
  assert base.fingerprint(data_set, back.splits) == contents.fingerprint


def test_the_fingerprint_follows_the_rows(root):
  path = root / 'gsm8k' / 'test.jsonl'
  lines = path.read_bytes()

  def fingerprint(content):
    path.write_bytes(content)
    return datasets.load('gsm8k', root).fingerprint

  before = fingerprint(lines)
  assert fingerprint(lines.replace(b', "', b' ,  "')) == before  # As JSON.
  assert fingerprint(lines.replace(b'nuts', b'figs')) != before
  assert fingerprint(b'\n' + lines) != before  # Other ids.


@pytest.mark.parametrize('name, file, change, message', [
    ('math', 'train', {'problem': 1}, "the field 'problem' is not a text"),
    ('math', 'train', {'answer': None}, "the field 'answer' is not a text"),
    ('math', 'train', {'level': True}, "the field 'level' is not a text"),
    ('math', 'train', {'id': ''}, "the field 'id' is not a text"),
    ('math', 'train', {'type': None}, "the field 'type' is not a text"),
    ('gsm8k', 'train', {'answer': '5'}, "does not end in '#### NUMBER'"),
    ('gsm8k', 'train', {'answer': '#### 3 or 4'}, "'#### NUMBER'"),
    ('gsm8k', 'train', {'question': ''}, "the field 'question' is not a text"),
    ('svamp', 'SVAMP', {'Answer': '3'}, "'Answer' is not a number"),
    ('svamp', 'SVAMP', {'Answer': True}, "'Answer' is not a number"),
    ('svamp', 'SVAMP', {'Answer': float('nan')}, "'Answer' is not a number"),
    ('svamp', 'SVAMP', {'ID': 'x-1'}, "'ID' is 'x-1', not chal-NUMBER"),
    ('mbpp', 'mbpp', {'task_id': 975}, 'not a number from 1 to 974'),
    ('mbpp', 'mbpp', {'task_id': '5'}, 'not a number from 1 to 974'),
    ('mbpp', 'mbpp', {'test_list': []}, "'test_list' is not a list of texts"),
    ('mbpp', 'mbpp', {'test_setup_code': None}, "'test_setup_code' is not a"),
    ('mbpp_sanitized', 'sanitized-mbpp', {'test_imports': ''},
     "'test_imports' is not a list of texts"),
    ('humaneval', 'HumanEval', {'prompt': 'def f(): pass'}, 'no docstring'),
    ('humaneval', 'HumanEval', {'test': 3}, "the field 'test' is not a text"),
    ('humanevalfix', 'humanevalpack', {'buggy_solution': None},
     "the field 'buggy_solution' is not a text"),
])
def test_a_bad_row_is_named(root, name, file, change, message):
  [path] = [p for p in root.rglob('*') if p.stem == file and (
      p.parent.name == datasets.DATA_SETS[name].FOLDERS[-1])]
  rows = mini.FILES[f'{path.parent.name}/{path.name}']
  mini.write(path, [*rows, rows[0] | change])
  with pytest.raises(reading.BadData) as error:
    datasets.load(name, root)
  [line] = error.value.lines
  where = 'line ' if path.suffix == '.jsonl' else rf'item {len(rows) + 1}'
  assert line.startswith(f'{path}, line ') and where in line
  assert message in line and '\n' not in line


def test_bad_rows_of_all_files_are_named_at_once(root):
  mini.write(root / 'math' / 'train.jsonl', [b'x', *[b'{}'] * 9])
  mini.write(root / 'math' / 'math500_dev250.jsonl', [b'7'])
  with pytest.raises(reading.BadData) as error:
    datasets.load('math', root)
  assert len(error.value.lines) == 11
  assert error.value.lines[-1] == (
      f'{root / "math" / "math500_dev250.jsonl"}, line 1: not a JSON object')
  assert str(error.value).endswith('; and 6 more')


def test_an_id_that_is_there_twice_is_named(root):
  path = root / 'mbpp' / 'mbpp.jsonl'
  rows = mini.FILES['mbpp/mbpp.jsonl']
  mini.write(path, [*rows, rows[1]])
  with pytest.raises(reading.BadData) as error:
    datasets.load('mbpp', root)
  assert str(error.value) == (
      f"{path}, line 9: the id 'mbpp-11' is also in {path}, line 2")


def test_more_rows_than_there_are_is_another_file(root):
  folder = root / 'math'
  rows = mini.FILES['math/math500_dev250.jsonl']
  mini.write(folder / 'test.jsonl', [
      rows[0] | {'id': f'x{n}', 'problem': f'P{n}'} for n in range(499)])
  with pytest.raises(reading.BadData) as error:
    datasets.load('math', root)
  assert str(error.value) == (
      f'{folder}: math500_dev250.jsonl + test.jsonl has 501 rows, and the '
      'split has 500; is it another file?')


def test_a_file_without_its_partner_is_named(root):
  (root / 'math' / 'math500_dev250.jsonl').unlink()
  with pytest.raises(reading.BadData) as error:
    datasets.load('math', root)
  assert error.value.lines == [
      f'{root}/math/math500*.jsonl or math?500*.jsonl or test.jsonl: No such '
      'file']


def test_checksums(root, monkeypatch):
  data_set = datasets.DATA_SETS['gsm8k']
  train, test = (root / 'gsm8k' / f'{name}.jsonl' for name in ('train', 'test'))
  digest = lambda path: hashlib.sha256(path.read_bytes()).hexdigest()
  with pytest.raises(reading.BadData) as error:
    originals.read(data_set, root / 'gsm8k', strict=True)
  assert error.value.lines == [
      'train.jsonl: its sha256 is not a known one',
      'test.jsonl: its sha256 is not a known one']
  monkeypatch.setattr(data_set, 'SHA256', {digest(test): 'test'})
  assert originals.read(data_set, root / 'gsm8k').checked == {
      'train': False, 'test': True}
  monkeypatch.setattr(data_set, 'SHA256', {
      digest(train): 'train', digest(test): 'test'})
  contents = originals.read(data_set, root / 'gsm8k', strict=True)
  assert contents.notes == (
      'gsm8k: train.jsonl: 40 of the 7473 rows of the split',
      'gsm8k: test.jsonl: 2 of the 1319 rows of the split')
  monkeypatch.setattr(data_set, 'SHA256', {digest(train): 'test'})
  with pytest.raises(reading.BadData,
                     match='train.jsonl is a file of test, not of train'):
    originals.read(data_set, root / 'gsm8k')


def test_a_split_is_checked_if_all_of_its_files_are(root, monkeypatch):
  digests = {path.name: hashlib.sha256(path.read_bytes()).hexdigest()
             for path in (root / 'math').iterdir()}
  for known in ('train.jsonl', 'test_rest4500.jsonl'):
    monkeypatch.setattr(
        datasets.DATA_SETS['math'], 'SHA256', {digests[known]: 'train'})
    assert not datasets.load('math', root).checked['train']


def test_copies_are_found_whatever_their_spaces_and_case():
  rows = [{'id': 'a', 'p': 'Find  X.\r\n'}, {'id': 'b', 'p': 'find Y.'},
          {'id': 'c', 'p': 'find \uff58.'}]
  kept, copies = base.without_copies(rows, 'p', [('t', 'find x.')])
  assert kept == [rows[1]]
  assert copies == ['a = t', 'c = t']


def test_a_damaged_folder_is_named(root, tmp_path):
  data_set = datasets.DATA_SETS['svamp']
  storage.write(data_set, tmp_path, contents=datasets.load('svamp', root))
  folder = storage.version_folder(data_set, tmp_path)
  text = (folder / 'metadata.json').read_text()
  for content in (text[:9], json.dumps({})):
    (folder / 'metadata.json').write_text(content)
    with pytest.raises(ValueError, match=f'{folder} is damaged'):
      datasets.load('svamp', tmp_path)
  (folder / 'metadata.json').unlink()
  with pytest.raises(ValueError, match=f'{folder} is damaged'):
    datasets.load('svamp', tmp_path)
