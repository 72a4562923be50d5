"""Flags in, an exit code out.

An argument file holds one flag a line, and comments that begin with #; it is
named by @FILE, anywhere among the flags. A later flag wins. Flags that begin
with --config, and --mode, are passed on to score_jax.main.

Exit codes: 0 done, 1 a command or the run failed, 2 bad input, 130 Ctrl-C.
"""

import argparse
from collections.abc import Callable
import pathlib
import re
import sys
import time

from launch import babysit
from launch import commands
from launch import config_check
from launch import job as job_lib
from launch import shell as shell_lib
from launch import slices

FAILED, BAD_INPUT, INTERRUPTED = 1, 2, 130
_COMMANDS = ('create', 'setup', 'run', 'status', 'logs', 'fetch', 'delete',
             'babysit')
_STARTS = ('run', 'babysit')
_COSTS = ('create', 'babysit')
_ROOT = pathlib.Path(__file__).resolve().parent.parent


class _Parser(argparse.ArgumentParser):

  def error(self, message):
    raise ValueError(message)

  def convert_arg_line_to_args(self, line):
    line = line.strip()
    return [] if not line or line.startswith('#') else [line]


def main(
    argv: list[str], sleep: Callable[[float], None] = time.sleep
) -> int:
  """Does what the flags ask for; returns the exit code."""
  try:
    flags, args = _parser().parse_known_args(_checked(argv))
    job = _job(flags, args)
    shell = shell_lib.Shell(flags.dry_run, flags.tries, flags.wait_s, sleep)
    if flags.command in _STARTS:
      remark = config_check.check(job.checkout, job.args)
      if remark:
        shell.say(remark)
    return _do(flags, job, shell, sleep)
  except ValueError as error:
    return _failed(str(error), BAD_INPUT)
  except shell_lib.CommandError as error:
    return _failed(str(error), FAILED)
  except KeyboardInterrupt:
    return _failed('interrupted; slices and runs are as they were', INTERRUPTED)


def _do(flags, job, shell, sleep) -> int:
  starts_workload = job.via == 'xpk' and flags.command == 'run'
  if flags.command in _COSTS or starts_workload:
    shell.say(f'{job.name}: {slices.describe(job.kind, job.count)}, '
              f'{job.tier or "on demand"}')
    step_s = flags.seconds_per_step
    if flags.timings:
      step_s = slices.step_s(flags.timings)
    shell.say(slices.estimate(job.kind, job.count, flags.steps, step_s))
  if flags.command == 'babysit':
    sitter = babysit.Babysitter(
        job, shell, sleep, flags.wait_s, flags.checkpoints, flags.yes,
        flags.delete_when_done)
    return sitter.rehearse() if flags.dry_run else sitter.watch()
  more = {
      'logs': (flags.worker, flags.node, flags.lines, flags.follow),
      'fetch': (flags.checkpoints,),
      'delete': (flags.yes,),
  }
  getattr(commands, flags.command)(job, shell, *more.get(flags.command, ()))
  return 0


def _parser() -> argparse.ArgumentParser:
  parser = _Parser(
      'launch/tpu.py', description=__doc__, fromfile_prefix_chars='@',
      allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter)
  add = parser.add_argument
  add('command', choices=_COMMANDS)
  add('--name', help='of the slices, or of the GKE workload')
  add('--type', help='of a slice, such as v5litepod-16')
  add('--chips', type=int, default=0,
      help='of a slice, for a --type that is not known here')
  add('--hosts', type=int, default=0, help='of such a slice')
  add('--node-count', type=int, default=1, help='slices')
  tier = parser.add_mutually_exclusive_group()
  for name in ('spot', 'reserved'):
    tier.add_argument(f'--{name}', dest='tier', action='store_const',
                      const=name, default='', help='else on demand')
  add('--runtime-version', help="else the type's own")
  add('--via', choices=('queued', 'vm', 'xpk'), default='queued',
      help='queued resources, a TPU VM that is there, or GKE')
  add('--zone', help="else gcloud's")
  add('--project', help="else gcloud's")
  add('--create-flag', action='append', default=[], help='for gcloud create')
  add('--ssh-flag', action='append', default=[], help='for gcloud ssh and scp')
  add('--run', help='id of the run; else --name')
  add('--bucket', default='', help='keeps the run; is mounted at --shared')
  add('--shared', help='folder on the hosts, the same files on all')
  add('--checkout', type=pathlib.Path, default=_ROOT, help='runs at its HEAD')
  add('--steps', type=int, help='of the run, for the estimate')
  add('--seconds-per-step', type=float, help='for the estimate')
  add('--timings', type=pathlib.Path, help='a timings.jsonl, for the estimate')
  add('--worker', default='0', help='whose log is shown')
  add('--node', default='0', help='its slice')
  add('--lines', type=int, default=50, help='of the log')
  add('--follow', action='store_true', help='the log')
  add('--to', type=pathlib.Path, help='where results go; else runs/RUN')
  add('--checkpoints', action='store_true', help='are fetched, too')
  add('--delete-when-done', action='store_true', help='babysit: the slices')
  add('--yes', action='store_true', help="delete what is somebody else's")
  add('--cluster', help='of GKE')
  add('--image', default='python:3.11', help='of Docker, for xpk')
  add('--storage', help='of the GKE cluster, at --shared')
  add('--tries', type=int, default=5, help='where no host answers')
  add('--wait-s', type=float, default=30, help='between tries, and rounds')
  add('--dry-run', action='store_true', help='print the lines only')
  return parser


