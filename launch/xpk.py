"""The lines of xpk, which runs a job on the TPUs of a GKE cluster.

GKE itself re-creates what was preempted: a workload starts again after exit
code 143 (stopped and saved), 142 (another host was lost) and after being
killed, not after 1 or 2.
"""

import shlex

from launch import job as job_lib

_RESTARTS = 1000
_GRACE_S = 300


def create(job: job_lib.Job) -> list[str]:
  """Builds an image of the checkout and starts the run in it."""
  spot = ['--spot'] if job.tier == 'spot' else []  # Else as the cluster is.
  storage = [f'--storage={job.storage}'] if job.storage else []
  program = shlex.join(['python', '-m', 'score_jax.main', *job.program])
  return [*_words(job, 'create', f'--workload={job.name}'),
          f'--tpu-type={job.kind.name}', f'--num-slices={job.count}', *spot,
          f'--base-docker-image={job.image}', f'--script-dir={job.checkout}',
          *storage, f'--max-restarts={_RESTARTS}',
          f'--termination-grace-period-seconds={_GRACE_S}',
          f"--command=pip install -q '.[tpu]' && exec {program}"]


def status(job: job_lib.Job) -> list[str]:
  """Lists the workload."""
  return _words(job, 'list', f'--filter-by-job={job.name}')


def delete(job: job_lib.Job, force: bool) -> list[str]:
  """Deletes the workload, if the person who is asked agrees."""
  return [*_words(job, 'delete', f'--workload={job.name}'),
          *(['--force'] if force else [])]


def logs(job: job_lib.Job, lines: int, follow: bool) -> list[str]:
  """The ends of the logs of all hosts."""
  return ['kubectl', 'logs', '--prefix', f'--tail={lines}',
          f'--selector=jobset.sigs.k8s.io/jobset-name={job.name}',
          '--all-containers', *(['--follow'] if follow else [])]


def _words(job, verb, *flags):
  where = {'project': job.project, 'zone': job.zone}
  return ['xpk', 'workload', verb, f'--cluster={job.cluster}', *flags,
          *(f'--{key}={value}' for key, value in where.items() if value)]
