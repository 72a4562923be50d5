"""Counts and rates of the attempts at many problems, with 95% intervals.

    accuracy_t1, accuracy_t2, ...   right attempts, by number
    accuracy_first, accuracy_last   right first and last attempts
    i_to_c, c_to_i                  incorrect to correct, correct to incorrect,
                                    from the first attempt to the last
    delta                           i_to_c - c_to_i
                                    = accuracy_last - accuracy_first
    unchanged                       the last attempt gives the first's answer
    truncated_t1, ...               attempts that ran out of tokens, by number
    fix_rate                        i_to_c as a share of wrong first attempts

All but the last are shares of ALL problems counted (paper section 3.1,
"Metrics").
"""

from collections.abc import Callable
from collections.abc import Sequence
import itertools

import numpy as np
from rapidfuzz.distance import Levenshtein

from score_jax import intervals as intervals_lib

EDIT_EDGES = np.linspace(0, 1, 21)


def count_names(attempts: int) -> tuple[str, ...]:
  """Return the names of the counts of problems with so many attempts."""
  numbers = range(1, attempts + 1)
  return ('n', *(f'right_t{a}' for a in numbers), 'i_to_c', 'c_to_i',
          'unchanged', *(f'truncated_t{a}' for a in numbers))


def count(
    grades_BA: np.ndarray, unchanged_B: np.ndarray, truncated_BA: np.ndarray
) -> dict[str, int]:
  """Counts of a batch; those of two batches add up key by key.

  Args:
    grades_BA: 0 or 1 for each attempt.
    unchanged_B: bool, first and last attempt give the same answer.
    truncated_BA: bool.
  """
  grades_BA, truncated_BA = np.asarray(grades_BA), np.asarray(truncated_BA)
  first, last = grades_BA[:, 0], grades_BA[:, -1]
  values = (len(first), *grades_BA.sum(axis=0),
            ((first == 0) & (last == 1)).sum(),
            ((first == 1) & (last == 0)).sum(), np.sum(unchanged_B),
            *truncated_BA.sum(axis=0))
  return dict(zip(count_names(grades_BA.shape[1]), map(int, values),
                  strict=True))


def add(a: dict[str, int], b: dict[str, int]) -> dict[str, int]:
  """The counts of two batches together."""
  return {name: a[name] + b[name] for name in a}


def unread_warning(
    task: str,
    texts: Sequence[Sequence[str]],
    answer: Callable[[str], str | None],
) -> str:
  """Return a line if most attempts have no answer that can be read, or ''.

  Args:
    task: its name.
    texts: of the attempts, by row.
    answer: see `tasks.base.Task.answer`.
  """
  found = [answer(text) is None for row in texts for text in row]
  if 2 * sum(found) <= len(found):
    return ''
  return (f'WARNING: {sum(found)} of {len(found)} attempts have no answer that '
          f'the task {task!r} can read, and get no reward. Likely causes: '
          'config.task.question asks for no form of the answer that is read '
          '(see docs/grading.md), or config.rollout.attempt_tokens is too low')


def rates(counts: dict[str, int]) -> dict[str, float]:
  """Fractions of all problems; `delta` is exactly `i_to_c - c_to_i`."""
  share = {name: of / counts['n'] for name, of in counts.items()}
  accuracy = [share[name] for name in _rights(counts)]
  return {
      **{f'accuracy_t{a}': of for a, of in enumerate(accuracy, 1)},
      'accuracy_first': accuracy[0], 'accuracy_last': accuracy[-1],
      'delta': share['i_to_c'] - share['c_to_i'],
      **{name: of for name, of in share.items()
         if name != 'n' and not name.startswith('right_t')}}


