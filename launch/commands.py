"""What the commands do, each by a few lines of gcloud or xpk."""

import dataclasses
import json
import re
import shlex
from typing import Any

from launch import gcloud
from launch import job as job_lib
from launch import shell as shell_lib
from launch import xpk

_HOST = re.compile(r'^(\S+) (running|absent|ended (\d+)) (\S+)$', re.MULTILINE)


@dataclasses.dataclass(frozen=True)
class Host:
  """What a host says of the run.

  Attributes:
    name: of the host.
    code: the exit code of its process; None if it has not ended.
    running: whether it runs.
    step: the last of the run, as STAGE:STEP; '-' before the first.
  """

  name: str
  code: int | None
  running: bool
  step: str


def describe(job: job_lib.Job, shell: shell_lib.Shell) -> dict[str, Any]:
  """What gcloud knows of the slices; empty if there are none."""
  try:
    return json.loads(shell.ask(gcloud.describe(job)))
  except shell_lib.CommandError as error:
    if error.kind == 'absent':
      return {}
    raise


def state(found: dict[str, Any]) -> str:
  """The state of slices, as gcloud names it; ABSENT if there are none."""
  said = found.get('state', 'ABSENT')  # A TPU VM's is a word.
  return said if isinstance(said, str) else said.get('state', 'UNKNOWN')


def check_ours(job: job_lib.Job, found: dict[str, Any], yes: bool):
  """ValueError unless all slices carry the label of `create`, or with a yes.
  """
  specs = found.get('tpu', {}).get('nodeSpec', [])
  nodes = [spec.get('node', {}) for spec in specs] or [found]
  key, value = gcloud.LABEL
  if not yes and any(node.get('labels', {}).get(key) != value
                     for node in nodes):
    raise ValueError(
        f'{job.name} was not created by launch/tpu.py (it has no label '
        f'{key}={value}); to delete it all the same, add --yes')


def hosts(job: job_lib.Job, shell: shell_lib.Shell) -> list[Host]:
  """Asks the hosts how the run is; those without the script are 'absent'."""
  said = shell.ask(_status(job))
  return [Host(name, int(code) if code else None, what == 'running', step)
          for name, what, code, step in _HOST.findall(said)]


def create(job: job_lib.Job, shell: shell_lib.Shell):
  """Asks for the slices."""
  shell.run(gcloud.create(job))


def setup(job: job_lib.Job, shell: shell_lib.Shell):
  """Brings the checkout at its HEAD to all hosts, and what it needs."""
  in_checkout = ['git', '-C', str(job.checkout)]
  bundle = job.checkout / 'build' / 'score_jax.bundle'
  if not shell.dry_run:
    bundle.parent.mkdir(exist_ok=True)
    changed = shell.ask([*in_checkout, 'status', '--short']).splitlines()
    if changed:
      names = [line[3:] for line in changed]
      shell.say(f'not committed, so not taken along: {", ".join(names)}')
  shell.run([*in_checkout, 'bundle', 'create', '-q', str(bundle), 'HEAD'])
  shell.run(gcloud.upload(job, bundle, job.checkout / 'launch' / 'on_vm.sh'))
  bucket = [job.bucket] if job.bucket else []
  shell.run(gcloud.ssh(job, ['bash', 'on_vm.sh', 'setup', job.shared, *bucket]))


def run(job: job_lib.Job, shell: shell_lib.Shell):
  """Starts the run on all hosts, unless it runs; or as a GKE workload."""
  if job.via == 'xpk':
    shell.run(xpk.create(job), stream=True)
    return
  shell.run(gcloud.ssh(
      job, ['bash', 'on_vm.sh', 'start', job.run, *job.program]))


def status(job: job_lib.Job, shell: shell_lib.Shell):
  """Says the state of the slices, and of the run on each host."""
  if job.via == 'xpk':
    shell.run(xpk.status(job), stream=True)
    return
  if shell.dry_run:
    shell.run(gcloud.describe(job))
    shell.run(_status(job))
    return
  found = describe(job, shell)
  shell.say(f'{job.name}: {state(found)} {failure(found)}'.rstrip())
  if state(found) in ('ACTIVE', 'READY'):
    for host in hosts(job, shell):
      how = 'running' if host.running else 'not started'
      how = how if host.code is None else f'ended with exit code {host.code}'
      shell.say(f'{host.name}: {how}, last step {host.step}')


def failure(found: dict[str, Any]) -> str:
  """Why slices are in state FAILED, if gcloud says it; or ''."""
  said = found.get('state')
  failed = said.get('failedData', {}) if isinstance(said, dict) else {}
  return failed.get('error', {}).get('message', '')


def logs(
    job: job_lib.Job, shell: shell_lib.Shell, worker: str, node: str,
    lines: int, follow: bool,
):
  """Shows the end of a host's log."""
  if job.via == 'xpk':
    shell.run(xpk.logs(job, lines, follow), stream=True)
    return
  tail = ['tail', '-n', str(lines), *(['-F'] if follow else []),
          f'score_jax_runs/{job.run}/log']
  shell.run(gcloud.ssh(job, tail, worker, node), stream=True)


def last_words(job: job_lib.Job, shell: shell_lib.Shell) -> str:
  """The end of the logs of hosts where the run failed."""
  return shell.ask(gcloud.ssh(job, ['bash', 'on_vm.sh', 'last_words', job.run]))


def fetch(job: job_lib.Job, shell: shell_lib.Shell, checkpoints: bool):
  """Brings the results here, from the bucket or from the first host."""
  if not shell.dry_run:
    job.to.mkdir(parents=True, exist_ok=True)
  shell.say(f'into {job.to}; then: python -m score_jax.report {job.to}')
  if job.bucket:
    shell.run(gcloud.download_bucket(job, checkpoints))
  else:
    for path in ['*.json*', *(['checkpoints'] if checkpoints else [])]:
      shell.run(gcloud.download(job, path))


def delete(job: job_lib.Job, shell: shell_lib.Shell, yes: bool):
  """Deletes slices that `create` made, or any with a yes.

  Raises:
    ValueError: they are somebody else's, and there is no yes.
  """
  if job.via == 'xpk':
    shell.run(xpk.delete(job, yes), stream=True)
    return
  if shell.dry_run:
    shell.run(gcloud.describe(job))
  else:
    found = describe(job, shell)
    if not found:
      shell.say(f'{job.name}: there is none')
      return
    check_ours(job, found, yes)
  shell.run(gcloud.delete(job))


def _status(job):
  ask = shlex.join(['bash', 'on_vm.sh', 'status', job.run, job.folder])
  return gcloud.ssh(
      job, f'if [ -f on_vm.sh ]; then {ask}; else echo new absent -; fi')
