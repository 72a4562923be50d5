"""Train a base model, then Stage I (paper Eq. 3).

    python -m score_jax.main --config=experiments/stage1.py[:VARIANT]

Variants, hardware and expected numbers: `score_jax/recipes/base_recipes.py`
and `score_jax/recipes/methods.py`.
"""

from score_jax.recipes.stage1 import get_config  # noqa: F401
