r"""HumanEvalFix: HumanEval with a bug in every solution (2308.07124).

The Python file of https://github.com/bigcode-project/octopack, usually called
`humanevalpack.jsonl`, has 164 rows. It stands in for the programs of MBPP-R,
which SCoRe repairs and which are not public. A row has the fields of HumanEval
and:

    {"declaration": "from typing import List\n\n\ndef has_close_elements(...",
     "buggy_solution": "    for idx, elem in ...", "bug_type": "missing logic",
     "failure_symptoms": "incorrect output"}

A program is the declaration and a solution. What is broken is the declaration
and the buggy solution.
"""

import re
from typing import Any

from score_jax.datasets import base
from score_jax.datasets import humaneval
from score_jax.datasets import reading

_CALL = re.compile(r'\ncheck\(\w+\)\s*$')


class Humanevalfix(base.DataSet):
  """HumanEvalFix in Python; the tests do not call `check` themselves."""

  FOLDERS = ('humanevalfix',)
  PARTS = {'test': base.Part(('humanevalfix*.jsonl', 'humanevalpack*.jsonl'),
                             164)}
  SHA256 = {
      '18f5c6390fe8cbd3a8154df16259cf0d293f0ffeea6ba76de68af73c32e65f70':
          'test',
  }
  FIELDS = humaneval.Humaneval.FIELDS | {field: base.TEXT for field in (
      'declaration', 'buggy_solution', 'bug_type')}
  PROBLEM = 'description'

  @classmethod
  def row(cls, raw: dict[str, Any], part: str, number: int) -> base.Row:
    """See `DataSet.row`."""
    row = humaneval.Humaneval.row(raw, part, number)
    return row | {
        'test': _CALL.sub('\n', row['test']),
        'declaration': reading.text(raw, 'declaration'),
        'buggy_solution': reading.text(raw, 'buggy_solution'),
        'bug_type': reading.text(raw, 'bug_type')}
