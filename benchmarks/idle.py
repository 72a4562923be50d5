"""How long no program runs in the steps of a run that were traced.

    python -m score_jax.main --config=... --config.profile.steps=5 --workdir=DIR
    python -m benchmarks.idle --run=DIR

Read from the trace (docs/profiling.md): the time in which none of XLA's
programs runs, that is the host at work between them, or grades that are waited
for; and how much of the grading goes on beside a program. On a machine without
an accelerator programs and host share the processors.
"""

from collections.abc import Iterable
from collections.abc import Sequence
import pathlib
from typing import NamedTuple

from absl import flags
import jax

from benchmarks import numbers
from score_jax import door

Interval = tuple[int, int]  # Nanoseconds.
_GRADING, _WAITING = 'grade', 'wait_for_grades'


class Step(NamedTuple):
  """A step of the trace, in whole nanoseconds, so that sums are exact.

  Attributes:
    name: its stage and number.
    took_ns: from its begin to its end.
    idle_ns: no program runs.
    waits_ns: of these, the run waits for grades.
    graded_ns: some answer is being graded.
    hidden_ns: of these, a program runs.
  """

  name: str
  took_ns: int
  idle_ns: int
  waits_ns: int
  graded_ns: int
  hidden_ns: int


def merged(intervals: Iterable[Interval]) -> list[Interval]:
  """The same time as intervals in order, none of which touch."""
  found = []
  for begin, end in sorted(intervals):
    if found and begin <= found[-1][1]:
      found[-1] = (found[-1][0], max(end, found[-1][1]))
    else:
      found.append((begin, end))
  return found


def common(ours: Sequence[Interval], theirs: Sequence[Interval]
           ) -> list[Interval]:
  """The time that is in both; each merged."""
  both = [(max(a, c), min(b, d)) for a, b in ours for c, d in theirs
          if a < d and c < b]
  return merged(both)


def length(intervals: Iterable[Interval]) -> int:
  """Of intervals that do not touch."""
  return sum(end - begin for begin, end in intervals)


def steps_of(trace: pathlib.Path) -> list[Step]:
  """Every step of a trace.

  Args:
    trace: an `.xplane.pb` file.

  Raises:
    ValueError: it is damaged.
  """
  try:
    planes = list(jax.profiler.ProfileData.from_file(str(trace)).planes)
  except RuntimeError as error:
    raise ValueError(f'{trace} is no whole trace ({error}); delete it, and '
                     'trace again') from error
  programs = merged(_programs(planes))
  named = {_GRADING: [], _WAITING: []}
  steps = []
  for event in _events(planes):
    if event.name in named:
      named[event.name].append(_interval(event))
    elif (number := dict(event.stats).get('step_num')) is not None:
      steps.append((f'{event.name} {number}', _interval(event)))
  grading, waiting = map(merged, named.values())
  found = []
  for name, step in sorted(steps, key=lambda step: step[1]):
    within = lambda intervals, step=step: common(intervals, [step])
    took, run = length([step]), within(programs)
    waits, graded = within(waiting), within(grading)
    found.append(Step(
        name, took, took - length(run),
        length(waits) - length(common(waits, run)), length(graded),
        length(common(graded, run))))
  return found


def _programs(planes) -> Iterable[Interval]:
  """When programs run: on the devices of the trace, or else in the host."""
  devices = [line for plane in planes if plane.name.startswith('/device:')
             for line in plane.lines if line.name == 'XLA Modules']
  if devices:
    return [_interval(event) for line in devices for event in line.events]
  # A program in the thread that calls it has its operations alone.
  return [_interval(event) for event in _events(planes)
          if event.name.startswith('ThunkExecutor::Execute')
          or 'hlo_module' in dict(event.stats)]


def _events(planes):
  return (event for plane in planes if plane.name.startswith('/host:')
          for line in plane.lines for event in line.events)


def _interval(event) -> Interval:
  begin = round(event.start_ns)
  return begin, begin + round(event.duration_ns)


def main():
  """Prints a line for each step, and the medians."""
  folder = pathlib.Path(flags.FLAGS.run) / 'profile'
  traces = sorted(folder.glob('plugins/profile/*/*.xplane.pb'))
  steps = [step for trace in traces for step in steps_of(trace)]
  if not steps:
    raise ValueError(f'--run: {folder} holds no trace of a step; train with '
                     '--config.profile.steps=5')
  for step in steps:
    print(f'{step.name}: {step.took_ns / 1e9:.3g} s, no program for '
          f'{100 * step.idle_ns / step.took_ns:.1f}% of it, '
          f'{100 * step.waits_ns / step.took_ns:.1f}% waiting for grades; '
          f'grading {step.graded_ns / 1e9:.3g} s, '
          f'{step.hidden_ns / 1e9:.3g} s of it beside '
          'a program')
  say = lambda what, shares: print(
      f'{what}: {numbers.spread([100 * x for x in shares])} %')
  say('no program', [step.idle_ns / step.took_ns for step in steps])
  say('of the step, waiting for grades',
      [step.waits_ns / step.took_ns for step in steps])
  graded = [step.hidden_ns / step.graded_ns for step in steps if step.graded_ns]
  if graded:
    say('of grading, beside a program', graded)


if __name__ == '__main__':
  door.run(main, lambda: flags.DEFINE_string(
      'run', None, 'The workdir of a run with a trace.', required=True))
