"""What the commands share: flags in, one line for each thing that is wrong.

Exit codes: 0 done, 2 bad input, 130 Ctrl-C.
"""

from collections.abc import Callable
from collections.abc import Iterator
import contextlib
import os
import re
import sys

from absl import app
from absl import flags
from absl import logging

BAD_INPUT, INTERRUPTED = 2, 130


def run(
    main: Callable[..., None],
    define: Callable[[], None],
    interrupted: str = 'interrupted',
    takes_words: bool = False,
):
  """Runs a command and exits.

  Args:
    main: does what the flags ask for, and is given the words among them. What
      it raises as a ValueError is said without a traceback (but with --v=1).
    define: defines its flags. They are not defined when its module is imported,
      since commands share names of flags.
    interrupted: what Ctrl-C leaves, in words.
    takes_words: whether there may be words that are no flags.
  """
  def command(argv):
    if not flags.FLAGS['verbosity'].present:  # Libraries' chatter.
      logging.set_verbosity(logging.WARNING)
    with _refusals():
      try:
        main(*argv[1:])
      except KeyboardInterrupt:
        sys.exit(failed([interrupted], INTERRUPTED))

  def parse(argv):
    define()
    with _refusals():
      rest = flags.FLAGS(argv)
      if rest[1:] and not takes_words:
        raise ValueError(
            f'unexpected argument {rest[1]!r}; flags begin with --')
      return rest

  app.run(command, flags_parser=parse)


def failed(lines: list[str], code: int) -> int:
  """Says what is wrong; returns the exit code."""
  for line in lines:
    text = ' '.join(line.split('\n'))  # Of libraries, some say more.
    text = re.sub(r'\S{300,}', _shortened, text)
    print(f'score_jax: {text}', file=sys.stderr, flush=True)
  return code


def _shortened(match: re.Match) -> str:
  """Return a long word, such as a path, without its middle."""
  word = match.group()
  return f'{word[:100]}...{word[-100:]} ({len(word)} characters)'


@contextlib.contextmanager
def _refusals() -> Iterator[None]:
  try:
    yield
  except (flags.Error, ValueError, OSError) as error:
    if flags.FLAGS.is_parsed() and logging.vlog_is_on(1):
      raise
    lines = getattr(error, 'lines', [str(error)])
    if isinstance(error, OSError):
      if error.filename is None:  # Not of a path that was given.
        raise
      lines = [f'{os.fsdecode(error.filename)}: {error.strerror}']
    sys.exit(failed(lines, BAD_INPUT))
