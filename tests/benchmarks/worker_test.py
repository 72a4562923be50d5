"""A side in its process, and what the driver hears of it."""

import sys

import pytest

from benchmarks import worker
from tests.benchmarks import workload_test

MODULE = 'tests.benchmarks.echo_side'


@pytest.fixture(name='side')
def make_side(tmp_path):
  path = tmp_path / 'work.json'
  workload_test.made().write(path)
  with worker.Worker('echo', sys.executable, MODULE, path) as side:
    yield side


def test_a_side_is_asked_and_answers(side):
  assert side.versions == {'echo': '1'}
  answer = side.ask('say', text='a\nb')
  assert answer.found == {'text': 'a\nb', 'prompts': 3}
  assert answer.wall_s >= 0 and answer.peak_bytes >= answer.before_bytes > 0
  assert side.ask('say', text='again').found['text'] == 'again'


def test_what_goes_wrong_is_one_line_that_names_the_log(side, tmp_path):
  with pytest.raises(ValueError, match='echo: OSError: no such thing; see '
                     ) as error:
    side.ask('fail')
  assert '\n' not in str(error.value)
  log = (tmp_path / 'echo.log').read_text()
  assert 'libraries print' in log and 'Traceback' in log


def test_a_side_that_is_not_there_is_named(tmp_path):
  path = tmp_path / 'work.json'
  workload_test.made().write(path)
  with pytest.raises(ValueError, match='lost: its process ended; see'):
    worker.Worker('lost', sys.executable, 'tests.benchmarks.none', path)
