"""Train a public model on a TPU pod slice.

    python -m score_jax.main --config=experiments/pods.py:POD

Pods and their slices: `score_jax/recipes/pods.py`; expected figures:
docs/pods.md.
"""

from score_jax.recipes.pods import get_config  # noqa: F401
