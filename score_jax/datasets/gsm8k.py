r"""GSM8K: grade-school problems in words (Cobbe et al., arXiv 2110.14168).

The original files, `train.jsonl` (7,473 rows) and `test.jsonl` (1,319), are in
https://github.com/openai/grade-school-math. A row:

    {"question": "Natalia sold clips to 48 of her friends in April, and ...",
     "answer": "Natalia sold 48/2 = <<48/2=24>>24 clips in May.\n...\n#### 72"}
"""

from typing import Any

from score_jax.datasets import base
from score_jax.datasets import reading
from score_jax.grading import answers


class Gsm8k(base.DataSet):
  """GSM8K as its authors split it; `number` is the final answer."""

  FOLDERS = ('gsm8k',)
  PARTS = {'train': base.Part(('train.jsonl',), 7473),
           'test': base.Part(('test.jsonl',), 1319)}
  SHA256 = {
      '17f347dc51477c50d4efb83959dbb7c56297aba886e5544ee2aaed3024813465':
          'train',
      '3730d312f6e3440559ace48831e51066acaca737f6eabec99bccb9e4b3c39d14':
          'test',
  }
  FIELDS = {field: base.TEXT for field in (
      'id', 'question', 'answer', 'number')}
  PROBLEM = 'question'
  MARK = b'"question"'

  @classmethod
  def row(cls, raw: dict[str, Any], part: str, number: int) -> base.Row:
    """See `DataSet.row`."""
    question = reading.text(raw, 'question')
    answer = reading.text(raw, 'answer')
    _, mark, final = answer.rpartition('####')
    final = answers.final_number(final) if mark else None
    if final is None:
      raise ValueError("the answer does not end in '#### NUMBER'")
    return {'id': f'gsm8k-{part}-{number}', 'question': question,
            'answer': answer, 'number': final}