def intervals(counts: dict[str, int]) -> dict[str, list[float] | None]:
  """Return 95% intervals over problems; see `score_jax.intervals`.

  Rates have the interval of Clopper and Pearson; delta, the difference of two
  rates of the same problems, has Tango's score interval.

  Returns:
    `NAME_ci95`, low and high, of every accuracy, delta, i_to_c, c_to_i and
    fix_rate; the last is None where no first attempt is wrong.
  """
  n, up, down = counts['n'], counts['i_to_c'], counts['c_to_i']
  rights = [counts[name] for name in _rights(counts)]
  found = {f'accuracy_t{a}': right for a, right in enumerate(rights, 1)} | {
      'accuracy_first': rights[0], 'accuracy_last': rights[-1], 'i_to_c': up,
      'c_to_i': down}
  bounds = {f'{name}_ci95': intervals_lib.of_rate(of, n)
            for name, of in found.items()}
  wrong = n - rights[0]
  return bounds | {
      'delta_ci95': intervals_lib.of_difference(up, down, n),
      'fix_rate_ci95': intervals_lib.of_rate(up, wrong) if wrong else None}


def _rights(counts) -> list[str]:
  """The names of the counts of right attempts, by attempt."""
  return [name for name in counts if name.startswith('right_t')]


def summary(counts: dict[str, int]) -> dict[str, float | list[float] | None]:
  """`n`, rates, their intervals, `fix_rate`, and McNemar's exact p of delta.

  `mcnemar_p` is exact, and `delta_ci95` a score interval: with few flips the
  interval may leave out 0 where p is a little above 0.05.
  `mcnemar_p` is the two-sided probability of a split of the flips that is at
  least as uneven, were up and down equally likely.
  """
  up, down, wrong = counts['i_to_c'], counts['c_to_i'], (
      counts['n'] - counts['right_t1'])
  return {
      'n': counts['n'], **rates(counts), **intervals(counts),
      'fix_rate': up / wrong if wrong else None,
      'mcnemar_p': _as_uneven(up, down)}


def change_rates(
    grades_BA: np.ndarray, unchanged_B: np.ndarray
) -> dict[str, float | None]:
  """How often the last answer is another one; None of no first attempts.

  Returns:
    `changed_wrong` of wrong first attempts, `changed_right` of right ones: a
    policy that tells them apart changes more of the wrong ones.
  """
  right_B, changed_B = grades_BA[:, 0] == 1, ~unchanged_B
  share = lambda of_B: float(changed_B[of_B].mean()) if of_B.any() else None
  return {'changed_wrong': share(~right_B), 'changed_right': share(right_B)}


def edit_distance_ratio(first: str, last: str) -> float:
  """Edits from one text to the other over their length together, 0..1.

  Characters; the paper's figure 4. 0 where both are empty.
  """
  return Levenshtein.distance(first, last) / max(len(first) + len(last), 1)


def histogram(ratios: Sequence[float]) -> dict[str, list]:
  """How many of the ratios fall between each two of `edges`."""
  counts, _ = np.histogram(ratios, EDIT_EDGES)
  return {'edges': EDIT_EDGES.tolist(), 'counts': counts.tolist()}


def majority(answers: Sequence[str | None]) -> int:
  """Index of the first sample with the answer that most samples give.

  Samples without an answer have no vote; without any votes it is the first
  sample. Of answers with equally many votes, the one that came first.
  """
  votes = [answer for answer in answers if answer is not None]
  return answers.index(max(votes, key=votes.count)) if votes else 0


def pass_at(k: int, right_N: np.ndarray, samples: int) -> float:
  """The chance that one of `k` samples is right, without bias.

  1 - C(n - c, k) / C(n, k) of n samples with c right (Chen et al., 2107.03374,
  Eq. 1), the mean over problems.

  Args:
    k: samples that count, at most `samples`.
    right_N: right samples of each problem.
    samples: of each problem, n.
  """
  left = samples - np.asarray(right_N, float)
  factors = [(left - i) / (samples - i) for i in range(k)]
  return float(1 - np.prod(np.maximum(factors, 0), axis=0).mean())


def _as_uneven(up, down) -> float:
  """See `summary`; in whole numbers, for scipy.stats takes long to import."""
  flips = up + down
  splits = itertools.accumulate(  # C(flips, k) of them have k on one side.
      range(min(up, down)), lambda ways, k: ways * (flips - k) // (k + 1),
      initial=1)
  return min(2 * sum(splits) / 2**flips, 1.0)
