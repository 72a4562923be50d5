"""Rows that share a prompt, joined and told apart again."""

import jax.numpy as jnp
import numpy as np

from score_jax.models import branches as branches_lib

# Two prompts of 2 slots, three rows of each, 1 slot more.
BRANCHES = branches_lib.Branches(prompt=2, count=3)
ROWS = jnp.array([[1, 2, 3], [1, 2, 4], [1, 2, 5],
                  [6, 7, 8], [6, 7, 9], [6, 7, 10]])


def test_rows_become_branches_by_hand():
  joined = branches_lib.join(ROWS, BRANCHES)
  np.testing.assert_array_equal(joined, [[1, 2, 3, 4, 5], [6, 7, 8, 9, 10]])
  np.testing.assert_array_equal(
      branches_lib.each(joined, BRANCHES), ROWS[:, 2:])
  np.testing.assert_array_equal(
      branches_lib.prompt(joined, BRANCHES), ROWS[:, :2])
  np.testing.assert_array_equal(branches_lib.rows(joined, BRANCHES), ROWS)


def test_axes_behind_the_slots_stay():
  x = jnp.arange(6 * 4 * 5).reshape(6, 4, 5)
  x = x.at[:, :2].set(jnp.repeat(x[::3, :2], 3, axis=0))
  joined = branches_lib.join(x, BRANCHES)
  assert joined.shape == (2, 2 + 3 * 2, 5)
  np.testing.assert_array_equal(branches_lib.rows(joined, BRANCHES), x)
