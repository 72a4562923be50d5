"""What fits where: the findings of `--mode=compile` as a table.

    python -m score_jax.compile_table WORKDIR...          # prints the table
    python -m score_jax.compile_table WORKDIR... --write  # into docs/pods.md

Each WORKDIR holds a compile.json. Bytes are of one device.
"""

import pathlib
from typing import Any

from absl import flags

from score_jax import compile_lines
from score_jax import door
from score_jax import files

PAGE = pathlib.Path(__file__).parent.parent / 'docs' / 'pods.md'
BEGIN, END = '<!-- table -->\n', '<!-- end of table -->\n'


def table(records: list[dict[str, Any]]) -> str:
  """One row for each slice, in Markdown."""
  titles = ('config', 'slice', 'mesh', 'sampler, GiB', 'update, GiB',
            'evaluation, GiB', 'spare', 'FLOPs', 'decode',
            'update at least, s', 'sampler at least, s')
  lines = [f'| {" | ".join(titles)} |', f'|---|---|---|{"---:|" * 8}']
  lines += [f'| {" | ".join(_row(record))} |' for record in records]
  return '\n'.join(lines) + '\n'


def _row(record) -> list[str]:
  results = {result['name']: result for result in record['programs']}
  updates = [r for name, r in results.items() if name.startswith('update')]
  sampler, evaluation = results['sampler'], results['evaluation']
  mesh = ' x '.join(str(size) for size in record['mesh'].values())
  cells = [f'`{record["name"]}`',
           f'`{compile_lines.slice_of(record)}` ({record["product"]})', mesh,
           *(_needed(found) for found in ([sampler], updates, [evaluation]))]
  if not all('peak' in result for result in results.values()):
    return [*cells, 'none', *['-'] * 4]
  decode = max(sampler['decode_bytes'].values())
  return [
      *cells, f'{min(r["spare"] for r in results.values()):.0%}',
      max(map(compile_lines.times, updates)),
      f'{decode / sampler["least_decode_bytes"]:.2f}',
      f'{max(map(_seconds, updates)):.3g}',
      f'{record["parts"]} x {_seconds(sampler):.3g}']


def _needed(results) -> str:
  if not all('peak' in result for result in results):
    return 'too much'
  return compile_lines.gib(max(result['needed'] for result in results))


def _seconds(result) -> float:
  return max(result['compute_s'], result['memory_s'])


def page(old: str, new_table: str) -> str:
  """The page `old` with another table."""
  before, rest = old.split(BEGIN)
  return before + BEGIN + new_table + END + rest.split(END)[1]


def _record(folder: str) -> dict[str, Any]:
  """What was found of a slice; ValueError unless it is all there."""
  path = pathlib.Path(folder) / 'compile.json'
  again = f'make it with --mode=compile --workdir={folder}'
  record = files.read_json(path)
  if record is None:
    raise ValueError(f'{path} is not there; {again}')
  programs = record.get('programs', []) if isinstance(record, dict) else []
  # The last to be compiled is the evaluation.
  if not {'sampler', 'evaluation'} <= {program['name'] for program in programs}:
    raise ValueError(f'{path} was cut short, or is of something else; {again}')
  return record


def _define():
  flags.DEFINE_bool('write', False, 'Write the table into its page.')


def main(*folders: str):
  """Prints the table of the runs that are named."""
  if not folders:
    raise ValueError('name the --workdir of at least one --mode=compile')
  new = table([_record(folder) for folder in folders])
  print(new, end='')
  if flags.FLAGS.write:
    PAGE.write_text(page(PAGE.read_text(), new))


if __name__ == '__main__':
  door.run(main, _define, takes_words=True)
