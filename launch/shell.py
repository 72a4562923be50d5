"""Executes lines, or only prints them, and tells their errors apart."""

from collections.abc import Callable
import re
import shlex
import shutil
import subprocess

# The first that is found counts: a quota, too, is said to be exhausted.
_KINDS = {
    'quota': r'quota.{0,200}(exceed|exhaust)|exceed.{0,200}quota',
    'capacity': r'no more capacity|insufficient[ \w]* capacity|stockout|'
                r'instance is currently unavailable|resource(_pool)?_exhausted',
    'gone': r'has terminal state',
    'unreachable': r'connection (refused|reset|closed|timed out|to \S+ closed)|'
                   r'(code|status)[ []+255\b|broken pipe|kex_exchange|'
                   r'cannot be currently connected|unreachable|'
                   r'could not resolve|unable to find the server|'
                   r'service unavailable|internal error',
    'absent': r'not_found|not found',
}
_INSTALL = {
    'gcloud': 'https://cloud.google.com/sdk/docs/install',
    'xpk': 'pip install xpk',
    'kubectl': 'gcloud components install kubectl',
}


class CommandError(Exception):
  """A line failed.

  Attributes:
    kind: of `_KINDS`, or 'other'.
  """

  def __init__(self, text: str):
    super().__init__(reason(text))
    self.kind = kind_of(text)


class Shell:
  """Executes lines.

  Attributes:
    dry_run: lines are printed and not executed.
  """

  def __init__(
      self, dry_run: bool, tries: int, wait_s: float,
      sleep: Callable[[float], None],
  ):
    self.dry_run = dry_run
    self._tries = tries
    self._wait_s = wait_s
    self._sleep = sleep

  def say(self, line: str):
    """A remark; what is printed stays a script of the shell."""
    print(f'# {line}', flush=True)

  def run(self, words: list[str], stream: bool = False) -> str:
    """Prints a line and executes it; again, if a host or gcloud's
    own server is not reached.

    Args:
      words: the command and its arguments.
      stream: it has the terminal to itself, and returns ''.

    Raises:
      CommandError: it failed.
      ValueError: there is no such command here.
    """
    print(shlex.join(words), flush=True)
    if self.dry_run:
      return ''
    for left in reversed(range(self._tries)):
      try:
        return self.ask(words, stream)
      except CommandError as error:
        if error.kind != 'unreachable' or not left:
          raise
        self.say(f'{error}; again in {self._wait_s:.0f} s, {left} times more')
        self._sleep(self._wait_s)
    raise AssertionError('there is at least one try')

  def ask(self, words: list[str], stream: bool = False) -> str:
    """Executes a line once, without printing it."""
    if shutil.which(words[0]) is None:
      way = _INSTALL.get(words[0])
      raise ValueError(f'{words[0]} is not installed here'
                       + (f'; see {way}' if way else ''))
    done = subprocess.run(
        words, check=False, text=True, stdin=None if stream else
        subprocess.DEVNULL, capture_output=not stream)
    if done.returncode:
      said = (done.stderr or '') + (done.stdout or '')
      raise CommandError(said or f'{words[0]}: exit code {done.returncode}')
    return done.stdout or ''


def kind_of(text: str) -> str:
  """What sort of error gcloud speaks of."""
  for kind, pattern in _KINDS.items():
    if re.search(pattern, text, re.IGNORECASE):
      return kind
  return 'other'


def reason(text: str) -> str:
  """The line of an output that says what is wrong."""
  if unset := re.search(r'Failed to find attribute \[(project|zone)\]', text):
    name = unset.group(1)
    setting = 'project' if name == 'project' else 'compute/zone'
    return (f'gcloud has no {name}: give --{name}, or set its own with gcloud '
            f'config set {setting}')
  lines = [line.strip() for line in text.splitlines() if line.strip()]
  errors = [line for line in lines if 'error' in line.lower()]
  return (errors or lines[-1:] or ['no reason given'])[0][:400]
