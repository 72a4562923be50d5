"""The README's commands are the ones that work; `.ci/run` runs them."""

import pathlib
import re

from score_jax import config as config_lib
from score_jax.recipes import base_recipes
from score_jax.recipes import methods
from score_jax.recipes import pods
from score_jax.recipes import sweep_embedded

ROOT = pathlib.Path(__file__).resolve().parent.parent
README = (ROOT / 'README.md').read_text()


def _commands():
  blocks = re.findall(r'```bash\n(.*?)```', README, re.DOTALL)
  return [line for block in blocks for line in block.splitlines()]


def test_two_lines_do_all_the_set_up():
  run, test = [c for c in _commands() if c.startswith('python3 -m venv')]
  assert run.endswith('-m score_jax.main --config=experiments/stage2.py')
  assert test.endswith('-m pytest')


def test_every_config_and_field_that_is_named_exists():
  named = re.findall(r'--config=(experiments/\w+\.py)(?::([\w+]+))?', README)
  assert len(named) >= 4
  for path, variant in named:
    assert (ROOT / path).is_file()
    if path.endswith('pods.py'):
      assert variant in pods.VARIANTS
    elif path.endswith('sweep_embedded.py'):
      sweep_embedded.get_config(variant)
    elif not variant.startswith('VARIANT'):
      base_recipes.make(variant, 'stage2')
  for field in re.findall(r'--config\.[a-z][\w.]*', README):
    config_lib.check_override(field)


def test_every_variant_is_described():
  for name in (*base_recipes.VARIANTS, *methods.METHODS):
    assert f'`{name}`' in README


def test_every_link_into_the_project_leads_somewhere():
  for target in re.findall(r'\]\((?!http)([^)#]+)\)', README):
    assert (ROOT / target).exists(), target
