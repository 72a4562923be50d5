"""A `gcloud` that knows one queued resource, for a folder of PATH.

It keeps what exists, walks through scripted states, answers with scripted
outputs, and notes how it was called. It refuses to create what exists.
"""

import json
import pathlib
import sys
from typing import Any

_SOURCE = pathlib.Path(__file__)
_LABELS = {'created-by': 'score-jax'}


class Fake:
  """The script, installed.

  Attributes:
    calls: so far, each without `gcloud compute tpus`.
  """

  def __init__(self, folder: pathlib.Path, **world: Any):
    """Installs it.

    Args:
      folder: will hold `gcloud`, to be put first on PATH.
      **world: `states`: each is what the next `describe` says, and the last
        stays; `labels`: of what exists at the start, if anything does;
        `create`, `scp`, `setup`, `start`, `status`, `last_words`, `tail`,
        `rsync`: lists of outputs of that command; one that begins with ERROR
        goes to stderr, and the last stays.
    """
    self._folder = folder
    folder.mkdir(exist_ok=True)
    script = folder / 'gcloud'
    script.write_text(f'#!{sys.executable} -IS\n{_SOURCE.read_text()}')
    script.chmod(0o755)
    (folder / 'world.json').write_text(json.dumps(world))

  @property
  def calls(self) -> list[list[str]]:
    path = self._folder / 'calls.jsonl'
    lines = path.read_text().splitlines() if path.exists() else []
    return [json.loads(line) for line in lines]

  def verbs(self) -> list[str]:
    """What was done, in order, without questions."""
    names = [_name(call) for call in self.calls]
    return [name for name in names if name not in ('describe', 'status')]


def _name(call):
  verb = call[1]
  if verb != 'ssh':
    return verb
  [command] = [word for word in call if word.startswith('--command=')]
  names = ('setup', 'start', 'last_words', 'status', 'tail')
  return next(name for name in names if name in command)


def _next(world, key, default=''):
  said = world.get(key, [default])
  return said.pop(0) if len(said) > 1 else said[0]


def _answer(world, call):
  name = _name(call)
  if name == 'describe':
    if 'labels' not in world:
      return 'ERROR: (gcloud.describe) NOT_FOUND: Resource was not found'
    state = _next(world, 'states')
    state = state if isinstance(state, dict) else {'state': state}
    node = {'node': {'labels': world['labels']}}
    return json.dumps({'state': state, 'tpu': {'nodeSpec': [node]}})
  said = _next(world, name)
  if name == 'create' and not said.startswith('ERROR'):
    if 'labels' in world:
      return 'ERROR: ALREADY_EXISTS: Resource already exists'
    world['labels'] = _LABELS
  if name == 'delete':
    del world['labels']
  return said


def _main():
  folder = pathlib.Path(__file__).parent
  call = sys.argv[1:]
  call = call[2:] if call[0] == 'compute' else call
  with open(folder / 'calls.jsonl', 'a') as file:
    file.write(json.dumps(call) + '\n')
  world = json.loads((folder / 'world.json').read_text())
  said = _answer(world, call)
  (folder / 'world.json').write_text(json.dumps(world))
  is_error = said.startswith('ERROR')
  print(said, file=sys.stderr if is_error else sys.stdout)
  sys.exit(is_error)


if __name__ == '__main__':
  _main()
