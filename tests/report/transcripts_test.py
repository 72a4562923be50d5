"""What of the transcripts the page carries."""

import json

import pytest

from score_jax.report import runs as runs_lib
from score_jax.report import transcripts
from tests.report import made


def _carried(folder):
  rows, total = transcripts.carried(runs_lib.read([str(folder)]))
  return [json.loads(row) for row in rows], total


def test_a_transcript_is_carried_with_what_it_is_found_by(tmp_path):
  row = made.transcript(7, stage='stage1', tags={'level': 'Level 3', 'n': 2},
                        split='test', attempts=['a', 'b', 'c'],
                        grades=[0, 1, 1], truncated=[False, True, False])
  assert _carried(made.run(tmp_path / 'a', transcripts=[row])) == ([{
      'id': 'made-7', 'problem': 'Problem 7?', 'answer': '7',
      'attempts': ['a', 'b', 'c'], 'grades': [0, 1, 1],
      'truncated': [False, True, False], 'unchanged': True,
      'facets': {'run': 'a', 'stage': 'Stage I', 'level': 'Level 3', 'n': '2',
                 'split': 'test'}}], 1)


def test_what_was_not_recorded_is_not_made_up(tmp_path):
  row = made.transcript(0)
  del row['unchanged']
  (found,), _ = _carried(made.run(tmp_path / 'a', transcripts=[row]))
  assert found['unchanged'] is None
  assert found['facets'] == {'run': 'a', 'stage': 'Stage II'}


def test_tags_do_not_hide_run_and_stage(tmp_path):
  row = made.transcript(0, tags={'run': 'x', 'stage': 'y'})
  (found,), _ = _carried(made.run(tmp_path / 'a', transcripts=[row]))
  assert found['facets'] == {'run': 'a', 'stage': 'Stage II'}


@pytest.mark.parametrize('text', made.HOSTILE)
def test_any_text_comes_back_and_ends_no_element(tmp_path, text):
  row = made.transcript(0, problem=text, id=text, tags={text: text})
  rows, _ = transcripts.carried(runs_lib.read(
      [str(made.run(tmp_path / 'a', transcripts=[row]))]))
  assert rows[0].isascii() and not set(rows[0]) & set('<>&\0\n')
  found = json.loads(rows[0])
  if len(text) <= transcripts.MAX_TEXT:
    assert found['problem'] == found['id'] == text
    assert found['facets'][text] == text


def test_of_a_long_text_the_middle_is_left_out(tmp_path):
  row = made.transcript(0, problem='a' * 12_000 + 'b' * 13_000)
  (found,), _ = _carried(made.run(tmp_path / 'a', transcripts=[row]))
  assert found['problem'] == (
      'a' * 10_000 + '\n[... 5000 characters left out ...]\n' + 'b' * 10_000)


def test_without_room_every_stage_keeps_its_first_ones(tmp_path, monkeypatch):
  rows = [made.transcript(i, stage='base') for i in range(8)] + [
      made.transcript(i) for i in range(2)]
  folder = made.run(tmp_path / 'a', transcripts=rows)
  size = len(transcripts.carried(runs_lib.read([str(folder)]))[0][0])
  monkeypatch.setattr(transcripts, 'MAX_BYTES', 5 * size + 50)
  found, total = _carried(folder)
  assert total == 10
  assert [(row['facets']['stage'], row['id']) for row in found] == [
      ('base', 'made-0'), ('base', 'made-1'), ('base', 'made-2'),
      ('Stage II', 'made-0'), ('Stage II', 'made-1')]
