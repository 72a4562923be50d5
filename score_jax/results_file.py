"""Read `results.json`, and refuse one that no run has written."""

from typing import Any

from score_jax import files


def read(path: files.Path) -> dict[str, Any] | None:
  """Return what a `results.json` holds; None if there is none.

  Raises:
    ValueError: it cannot be read, or is not a run's; the message names the
      file and the part of it.
  """
  results = files.read_json(path)
  if results is None:
    return None
  wrong = _wrong(results)
  if wrong:
    raise ValueError(f'{path} is not as a run writes it: {wrong}; move the '
                     'file, and start the run again to evaluate it')
  return results


def _wrong(results) -> str:
  if not isinstance(results, dict) or 'stages' not in results:
    return 'it is no object with the field "stages"'
  for part in ('stages', 'wall_s', 'grading', 'transcripts'):
    if not isinstance(results.get(part, {}), dict):
      return f'{part} is {str(results[part])[:80]}'
  for stage, found in results['stages'].items():
    if not isinstance(found, dict) or not isinstance(
        found.get('step', 0), int | None):
      return f'stages.{stage} is {str(found)[:80]}'
  return ''
