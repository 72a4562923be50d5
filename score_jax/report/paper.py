"""What the paper reports of itself (SCoRe, arXiv 2409.12917, section 6)."""

from score_jax.report import numbers
from score_jax.report import tables

_COLUMNS = ('method', 'acc@t1', 'acc@t2', 'delta', 'i→c', 'c→i')

_MATH = (  # Percent; delta in points.
    ('Base', 52.6, 41.4, -11.2, 4.6, 15.8),
    ('Self-Refine', 52.8, 51.8, -1.0, 3.2, 4.2),
    ('STaR', 55.4, 41.2, -14.2, 5.4, 19.6),
    ('STaR, D+', 53.6, 54.0, 0.4, 2.6, 2.2),
    ('Pair-SFT', 52.4, 54.2, 1.8, 5.4, 3.6),
    ('Pair-SFT, D+', 55.0, 55.0, 0.0, 0.0, 0.0),
    ('SCoRe', 60.0, 64.4, 4.4, 5.8, 1.4),
)
_HUMANEVAL = (
    ('Base', 53.7, 56.7, 3.0, 7.9, 4.9),
    ('Self-Refine', 53.7, 52.5, -1.2, 9.8, 11.0),
    ('Pair-SFT', 56.1, 54.3, -1.8, 4.3, 6.1),
    ('SCoRe', 52.4, 64.6, 12.2, 15.2, 3.0),
)
_REPAIR = {'Base': 47.3, 'Self-Refine': 30.7, 'Pair-SFT': 59.8, 'SCoRe': 60.6}

_MATHS_TASKS = ('gsm8k', 'math', 'sums', 'svamp')
_CODE_TASKS = ('code', 'code_sanitized')


def of_tasks(names: set[str]) -> list[tables.Table]:
  """The paper's tables to put beside runs on tasks of these names.

  Code stands beside HumanEval, mathematics beside MATH, and tasks of neither
  kind beside both.
  """
  maths = names & set(_MATHS_TASKS)
  code = names & set(_CODE_TASKS)
  neither = not maths and not code
  return [*([_maths()] if maths or neither else []),
          *([_code()] if code or neither else [])]


def _maths():
  return tables.Table(
      'The paper, MATH', _COLUMNS, [_cells(row) for row in _MATH],
      'Gemini 1.5 Flash, 500 test problems, as published in arXiv 2409.12917; '
      'without intervals. Not a run of this code.')


def _code():
  rows = [[*_cells(row), tables.Cell(f'{_REPAIR[row[0]]:.1f}%')]
          for row in _HUMANEVAL]
  return tables.Table(
      'The paper, HumanEval', (*_COLUMNS, 'MBPP-R'), rows,
      'Gemini 1.0 Pro, trained on MBPP, 164 problems, as published in '
      'arXiv 2409.12917; without intervals. Not a run of this code.')


def _cells(row):
  name, t1, t2, delta, up, down = row
  shares = [tables.Cell(numbers.percent(x / 100)) for x in (t1, t2, up, down)]
  return [tables.Cell(name), *shares[:2],
          tables.Cell(numbers.points(delta / 100)), *shares[2:]]
