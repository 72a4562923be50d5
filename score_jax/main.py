"""The door: flags in, an exit code out.

    python -m score_jax.main --config=experiments/stage2.py --workdir=DIR

Exit codes: 0 done; 1 the training failed or memory ran out (with
`--mode=compile`: would run out); 2 bad input; 142 one of several processes fell
silent, see `score_jax.watch`; 143 stopped by SIGTERM or Ctrl-C, saved. Errors
of the user are one line (`--v=1` shows the traceback).
"""

import contextlib
import os
import re
import sys
import traceback

from absl import app
from absl import flags
from absl import logging
import jax
from ml_collections import config_flags

from score_jax import compile_cache
from score_jax import compile_check
from score_jax import config as config_lib
from score_jax import door
from score_jax import evaluations
from score_jax import files
from score_jax import hosts
from score_jax import notice
from score_jax import pipeline
from score_jax import recipes
from score_jax import run as run_lib
from score_jax import shutdown
from score_jax import sweep
from score_jax import watch
from score_jax.report import table

_CONFIG = config_flags.DEFINE_config_file(
    'config', None,
    'FILE or FILE:VARIANT; experiments/stage2.py needs no checkout. '
    'Fields: score_jax/config.py; variants: score_jax/recipes/base_recipes.py.')
_WORKDIR = flags.DEFINE_string(
    'workdir', None,
    'Where the run is kept: DIR, or gs://BUCKET/RUN; by default runs/NAME.')
_MODE = flags.DEFINE_enum(
    'mode', 'train', ['train', 'eval', 'compile'],
    'Train what is missing, evaluate, or compile for a TPU slice that need not '
    'be here: whether the run fits it, and what it costs.')
_TOPOLOGY = flags.DEFINE_string(
    'topology', '', 'The slice that --mode=compile compiles for: v5e:16x16.')
_SLICES = flags.DEFINE_integer(
    'slices', 1, 'Slices of --topology, with data parallelism across them.')
_COMPILE_CACHE = flags.DEFINE_string(
    'compile_cache', None,
    'Where compiled programs are kept for the next start, also of other runs; '
    'by default JAX_COMPILATION_CACHE_DIR, or else WORKDIR/compile_cache. '
    'Empty: nowhere.')
_DISTRIBUTED = flags.DEFINE_bool(
    'distributed', False,
    'Several hosts, each with one process that runs this same command.')
_COORDINATOR = flags.DEFINE_string(
    'coordinator_address', '',
    'With --distributed: HOST:PORT of process 0; not needed on a TPU slice.')
_NUM_PROCESSES = flags.DEFINE_integer(
    'num_processes', 0, 'With --coordinator_address: processes in all.')
_PROCESS_ID = flags.DEFINE_integer(
    'process_id', -1, 'With --coordinator_address: number of this one, from 0.')

_JOIN_TIMEOUT_S = flags.DEFINE_float(
    'join_timeout_s', 600.0,
    'With --distributed: seconds to wait for processes that have not started.')
_EVALUATION_NAME = flags.DEFINE_string(
    'evaluation_name', '',
    'With --mode=eval: results go to WORKDIR/evaluations/NAME; by default the '
    'name is made of split, problems, stage, step and a digest of the config.')
_ALLOW_GAPS = flags.DEFINE_bool(
    'allow_gaps', False,
    'Go on where metrics.jsonl, timings.jsonl or transcripts.jsonl lacks rows '
    'that its checkpoints or results have.')

FAILED, BAD_INPUT, STOPPED = 1, 2, 143


def parse(argv: list[str]) -> list[str]:
  """Parses the flags; bad ones end with one line and exit code 2."""
  try:
    for arg in argv[1:]:
      config_lib.check_override(arg)
    rest = flags.FLAGS(_with_packaged(argv))
    if len(rest) > 1:
      raise ValueError(f'unexpected argument {rest[1]!r}; flags begin with --')
    if _CONFIG.value is None:
      raise ValueError('--config=FILE is missing, for example '
                       '--config=experiments/stage2.py')
    if not flags.FLAGS['verbosity'].present:  # Libraries' chatter.
      logging.set_verbosity(logging.WARNING)
    if not hasattr(_CONFIG.value, 'to_dict'):  # OSError if there is no file.
      raise ValueError('get_config() of the --config file must return an '
                       'ml_collections.ConfigDict')
    return rest
  except Exception as error:  # Whatever a config file raises.
    sys.exit(_failed(_in_a_line(error, argv), BAD_INPUT))


def _with_packaged(argv: list[str]) -> list[str]:
  """Return the arguments, with --config naming a file that exists."""
  found = list(argv)
  for n, arg in enumerate(argv):
    if arg in ('--config', '-config') and n + 1 < len(argv):
      found[n + 1] = recipes.packaged(argv[n + 1])
    elif match := re.fullmatch(r'(--?config=)(.*)', arg, re.DOTALL):
      found[n] = match.group(1) + recipes.packaged(match.group(2))
  return found


