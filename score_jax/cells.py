"""The cells of a sweep: their configs, their folders, and what they share.

    WORKDIR/cells/SEED/base          the base model of a seed
    WORKDIR/cells/SEED/stage1        Stage I of SCoRe, begun as a copy of that
    WORKDIR/cells/SEED/CELL          a run, begun as a copy of one of the two

With a dial there is a folder of its value, SEED/VALUE/CELL, for all that it
has a part in. Every folder is the workdir of a run. A copy is what the run
would have come to by itself, so a cell alone can be run again anywhere.
"""

from collections.abc import Sequence
import copy
import dataclasses
import pathlib
import re
import shutil
from typing import Any

import ml_collections

from score_jax import config as config_lib
from score_jax import files
from score_jax import lock
from score_jax import origins
from score_jax import pipeline
from score_jax import results_file
from score_jax import run as run_lib
from score_jax import writer as writer_lib
from score_jax.recipes import methods

SHARED = ('base', 'stage1')
"""Names of the cells that others begin as copies of."""

_LATER = origins.LATER
_NO_PART = {  # Fields, and groups of them, that change nothing of the weights.
    'base': ('name', 'stage', 'checkpoints', 'evaluation', *_LATER,
             'task.train_problems', 'rollout.prompts', 'rollout.samples',
             'rollout.parts', 'rollout.temperature', 'rollout.attempt_tokens',
             'rollout.feedback', 'rollout.feedback_tokens'),
    'stage1': ('name', 'stage', 'checkpoints', 'evaluation', 'stage1b',
               'stage2'),
}
# Nor of what an evaluation finds.
_NO_PART_IN_RESULTS = tuple(
    name for name in _NO_PART['base'] if name not in (
        'evaluation', 'rollout.attempt_tokens', 'rollout.feedback',
        'rollout.feedback_tokens')) + ('evaluation.studies',)
# What must be equal for a comparison to be one.
_EQUAL = re.compile(
    r'seed|task\.|model\.|base\.|evaluation\.(split|problems)|'
    r'rollout\.(prompts|samples|temperature|parts|prompt_buckets)|'
    r'stage(1b?|2)\.(beta1|beta2|kl|kl_credit|normalisation|optimizer\..*)')


@dataclasses.dataclass(frozen=True)
class Cell:
  """A run of a sweep.

  Attributes:
    name: of the cell; 'base' and 'stage1' are shared.
    seed: of its config.
    value: of the dial; None without one, or where it has no part in it.
    config: checked.
    folder: its workdir.
    start: what it begins as a copy of; None for the base.
  """

  name: str
  seed: int
  value: float | None
  config: config_lib.Config
  folder: pathlib.Path
  start: 'Cell | None'

  def __str__(self) -> str:
    dial = '' if self.value is None else f' at {self.value:g}'
    return f'seed {self.seed}, {self.name}{dial}'

  @property
  def stage(self) -> str:
    """The last stage, of which its results are."""
    return pipeline.stages_of(self.config)[-1]

  def result(self) -> dict[str, Any] | None:
    """What `results.json` holds of its last stage; None if it is not finished.
    """
    results = results_file.read(self.folder / 'results.json') or {'stages': {}}
    found, steps = results['stages'].get(self.stage), (
        getattr(self.config, self.stage).steps)
    if self.stage == 'base' and self.config.model.checkpoint:
      steps = None
    return found if found and found.get('step') == steps else None


def of_sweep(
    values: dict[str, Any], sweep: config_lib.SweepConfig, folder: pathlib.Path
) -> list[Cell]:
  """All cells in the order in which they run: what is shared comes first.

  Args:
    values: the fields that all cells have.
    sweep: what each has beside them.
    folder: of the sweep.

  Raises:
    ValueError: a cell's config is wrong, or is not to be compared with that of
      `sweep.against`.
  """
  plain = config_lib.from_dict(values)
  cells = {}  # By folder: what the dial has no part in is there once.
  for seed in range(sweep.seeds):
    for value in sweep.values or (None,):
      configs = _configs(values, sweep, seed, value)
      against = configs[sweep.against]
      shared = {
          name: dataclasses.replace(
              against, name=name, stage=name, evaluation=dataclasses.replace(
                  against.evaluation, studies=plain.evaluation.studies))
          for name in SHARED if getattr(against, name).steps}
      at = folder / 'cells' / str(seed)
      begun = []
      for name, config in (shared | configs).items():
        own = value if name not in SHARED or _dialled(sweep.dial, name) else (
            None)
        where = at / (name if own is None else f'{own:g}/{name}')
        start = _start(config, begun, name)
        cell = cells.setdefault(
            where, Cell(name, seed, own, config, where, start))
        if name in SHARED:
          begun.append(cell)
  return list(cells.values())


def differences(config: config_lib.Config, other: config_lib.Config
                ) -> dict[str, tuple[str, str]]:
  """The fields in which two configs differ, with both values as JSON."""
  ours, theirs = (files.flat(dataclasses.asdict(c)) for c in (config, other))
  return {name: (ours[name], theirs[name]) for name in sorted(ours)
          if ours[name] != theirs[name] and name != 'name'}


