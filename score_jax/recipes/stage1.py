"""SCoRe Stage I: the base model, then attempt 2 with attempt 1 pinned (Eq. 3).

    python -m score_jax.main --config=experiments/stage1.py[:VARIANT]

VARIANT is a name in `score_jax/recipes/base_recipes.py` (the embedded task
without one), or in `score_jax/recipes/methods.py` (SCoRe without one), or
VARIANT+METHOD.
"""

from score_jax.recipes import base_recipes


def get_config(arg: str | None = None):
  """The config of a variant, ending with Stage I."""
  return base_recipes.make(arg, 'stage1')
