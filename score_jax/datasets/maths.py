r"""MATH: competition problems (Hendrycks et al., arXiv 2103.03874).

Split as in "Let's Verify Step by Step" (arXiv 2305.20050) and SCoRe: 12,000
problems to train on, which are the 7,500 of the original training split and
4,500 of the original test split, and the other 500 of it, MATH-500, to test.
There is no validation split: SCoRe trains on all of the 12,000. A row:

    {"problem": "How many vertical asymptotes does the graph of $y=...",
     "solution": "The denominator of ... $\\boxed{2}$ vertical asymptotes.",
     "answer": "2", "level": "Level 3", "type": "Algebra",
     "id": "test/algebra/0"}

The files of https://github.com/openai/prm800k, which say `unique_id`, `subject`
and a plain number for the level, are read likewise; their checksums are those
of its Git LFS pointers.
"""

from typing import Any

from score_jax.datasets import base
from score_jax.datasets import reading
from score_jax.grading import maths


class Math(base.DataSet):
  """MATH, 12,000 problems to train on and the 500 of MATH-500."""

  FOLDERS = ('math',)
  PARTS = {
      'train': base.Part(('train.jsonl', 'test_rest4500.jsonl'), 12_000),
      'test': base.Part(
          ('math500*.jsonl', 'math?500*.jsonl', 'test.jsonl'), 500),
  }
  SHA256 = {
      'a3bb1619fa94bf719570747cba5d88deacafb89b6567228d7decf0e9940b3608':
          'train',
      '26bd957c2fef1218eabe6d11010047b95f25ef827296bfecf79edd21d7393152':
          'train',
      '90d96daeac3fe343ebb1e22ce93dd99690f75983e957f88de42f87cffe1e8076':
          'train',
      '089e14752587c93e71bcb2d02ac3835cef450ff0c8670b8e781655e9ce800ae5':
          'test',
      '35dc41080a3680858b27fa7e0533d2d547825316fc5dafe5d316f4ccc5a06132':
          'test',
  }
  FIELDS = {field: base.TEXT for field in (
      'id', 'problem', 'solution', 'answer', 'level', 'subject')}
  PROBLEM = 'problem'
  MARK = b'"problem"'

  @classmethod
  def row(cls, raw: dict[str, Any], part: str, number: int) -> base.Row:
    """See `DataSet.row`."""
    level = raw.get('level')
    if type(level) is int:
      raw = raw | {'level': f'Level {level}'}
    name = reading.text(raw, 'id' if 'id' in raw else 'unique_id')
    answer = reading.text(raw, 'answer', may_be_empty=True)
    if answer.strip():
      maths.check_gold(answer)
    return {
        'id': name,
        'problem': reading.text(raw, 'problem'),
        'solution': reading.text(raw, 'solution'),
        'answer': answer,
        'level': reading.text(raw, 'level'),
        'subject': reading.text(raw, 'type' if 'type' in raw else 'subject'),
    }

  @classmethod
  def left_out(cls, row: base.Row, split: str) -> str:
    """See `DataSet.left_out`."""
    return '' if row['answer'].strip() else 'no answer is given'
