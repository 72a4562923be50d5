"""SCoRe: base, Stage I, then Stage II with the bonus (Eq. 4 and 5).

    python -m score_jax.main --config=experiments/stage2.py[:VARIANT]

VARIANT is a name in `score_jax/recipes/base_recipes.py` (the embedded task
without one), or in `score_jax/recipes/methods.py` (SCoRe without one), or
VARIANT+METHOD.
"""

from score_jax.recipes import base_recipes


def get_config(arg: str | None = None):
  """The config of a variant, through Stage II."""
  return base_recipes.make(arg, 'stage2')
