"""Folders as a run leaves them, and texts that no page likes."""

import json
import pathlib

HOSTILE = (
    '</script><script>globalThis.ran = 1</script>',
    '<img src=x onerror="globalThis.ran = 2">',
    '<!--<script>',
    ']]><svg onload="globalThis.ran = 3">',
    '<a href="javascript:globalThis.ran = 4">here</a> javascript:alert(5)',
    '<iframe src="https://example.com/"></iframe><base href="//example.com">',
    '<style>@import "https://example.com/a.css"; * { display: none }</style>',
    '{{ 7 * 7 }} ${globalThis.ran = 6} `${ran = 7}` " \' onfocus=alert(8)',
    'right \u202eto\u2066 left',
    'nul \x00 bell \x07 escape \x1b[31m',
    'lone \ud800 surrogates \udfff',
    'separators \u2028 and \u2029',
    'emoji \U0001f469\u200d\U0001f52c \U0001f1e9\U0001f1ea e\u0301',
    'huge' * 10_000,
    '__proto__',
    '&lt;b&gt; &amp; &#x41;',
)

RATES = {
    'n': 1000, 'accuracy_t1': 0.4123, 'accuracy_t2': 0.4, 'delta': -0.0123,
    'delta_ci95': [-0.03, 0.0054], 'i_to_c': 0.0312, 'c_to_i': 0.0435,
    'unchanged': 0.8, 'truncated_t1': 0.0, 'truncated_t2': 0.0121,
}
MORE = RATES | {
    'accuracy_t1_ci95': [0.381, 0.443], 'accuracy_t2_ci95': [0.37, 0.43],
    'i_to_c_ci95': [0.02, 0.042], 'c_to_i_ci95': [0.031, 0.056],
    'mcnemar_p': 0.0004, 'fix_rate': 0.0531,
    'fix_rate_ci95': [0.03, 0.07],
    'groups': {
        'level': {f'Level {i}': RATES | {'n': 10 + i} for i in (2, 1)},
        'subject': {'Algebra': RATES | {'n': 21, 'fix_rate': None}}},
    'edit_distance': {'edges': [0, 0.25, 0.5, 0.75, 1.0],
                      'counts': [7, 0, 2, 1]},
    'scaling': {'temperature': 0.7, 'budget': [2, 4, 8],
                'parallel': [0.4, 0.5, 0.55], 'corrected': [0.45, 0.55, 0.65],
                'parallel_ci95': [[0.3, 0.5], [0.4, 0.6], [0.45, 0.65]]},
    'attempts_in_a_row': {'accuracy': [0.41, 0.4, 0.42]},
    'baselines': {'temperature': 0.7, 'pass_at_2': 0.5, 'tokens': 400.0,
                  'tokens_two_attempts': 420.5},
    'repair': {'split': 'repair', 'n': 164, 'accuracy': 0.301,
               'accuracy_ci95': [0.24, 0.37], 'unchanged': 0.2,
               'truncated': 0.0},
    'self_refine': RATES | {'accuracy_t2': 0.321},
}
GRADING = {'timeouts': 3, 'crashes': 1, 'answers_per_s': 812.34}


def transcript(number: int, stage: str = 'stage2', **fields) -> dict:
  """A row of `transcripts.jsonl`; its grades are the bits of its number."""
  return {
      'stage': stage, 'id': f'made-{number}', 'problem': f'Problem {number}?',
      'attempts': [f'It is {number}, so {number}.', f'It is {number}, so 7.'],
      'answer': '7', 'grades': [number >> 1 & 1, number & 1],
      'truncated': [False, number % 50 == 0], 'unchanged': number % 7 == 0,
  } | fields


def run(folder: pathlib.Path, task: str = 'math', **fields) -> pathlib.Path:
  """Writes a run with two steps of each stage, results and transcripts.

  Args:
    folder: is made.
    task: its task's name.
    **fields: `config` (added to it), `results` (by stage), `transcripts`
      (rows), in place of what would be there; None leaves the file out.
  """
  folder.mkdir(parents=True)
  config = {'name': 'made', 'task': {'name': task},
            'model': {'family': 'qwen3'}, **fields.get('config', {})}
  _write(folder / 'config.json', [{
      'config': config, 'commit': '0123456789abcdef-dirty', 'device': 'cpu',
      'devices': 1, 'date': '2026-11-24T09:00:00+00:00'}])
  _write(folder / 'metrics.jsonl', [
      _metrics(stage, step) for stage in ('stage1', 'stage2')
      for step in (1, 2)])
  _write(folder / 'timings.jsonl', [
      {'stage': 'stage1', 'step': step, 'step_s': 60.5} for step in (1, 2)])
  results = fields.get('results', {'base': RATES, 'stage2': MORE})
  if results is not None:
    _write(folder / 'results.json', [{
        'task': task, 'stages': results, 'grading': {'stage2': GRADING}}])
  rows = fields.get('transcripts', [transcript(i) for i in range(8)])
  if rows is not None:
    _write(folder / 'transcripts.jsonl', rows)
  return folder


def _metrics(stage, step):
  return {
      'stage': stage, 'step': step, 'accuracy_t1': 0.25,
      'accuracy_t2': 0.25 * step, 'delta': 0.25 * (step - 1), 'i_to_c': 0.25,
      'c_to_i': 0.125, 'unchanged': 0.5, 'kl_t1': 0.01 * step, 'kl_t2': 0.5,
      'length_t1': 100.0, 'length_t2': 50.0 * step, 'truncated_t1': 0.0,
      'truncated_t2': 0.1, 'loss': -0.5 * step, 'entropy_t1': None}


def _write(path, rows):
  path.write_text(''.join(json.dumps(row) + '\n' for row in rows))
