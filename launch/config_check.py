"""Build the config of a run on this machine, before any host is asked to.

The config is built by the checkout's own code, in a separate process. That
needs ml-collections, and for some configs jax; without them the check is left
out, and a remark says so.
"""

from collections.abc import Sequence
import pathlib
import subprocess
import sys

_WRONG, _NOT_INSTALLED = 2, 3
_PROGRAM = """
import sys
try:
  from absl import flags
  from ml_collections import config_flags
  from score_jax import config
except ImportError as error:
  print(error.name, file=sys.stderr)
  sys.exit(3)
found = config_flags.DEFINE_config_file('config')
flags.DEFINE_enum('mode', 'train', ['train', 'eval', 'compile'], 'As of main.')
try:
  for arg in sys.argv[1:]:
    config.check_override(arg)
  flags.FLAGS(sys.argv)
  values = found.value.to_dict()
  sweep = values.pop('sweep', None)
  config.from_dict(values)
  if sweep is not None:
    config.sweep_from_dict(sweep)
except ImportError as error:
  print(error.name, file=sys.stderr)
  sys.exit(3)
except Exception as error:
  print(str(error).strip().splitlines()[-1], file=sys.stderr)
  sys.exit(2)
"""


def check(checkout: pathlib.Path, args: Sequence[str]) -> str:
  """Check the flags of score_jax.main that make up the config.

  Args:
    checkout: the folder whose code runs on the hosts.
    args: flags that begin with --config or --mode.

  Returns:
    A remark where the config could not be built here; else ''.

  Raises:
    ValueError: the config is wrong, as score_jax.main would say.
  """
  if not (checkout / 'score_jax' / 'config.py').is_file():
    return f'the config was not checked: {checkout} has no score_jax/config.py'
  done = subprocess.run(
      [sys.executable, '-c', _PROGRAM, *args], cwd=checkout, text=True,
      capture_output=True, check=False)
  said = (done.stderr.strip().splitlines() or [''])[-1]
  if done.returncode == _WRONG:
    named = [arg for arg in args if arg.startswith('--config=')]
    raise ValueError(f'{named[-1]}: {said.removeprefix("ValueError: ")}')
  if done.returncode == _NOT_INSTALLED:
    return (f'the config was not checked: the package {said} is not installed '
            'here; the hosts check it when they start')
  return f'the config was not checked: {said}' if done.returncode else ''
