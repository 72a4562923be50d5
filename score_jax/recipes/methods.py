"""What SCoRe is compared with, by name: a few lines each on any variant.

    python -m score_jax.main --config=experiments/stage2.py:METHOD
    python -m score_jax.main --config=experiments/stage2.py:VARIANT+METHOD

on the embedded task, or on a variant of `score_jax/recipes/base_recipes.py`.
All share the loop, and have the steps, so the samples and updates, of both
stages of the variant; learning rates and KL weights are the variant's.
Sections, equations and tables are of the paper (2409.12917).
"""

import ml_collections

ConfigDict = ml_collections.ConfigDict


def score(config: ConfigDict):
  """SCoRe itself: nothing is changed."""
  del config


def no_stage1(config: ConfigDict):
  """Without Stage I: Stage II starts at the base (section 6, ablations)."""
  config.stage2.steps += config.stage1.steps
  config.stage1.steps = 0


def no_bonus(config: ConfigDict):
  """Without the bonus of Eq. 5 in Stage II (section 6, ablations)."""
  config.stage2.alpha = 0.0


def single_turn(config: ConfigDict):
  """Without multi-turn training: attempt 1 alone is trained (section 6).

  The correction prompt comes at test time. Attempt 2 is sampled all the same,
  so that its curve is there; it has neither reward nor KL.
  """
  no_stage1(config)
  config.stage2.method = 'first'


def plain_last(config: ConfigDict):
  """Plain multi-turn RL: E[r2], as Eq. 1 of the first version.

  The policy gradient of whole trajectories: r2 is the return of both attempts.
  """
  no_stage1(config)
  config.stage2.update(method='last', gamma=1.0)


def plain_sum(config: ConfigDict):
  """Plain multi-turn RL: E[r1 + r2], as Eq. 1 of the later versions.

  Attempt 1 has r1 + r2 as its return, attempt 2 has r2.
  """
  no_stage1(config)
  config.stage2.update(alpha=0.0, gamma=1.0)


def plain_own(config: ConfigDict):
  """Neither Stage I nor bonus: each attempt its own reward (gamma = 0)."""
  no_stage1(config)
  config.stage2.alpha = 0.0


def plain_pairs(config: ConfigDict):
  """Plain RL on (x2, y2) alone; attempt 1 has the KL, no reward (section 4).

  What the text calls standard multi-turn RL.
  """
  no_stage1(config)
  config.stage2.method = 'last'


def return_to_go(config: ConfigDict):
  """Credit across attempts: gamma 0.8 at alpha 1 (section 5.2)."""
  config.stage2.update(gamma=0.8, alpha=1.0)


def factored(config: ConfigDict):
  """SCoRe with the baseline of less variance: see `rl.rewards.factored`."""
  config.stage2.baseline = 'factored'


def progress(config: ConfigDict):
  """MRT (Qu et al., 2503.07572): outcome, and progress alpha times, alpha 1.

  One stage from the base. alpha is that of the authors' own on-policy variant
  (github.com/CMU-AIRe/MRT).
  """
  no_stage1(config)
  config.stage2.update(method='progress', alpha=1.0)


def star(config: ConfigDict):
  """STaR: wrong, then right, as sampled; three rounds (section 4)."""
  no_stage1(config)
  config.stage2.update(method='star', rounds=3)


def star_plus(config: ConfigDict):
  """STaR D+: and what was right twice."""
  star(config)
  config.stage2.method = 'star_plus'


def pair_sft(config: ConfigDict):
  """Pair-SFT: wrong, then any right attempt at the problem (section 4)."""
  no_stage1(config)
  config.stage2.method = 'pairs'


def pair_sft_plus(config: ConfigDict):
  """Pair-SFT D+: and right ones, each followed by a right one."""
  no_stage1(config)
  config.stage2.method = 'pairs_plus'


def star_stage2(config: ConfigDict):
  """Stage I, then STaR in place of REINFORCE (section 6, ablations)."""
  config.stage2.update(method='star', rounds=3)


def no_online(config: ConfigDict):
  """Stage II with first attempts of the frozen base alone (section 6)."""
  config.stage2.offline = 1.0


def offline_mix(config: ConfigDict):
  """Stage II with the base's first attempts at half of the problems (5.3).

  The paper mixes them in, and does not say how many.
  """
  config.stage2.offline = 0.5


def three_attempts(config: ConfigDict):
  """Three attempts: Stage I(a), Stage I(b), Stage II (appendix A).

  I(a) trains attempt 2 with attempt 1 pinned to the base; I(b) trains attempt 3
  with both pinned to I(a). They share the steps of Stage I.
  """
  first, *_, last = config.rollout.attempt_tokens
  config.rollout.attempt_tokens = (first, last, last)
  steps = config.stage1.steps
  config.stage1b.update(config.stage1)
  config.stage1b.update(steps=steps // 2, reference='start')
  config.stage1.update(steps=steps - steps // 2, attempts=2)


def self_refine(config: ConfigDict):
  """Self-Refine: the base's own critique between its attempts; no training."""
  config.stage = 'base'
  config.rollout.feedback = 'critique'


def feedback_critique(config: ConfigDict):
  """SCoRe with the policy's own critique first; not the paper's problem."""
  config.rollout.feedback = 'critique'


def feedback_verdict(config: ConfigDict):
  """SCoRe, told whether attempt 1 is right; not the paper's problem."""
  config.rollout.feedback = 'verdict'


def feedback_tests(config: ConfigDict):
  """SCoRe for programs, told how attempt 1 does on the tests of the prompt.

  Not the paper's problem.
  """
  config.rollout.feedback = 'tests'


METHODS = {
    method.__name__: method for method in (
        score, no_stage1, no_bonus, single_turn, plain_last, plain_sum,
        plain_own, plain_pairs, return_to_go, factored, progress, star,
        star_plus, pair_sft, pair_sft_plus, star_stage2,
        no_online, offline_mix, three_attempts, self_refine,
        feedback_critique, feedback_verdict, feedback_tests)
}
