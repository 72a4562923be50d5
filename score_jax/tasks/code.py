"""Programs: trained on MBPP, evaluated on MBPP, HumanEval and on repair.

See `score_jax.datasets` for the files and their sources. The splits `train`,
`validation` and `test` are MBPP's, whose first attempts follow three others
with their programs. `humaneval` puts the bare signature and docstring.
`repair`, HumanEvalFix, does the same and has broken programs as first attempts.
A split whose files are not there is not there.
"""

from collections.abc import Callable
import json

from score_jax import config as config_lib
from score_jax import datasets
from score_jax.datasets import base as datasets_base
from score_jax.grading import programs
from score_jax.tasks import base
from score_jax.tasks import code_prompts
from score_jax.tasks import folders

_MBPP_SPLITS = ('train', 'validation', 'test')
_HUMANEVAL = {'humaneval': 'humaneval', 'repair': 'humanevalfix'}

_STOPS = (
    base.Stops(code_prompts.MBPP_STOPS, code_prompts.MBPP_STOPS),
    base.Stops(code_prompts.HUMANEVAL_STOPS,
               code_prompts.HUMANEVAL_LATER_STOPS))

_Rows = dict[str, list[dict[str, str]]]


def task(config: config_lib.TaskConfig) -> base.Task:
  """With all of MBPP.

  A question of the config's own takes the place of the three shots.

  Raises:
    ValueError: see `folders.load`.
  """
  return _task(config, 'code', 'mbpp')


def sanitized_task(config: config_lib.TaskConfig) -> base.Task:
  """With the part of MBPP that was mended by hand.

  Raises:
    ValueError: see `folders.load`.
  """
  return _task(config, 'code_sanitized', 'mbpp_sanitized')


def spec(
    entry_point: str | None = None,
    *,
    tests: list[str] | None = None,
    test: str | None = None,
    setup: str = '',
    prefix: str = '',
) -> str:
  """How a program is graded, as `score_jax.grading.programs` reads it.

  Args:
    entry_point: the function that is tested.
    tests: lines that assert something.
    test: in place of them, a text that defines `check(candidate)`.
    setup: runs before the tests.
    prefix: what the model may go on from.
  """
  kind = {'test': test} if tests is None else {'tests': tests}
  return json.dumps(kind | {'setup': setup, 'entry_point': entry_point,
                            'prefix': prefix})


def visible(answer: str) -> list[tuple[str, str]]:
  """The tests that a prompt of MBPP shows, each with a `spec` of its own.

  Prompts of HumanEval show none that are run.
  """
  fields = json.loads(answer)
  return [(line, spec(tests=[line], setup=fields['setup']))
          for line in fields.get('tests', ())]


def _task(config, name, mbpp):
  contents = {mbpp: folders.load(config, mbpp)}
  notes = [*contents[mbpp].notes]
  for split, data_set in _HUMANEVAL.items():
    found = folders.load_if_there(config, data_set)
    if found is None:
      notes.append(f'{data_set}: not in {config.data_dir}, so there is no '
                   f'split {split!r} ({datasets.file_names(data_set)})')
    else:
      contents[data_set] = found
      notes.extend(found.notes)
  rows = _mbpp_rows(contents[mbpp], bool(config.question), notes, [
      (row['id'], row['description']) for data_set in _HUMANEVAL.values()
      if data_set in contents for row in contents[data_set].splits['test']])
  for split, data_set in _HUMANEVAL.items():
    if data_set in contents:
      rows[split] = list(map(_humaneval, contents[data_set].splits['test']))
  prints = [found.fingerprint for found in contents.values()]
  return base.from_rows(
      name, rows, question=code_prompts.QUESTION,
      instruction=code_prompts.INSTRUCTION, critique=code_prompts.CRITIQUE,
      grade=programs.grade, answer=programs.answer, grading='sandbox',
      visible=visible, stops=_STOPS, kind_of_stops=_kind_of_stops,
      notes=tuple(notes),
      fingerprint=base.fingerprint('1', bool(config.question), *prints))


def _kind_of_stops(answer: str) -> int:
  """0 of MBPP; 1 of HumanEval, whose answers continue a signature."""
  return int(bool(json.loads(answer)['prefix']))


def _mbpp_rows(
    contents: datasets_base.Contents,
    is_bare: bool,
    notes: list[str],
    held_out: list[tuple[str, str]],
) -> _Rows:
  ask = code_prompts.task if is_bare else code_prompts.three_shot
  splits = {split: contents.splits[split] for split in _MBPP_SPLITS
            if split in contents.splits}
  splits['train'], copies = datasets_base.without_copies(
      splits.get('train', ()), 'text', held_out)
  if copies:
    notes.append(datasets_base.left_out_note(
        copies, 'train', datasets_base.COPIES))
  return {split: [_mbpp(row, ask) for row in rows]
          for split, rows in splits.items()}


def _mbpp(row: datasets_base.Row, ask: Callable[[str, list[str]], str]):
  return {'id': row['id'], 'prompt': ask(row['text'], row['tests']),
          'answer': spec(tests=row['tests'], setup=row['setup'])}


def _humaneval(row: datasets_base.Row):
  found = {'id': row['id'], 'prompt': row['prompt'],
           'answer': spec(row['entry_point'], test=row['test'],
                          prefix=row['prompt'])}
  if 'buggy_solution' in row:
    found['given'] = row['declaration'] + row['buggy_solution']
    found['tags'] = json.dumps({'bug_type': row['bug_type']})
  return found
