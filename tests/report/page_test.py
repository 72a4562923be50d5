"""The command and its page: self-contained, well formed, inert."""

import base64
import hashlib
import json
import re
import subprocess
import sys

import html5lib
import pytest

from score_jax.report import page as page_lib
from score_jax.report import runs as runs_lib
from tests.report import made


def _page(*folders):
  return page_lib.page(runs_lib.read([str(folder) for folder in folders]))


def _parsed(page):
  parser = html5lib.HTMLParser(strict=True, namespaceHTMLElements=False)
  return parser.parse(page)  # Raises at what is not well formed.


def _command(*args):
  return subprocess.run(
      [sys.executable, '-m', 'score_jax.report', *map(str, args)],
      capture_output=True, text=True, check=False)


@pytest.fixture(name='hostile')
def _hostile(tmp_path):
  """A run in which everything that can hold a text holds all bad ones."""
  text = ' '.join(made.HOSTILE)
  rows = [made.transcript(i, problem=bad, answer=bad, attempts=[bad, text],
                          id=bad, tags={bad: bad})
          for i, bad in enumerate(made.HOSTILE)]
  groups = {'groups': {text: {text: made.RATES}}}
  return made.run(tmp_path / '<b>&amp;"\'', text, transcripts=rows,
                  config={'name': text, 'x': text},
                  results={'stage2': made.MORE | groups})


def test_the_page_is_well_formed_and_needs_nothing_else(hostile, tmp_path):
  tree = _parsed(_page(hostile, made.run(tmp_path / 'b')))
  names = [element.tag for element in tree.iter()]
  for tag in ('link', 'img', 'iframe', 'object', 'embed', 'base', 'audio',
              'video', 'form'):
    assert tag not in names
  assert names.count('script') == 2 and names.count('style') == 1
  for element in tree.iter():
    assert not {'src', 'style', 'action', 'onerror', 'onload'} & set(
        element.attrib)
    assert element.get('href', '#').startswith('#')
  assert '@import' not in tree.find('.//style').text
  assert 'url(' not in tree.find('.//style').text


def test_only_the_page_s_own_script_and_style_may_run(hostile):
  tree = _parsed(_page(hostile))
  data, script = tree.findall('.//script')
  assert (data.get('type'), script.get('type')) == (
      'application/json', 'module')
  hashes = [
      'sha256-' + base64.b64encode(
          hashlib.sha256(element.text.encode()).digest()).decode()
      for element in (tree.find('.//style'), script)]
  policy, = [element.get('content') for element in tree.iter('meta')
             if element.get('http-equiv') == 'Content-Security-Policy']
  assert policy == (
      f"default-src 'none'; style-src '{hashes[0]}'; "
      f"script-src '{hashes[1]}'; base-uri 'none'; form-action 'none'")


def test_the_script_writes_text_only():
  script = page_lib._source('page.js')
  assert not re.search(
      r'innerHTML|outerHTML|insertAdjacent|document\.write|eval|Function\(|'
      r'setAttribute\(.(?:on|href|src)|fetch|XMLHttp|import', script)


def test_transcripts_come_back_out_of_the_page(hostile):
  data, _ = _parsed(_page(hostile)).findall('.//script')
  found = json.loads(data.text)
  assert len(found) == len(made.HOSTILE)
  for row, text in zip(found, made.HOSTILE):
    assert text in (row['id'], 'huge' * 10_000)
  assert found[-3]['id'].startswith('huge' * 2500 + '\n[... 20000 characters')


def test_labels_are_texts(hostile):
  tree = _parsed(_page(hostile))
  assert tree.find('.//title').text == '<b>&amp;"\': SCoRe'
  cell = tree.find('.//tbody/tr/th')
  assert cell.find('bdi').text == '<b>&amp;"\''


def test_numbers_stand_in_the_cells(tmp_path):
  tree = _parsed(_page(made.run(tmp_path / 'a')))
  tables = {''.join(figure.find('figcaption').itertext()): figure
            for figure in tree.iter('figure')
            if figure.find('figcaption') is not None}
  cells = [''.join(cell.itertext())
           for cell in tables['a'].findall('.//tbody/tr[2]/*')]
  assert cells[:5] == ['Stage II', '1,000', '41.2%38.1 to 44.3',
                       '40.0%37.0 to 43.0', '-1.2-3.0 to +0.5']
  assert 'The paper, MATH' in tables
  assert 'The paper, HumanEval' not in tables
  svg = '{http://www.w3.org/2000/svg}'
  paths = tables['Accuracy'].findall(f'.//{svg}path[@d]')
  assert {'M40,92L310,92', 'M40,92L310,32'} <= {path.get('d') for path in paths}


def test_a_run_that_has_only_begun_gets_a_page(tmp_path):
  folder = made.run(tmp_path / 'a', results=None, transcripts=None)
  (folder / 'metrics.jsonl').unlink()
  (folder / 'timings.jsonl').unlink()
  text = ''.join(_parsed(_page(folder)).itertext())
  for said in ('No stage has been evaluated.', 'No steps were logged.',
               'No problem has been evaluated.'):
    assert said in text


def test_the_page_says_how_many_transcripts_it_has_no_room_for(
    tmp_path, monkeypatch):
  folder = made.run(tmp_path / 'a')
  assert 'no room' not in _page(folder)
  monkeypatch.setattr(page_lib.transcripts, 'MAX_BYTES', 700)
  assert 'The first 3 of 8, as many of each stage; there is no room' in (
      _page(folder))


def test_the_command_writes_into_the_first_run(tmp_path):
  a, b = made.run(tmp_path / 'a'), made.run(tmp_path / 'b')
  ended = _command(a, b)
  assert (ended.returncode, ended.stderr) == (0, '')
  assert ended.stdout.startswith(f'{a / "report.html"}: 0.')
  assert (a / 'report.html').read_text() == _page(a, b)
  assert not (b / 'report.html').exists()


def test_out_names_another_file(tmp_path):
  a = made.run(tmp_path / 'a')
  before = set(a.iterdir())
  assert _command(a, f'--out={tmp_path / "r.html"}').returncode == 0
  assert (tmp_path / 'r.html').read_text() == _page(a)
  assert set(a.iterdir()) == before


@pytest.mark.parametrize('args, message', [
    ([], 'score_jax: name the --workdir of a run'),
    (['a', '--outt=x'], "score_jax: Unknown command line flag 'outt'"),
    (['nowhere'], 'nowhere is no run: it has no config.json'),
    (['a', 'a'], 'a is named twice'),
    (['a', '--out=nowhere/r.html'], 'nowhere/r.html: No such file or'),
    (['a', '--out=a'], 'a is not a file; name another with --out=FILE'),
    (['a', '--out=config.json/r.html'], 'config.json/r.html: Not a directory'),
    (['a', '--out=.'], ' is not a file; name another with --out=FILE'),
    (['damaged'], 'damaged/metrics.jsonl line 1 is not JSON'),
])
def test_bad_input_is_one_line(tmp_path, monkeypatch, args, message):
  monkeypatch.chdir(tmp_path)
  made.run(tmp_path / 'a')
  (tmp_path / 'config.json').touch()
  (made.run(tmp_path / 'damaged') / 'metrics.jsonl').write_text('{\n')
  before = sorted(tmp_path.rglob('*'))
  ended = _command(*args)
  assert ended.returncode == 2 and ended.stdout == ''
  assert message in ended.stderr and ended.stderr.count('\n') == 1
  assert sorted(tmp_path.rglob('*')) == before
