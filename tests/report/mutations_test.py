"""Whatever a field of a run's file holds, a report is a page or one line."""

import copy
import json

import pytest

from score_jax.report import page
from score_jax.report import runs as runs_lib
from tests.report import made

_VALUES = (10**30, -(10**400), float('inf'), float('nan'), -1, 0, True, None,
           'x', '', [], [None], {}, {'a': []}, 1e308)


def _paths(value, path=()):
  """The path of every value in a JSON value, groups and lists among them."""
  yield path
  if isinstance(value, dict | list):
    for key in value if isinstance(value, dict) else range(len(value)):
      yield from _paths(value[key], (*path, key))


def _changed(value, path, new):
  value = copy.deepcopy(value)
  *groups, last = path
  inner = value
  for key in groups:
    inner = inner[key]
  inner[last] = new
  return value


@pytest.mark.parametrize('name', [
    'config.json', 'results.json', 'metrics.jsonl', 'timings.jsonl',
    'transcripts.jsonl'])
def test_a_damaged_field_is_drawn_or_named(tmp_path, name):
  folder = made.run(tmp_path / 'a', transcripts=[made.transcript(1)])
  first, *rest = (folder / name).read_text().splitlines(keepends=True)
  refused = []
  # Each path gets every fourth value, in turn, to save time.
  for n, path in enumerate(filter(None, _paths(json.loads(first)))):
    for new in _VALUES[n % 4 :: 4]:
      changed = _changed(json.loads(first), path, new)
      (folder / name).write_text(
          json.dumps(changed) + '\n' + ''.join(rest))
      try:
        text = page.page(runs_lib.read([str(folder)]))
      except ValueError as error:
        assert str(folder) in str(error) and '\n' not in str(error), path
        refused.append(path)
      else:
        assert text.startswith('<!doctype html>')
  assert refused  # The values are read.
