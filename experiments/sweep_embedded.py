"""Compare all methods on an embedded task over several seeds.

    python -m score_jax.main --config=experiments/sweep_embedded.py[:TASK+FORM]

Tasks, forms and their cost: `score_jax/recipes/sweep_embedded.py`; expected
numbers: docs/behaviour.md.
"""

from score_jax.recipes.sweep_embedded import get_config  # noqa: F401
