"""The commands of docs/launch.md print what is printed there.

    python -m tests.launch.docs_test

puts what they print into the file.
"""

import contextlib
import io
import os
import pathlib
import re
import shlex
import tempfile

import pytest

from launch import door
from tests.launch import conftest

DOC = conftest.ROOT / 'docs' / 'launch.md'
HOME = '/home/me/score_jax'


def _printed(command: str) -> str:
  words = shlex.split(command)
  assert words[:2] == ['python', 'launch/tpu.py'] and words[-1] == '--dry-run'
  out = io.StringIO()
  with contextlib.redirect_stdout(out):
    assert door.main(words[2:]) == 0
  return out.getvalue().replace(str(conftest.ROOT), HOME)


def _renewed(text: str) -> str:
  """The text, with each console as it is; in the current folder."""
  [args] = re.findall(r'```\n(# Gemma.*?)```', text, re.DOTALL)
  pathlib.Path('pod.args').write_text(args)

  def console(found):
    commands = re.findall(r'^\$ (.*)$', found.group(1), re.MULTILINE)
    return '```console\n{}```'.format(
        ''.join(f'$ {line}\n{_printed(line)}' for line in commands))

  return re.sub(r'```console\n(.*?)```', console, text, flags=re.DOTALL)


@pytest.fixture
def text(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  return DOC.read_text()


def test_commands_print_what_the_document_shows(text):
  assert text.count('$ python launch/tpu.py') >= 10
  assert _renewed(text) == text


if __name__ == '__main__':
  os.chdir(tempfile.mkdtemp())
  DOC.write_text(_renewed(DOC.read_text()))
