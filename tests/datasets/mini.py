"""A few rows of every data set, made up, in the form of the original files."""

import gzip
import json
import pathlib


def _math(number, split, **changes):
  return {'id': f'{split}/algebra/{number}', 'level': 'Level 3',
          'problem': f'Find $x$ if $x + {number} = 0$.', 'type': 'Algebra',
          'solution': f'$x = \\boxed{{-{number}}}$.', 'answer': f'-{number}',
          **changes}


def _mbpp(task_id, **changes):
  return {'text': f'Write a function to add {task_id}.', 'task_id': task_id,
          'code': f'def add(x):\r\n  return x + {task_id}',
          'test_setup_code': '', 'challenge_test_list': [],
          'test_list': [f'assert add(0) == {task_id}', 'assert add\r\n'],
          **changes}


def _sanitized(task_id, **changes):
  return {'source_file': 'f', 'task_id': task_id, 'test_imports': ['import re'],
          'prompt': f'Write a function to add {task_id}.',
          'code': 'def add(x): ...', 'test_list': ['assert True'], **changes}


def _humaneval(number):
  return {'task_id': f'HumanEval/{number}', 'entry_point': 'f',
          'prompt': f'def f(x):\n    """ Adds {number}.\n    >>> f(0)\n'
                    '    """\n',
          'canonical_solution': f'    return x + {number}\n',
          'test': 'def check(candidate):\n    assert candidate(0)\n'}


def _humanevalfix(number):
  row = _humaneval(number)
  return row | {'task_id': f'Python/{number}', 'declaration': 'def f(x):\n',
                'buggy_solution': '    return x\n', 'bug_type': 'value misuse',
                'test': 'def check(f):\n    assert f(0)\n\ncheck(f)'}


def _svamp(number, **changes):
  return {'ID': f'chal-{number}', 'Body': f'Ann has {number} eggs.',
          'Question': 'How many?', 'Equation': '( 3.0 )', 'Answer': 3.0,
          'Type': 'Addition', **changes}


def _gsm8k(number):
  return {'question': f'Ben has {number} nuts. How many?',
          'answer': f'<<1+1=2>>2.\n#### {number},000'}


FILES = {
    'math/train.jsonl': [_math(1, 'train'), _math(2, 'train', answer=' '),
                         _math(3, 'train', problem='find $X$\nif $x+8=0$. ')],
    'math/test_rest4500.jsonl': [_math(5, 'test')],
    'math/math500_dev250.jsonl': [_math(7, 'test'), _math(8, 'test')],
    'gsm8k/train.jsonl': [_gsm8k(n) for n in range(1, 41)],
    'gsm8k/test.jsonl': [_gsm8k(50), _gsm8k(51)],
    'svamp/SVAMP.json': [_svamp(1), _svamp(700), _svamp(701, Answer=0.5)],
    'mbpp/mbpp.jsonl': [_mbpp(n) for n in (10, 11, 510, 511, 600, 601, 927)] + [
        _mbpp(974, text='Write a  Function to add 11.',
              test_setup_code='import re\r\n')],
    'mbpp/sanitized-mbpp.json': [_sanitized(2), _sanitized(11),
                                 _sanitized(601)],
    'humaneval/HumanEval.jsonl': [_humaneval(0), _humaneval(1)],
    'humanevalfix/humanevalpack.jsonl': [_humanevalfix(0)],
}
"""Rows by file. Of math, train/2 has no answer and train/3 is a held-out one;
of mbpp, 927 is broken and 974 is a held-out one."""


def write(path: pathlib.Path, rows: list):
  """Writes a file in the form that its name says; bytes go in as they are."""
  path.parent.mkdir(parents=True, exist_ok=True)
  if path.suffix == '.json':
    path.write_text(json.dumps(rows, indent=2))
    return
  content = b''.join(
      (row if isinstance(row, bytes) else json.dumps(row).encode()) + b'\n'
      for row in rows)
  path.write_bytes(gzip.compress(content) if path.suffix == '.gz' else content)


def write_all(root: pathlib.Path) -> pathlib.Path:
  """Writes all of `FILES`."""
  for name, rows in FILES.items():
    write(root / name, rows)
  return root
