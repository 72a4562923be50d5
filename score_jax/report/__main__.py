"""Runs in, one page out.

    python -m score_jax.report WORKDIR [WORKDIR...] [--out=FILE]

Exit codes: 0 done; 2 bad input, in one line (`--v=1` shows the traceback).
"""


from absl import flags

from score_jax import door
from score_jax import files
from score_jax.report import page
from score_jax.report import runs as runs_lib


def _define():
  flags.DEFINE_string(
      'out', None, 'The page; by default report.html in the first WORKDIR.')
  flags.FLAGS.set_gnu_getopt(True)  # Flags may stand behind the folders.


def main(*folders: str):
  """Reads the runs and writes the page."""
  if not folders:
    raise ValueError('name the --workdir of a run, or of several: python -m '
                     'score_jax.report WORKDIR [WORKDIR...]')
  runs = runs_lib.read(folders)
  out = files.folder(flags.FLAGS.out or runs[0].folder / 'report.html')
  size = _write(out, page.page(runs))
  print(f'{out}: {size / 1e6:.1f} MB')


def _write(out, text) -> int:
  """Puts the page in place of a file; returns its bytes."""
  if out.exists() and not out.is_file():  # A folder, or a device.
    raise ValueError(f'{out} is not a file; name another with --out=FILE')
  content = text.encode()
  with files.named_errors(out, 'name another file with --out=FILE'):
    files.write_whole(out, content)
  return len(content)


if __name__ == '__main__':
  door.run(main, _define, takes_words=True)
