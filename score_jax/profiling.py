"""Traces of chosen steps, for TensorBoard or xprof: see docs/profiling.md."""

from collections.abc import Callable
from collections.abc import Iterator
import contextlib
import pathlib
import shutil

import jax

from score_jax import config as config_lib
from score_jax import files
from score_jax import hosts


def traced(
    config: config_lib.Config,
    stage: str,
    steps: range,
    folder: files.Path,
    say: Callable[[str], None],
) -> Iterator[int]:
  """The steps, with those that `config.profile` asks for traced.

  To be closed (`contextlib.closing`), or the trace of a step that fails stays
  open. What a trace takes to begin and to be written is no part of a step.

  Args:
    config: of the run.
    stage: whose steps they are.
    steps: that are still to be done, counted from 0.
    folder: where traces go, in the layout that TensorBoard looks for.
    say: prints a line.
  """
  chosen = _chosen(config, stage)
  ahead = range(max(chosen.start, steps.start), chosen.stop)
  if chosen and not ahead:
    say(f'profile: {stage} is at step {steps.start}, past those of '
        'config.profile; none is traced')
  with contextlib.ExitStack() as trace:
    for step in steps:
      if ahead and step == ahead.start:
        name = f'{stage}_{ahead.start + 1}-{ahead.stop}'
        trace.enter_context(_trace(folder, name, say))
      with jax.profiler.StepTraceAnnotation(stage, step_num=step + 1):
        yield step
      if step + 1 == ahead.stop:
        trace.close()


def _chosen(config, stage) -> range:
  """Steps of a stage that are to be traced, counted from 0."""
  asked = config.profile
  if stage != (asked.stage or config.stage):
    return range(0)
  return range(asked.first - 1, asked.first - 1 + asked.steps)


@contextlib.contextmanager
def _trace(folder, name, say) -> Iterator[None]:
  """Traces what happens meanwhile; a trace that is lost ends no run."""
  options = jax.profiler.ProfileOptions()
  options.session_id = name
  options.python_tracer_level = 0  # Every call of Python would bury the rest.
  with files.made_on_disk(folder) as made:
    own = made / f'process_{hosts.number()}' if hosts.several() else made
    jax.profiler.start_trace(own, profiler_options=options)
    try:
      yield
    finally:
      try:
        jax.profiler.stop_trace()
        if own != made:
          _move(own, made)
        say(f'profile: {folder}/plugins/profile/{name}')
      except (jax.errors.JaxRuntimeError, OSError) as error:  # A full disk.
        say(f'profile: not written: {str(error).splitlines()[0]}')


def _move(own: pathlib.Path, made: pathlib.Path):
  """Puts files beside those of other processes, which jax names alike.

  It names them by the machine, which may have several.
  """
  for path in [path for path in own.rglob('*') if path.is_file()]:
    to = made / path.relative_to(own)
    to.parent.mkdir(parents=True, exist_ok=True)
    path.rename(to.with_name(f'{own.name}_{to.name}'))
  shutil.rmtree(own)
