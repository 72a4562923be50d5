"""What supervised baselines learn from, worked by hand."""

import numpy as np
import pytest

from score_jax import types
from score_jax.rl import examples

# Two problems of three rows, and one of a single row.
GRADES_BA = np.array([[0, 1], [0, 0], [1, 1], [1, 0], [0, 0], [0, 0], [0, 0]])
PROBLEM_B = np.array([7, 7, 7, 9, 9, 9, 4])


def _choose(method, seed=0):
  return [x.tolist() for x in examples.choose(
      method, GRADES_BA, PROBLEM_B, np.random.default_rng(seed))]


def test_star_takes_what_a_rollout_mended():
  assert _choose('star') == [[0], [0], [1]]
  assert _choose('star_plus') == [[0, 2], [0, 2], [1, 1]]


@pytest.mark.parametrize('method,rows', [
    ('pairs', [0, 1, 4, 5]), ('pairs_plus', [0, 1, 2, 3, 4, 5])])
def test_pairs_take_any_right_attempt_at_the_problem(method, rows):
  # Right attempts: of problem 7 (0, 1), (2, 0), (2, 1); of 9 (3, 0); of 4 none.
  drawn = {row: set() for row in rows}
  for seed in range(40):
    chosen, sources, attempts = _choose(method, seed)
    assert chosen == rows
    for row, source, attempt in zip(chosen, sources, attempts):
      drawn[row].add((source, attempt))
  for row, found in drawn.items():
    assert found == ({(0, 1), (2, 0), (2, 1)} if row < 3 else {(3, 0)})


def test_pairs_are_a_function_of_the_seed():
  assert _choose('pairs', 3) == _choose('pairs', 3)
  assert any(_choose('pairs', 3) != _choose('pairs', n) for n in range(3))


def test_nothing_right_gives_no_examples():
  for method in ('star', 'star_plus', 'pairs', 'pairs_plus'):
    found = examples.choose(method, np.zeros((2, 2), int), np.zeros(2),
                            np.random.default_rng(0))
    assert [len(x) for x in found] == [0, 0, 0]


# Slots: prompt | attempt 1 | end of turn, instruction | attempt 2. Row 0 has
# attempts of 3 and 1 tokens, row 1 of 2 and 2; row 0 ran out in attempt 1.
LAYOUT = types.Layout(2, (3, 2), (2,))
TOKENS = np.array([[1, 5, 11, 12, 13, 2, 6, 21, 9], [9, 5, 31, 32, 9, 9, 6, 41,
                                                     42]])
ATTEMPT = np.array([[0, 0, 1, 1, 1, 0, 0, 2, 0], [0, 0, 1, 1, 0, 0, 0, 2, 2]])
VALID = TOKENS != 9


def _assemble(rows, sources, attempts, layout=LAYOUT, take=np.s_[:]):
  return examples.assemble(
      TOKENS[:, take], VALID[:, take], ATTEMPT[:, take], layout,
      tuple(np.array(x) for x in (rows, sources, attempts)), 9)


def test_a_row_with_its_own_second_attempt_is_the_row():
  for made, was in zip(_assemble([1, 0], [1, 0], [1, 1]),
                       (TOKENS, VALID, ATTEMPT)):
    np.testing.assert_array_equal(made, was[[1, 0]])


def test_another_rows_first_attempt_stands_in_the_seconds_slots():
  tokens, valid, attempt = _assemble([0, 0], [1, 1], [0, 1])
  np.testing.assert_array_equal(tokens, [[1, 5, 11, 12, 13, 2, 6, 31, 32],
                                         [1, 5, 11, 12, 13, 2, 6, 41, 42]])
  assert valid.all()
  np.testing.assert_array_equal(attempt, 2 * [[0, 0, 1, 1, 1, 0, 0, 2, 2]])


def test_an_attempt_that_does_not_fit_is_left_out():
  # Row 0's first attempt has 3 tokens; an attempt 2 has room for 2.
  tokens, *_ = _assemble([1, 0], [0, 1], [0, 0])
  np.testing.assert_array_equal(tokens, [[1, 5, 11, 12, 13, 2, 6, 31, 32]])


def test_a_short_first_attempt_leaves_slots_of_the_second_empty():
  # Attempt 1 of one slot, attempt 2 of two: prompt 4, end of turn, prompt 6.
  layout = types.Layout(3, (1, 2), (2,))
  take = [0, 1, 3, 2, 5, 6, 7, 8]
  tokens, valid, attempt = _assemble([1], [0], [0], layout, take)
  assert tokens[0].tolist() == [9, 5, 32, 31, 9, 6, 11, 9]
  assert valid[0, -2:].tolist() == [True, False]
  assert attempt[0, -2:].tolist() == [2, 0]
