"""Keeps a run going on slices that are taken away: the loop of `babysit`.

The state is asked of gcloud in each round and nothing is remembered on disk,
so that babysit itself can be stopped and started again, here or elsewhere.
"""

from collections.abc import Callable
import dataclasses

from launch import commands
from launch import gcloud
from launch import job as job_lib
from launch import shell as shell_lib

DONE, FAILED = 0, 1
_GONE = ('SUSPENDED', 'FAILED')
_BAD_CODES = (1, 2)  # Of the program: training failed, bad input.
_SILENT, _STUCK = 20, 3  # Rounds without an answer; starts without a step.
_LONGEST_WAIT_S = 3600


@dataclasses.dataclass
class Babysitter:
  """The loop.

  Attributes:
    job: the run.
    shell: executes.
    sleep: waits some seconds.
    poll_s: seconds between two rounds.
    checkpoints: whether they are fetched at the end, too.
    yes: whether slices without our label may be deleted.
    delete_when_done: whether the slices go when the run has ended.
  """

  job: job_lib.Job
  shell: shell_lib.Shell
  sleep: Callable[[float], None]
  poll_s: float
  checkpoints: bool
  yes: bool
  delete_when_done: bool

  _refused: int = 0  # Requests in a row that found no capacity.
  _silent: int = 0  # Rounds in a row in which hosts did not answer.
  _answered: bool = False  # Hosts of these slices did, once.
  _lost: bool = False  # The slices are, whatever state gcloud gives.
  _starts: int = 0  # At the same step.
  _started_at: str = ''
  _shown: str = ''

  def watch(self) -> int:
    """Goes on until the run has ended; returns an exit code."""
    while True:
      try:
        code = self._round()
      except shell_lib.CommandError as error:
        code = self._on_error(error)
      if code is not None:
        return code

  def rehearse(self) -> int:
    """Prints the lines of all that may happen, in the order of a preemption."""
    for title, act in (
        ('in each round', lambda: commands.status(self.job, self.shell)),
        ('there are no slices', lambda: commands.create(self.job, self.shell)),
        ('they are ACTIVE', self._start),
        ('they are SUSPENDED or FAILED, before others are created',
         lambda: self.shell.run(gcloud.delete(self.job))),
        ('the run has ended', self._finish)):
      self.shell.say(title)
      act()
    return DONE

  def _round(self) -> int | None:
    found = commands.describe(self.job, self.shell)
    state = commands.state(found)
    if state != 'ACTIVE':
      self._show(f'{self.job.name}: {state}')
    if state == 'ABSENT':
      commands.create(self.job, self.shell)
    elif state in _GONE or self._lost:
      return self._replace(found)
    elif state == 'ACTIVE':
      self._refused = 0
      return self._look()
    self.sleep(self.poll_s)

  def _replace(self, found) -> int | None:
    """Deletes slices that are gone, which still count against the quota."""
    why = commands.failure(found)
    if shell_lib.kind_of(why) == 'quota':
      return self._give_up(why)
    commands.check_ours(self.job, found, self.yes)
    self.shell.run(gcloud.delete(self.job))
    self._starts, self._silent = 0, 0
    self._answered = self._lost = False
    if commands.state(found) == 'FAILED':
      self._back_off(why or 'the request failed')

  def _look(self) -> int | None:
    """Starts the run, or lets it go on, or ends it."""
    hosts = commands.hosts(self.job, self.shell)
    if len(hosts) < self.job.hosts:
      return self._on_silence(f'{len(hosts)} of {self.job.hosts} hosts answer')
    self._silent, self._answered = 0, True
    step = max(hosts, key=lambda host: host.step != '-').step
    codes = {host.code for host in hosts}
    if any(host.running for host in hosts):
      self._show(f'{self.job.run}: running, last step {step}')
    elif codes == {0}:
      self._finish()
      return DONE
    elif codes & set(_BAD_CODES):
      print(commands.last_words(self.job, self.shell), end='', flush=True)
      return self._give_up(f'{self.job.run} ended with exit code '
                           f'{max(codes & set(_BAD_CODES))}; see above')
    else:
      self._starts = self._starts + 1 if step == self._started_at else 1
      self._started_at = step
      if self._starts > _STUCK:
        return self._give_up(f'{self.job.run} was started {_STUCK} times at '
                             f'step {step} and came no further; see its logs')
      self._start()
    self.sleep(self.poll_s)

  def _start(self):
    commands.setup(self.job, self.shell)
    commands.run(self.job, self.shell)

  def _finish(self):
    commands.fetch(self.job, self.shell, self.checkpoints)
    if self.delete_when_done:
      commands.delete(self.job, self.shell, self.yes)
    else:
      self.shell.say(f'{self.job.name} is still there: delete it')

  def _on_error(self, error) -> int | None:
    if error.kind == 'capacity':
      return self._back_off(str(error))
    if error.kind == 'unreachable':
      return self._on_silence(str(error))
    if error.kind == 'gone':
      self._lost = True
      return None
    return self._give_up(str(error))

  def _on_silence(self, why) -> int | None:
    """Waits on; a preempted host falls silent before gcloud says so."""
    self._silent += 1
    if self._silent > _SILENT and not self._answered:
      return self._give_up(f'{why}, {_SILENT} times in a row')
    self._lost = self._silent > _SILENT
    self._show(why)
    self.sleep(self.poll_s)

  def _back_off(self, why) -> None:
    wait_s = min(self.poll_s * 2**self._refused, _LONGEST_WAIT_S)
    self._refused += 1
    self.shell.say(f'{why}; again in {wait_s:.0f} s')
    self.sleep(wait_s)

  def _give_up(self, why) -> int:
    self.shell.say(f'stopped: {why}')
    return FAILED

  def _show(self, line):
    if line != self._shown:
      self.shell.say(line)
    self._shown = line