def main(unused_argv: list[str]):
  """Runs what the flags ask for."""
  try:
    _run()
  except shutdown.Stopped as error:
    sys.exit(_failed(str(error), STOPPED))
  except Exception as error:  # Any of them ends all processes.
    found = _known(error)
    if not hosts.several():
      if logging.vlog_is_on(1) or not found:
        raise
      sys.exit(_failed(*found))
    if not found:
      traceback.print_exc()
    watch.end_all(*found or (repr(error), FAILED))


def _known(error: Exception) -> tuple[str, int] | None:
  """A line and an exit code; None where only a traceback tells more."""
  if isinstance(error, (ValueError, FloatingPointError)):
    return str(error), (
        FAILED if isinstance(error, FloatingPointError) else BAD_INPUT)
  if isinstance(error, OSError) and error.filename is not None:
    return f'{os.fsdecode(error.filename)}: {error.strerror}', BAD_INPUT
  if isinstance(error, jax.errors.JaxRuntimeError):
    found = re.search(r'out of memory.*', str(error), re.IGNORECASE)
    if found:
      return (f'{found.group()}; raise config.stage1.micro_batches and those '
              'of stage2, lower config.evaluation.batch_size, or choose from '
              'docs/memory.md', FAILED)
    if hosts.several():  # Most likely it is another process that failed.
      watch.await_end()
  return None


def _run():
  if _DISTRIBUTED.value:
    hosts.join(_COORDINATOR.value, _NUM_PROCESSES.value, _PROCESS_ID.value,
               _JOIN_TIMEOUT_S.value)
  elif _COORDINATOR.value:
    raise ValueError('--coordinator_address is for --distributed; give both')
  with watch.Watch():
    _act()


def _act():
  values = _CONFIG.value.to_dict()
  if _EVALUATION_NAME.value:
    if _MODE.value != 'eval':
      raise ValueError('--evaluation_name is for --mode=eval; give both')
    evaluations.check_name(_EVALUATION_NAME.value)
  if 'sweep' in values:
    _sweep(values)
    return
  config = config_lib.from_dict(values)
  config_lib.check_warmup(
      config, config_flags.get_override_values(flags.FLAGS['config']))
  config = run_lib.resolved(config)
  folder = files.opened(_WORKDIR.value or f'runs/{config.name}', writes=True)
  if hosts.is_first():
    print(f'workdir: {folder}', flush=True)
  if _MODE.value == 'compile':
    jax.config.update('jax_platforms', 'cpu')  # No device takes part.
    # For other devices, what is kept could not be read back.
    jax.config.update('jax_enable_compilation_cache', False)
    wrong = compile_check.check(config, folder, _TOPOLOGY.value, _SLICES.value)
    if wrong:
      sys.exit(_failed(f'{config.name} on {_TOPOLOGY.value}: {wrong}; see '
                       f'{folder}/compile.json', FAILED))
    return
  compile_cache.keep(_COMPILE_CACHE.value, folder / 'compile_cache')
  with shutdown.StopRequest() as stop, notice.Notice(stop):
    run = run_lib.open_run(config, folder, stop, _MODE.value == 'eval',
                           _ALLOW_GAPS.value)
    with contextlib.closing(run), jax.set_mesh(run.mesh):
      if _MODE.value == 'eval':
        results = pipeline.evaluate_all(run, _EVALUATION_NAME.value)
      else:
        results = pipeline.train_all(run)
  if hosts.is_first():
    print(table.results_table(results), flush=True)


def _sweep(values):
  name = _WORKDIR.value or f'runs/{values["name"]}'
  files.check_on_disk('--workdir', name, new=True)
  folder = files.folder(name)
  print(f'workdir: {folder}', flush=True)
  if _MODE.value != 'train':
    raise ValueError(f'--mode={_MODE.value} is of single runs; those of a sweep'
                     f' are in {folder}/cells, and the sweep has --mode=train')
  compile_cache.keep(_COMPILE_CACHE.value, folder / 'compile_cache')
  with shutdown.StopRequest() as stop, notice.Notice(stop):
    failed = sweep.run_all(values, folder, stop,
                           allow_gaps=_ALLOW_GAPS.value)
  if failed:
    sys.exit(_failed(f'{len(failed)} cells failed, the first: {failed[0]}',
                     FAILED))


def _in_a_line(error: Exception, argv: list[str]) -> str:
  """What is wrong with the flags, or in the config file that they name."""
  # What get_config raises may come as a traceback, its own words at the end.
  *traceback, line = str(error).strip().splitlines()
  if not traceback and isinstance(error, (flags.Error, ValueError)):
    return line
  files = re.findall(r'(?<!\S)--?config[= ]\S+', ' '.join(argv))
  where = files[-1] if files else '--config'
  return f'{where}: {line.strip().removeprefix("ValueError: ")}'


def _failed(line: str, code: int) -> int:
  return door.failed([line], code)


if __name__ == '__main__':
  app.run(main, flags_parser=parse)
