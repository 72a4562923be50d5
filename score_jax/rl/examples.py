"""What supervised baselines learn from: two attempts made of sampled ones.

An example is a first attempt as it was sampled, and a right one as the second,
of which alone is learned (paper section 4; Appendix for D+):

    star          the row's own second attempt, where the first is wrong
    star_plus     and where both are right
    pairs         for each wrong first attempt one of all right attempts at the
                  problem, first or second ones, at random (Pair-SFT, after
                  Welleck et al., 2211.00053)
    pairs_plus    and for each right first attempt too

The paper does not say whether attempt 1 is learned from, nor how many of the
right ones the D+ sets have; here it is context, and they have all.
"""

import numpy as np

from score_jax import types


def choose(
    method: str,
    grades_BA: np.ndarray,
    problem_B: np.ndarray,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Which rows become examples, and what stands second in them.

  Args:
    method: see above.
    grades_BA: 0 or 1 for both attempts of every row.
    problem_B: a number for each row's problem.
    rng: draws among right attempts.

  Returns:
    Three int arrays of one length: rows, and for each the row and the attempt
    (from 0) that its second attempt is taken from.
  """
  wrong_B = grades_BA[:, 0] == 0
  asked_B = wrong_B | method.endswith('_plus')
  if method.startswith('star'):
    rows = np.flatnonzero(asked_B & (grades_BA[:, 1] == 1))
    return rows, rows, np.ones_like(rows)
  right = {}
  for row, attempt in np.argwhere(grades_BA == 1):
    right.setdefault(problem_B[row], []).append((row, attempt))
  rows = np.array([row for row in np.flatnonzero(asked_B)
                   if problem_B[row] in right], int)
  drawn = [rng.choice(right[problem_B[row]]) for row in rows]
  source, attempt = np.array(drawn, int).reshape(-1, 2).T
  return rows, source, attempt


def assemble(
    tokens_BS: np.ndarray,
    valid_BS: np.ndarray,
    attempt_BS: np.ndarray,
    layout: types.Layout,
    chosen: tuple[np.ndarray, np.ndarray, np.ndarray],
    pad_id: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """The chosen examples in the slots of rollouts, as tokens, valid, attempt.

  One whose second attempt is longer than its slots is left out.

  Args:
    tokens_BS, valid_BS, attempt_BS: see `types.Rollout`.
    layout: of them, with two attempts.
    chosen: of `choose`.
    pad_id: the id in slots that are not valid.
  """
  first, start = layout.starts
  length, room = layout.attempts
  too_long_B = valid_BS[:, first + room : first + length].any(axis=1)
  fits = ~(too_long_B[chosen[1]] & (chosen[2] == 0))
  rows, sources, attempts = (x[fits] for x in chosen)

  def with_second(x_BS, fill):
    shorter = x_BS[:, first : first + min(length, room)]
    shorter = np.pad(shorter, ((0, 0), (0, room - shorter.shape[1])),
                     constant_values=fill)
    of_attempt = np.stack([shorter, x_BS[:, start:]])
    return np.concatenate(
        [x_BS[rows, :start], of_attempt[attempts, sources]], axis=1)

  attempt_MS = with_second(attempt_BS, 0)
  attempt_MS[:, start:] = 2 * (attempt_MS[:, start:] > 0)
  return (with_second(tokens_BS, pad_id), with_second(valid_BS, False),
          attempt_MS)
