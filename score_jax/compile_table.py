"""What fits where, and what takes the time: the findings of `--mode=compile`.

    python -m score_jax.compile_table WORKDIR...          # prints two tables
    python -m score_jax.compile_table WORKDIR... --write  # into the docs

Each WORKDIR holds a compile.json. Bytes are of one device. The tables go into
docs/pods.md and docs/performance.md.
"""

import pathlib
from typing import Any

from absl import flags

from score_jax import compile_lines
from score_jax import door
from score_jax import files

DOCS = pathlib.Path(__file__).parent.parent / 'docs'
_NOTHING = {'compute_s': 0.0, 'memory_s': 0.0, 'links_s': 0.0}
BEGIN, END = '<!-- table -->\n', '<!-- end of table -->\n'


def what_fits(records: list[dict[str, Any]]) -> str:
  """One row for each slice, in Markdown: memory, and work over its least."""
  titles = ('config', 'slice', 'mesh', 'sampler, GiB', 'update, GiB',
            'evaluation, GiB', 'spare', 'FLOPs', 'decode',
            'update at least, s', 'sampler at least, s')
  return _table(titles, '|---|---|---|' + '---:|' * 8, map(_fit, records))


def what_takes_time(records: list[dict[str, Any]]) -> str:
  """One row for each slice, in Markdown: a step by part, in seconds at least.

  A program takes as long as the longest of its FLOPs at the peak of a chip, its
  bytes at the bandwidth of the HBM, and what it sends at that of the links.
  """
  titles = ('config', 'copy', 'sampler: HBM', 'links', 'update: FLOPs', 'HBM',
            'links', 'sent over fsdp', 'step')
  return _table(titles, '|---|' + '---:|' * 8, map(_times, records))


def _table(titles, rule, rows) -> str:
  lines = [f'| {" | ".join(titles)} |', rule]
  return '\n'.join(lines + [f'| {" | ".join(row)} |' for row in rows]) + '\n'


def _fit(record) -> list[str]:
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


def _times(record) -> list[str]:
  name = f'`{record["name"]}`'
  results = {result['name']: result for result in record['programs']}
  if not all('peak' in result for result in results.values()):
    return [name, *['-'] * 8]
  sampler, parts = results['sampler'], record['parts']
  update = max((r for name, r in results.items() if name.startswith('update')),
               key=_seconds)
  copy_s = _seconds(results.get('copy for the sampler', _NOTHING))
  step_s = copy_s + parts * _seconds(sampler) + _seconds(update)
  seconds = (copy_s, parts * sampler['memory_s'], parts * sampler['links_s'],
             update['compute_s'], update['memory_s'], update['links_s'])
  return [name, *(f'{s:.2g}' for s in seconds),
          compile_lines.over_fsdp(update), f'{step_s:.3g}']


def _needed(results) -> str:
  if not all('peak' in result for result in results):
    return 'too much'
  return compile_lines.gib(max(result['needed'] for result in results))


def _seconds(result) -> float:
  return max(result['compute_s'], result['memory_s'], result['links_s'])


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
  if not all('links_s' in p for p in programs if 'peak' in p):
    raise ValueError(f'{path} is of an older version; {again}')
  return record


def _define():
  flags.DEFINE_bool('write', False, 'Write the tables into their pages.')


def main(*folders: str):
  """Prints the tables of the runs that are named."""
  if not folders:
    raise ValueError('name the --workdir of at least one --mode=compile')
  records = [_record(folder) for folder in folders]
  pages = {'pods.md': what_fits(records),
           'performance.md': what_takes_time(records)}
  print(*pages.values(), sep='\n', end='')
  if flags.FLAGS.write:
    for name, new in pages.items():
      path = DOCS / name
      path.write_text(page(path.read_text(), new))


if __name__ == '__main__':
  door.run(main, _define, takes_words=True)
