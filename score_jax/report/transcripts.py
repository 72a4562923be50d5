"""The transcripts that a report carries, within bounds."""

from collections.abc import Iterator
from collections.abc import Sequence
import itertools
import json
from typing import Any

from score_jax import files
from score_jax.report import runs as runs_lib
from score_jax.report import table

MAX_TEXT = 20_000
"""Characters of one text; of a longer one the middle is left out."""

MAX_BYTES = 40_000_000
"""Of all transcripts together; what is beyond is left out."""


def carried(runs: Sequence[runs_lib.Run]) -> tuple[list[str], int]:
  """The transcripts of runs, for the page, and how many there are in all.

  Where there is no room for all of them, every stage of every run has as many
  as every other, if it has them: the first ones.

  Returns:
    For each, in the order of runs and stages, ASCII JSON of

        attempts   texts
        grades     0 or 1 each
        truncated  bool each
        unchanged  bool, or null: not recorded
        id, problem, answer  texts
        facets     {name: value}, what it can be found by: run, stage, ...
  """
  parts = list(itertools.product(runs, table.TITLES))
  lists = [[row for row in run.transcripts if row['stage'] == stage]
           for run, stage in parts]
  room, kept = MAX_BYTES, []
  for index, place, row in _in_turn(lists):
    text = in_script(_shown(parts[index][0].label, row))
    room -= len(text)
    if room < 0:
      break
    kept.append((index, place, text))
  return [text for *_, text in sorted(kept)], sum(map(len, lists))


def in_script(value: Any) -> str:
  """JSON that means itself inside of <script>, whatever it holds.

  It is ASCII, so that U+2028, lone surrogates and NUL are escapes, and without
  the characters that could end the element or open a comment in it.
  """
  text = files.to_json('a report', value, separators=(',', ':'))
  for character in '<>&':
    text = text.replace(character, f'\\u{ord(character):04x}')
  return text


def _in_turn(lists) -> Iterator[tuple[int, int, Any]]:
  """(list, place, value): the first of each list, the second of each, ..."""
  for place, row in enumerate(itertools.zip_longest(*lists)):
    for index, value in enumerate(row):
      if value is not None:
        yield index, place, value


def _shown(label, row):
  own = {'run': label, 'stage': table.TITLES[row['stage']]}
  tags = {name: value if isinstance(value, str) else json.dumps(value)
          for name, value in row.get('tags', {}).items()}
  if isinstance(row.get('split'), str):
    tags['split'] = row['split']
  unchanged = row.get('unchanged')
  return {
      'id': _cut(row['id']),
      'problem': _cut(row['problem']),
      'answer': _cut(row['answer']),
      'attempts': [_cut(text) for text in row['attempts']],
      'grades': row['grades'],
      'truncated': [bool(flag) for flag in row['truncated']],
      'unchanged': unchanged if isinstance(unchanged, bool) else None,
      'facets': own | tags | own,
  }


def _cut(text):
  """A text without its middle, if it is long."""
  left_out = len(text) - MAX_TEXT
  if left_out <= 0:
    return text
  half = MAX_TEXT // 2
  return (f'{text[:half]}\n[... {left_out} characters left out ...]\n'
          f'{text[-half:]}')
