"""The lines of gcloud, each a list of words. Nothing is executed here."""

import shlex

from launch import job as job_lib

_TPUS = ('gcloud', 'compute', 'tpus')
_SURFACES = {'queued': 'queued-resources', 'vm': 'tpu-vm'}
LABEL = ('created-by', 'score-jax')


def create(job: job_lib.Job) -> list[str]:
  """Asks for slices, labelled as ours."""
  nodes = [f'--node-id={job.name}']
  if job.count > 1:
    nodes = [f'--node-count={job.count}', f'--node-prefix={job.name}']
  tier = [f'--{job.tier}'] if job.tier else []
  return [*_words(job, 'create', job.name), *nodes,
          f'--accelerator-type={job.kind.name}',
          f'--runtime-version={job.runtime}', *tier,
          f'--labels={"=".join(LABEL)}', *job.create_flags]


def describe(job: job_lib.Job) -> list[str]:
  """Asks for the state of the slices, as JSON."""
  return [*_words(job, 'describe', job.name), '--format=json']


def delete(job: job_lib.Job) -> list[str]:
  """Deletes the slices, with whatever runs on them."""
  force = ['--force'] if job.via == 'queued' else []
  return [*_words(job, 'delete', job.name), *force, '--quiet']


def ssh(
    job: job_lib.Job, command: list[str] | str, worker: str = 'all',
    node: str = 'all',
) -> list[str]:
  """Runs a command on hosts; words are quoted, a string is the shell's."""
  if not isinstance(command, str):
    command = shlex.join(command)
  return [*_words(job, 'ssh', job.name), *_hosts(job, worker, node),
          f'--command={command}', *job.ssh_flags]


def upload(job: job_lib.Job, *paths: object) -> list[str]:
  """Copies files to the home folder on all hosts."""
  return [*_words(job, 'scp', *map(str, paths), f'{job.name}:'),
          *_hosts(job, 'all', 'all'), *job.ssh_flags]


def download(job: job_lib.Job, path: str) -> list[str]:
  """Copies files or a folder of the workdir from the first host."""
  return [*_words(job, 'scp', f'{job.name}:{job.folder}/{path}', str(job.to)),
          '--recurse', *_hosts(job, '0', '0'), *job.ssh_flags]


def download_bucket(job: job_lib.Job, checkpoints: bool) -> list[str]:
  """Copies the workdir from its bucket, whether or not there are slices."""
  more = '' if checkpoints else 'checkpoints|'
  project = [f'--project={job.project}'] if job.project else []
  return ['gcloud', 'storage', 'rsync', '--recursive',
          f'--exclude=^({more}compile_cache|data)/',
          f'gs://{job.bucket}/runs/{job.run}', str(job.to), *project]


def _words(job, verb, *names):
  where = {'project': job.project, 'zone': job.zone}
  return [*_TPUS, _SURFACES[job.via], verb, *names,
          *(f'--{key}={value}' for key, value in where.items() if value)]


def _hosts(job, worker, node):
  nodes = [f'--node={node}'] if job.via == 'queued' else []
  return [*nodes, f'--worker={worker}']
