"""SCoRe Stage I: the base model, then attempt 2 with attempt 1 pinned (Eq. 3).

    python -m score_jax.main --config=experiments/stage1.py[:VARIANT]

VARIANT is a name in `experiments/variants.py` (the embedded task without one),
or in `experiments/methods.py` (SCoRe without one), or VARIANT+METHOD.
"""

from experiments import variants


def get_config(arg: str | None = None):
  """The config of a variant, ending with Stage I."""
  return variants.make(arg, 'stage1')
