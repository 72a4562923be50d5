r"""HumanEval: functions to write from docstrings (Chen et al., 2107.03374).

`HumanEval.jsonl.gz` of https://github.com/openai/human-eval, or unpacked, has
164 rows:

    {"task_id": "HumanEval/0", "prompt": "from typing import List\n\n\ndef
     has_close_elements(numbers: ...", "entry_point": "has_close_elements",
     "canonical_solution": "    for idx, elem in ...", "test": "...\ndef
     check(candidate):\n    assert candidate(...) == True\n ..."}
"""

import re
from typing import Any

from score_jax.datasets import base
from score_jax.datasets import reading

_DOCSTRING = re.compile(r'(\'\'\'|""")(.*?)(?:>>>|\1)', re.DOTALL)


class Humaneval(base.DataSet):
  """HumanEval; `description` is the docstring before its examples."""

  FOLDERS = ('humaneval',)
  PARTS = {'test': base.Part(('HumanEval.jsonl', 'HumanEval.jsonl.gz'), 164)}
  SHA256 = {
      '58d67799fa18a3ba768352fa6bb8ed8943b0a80f4a430b611c7e7f232c3497bc':
          'test',
  }
  FIELDS = {field: base.TEXT for field in (
      'id', 'prompt', 'description', 'entry_point', 'solution', 'test')}
  PROBLEM = 'description'

  @classmethod
  def row(cls, raw: dict[str, Any], part: str, number: int) -> base.Row:
    """See `DataSet.row`."""
    prompt = reading.text(raw, 'prompt')
    return {
        'id': reading.text(raw, 'task_id'), 'prompt': prompt,
        'description': description(prompt),
        'entry_point': reading.text(raw, 'entry_point'),
        'solution': reading.text(raw, 'canonical_solution'),
        'test': reading.text(raw, 'test')}


def description(prompt: str) -> str:
  """What the last docstring of a prompt says, up to its examples."""
  found = _DOCSTRING.findall(prompt)
  if not found:
    raise ValueError('the prompt has no docstring')
  return found[-1][1].strip()