def check_folders(cells: Sequence[Cell]):
  """ValueError if the folder of a cell is of a run with another config."""
  for cell in cells:
    record = files.read_json(cell.folder / 'config.json')
    if record is not None:
      base = record.get('base') if isinstance(record, dict) else None
      writer_lib.Writer(cell.folder).check_config(
          {'config': dataclasses.asdict(cell.config), 'base': base})


def begin(cell: Cell):
  """Makes the folder of a cell, unless it is there, of what it begins as.

  Raises:
    ValueError: the system refuses something.
  """
  if cell.folder.exists() or cell.start is None:
    return
  left_out = ['config.json', lock.NAME, 'evaluations']
  if not _no_part(_NO_PART_IN_RESULTS, cell.config, cell.start.config):
    left_out += ['results.json', 'transcripts.jsonl']
  aside = cell.folder.with_name(cell.folder.name + '.partial')
  with files.named_errors(cell.folder):
    if aside.exists():
      shutil.rmtree(aside)
    shutil.copytree(cell.start.folder, aside,
                    ignore=shutil.ignore_patterns(*left_out))
    aside.rename(cell.folder)


def _configs(values, sweep, seed, value) -> dict[str, config_lib.Config]:
  """By name, each compared with the one that all are compared with."""
  found = {}
  against_first = sorted(sweep.cells, key=lambda name: name != sweep.against)
  for name in against_first:
    own = sweep.cells[name]
    where = f'config.sweep.cells.{name}'
    if name in SHARED or not re.fullmatch(r'[a-zA-Z]\w*', name):
      raise ValueError(f'{where}: a cell is named by letters and digits, and '
                       f'not {" or ".join(SHARED)}; choose another name')
    if not isinstance(own, (dict, str)):
      raise ValueError(f'{where} is {own!r}; it must be a group of fields, or '
                       'the name of a method')
    if isinstance(own, str) and own not in methods.METHODS:
      raise ValueError(
          f'{where} is {own!r}{config_lib.nearest(own, methods.METHODS)}; '
          f'known methods: {", ".join(methods.METHODS)}')
    if not sweep.only or name in sweep.only:
      fields = _own(values, own) | {'name': name, 'seed': seed}
      for path in sweep.dial:
        _set(fields, path, value)
      if name == sweep.against:
        fields['evaluation']['studies'] += sweep.studies
      try:
        found[name] = run_lib.resolved(config_lib.from_dict(fields))
      except ValueError as error:
        raise ValueError(f'{where}: {error}') from error
  for name, config in found.items():
    _check_equal(f'config.sweep.cells.{name}', config, found[sweep.against],
                 sweep.against)
  return found


def _own(values, own: dict | str) -> dict[str, Any]:
  """Return the fields of a cell: its own, or those that its method changes."""
  if isinstance(own, dict):
    return _merged(values, own)
  config = ml_collections.ConfigDict(copy.deepcopy(values))
  methods.METHODS[own](config)
  if config.rollout.feedback != 'none':  # The studies are of attempts alone.
    config.evaluation.studies = ()
  return config.to_dict()


def _check_equal(where, config, against, name):
  """ValueError if a row had another budget, or settings of its own."""
  if config.stage == 'base':  # Nothing is trained.
    return
  ours, theirs = (files.flat(dataclasses.asdict(c)) for c in (config, against))
  for field in filter(_EQUAL.fullmatch, ours):
    # Stage I(b) is held to the settings of Stage I.
    other = theirs[field.replace('stage1b.', 'stage1.')]
    if ours[field] != other and (
        config.stage1b.steps or not field.startswith('stage1b.')):
      raise ValueError(
          f'{where}: config.{field} is {ours[field]}, and {other} in {name}; '
          'rows are compared at equal data, budgets, learning rates and KL '
          'weights')
  steps = [sum(getattr(of, stage).steps for stage in _LATER)
           for of in (config, against)]
  if steps[0] != steps[1]:
    raise ValueError(
        f'{where} has {steps[0]} steps, and {name} {steps[1]}; rows are '
        'compared at equal steps: change them in the file of the sweep, before '
        'its cells are made')


def _start(config, begun, name) -> Cell | None:
  """The last of what is shared that a run may begin as."""
  fitting = [cell for cell in begun if name in SHARED or (
      config.stage != 'base' or cell.name == 'base') and (
          getattr(config, cell.name).steps
          and _no_part(_NO_PART[cell.name], config, cell.config))]
  return fitting[-1] if fitting else None


def _no_part(fields, config, other) -> bool:
  return all(origins.is_of(name, fields)
             for name in differences(config, other))


def _dialled(dial, name) -> bool:
  """Whether a dial has a part in what is shared."""
  return not all(origins.is_of(path, _NO_PART[name]) for path in dial)


def _merged(values, own) -> dict[str, Any]:
  """`values` with the fields of `own`, group by group; both stay."""
  return {
      name: _merged(values.get(name, {}), own.get(name, {}))
      if isinstance(values.get(name, own.get(name)), dict)
      else own.get(name, values.get(name))
      for name in values | own}


def _set(fields, path, value):
  """Sets a field to a number of its own type."""
  *groups, name = path.split('.')
  for group in groups:
    fields = fields.get(group, {}) if isinstance(fields, dict) else {}
  if name not in fields:
    raise ValueError(f'config.sweep.dial: there is no field config.{path}')
  fields[name] = int(value) if isinstance(fields[name], int) else value
