"""The paper's tables on an embedded task: every method, several seeds.

    python -m score_jax.main --config=experiments/sweep_embedded.py[:TASK+FORM]

TASK is a variant of `score_jax/recipes/base_recipes.py` that brings its own
data; FORM is one of

    full       every method, 5 seeds: at most 3 hours on two cores
    quick      the main methods, 2 seeds, a quarter of the problems: at most 40
               minutes
    problems   the main methods against the number of training problems, 3 seeds

Each method is a cell: the config of the task, changed by the method of that
name in `score_jax/recipes/methods.py`. To choose settings, give
--config.evaluation.split=validation and another --workdir. Cells are chosen
with --config.sweep.only=score,star.
"""

import dataclasses

import ml_collections

from score_jax import config as config_lib
from score_jax.recipes import base_recipes
from score_jax.recipes import methods

ConfigDict = ml_collections.ConfigDict

TASK = 'bands'

MAIN = ('score', 'no_stage1', 'no_bonus', 'single_turn', 'plain_last',
        'plain_sum', 'star', 'pair_sft')
# The tests of a program are feedback for programs alone.
ALL = tuple(name for name in methods.METHODS if name != 'feedback_tests')


def full(config: ConfigDict) -> config_lib.SweepConfig:
  """Every method."""
  config.evaluation.samples = 8
  return config_lib.SweepConfig(
      seeds=5, cells={name: name for name in ALL}, studies=('scaling',))


def quick(config: ConfigDict) -> config_lib.SweepConfig:
  """The main methods, in minutes."""
  config.evaluation.problems = 500
  return config_lib.SweepConfig(seeds=2, cells={name: name for name in MAIN})


def problems(config: ConfigDict) -> config_lib.SweepConfig:
  """The main methods against the number of training problems.

  With the largest no problem comes twice.
  """
  del config
  return config_lib.SweepConfig(
      seeds=3, cells={name: name for name in MAIN},
      dial=('task.train_problems',), values=(64, 256, 1024, 8192))


FORMS = {form.__name__: form for form in (full, quick, problems)}


def get_config(arg: str | None = None) -> ConfigDict:
  """The config of a sweep.

  Raises:
    ValueError: an unknown task or form; the message lists the known ones.
  """
  task, _, form = (arg or TASK).partition('+')
  if task in FORMS and not form:
    task, form = TASK, task
  form = form or 'full'
  if form not in FORMS:
    raise ValueError(f'unknown form {form!r}{config_lib.nearest(form, FORMS)}; '
                     f'known: {", ".join(FORMS)}')
  config = base_recipes.make(task, 'stage2')
  config.name = f'sweep_{task}_{form}'
  with config.unlocked():
    config.evaluation.studies = ('swapped',)
    config.sweep = dataclasses.asdict(FORMS[form](config))
  return config
