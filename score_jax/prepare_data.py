"""Data sets, prepared once from a folder of their original files.

    python -m score_jax.prepare_data --data_dir=FOLDER [--to=data] [--strict]

FOLDER has a folder for each data set (math, gsm8k, svamp, mbpp, humaneval,
humanevalfix), or is itself the folder of one. What is there is read, checked
and written to --to as TFDS keeps it (ArrayRecord), for a run to find with
`--config.task.data_dir`; `tfds.builder_from_directory` opens it for other
purposes. A data set appears when it is whole, and what is there already is
compared and kept.

Exit codes: 0 done, 2 bad input, 130 Ctrl-C.
"""

import pathlib

from absl import flags

from score_jax import datasets
from score_jax import door
from score_jax.datasets import base
from score_jax.datasets import originals
from score_jax.datasets import reading
from score_jax.datasets import storage

_MOST = 100  # Complaints; a wrong file has one a row.
_TRAINED_ON = ('mbpp', 'mbpp_sanitized')
_HELD_OUT = ('humaneval', 'humanevalfix')


def prepare(
    name: str, place: pathlib.Path, to: pathlib.Path, strict: bool = False
) -> base.Contents:
  """Prepares a data set and prints a line on every split.

  Args:
    name: of `datasets.DATA_SETS`.
    place: holds its original files.
    to: where it goes.
    strict: refuse files whose checksum is not known.

  Raises:
    ValueError: files or rows are bad, or something else is in the way.
  """
  data_set = datasets.DATA_SETS[name]
  contents = originals.read(data_set, place, strict)
  folder = storage.version_folder(data_set, to)
  is_there = folder.exists()
  if not is_there:
    storage.write(data_set, to, contents=contents)
  there = base.read_prepared(data_set, folder)
  if there.fingerprint != contents.fingerprint:
    raise ValueError(f'{folder} was made of other files; delete it, or name '
                     'another folder with --to')
  if base.fingerprint(data_set, there.splits) != there.fingerprint:
    raise ValueError(f'{folder} is damaged; delete it, and prepare it again')
  for split, rows in contents.splits.items():
    checksum = 'ok' if contents.checked[split] else 'not known'
    print(f'{name} {split}: {len(rows)} rows, checksum {checksum}, '
          f'{"already in" if is_there else "in"} {folder}', flush=True)
  for note in contents.notes:
    print(f'  {note}', flush=True)
  return contents


def place_of(name: str, folder: pathlib.Path) -> pathlib.Path | None:
  """Where a data set is, told from others whose files are called the same."""
  data_set = datasets.DATA_SETS[name]
  place = datasets.find(name, folder)
  if place != folder or not data_set.MARK:
    return place
  paths = [path for paths in originals.files(data_set, folder).values()
           for path in paths]
  is_it = any(data_set.MARK in reading.read_bytes(path) for path in paths)
  return place if is_it else None


def prepare_all(folder: pathlib.Path, to: pathlib.Path, strict: bool = False):
  """Prepares every data set that is there.

  Args:
    folder: holds the original files.
    to: where prepared data sets go.
    strict: refuse files whose checksum is not known.

  Raises:
    BadData: some could not be prepared; the others were.
  """
  done, missing, bad = {}, [], []
  for name in datasets.DATA_SETS:
    try:
      place = place_of(name, folder)
      if place is None:
        missing.append(f'{name} ({datasets.file_names(name)})')
      else:
        done[name] = prepare(name, place, to, strict)
    except reading.BadData as error:
      bad += [f'{name}: {line}' for line in error.lines]
    except ValueError as error:
      bad.append(f'{name}: {error}')
  _print_copies(done)
  if not done and not bad:
    bad.append(f'{folder} holds no data set; known: {", ".join(missing)}')
  elif missing:
    print(f'not in {folder}: {", ".join(missing)}', flush=True)
  if bad:
    raise reading.BadData(reading.some(bad, _MOST))


def _print_copies(done: dict[str, base.Contents]):
  """Says which problems of MBPP are also HumanEval's; tasks leave them out."""
  held_out = [(row['id'], row['description']) for name in _HELD_OUT
              if name in done for row in done[name].splits['test']]
  for name in _TRAINED_ON:
    if name in done:
      _, copies = base.without_copies(
          done[name].splits.get('train', ()), 'text', held_out)
      if copies:
        print(f'{name}: ' + base.left_out_note(copies, 'train', base.COPIES))


def _define():
  flags.DEFINE_string('data_dir', None, 'The original files.')
  flags.DEFINE_string('to', 'data', 'Where prepared data sets go.')
  flags.DEFINE_bool('strict', False,
                    'Refuse files whose checksum is not known.')


def main():
  """Prepares what the flags ask for."""
  if not flags.FLAGS.data_dir:
    raise ValueError('--data_dir=FOLDER is missing')
  folder = pathlib.Path(flags.FLAGS.data_dir)
  if not folder.is_dir():
    raise ValueError(f'--data_dir={folder} is not a folder')
  prepare_all(folder, pathlib.Path(flags.FLAGS.to), flags.FLAGS.strict)


if __name__ == '__main__':
  door.run(main, _define, 'interrupted; the same command goes on')
