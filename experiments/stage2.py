"""Train a base model, Stage I, then Stage II (paper Eq. 4 and 5).

    python -m score_jax.main --config=experiments/stage2.py[:VARIANT]

Variants, hardware and expected numbers: `score_jax/recipes/base_recipes.py`
and `score_jax/recipes/methods.py`.
"""

from score_jax.recipes.stage2 import get_config  # noqa: F401
