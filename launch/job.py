"""What one run on slices consists of: the flags, checked."""

import dataclasses
import pathlib
import posixpath

from launch import slices


@dataclasses.dataclass(frozen=True)
class Job:
  """A run, and where it runs.

  Attributes:
    name: of the queued resource, of the TPU VM, or of the GKE workload.
    run: the run's id.
    args: flags of score_jax.main, such as --config.
    via: 'queued' resources, an existing 'vm', or 'xpk'.
    kind: type of a slice; None where a command does not need it.
    count: slices.
    tier: '' (on demand), 'spot' or 'reserved'.
    runtime: image of the hosts.
    zone: None: gcloud's own.
    project: None: gcloud's own.
    bucket: keeps the run, and is mounted on all hosts at `shared`; may be ''.
    shared: a folder of the hosts, the same files on all.
    checkout: the folder that is copied to the hosts, at its HEAD.
    to: where results are fetched to.
    create_flags: more flags for gcloud's create.
    ssh_flags: more flags for gcloud's ssh and scp.
    cluster: of GKE.
    image: of Docker, that xpk puts the checkout into.
    storage: of the GKE cluster, as xpk calls what it mounts at `shared`.
  """

  name: str
  run: str
  args: tuple[str, ...]
  via: str
  kind: slices.SliceType | None
  count: int
  tier: str
  runtime: str
  zone: str | None
  project: str | None
  bucket: str
  shared: str
  checkout: pathlib.Path
  to: pathlib.Path
  create_flags: tuple[str, ...]
  ssh_flags: tuple[str, ...]
  cluster: str | None
  image: str
  storage: str | None

  @property
  def hosts(self) -> int:
    """Hosts of all slices."""
    return self.count * self.kind.hosts

  @property
  def folder(self) -> str:
    """The folder of the hosts where the run is seen."""
    return posixpath.join(self.shared, 'runs', self.run)

  @property
  def workdir(self) -> str:
    """Where the program keeps the run; pods of GKE know only what is mounted.
    """
    if self.bucket and self.via != 'xpk':
      return f'gs://{self.bucket}/runs/{self.run}'
    return self.folder

  @property
  def program(self) -> list[str]:
    """Flags of score_jax.main, the same on all hosts."""
    several = ['--distributed'] if self.hosts > 1 else []
    return [*self.args, f'--workdir={self.workdir}', *several]
