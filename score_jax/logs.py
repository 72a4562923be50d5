"""Logs of a run against its checkpoints: which steps of which stage are there.

A run resumes from a checkpoint, so a log has each step before it, once and in
order. What a log has beyond that is logged again by the run.
"""

import collections
from collections.abc import Iterable
from collections.abc import Sequence
from typing import Any

from score_jax import config as config_lib
from score_jax import files

Row = tuple[str, dict[str, Any]]
"""A line of a log, raw and parsed."""

_MOST = 4  # Faults that a message spells out.


def read(path: files.Path, have_steps: bool = True
         ) -> tuple[list[Row], list[str]]:
  """Return the rows of a log, and what is wrong with other lines.

  Args:
    path: of the log.
    have_steps: False of transcripts, which have stages alone.

  Raises:
    ValueError: it cannot be read.
  """
  lines, faults = files.read_whole_lines(path)
  rows = []
  for line, row in lines:
    step = row.get('step') if have_steps else 1
    if row.get('stage') not in config_lib.STAGES:
      faults.append(f'{path} holds a line of no stage; repair or move the file')
    elif isinstance(step, bool) or not isinstance(step, int) or step < 1:
      faults.append(f'{path} holds a line of {row["stage"]} with the step '
                    f'{step!r}; repair or move the file')
    else:
      rows.append((line, row))
  return rows, faults


def faults_of(
    stage: str, steps: Sequence[int], saved: int, last: int | None = None
) -> list[str]:
  """Say where the logged steps of a stage are not those of its checkpoint.

  Args:
    stage: its name.
    steps: that were logged, in the order of the log.
    saved: the step of the checkpoint: 1 to `saved` are expected once, rising.
    last: of the stage; none is expected beyond it.

  Returns:
    A few words for each fault; empty if there is none.
  """
  before = [step for step in steps if step <= saved]
  missing = sorted(set(range(1, saved + 1)) - set(before))
  twice = sorted(step for step, count in collections.Counter(before).items()
                 if count > 1)
  early = [b for a, b in zip(before, before[1:]) if b < a]
  beyond = sorted({step for step in steps if last and step > last})
  return [
      f'{stage} {_steps(found)} {"is" if len(found) == 1 else "are"} {what}'
      for found, what in (
          (missing, 'missing'), (twice, 'there more than once'),
          (sorted(set(early)), 'out of order'),
          (beyond, f'beyond the last step {last}')) if found]


def id_faults(
    stage: str, ids: Sequence[str], wanted: Sequence[str]
) -> list[str]:
  """Say where the transcripts of a stage are not those of its evaluation.

  Args:
    stage: its name.
    ids: of the problems whose transcripts are there, in their order.
    wanted: of the problems that were evaluated, in their order.
  """
  have, want = collections.Counter(ids), collections.Counter(wanted)
  missing, more = list(want - have), list(have - want)
  found = [f'{stage}: transcripts of {_cut(missing)} are missing'] * bool(
      missing)
  found += [f'{stage}: transcripts of {_cut(more)} are there more than once or '
            'are of no evaluated problem'] * bool(more)
  if not found and list(ids) != list(wanted):
    first = next(a for a, b in zip(ids, wanted) if a != b)
    found = [f'{stage}: transcripts are out of order from problem {first!r}']
  return found


def refusal(path: files.Path, faults: Sequence[str], against: str) -> str:
  """Return the line of the refusal."""
  shown = '; '.join(faults[:_MOST])
  more = f' and {len(faults) - _MOST} more' if len(faults) > _MOST else ''
  return (f'{path}: {shown}{more}, and {against}; bring the file back from a '
          'copy, or continue without these rows: --allow_gaps')


def block_faults(rows: Iterable[Row]) -> list[str]:
  """Say where a stage's rows come after those of a later stage."""
  numbers = [config_lib.STAGES.index(row['stage']) for _, row in rows]
  return [f'rows of {config_lib.STAGES[b]} come after rows of '
          f'{config_lib.STAGES[a]}'
          for a, b in sorted(set(zip(numbers, numbers[1:]))) if b < a]


def in_order(rows: Iterable[Row]) -> list[Row]:
  """The last row of each step, by stage and step."""
  found = {(config_lib.STAGES.index(row['stage']), row['step']): (line, row)
           for line, row in rows}
  return [found[key] for key in sorted(found)]


def _steps(steps):
  """'step 3', or 'steps 2 to 4 and 7'."""
  parts = []
  for step in steps:
    if parts and step == parts[-1][1] + 1:
      parts[-1][1] = step
    else:
      parts.append([step, step])
  words = [str(a) if a == b else f'{a} to {b}' for a, b in parts]
  shown = ', '.join(words[:_MOST])
  more = f' and {len(words) - _MOST} more gaps' if len(words) > _MOST else ''
  return f'{"step" if len(steps) == 1 else "steps"} {shown}{more}'


def _cut(names):
  shown = ', '.join(repr(name) for name in names[:_MOST])
  more = f' and {len(names) - _MOST} more' if len(names) > _MOST else ''
  return f'{"problem" if len(names) == 1 else "problems"} {shown}{more}'
