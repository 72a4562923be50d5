"""Runs in, one page out.

    python -m score_jax.report WORKDIR [WORKDIR...] [--out=FILE]

Exit codes: 0 done; 2 bad input, in one line (`--v=1` shows the traceback).
"""

import contextlib
import os
import pathlib
import sys

from absl import app
from absl import flags
from absl import logging

from score_jax.report import page
from score_jax.report import runs as runs_lib

_OUT = flags.DEFINE_string(
    'out', None, 'The page; by default report.html in the first WORKDIR.')

BAD_INPUT = 2


def parse(argv: list[str]) -> list[str]:
  """Parses the flags; bad ones end with one line and exit code 2."""
  flags.FLAGS.set_gnu_getopt(True)  # Flags may stand behind the folders.
  try:
    rest = flags.FLAGS(argv)
    if len(rest) < 2:
      raise ValueError('name the --workdir of a run, or of several: python -m '
                       'score_jax.report WORKDIR [WORKDIR...]')
    return rest
  except (flags.Error, ValueError) as error:
    sys.exit(_failed(error))


def main(argv: list[str]):
  """Reads the runs and writes the page."""
  try:
    runs = runs_lib.read(argv[1:])
    out = pathlib.Path(_OUT.value or runs[0].folder / 'report.html')
    size = _write(out, page.page(runs))
  except ValueError as error:
    if logging.vlog_is_on(1):
      raise
    sys.exit(_failed(error))
  print(f'{out}: {size / 1e6:.1f} MB')


def _write(out, text) -> int:
  """Puts the page in place of a file; returns its bytes."""
  if out.exists() and not out.is_file():  # A folder, or a device.
    raise ValueError(f'{out} is not a file; name another with --out=FILE')
  content = text.encode()
  aside = out.with_name(out.name + '.partial')
  try:
    aside.write_bytes(content)
    os.replace(aside, out)
  except OSError as error:
    raise ValueError(f'{out}: {error.strerror}; name another file with '
                     '--out=FILE') from error
  finally:
    with contextlib.suppress(OSError):
      aside.unlink()
  return len(content)


def _failed(error):
  line = ' '.join(str(error).split('\n'))
  print(f'score_jax: {line}', file=sys.stderr, flush=True)
  return BAD_INPUT


if __name__ == '__main__':
  app.run(main, flags_parser=parse)
