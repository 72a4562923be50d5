"""SVAMP: one or two steps of arithmetic, in words (Patel et al., 2103.07191).

`SVAMP.json` of https://github.com/arkilpatel/SVAMP is a list of 1,000 rows:

    {"ID": "chal-1", "Body": "Each pack of dvds costs 76 dollars. If there is a
     discount of 25 dollars on each pack", "Question": "How much do you have to
     pay to buy each pack?", "Equation": "( 76.0 - 25.0 )", "Answer": 51.0,
     "Type": "Subtraction"}

Its authors made all of it a test for models trained on other problems: that is
the split `challenge`. By custom the first 700 are also taken for training and
the last 300 for a test: the splits `train` and `test`. A model that was trained
on `train` has no business with `challenge`.
"""

import re
from typing import Any

from score_jax.datasets import base
from score_jax.datasets import reading
from score_jax.grading import answers

_TRAIN = 700


class Svamp(base.DataSet):
  """SVAMP: all of it (`challenge`), and cut into 700 (`train`) and 300."""

  FOLDERS = ('svamp',)
  PARTS = {'all': base.Part(('SVAMP.json',), 1000)}
  SHA256 = {
      '5be77703a6d891ae476d7c082787ad361392aa02453b132516cdd5f4e7934e3e': 'all',
  }
  FIELDS = {field: base.TEXT for field in (
      'id', 'problem', 'equation', 'number', 'type')}
  PROBLEM = 'problem'

  @classmethod
  def row(cls, raw: dict[str, Any], part: str, number: int) -> base.Row:
    """See `DataSet.row`."""
    name = reading.text(raw, 'ID')
    if not re.fullmatch(r'chal-\d{1,4}', name):
      raise ValueError(f"the field 'ID' is {name!r}, not chal-NUMBER")
    answer = raw.get('Answer')
    final = answers.final_number(str(answer))
    if type(answer) not in (int, float) or final is None:
      raise ValueError("the field 'Answer' is not a number")
    body, question = (reading.text(raw, field).strip()
                      for field in ('Body', 'Question'))
    return {'id': name, 'problem': f'{body} {question}',
            'equation': reading.text(raw, 'Equation'), 'number': final,
            'type': reading.text(raw, 'Type')}

  @classmethod
  def splits_of(cls, row: base.Row, part: str) -> tuple[str, ...]:
    """See `DataSet.splits_of`."""
    is_train = int(row['id'].removeprefix('chal-')) <= _TRAIN
    return ('train' if is_train else 'test', 'challenge')