def _checked(argv):
  """ValueError if an argument file is missing."""
  for arg in argv:
    if arg.startswith('@') and not pathlib.Path(arg[1:]).is_file():
      raise ValueError(f'{arg}: there is no argument file {arg[1:]}')
  return argv


def _job(flags, args) -> job_lib.Job:
  for arg in args:
    if not re.match(r'--(config[.=]|mode=)', arg):
      raise ValueError(f'unknown flag {arg}; see --help (and write '
                       '--config.FIELD=VALUE with its =)')
  if not re.fullmatch(r'[a-z][-a-z0-9]{0,38}[a-z0-9]', flags.name or ''):
    raise ValueError('--name is missing, or not of 2 to 40 lower-case letters, '
                     f'digits and dashes: {flags.name or ""!r}')
  run = flags.run or flags.name
  if not re.fullmatch(r'[\w.-]+', run):
    raise ValueError(f'--run={run}: use letters, digits, and any of . _ -')
  kind = slices.find(flags.type, flags.chips, flags.hosts,
                     flags.runtime_version) if flags.type else None
  if flags.node_count < 1 or flags.tries < 1:
    raise ValueError('--node-count and --tries are at least 1')
  runtime = flags.runtime_version or (kind.runtime if kind else '')
  job = job_lib.Job(
      flags.name, run, tuple(args), flags.via, kind, flags.node_count,
      flags.tier, runtime, flags.zone, flags.project, flags.bucket,
      flags.shared or '/mnt/score_jax', flags.checkout.resolve(),
      flags.to or pathlib.Path('runs') / run, tuple(flags.create_flag),
      tuple(flags.ssh_flag), flags.cluster, flags.image, flags.storage)
  _check(flags, job)
  return job


def _check(flags, job):
  """ValueError if a command lacks what it needs."""
  command = flags.command
  if command in (*_STARTS, *_COSTS) and not job.kind:
    raise ValueError(f'{command} needs --type, such as --type=v5litepod-16')
  if job.via == 'vm' and command in _COSTS:
    raise ValueError(f'--via=vm is for a TPU VM that is there; {command} needs '
                     '--via=queued')
  if job.via == 'xpk' and command in ('create', 'setup', 'babysit'):
    raise ValueError(f'--via=xpk has no {command}: xpk cluster create makes '
                     'the cluster, run starts the workload, and GKE re-creates '
                     'what is preempted')
  if job.via == 'xpk' and not job.cluster and command != 'fetch':
    raise ValueError('--via=xpk needs --cluster')
  if job.via == 'xpk' and command == 'fetch' and not job.bucket:
    raise ValueError('--via=xpk needs --bucket to fetch from')
  if command not in (*_STARTS, 'setup'):
    return
  if not (job.checkout / 'launch' / 'on_vm.sh').is_file() or not (
      job.checkout / '.git').exists():
    raise ValueError(f'--checkout={job.checkout} is no git checkout of '
                     'score_jax')
  if command == 'setup':
    return
  if not any(arg.startswith('--config=') for arg in job.args):
    raise ValueError('--config=FILE of the run is missing')
  if job.hosts > 1 and not (job.bucket or flags.shared or job.storage):
    raise ValueError(
        f'{job.hosts} hosts need a folder that all of them share: --bucket, or '
        '--shared with what you mounted there yourself')


def _failed(line, code) -> int:
  print(f'launch: {line}', file=sys.stderr, flush=True)
  return code
