"""Many runs that are compared: cell by cell, then one table of all.

    python -m score_jax.main --config=experiments/sweep_embedded.py

A config with the group `sweep` is of these, see `config.SweepConfig`. What is
finished is skipped, what was stopped goes on, as with a single run. The same
command in another process takes other seeds. WORKDIR:

    cells/        a workdir for every run, see `score_jax.cells`
    table.md      means over seeds with intervals, differences, controls
    table.json    the same, with the number of every seed
    report.html   the same, with charts; each chart alone is in plots/
"""

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
import contextlib
import pathlib
from typing import Any

import jax

from score_jax import cells as cells_lib
from score_jax import config as config_lib
from score_jax import files
from score_jax import hosts
from score_jax import lock
from score_jax import pipeline
from score_jax import run as run_lib
from score_jax import shutdown
from score_jax.report import sweeps


def run_all(
    values: dict[str, Any],
    folder: pathlib.Path,
    stop: shutdown.StopRequest,
    say: Callable[[str], None] = print,
    allow_gaps: bool = False,
) -> list[str]:
  """Runs every cell that is not finished, and writes what came out.

  A cell whose training fails leaves a gap in the table; the others go on. Seeds
  that other processes are at work on are left to them.

  Args:
    values: the fields of the config, with `sweep`.
    folder: the workdir; may be new.
    stop: see `run.Run`.
    say: prints a line.
    allow_gaps: see `writer.Writer`.

  Returns:
    For each cell that failed a line that says why.

  Raises:
    ValueError: the sweep is wrong, or the folder is of another one.
    shutdown.Stopped: saved, when asked to.
  """
  if hosts.several():
    raise ValueError('a sweep is run by one process; leave out --distributed')
  values = dict(values)
  sweep = config_lib.sweep_from_dict(values.pop('sweep'))
  cells = cells_lib.of_sweep(values, sweep, folder)
  cells_lib.check_folders(cells)
  own = _own_fields(cells, sweep.against)
  done = sum(cell.result() is not None for cell in cells)
  say(f'{len(cells)} cells, {done} of them finished; what each has that '
      f'{sweep.against} has not:')
  for name, fields in own.items():
    say(f'  {name}: {", ".join(fields) or "nothing"}')
  failed = []
  with contextlib.closing(
      _seeds_of_this_process(sweep.seeds, folder / 'cells', say)) as seeds:
    for seed in seeds:
      failed += _run_seed(seed, cells, stop, say, allow_gaps)
  with lock.held(folder, wait=True):  # The last to end has them all.
    found = sweeps.Sweep(values['name'], sweep, own, _results(cells))
    sweeps.write(folder, found)
  say(f'\n{sweeps.markdown(found)}')
  return failed


def _seeds_of_this_process(seeds, folder, say) -> Iterator[int]:
  """Those that no other is at work on; its own until the next is asked for."""
  left, mine = list(range(seeds)), True
  while left and mine:
    for seed in left:
      place = folder / str(seed)
      with files.named_errors(place):
        place.mkdir(parents=True, exist_ok=True)
      with lock.held(place) as mine:
        if mine:
          yield seed
      if mine:
        left.remove(seed)
        break
  if left:
    say(f'\nother processes are at work on seed {", ".join(map(str, left))}; '
        'the one that ends last writes the whole table')


def _run_seed(seed, cells, stop, say, allow_gaps) -> list[str]:
  """Runs what is not finished of a seed; a line for each cell that failed."""
  failed = []
  for number, cell in enumerate(cells, 1):
    if cell.seed == seed and cell.result() is None:
      say(f'\ncell {number} of {len(cells)}: {cell}')
      try:
        _run(cell, stop, allow_gaps)
      except (ValueError, FloatingPointError) as error:
        if cell.name in cells_lib.SHARED:  # Nothing can go on from there.
          raise type(error)(f'{cell}: {error}') from error
        failed.append(f'{cell}: {error}')
        say(failed[-1])
  return failed


def _run(
    cell: cells_lib.Cell, stop: shutdown.StopRequest, allow_gaps: bool
):
  cells_lib.begin(cell)
  run = run_lib.open_run(cell.config, cell.folder, stop, False, allow_gaps)
  with contextlib.closing(run), jax.set_mesh(run.mesh):
    pipeline.train_all(run)


def _own_fields(
    cells: Sequence[cells_lib.Cell], against: str
) -> dict[str, list[str]]:
  """What each cell has that is its own, in words."""
  of_name = {cell.name: cell for cell in reversed(cells)}
  return {
      name: _own(cell.config, of_name[against].config)
      for name, cell in reversed(of_name.items())
      if name not in cells_lib.SHARED}


def _own(config, against) -> list[str]:
  """Its own fields; not studies, nor those of stages that are left out."""
  return [
      f'{field} {ours}' for field, (ours, _) in cells_lib.differences(
          config, against).items()
      if field.endswith('.steps') or field != 'evaluation.studies'
      and getattr(getattr(config, field.partition('.')[0]), 'steps', True)]


def _results(cells: Sequence[cells_lib.Cell]) -> list[sweeps.Result]:
  """Of the cells that are finished."""
  found = []
  for cell in cells:
    result = cell.result()
    if result is not None:
      logged = [row for _, row in files.read_lines(
          cell.folder / 'metrics.jsonl')]
      found.append(sweeps.Result(
          cell.name, cell.seed, cell.value, result,
          [row for row in logged if row['stage'] != 'base']))
  return found
