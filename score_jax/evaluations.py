"""Evaluations by `--mode=eval`, each in a folder of the workdir.

    evaluations/NAME/config.json       the record of the run that evaluated
    evaluations/NAME/results.json      as that of a run
    evaluations/NAME/transcripts.jsonl
"""

import dataclasses
import hashlib
import json
import re

from score_jax import files
from score_jax import hosts
from score_jax import origins
from score_jax import writer as writer_lib
from score_jax.run import Run

_NO_PART = ('name', 'stage', 'checkpoints', 'profile', 'mesh', 'memory')


def default_name(run: Run, steps: dict[str, int | None]) -> str:
  """Return a name for an evaluation: equal for equal settings and steps.

  Args:
    run: the run.
    steps: of each stage that is evaluated; None of weights that were given.

  Returns:
    Split, number of problems, last stage and its step, and a digest of all
    settings, such as 'test_500_stage2_1500_1a2b3c4d'.
  """
  settings = run.config.evaluation
  fields = files.flat(dataclasses.asdict(run.config))
  kept = {name: value for name, value in fields.items()
          if not origins.is_of(name, _NO_PART)}
  text = json.dumps([kept, steps, run.base], sort_keys=True)
  digest = hashlib.sha256(text.encode()).hexdigest()[:8]
  stage, step = list(steps.items())[-1]
  parts = (settings.split, settings.problems or 'all', stage,
           'given' if step is None else step, digest)
  return re.sub(r'[^\w.-]', '-', '_'.join(map(str, parts)))


def check_name(name: str):
  """ValueError unless a name can be that of a folder."""
  if not re.fullmatch(r'\w[\w.-]{0,99}', name, re.ASCII):
    raise ValueError(
        f'--evaluation_name={name[:200]!r}: a name has 1 to 100 letters, '
        'digits, and _ - . after the first')


def opened(run: Run, name: str, steps: dict[str, int | None]) -> Run:
  """Return the run with transcripts and results in `evaluations/NAME`.

  Args:
    run: the run.
    name: of the evaluation; '' takes `default_name`.
    steps: of each stage that is evaluated.

  Raises:
    ValueError: an evaluation of that name has other settings.
  """
  if name:
    check_name(name)
  name = name or default_name(run, steps)
  writer = run.writer.evaluation(name)
  record = writer_lib.run_record(dataclasses.asdict(run.config), run.base)
  writer.check_config(record, _NO_PART, 'name another --evaluation_name')
  if hosts.is_first() and not (writer.results_in / 'config.json').exists():
    writer.config(record)
  run.say(f'evaluation: {writer.results_in}')
  return dataclasses.replace(run, writer=writer)


def is_there(run: Run, stage: str, step: int | None) -> bool:
  """Return whether a stage was evaluated here, and say so.

  Raises:
    ValueError: it was at another step.
  """
  results = run.writer.read_results() or {'stages': {}}
  found = results['stages'].get(stage)
  if found is None:
    return False
  if found.get('step') != step:
    raise ValueError(
        f'{run.writer.results_in} holds {stage} at step {found.get("step")}, '
        f'and its checkpoint is of step {step}; name another '
        '--evaluation_name')
  run.say(f'{stage}: already evaluated in {run.writer.results_in}; skipped')
  return True
