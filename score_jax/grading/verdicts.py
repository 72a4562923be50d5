"""Check what a grader returns: 0 or 1."""

from collections.abc import Callable
import numbers


class BadVerdict(ValueError):
  """A grader returned something else.

  Attributes:
    message: names the grader and what it returned.
    number: of the answer in its batch.
  """

  def __init__(self, message: str, number: int = 0, row: str = ''):
    self.message = message
    self.number = number
    self._row = row
    super().__init__(f'{message}{row and f" for {row}"}; it has to return 0 '
                     'or 1')

  def of_row(self, number: int, row: str) -> 'BadVerdict':
    """Return the same error, with the answer that was graded."""
    return BadVerdict(self.message, number, row)

  def of_problem(self, problem: str) -> 'BadVerdict':
    """Return the same error, with the id of the problem."""
    return BadVerdict(self.message, self.number,
                      f'the problem {problem!r}, {self._row}')


def checked(grade: Callable[..., int], verdict: object) -> int:
  """Return a verdict as 0 or 1.

  Args:
    grade: the function that returned it, to name it.
    verdict: a bool or an integer, of Python or NumPy.

  Raises:
    BadVerdict: it is anything else, such as 0.5, 2 or None.
  """
  value = verdict
  if type(value).__module__ == 'numpy' and getattr(value, 'size', 0) == 1:
    value = value.item()
  if isinstance(value, numbers.Integral) and value in (0, 1):
    return int(value)
  raise BadVerdict(f'the grader {name(grade)} returned {repr(verdict)[:80]}')


def name(grade: Callable[..., int]) -> str:
  """Return the name of a grader, of a `functools.partial` too."""
  grade = getattr(grade, 'func', grade)
  module = getattr(grade, '__module__', '?')
  return f'{module}.{getattr(grade, "__qualname__", type(grade).__name__)}'
