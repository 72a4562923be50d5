"""Which attempt is paid for what: each method as one small table.

With gamma = 0 (paper section 5.2) every attempt sees only its own reward, and
the bonus alpha * (r2 - r1) goes to the second attempt alone. So the shaped
reward of attempt a is a fixed combination of the raw rewards, row a of a
matrix, and each attempt has one weight on its KL to the reference:

    Stage I  (Eq. 3)      r1  r2   KL     Stage II (Eq. 4, 5)    r1  r2   KL
      attempt 1            0   0  beta2     attempt 1             1   0  beta1
      attempt 2            0   1  beta1     attempt 2        -alpha  1+alpha
                                                                      beta1

With more than two attempts, Stage I pays the last and pins all others, and
Stage II gives each attempt the bonus against the one just before (appendix A).
The paper leaves open whether attempt 1 carries beta1 beside beta2 in Stage I;
here it carries beta2 alone, as Eq. 3 is written.

What SCoRe is compared with is a table too:

    last (v1's Eq. 1)     r1  r2   KL     first (single-turn)    r1  r2   KL
      attempt 1            0   0  beta1     attempt 1             1   0  beta1
      attempt 2            0   1  beta1     attempt 2             0   0   0

    progress (MRT)        r1      r2           KL
      attempt 1         alpha      1          beta1
      attempt 2        -alpha  1 + alpha      beta1

`returns` gives each attempt the discounted rewards of those after it, too: with
gamma = 1 `last` is the policy gradient of E[r2], and Stage II at alpha = 0 that
of E[r1 + r2]. `factored` leaves out what an attempt cannot change any more.

An attempt that ran out of tokens (truncated) is graded as any other. `zeroed`
and `masked` are the alternatives; and `truncated_bonus='unpaid'` drops the
bonus alpha * (r2 - r1), up or down, of an attempt after a truncated one, so
that merely answering in time is not paid 1 + alpha.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np


@dataclasses.dataclass(frozen=True)
class Credit:
  """A stage's coefficients.

  Attributes:
    reward_AA: entry [a, b] is what the raw reward of attempt b adds to the
      shaped reward of attempt a.
    kl_A: weight of each attempt's KL to the reference.
    bonuses: for each attempt but the last, what the bonus against it adds to
      `reward_AA`, which is left out of rows where that attempt is truncated
      and the bonus is then unpaid; None where there is no bonus.
  """

  reward_AA: tuple[tuple[float, ...], ...]
  kl_A: tuple[float, ...]
  bonuses: tuple[tuple[tuple[float, ...], ...] | None, ...] = ()


def stage1(attempts: int, beta1: float, beta2: float) -> Credit:
  """Eq. 3: only the last attempt is paid; those before it are pinned."""
  reward = np.zeros((attempts, attempts))
  reward[-1, -1] = 1.0
  return _credit(reward, [beta2] * (attempts - 1) + [beta1])


def stage2(attempts: int, alpha: float, beta1: float) -> Credit:
  """Eq. 4 with the bonus of Eq. 5: each attempt is paid, progress more."""
  bonuses = _bonuses(attempts, alpha)
  reward = np.eye(attempts) + sum(bonuses)
  return _credit(reward, [beta1] * attempts, bonuses)


def _bonuses(attempts, alpha) -> list[np.ndarray]:
  """Of each attempt but the last, alpha * (r_a+1 - r_a) for the one after."""
  found = [np.zeros((attempts, attempts)) for _ in range(attempts - 1)]
  for a, bonus in enumerate(found):
    bonus[a + 1, a + 1], bonus[a + 1, a] = alpha, -alpha
  return found


def last(attempts: int, beta1: float) -> Credit:
  """Only the last attempt is paid, and no other pinned."""
  return stage1(attempts, beta1, beta1)


def first(attempts: int, beta1: float) -> Credit:
  """Only the first attempt is paid, or trained at all."""
  reward = np.zeros((attempts, attempts))
  reward[0, 0] = 1.0
  return _credit(reward, [beta1] + [0.0] * (attempts - 1))


def progress(attempts: int, alpha: float, beta1: float) -> Credit:
  """The outcome for every attempt, and its own progress alpha times.

  Meta reinforcement fine-tuning (MRT, Qu et al., 2503.07572): beside the
  outcome each episode is paid for the change that it makes to the chance of
  success. An attempt is an episode here. The chance after it is its own grade,
  since it ends with an answer; the chance before the first is one constant a
  problem, and no baseline leaves a trace of it.
  """
  bonus = np.eye(attempts) - np.eye(attempts, k=-1)
  outcome = np.zeros((attempts, attempts))
  outcome[:, -1] = 1.0
  return _credit(outcome + alpha * bonus, [beta1] * attempts,
                 _bonuses(attempts, alpha))


def with_critique(credit: Credit) -> Credit:
  """Of two attempts with a critique between them.

  The critique is not graded. It is paid as the attempt that it is written for,
  and has its KL weight.
  """

  def spread(table_AA):
    found_AA = np.zeros((3, 3))
    found_AA[:, [0, 2]] = table_AA[[0, 1, 1]]
    return found_AA

  found = _mapped(credit, spread, [credit.kl_A[a] for a in (0, 1, 1)])
  return dataclasses.replace(found, bonuses=(*found.bonuses, None))


def none(attempts: int) -> Credit:
  """Neither rewards nor KL: where what is learned was chosen beforehand."""
  return _credit(np.zeros((attempts, attempts)), [0.0] * attempts)


def returns(credit: Credit, gamma: float) -> Credit:
  """Each attempt's own shaped reward, and those after it discounted.

  The paper has gamma = 0 throughout, and tried 0.8 with alpha = 1.
  """
  powers = np.subtract.outer(*2 * [np.arange(len(credit.kl_A))])
  discount_AA = np.triu(float(gamma) ** np.maximum(-powers, 0))
  return _mapped(credit, lambda table_AA: discount_AA @ table_AA, credit.kl_A)


def factored(credit: Credit) -> Credit:
  """Without the rewards of attempts that came before.

  Given what an attempt reads they are constants, so the expected gradient stays
  as it is, and their noise goes: in Stage II attempt 2 has (1 + alpha) r2, of
  which leave-one-out is (1 + alpha) times that of r2.
  """
  return _mapped(credit, np.triu, credit.kl_A)


def _mapped(credit, change, kl):
  """The credit with its tables changed, and these KL weights."""
  return _credit(
      change(np.array(credit.reward_AA)), kl,
      [bonus if bonus is None else change(np.array(bonus))
       for bonus in credit.bonuses])


def _credit(reward, kl, bonuses=()):
  rows = lambda table: tuple(tuple(map(float, row)) for row in table)
  return Credit(
      rows(reward), tuple(map(float, kl)),
      tuple(rows(bonus) if bonus is not None and np.any(bonus) else None
            for bonus in bonuses))


def shaped_rewards(
    rewards_BA: jax.Array,
    credit: Credit,
    unpaid_BA: jax.Array | None = None,
) -> jax.Array:
  """Each attempt's shaped reward, float32 [B, A], from raw rewards [B, A].

  Args:
    rewards_BA: raw rewards.
    credit: the stage's coefficients.
    unpaid_BA: bool, attempts against which there is no bonus; None for none.
  """
  shaped_BA = _combined(rewards_BA, credit.reward_AA)
  if unpaid_BA is None:
    return shaped_BA
  for a, bonus in enumerate(credit.bonuses):
    if bonus is not None:
      shaped_BA -= jnp.where(jnp.asarray(unpaid_BA)[:, a, None],
                             _combined(rewards_BA, bonus), 0)
  return shaped_BA


def _combined(rewards_BA, table_AA):
  # No matrix product, which a TPU would round to bfloat16.
  table_1AA = jnp.asarray([table_AA], jnp.float32)
  return (jnp.asarray(rewards_BA)[:, None, :] * table_1AA).sum(axis=-1)


def zeroed(rewards_BA: jax.Array, truncated_BA: jax.Array) -> jax.Array:
  """Set the raw rewards of truncated attempts to 0."""
  return jnp.where(jnp.asarray(truncated_BA), 0, jnp.asarray(rewards_BA))


def masked(attempt_BS: jax.Array, truncated_BA: jax.Array) -> jax.Array:
  """Take the tokens of truncated attempts out of what is learned.

  Args:
    attempt_BS: int32, 1-based attempt that sampled the slot; 0 elsewhere.
    truncated_BA: bool.

  Returns:
    attempt_BS with 0 in the slots of truncated attempts.
  """
  attempt_BS, truncated_BA = map(jnp.asarray, (attempt_BS, truncated_BA))
  for a in range(truncated_BA.shape[1]):
    is_left_out_BS = truncated_BA[:, a, None] & (attempt_BS == a + 1)
    attempt_BS = jnp.where(is_left_out_BS, 0, attempt_BS)
  return attempt_BS
