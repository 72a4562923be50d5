"""One way only: a file imports from layers above it, or earlier in its own.

This table is the order in which the package reads. A file that is not in it
fails the test, and so does an import that points down.
"""

import ast
import pathlib

import score_jax

ROOT = pathlib.Path(score_jax.__file__).parent
LAYERS = (
    'config types keys buckets files owner lease lock new_folder door'
    ' rendezvous hosts',
    'grading datasets tasks text data',
    'sharding compiler rows cpu_collectives size_checks models',
    'rollout',
    'rl',
    'optimizers update intervals metrics',
    'seal origins checkpoint progress board profiling compile_cache logs'
    ' results_file writer report'
    ' shutdown notice watch',
    'weights trained stop_strings actor continuation feedback states run',
    'recipes',
    'protocol studies evaluate evaluations offline train imitate pipeline'
    ' cells sweep'
    ' tpu_slices arithmetic hlo compile_lines compile_programs compile_check',
    'main prepare_data grader_accuracy convert memory compile_table'
    ' baseline_variance',
)
ORDER = [unit for layer in LAYERS for unit in layer.split()]

# Stricter still: the mathematics knows nothing of models, meshes or text.
ONLY = {
    'rl': {'config', 'types', 'rl'},
    'rollout': {'config', 'types', 'keys', 'sharding', 'models', 'rollout'},
}


def _unit(path):
  return path.relative_to(ROOT).with_suffix('').parts[0]


def _imports(path):
  """Units of score_jax that a file imports, anywhere in it."""
  for node in ast.walk(ast.parse(path.read_text())):
    if isinstance(node, ast.ImportFrom) and node.module:
      parts = node.module.split('.')
      names = [alias.name for alias in node.names]
      if parts == ['score_jax']:
        yield from names
      elif parts[0] == 'score_jax':
        yield parts[1]
    elif isinstance(node, ast.Import):
      for alias in node.names:
        if alias.name.startswith('score_jax.'):
          yield alias.name.split('.')[1]


def _files():
  return [p for p in sorted(ROOT.rglob('*.py')) if p.name != '__init__.py'
          or p.parent != ROOT]


def test_every_file_has_a_place():
  assert {_unit(path) for path in _files()} == set(ORDER)


def test_no_import_points_down():
  wrong = [
      f'{path.relative_to(ROOT)} imports {name}'
      for path in _files() for name in _imports(path)
      if ORDER.index(name) > ORDER.index(_unit(path))]
  assert not wrong


def test_the_mathematics_knows_arrays_only():
  wrong = [
      f'{path.relative_to(ROOT)} imports {name}'
      for path in _files() for name in _imports(path)
      if name not in ONLY.get(_unit(path), {name})]
  assert not wrong


def test_only_one_file_each_touches_nnx_outside_models_and_orbax():
  for path in _files():
    text = path.read_text()
    inside = _unit(path) == 'models'
    assert inside or 'nnx' not in text, path
    assert path.name == 'checkpoint.py' or 'import orbax' not in text
    assert path.name == 'checkpoint.py' or 'from orbax' not in text
