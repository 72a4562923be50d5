"""How often the grader of mathematics is wrong, either way, and how fast it is.

    python -m score_jax.grader_accuracy --data_dir=FOLDER

FOLDER holds the files of MATH, or a folder `math` with them. Right answers are
every gold answer in two statements, and its rewritings (`rewritings`); wrong
ones are `near_misses.jsonl`, made by hand. Prints both error rates and each
error.

Exit codes: 0 done, 2 bad input.
"""

from collections.abc import Sequence
import contextlib
import pathlib
from typing import NamedTuple

from absl import flags

from score_jax import config as config_lib
from score_jax import door
from score_jax.datasets import reading
from score_jax.grading import graders
from score_jax.grading import maths
from score_jax.grading import pool
from score_jax.grading import rewritings

NEAR_MISSES = pathlib.Path(rewritings.__file__).with_name(
    'near_misses.jsonl')
STATEMENTS = (r'So the answer is \boxed{%s}.',
              'Final Answer: The final answer is $%s$. I hope it is correct.')


class Pair(NamedTuple):
  """A gold answer, the text of an attempt, and what is special about it."""

  gold: str
  text: str
  why: str


def near_misses() -> list[Pair]:
  """Answers that look right and are wrong."""
  def make(row, unused_number):
    return Pair(row['gold'], row['text'], row['why'])

  return _read(NEAR_MISSES, make)


def gold_answers(folder: pathlib.Path) -> list[str]:
  """The gold answers of all rows; those that are empty are left out.

  Raises:
    ValueError: there are no files, or rows are bad.
  """
  paths = sorted((folder / 'math').glob('*.jsonl')) or sorted(
      folder.glob('*.jsonl'))
  if not paths:
    raise ValueError(f'--data_dir={folder} holds neither math/*.jsonl nor '
                     '*.jsonl; name the folder with the files of MATH')
  golds = []
  for path in paths:
    golds += _read(path, lambda row, unused_number: reading.text(
        row, 'answer', may_be_empty=True))
  return [gold for gold in golds if gold.strip()]


def stated(golds: Sequence[str]) -> list[Pair]:
  """Each gold answer as the answer of a text, in two ways."""
  return [Pair(gold, statement % gold, 'the gold answer')
          for gold in golds for statement in STATEMENTS]


def rewritten(golds: Sequence[str]) -> list[Pair]:
  """Each gold answer, once, written in all the other ways."""
  return [Pair(gold, STATEMENTS[0] % other, name)
          for gold in dict.fromkeys(golds)
          for name, other in rewritings.rewritings(gold).items()]


def measure(
    grader: pool.Grader, golds: Sequence[str]
) -> tuple[list[str], dict[str, list[Pair]]]:
  """Grades all pairs.

  Returns:
    Lines with what came out, and the pairs that were graded wrongly, by what
    they are.
  """
  lines, errors = [], {}
  count, wall_s, lost = 0, 0.0, 0
  for name, pairs, right, error in (
      ('gold answers', stated(golds), 1, 'refused'),
      ('rewritings', rewritten(golds), 1, 'refused'),
      ('near misses', near_misses(), 0, 'accepted')):
    found = grader.submit([pair[:2] for pair in pairs]).result()
    errors[error] = errors.get(error, []) + [
        pair for pair, grade in zip(pairs, found.grades) if grade != right]
    wrong = len(pairs) - found.grades.count(right)
    lines.append(f'{name}: n={len(pairs)}, false '
                 f'{"refusals" if right else "acceptances"} {wrong} '
                 f'({wrong / max(len(pairs), 1):.3%})')
    count, wall_s = count + len(pairs), wall_s + found.wall_s
    lost += found.timeouts + found.crashes
  lines.append(f'speed: {count} answers in {wall_s:.1f} s, '
               f'{count / wall_s:.0f} a second; {lost} took too long or died')
  return lines, errors


def _read(path, make) -> list:
  rows, bad = reading.read_rows(path, reading.read_bytes(path), make)
  if bad:
    raise reading.BadData(bad)
  return list(rows.values())


def _define():
  flags.DEFINE_string('data_dir', None, 'The files of MATH.')


def main():
  """Measures, and prints what came out."""
  if not flags.FLAGS.data_dir:
    raise ValueError('--data_dir=FOLDER is missing')
  golds = gold_answers(pathlib.Path(flags.FLAGS.data_dir))
  grader, _ = graders.make(maths.grade, 'pool', config_lib.GradingConfig())
  with contextlib.closing(grader):
    lines, errors = measure(grader, golds)
  for error, pairs in errors.items():
    for pair in pairs:
      print(f'{error}: gold {pair.gold!r}, text {pair.text!r}, {pair.why}')
  print('\n'.join(lines), flush=True)


if __name__ == '__main__':
  door.run(main, _define)
