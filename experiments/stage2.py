"""SCoRe: base, Stage I, then Stage II with the bonus (Eq. 4 and 5).

    python -m score_jax.main --config=experiments/stage2.py[:VARIANT]

VARIANT is a name in `experiments/variants.py` (the embedded task without one),
or in `experiments/methods.py` (SCoRe without one), or VARIANT+METHOD.
"""

from experiments import variants


def get_config(arg: str | None = None):
  """The config of a variant, through Stage II."""
  return variants.make(arg, 'stage2')
