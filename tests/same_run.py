"""Whether two finished runs are the same."""

import json
import pathlib
import re
import warnings

import jax
import numpy as np
from orbax.checkpoint import v1

from tests import door


def check(workdir: pathlib.Path, finished: pathlib.Path):
  """That two finished workdirs hold the same, and nothing is left over."""
  for name in ('metrics.jsonl', 'transcripts.jsonl'):
    assert (workdir / name).read_bytes() == (finished / name).read_bytes()
  stages = lambda folder: json.loads(
      (folder / 'results.json').read_text())['stages']
  assert stages(workdir) == stages(finished)
  for path in finished.glob('checkpoints/*/*'):
    mine, theirs = _arrays(workdir / path.relative_to(finished)), _arrays(path)
    assert jax.tree.structure(mine) == jax.tree.structure(theirs)
    for a, b in zip(jax.tree.leaves(mine), jax.tree.leaves(theirs)):
      assert a.dtype == b.dtype
      np.testing.assert_array_equal(a, b)
  differ = names(workdir) ^ names(finished)
  assert not differ, differ


def _arrays(path):
  with warnings.catch_warnings():
    warnings.simplefilter('ignore')  # It is restored as it was sharded.
    return jax.device_get(v1.load(path))


def names(workdir: pathlib.Path) -> set[str]:
  """Files, without those whose names depend on clock, contents or chance."""
  # TFDS never reads what an interrupted preparation leaves, nor deletes it.
  return {name for name in door.tree(workdir)
          if not re.search(
              '^tensorboard|^evaluations|/d/|/incomplete[.]', name)}
