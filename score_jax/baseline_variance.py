"""Compare the gradient noise of baselines: exactly, and of a run's policy.

    python -m score_jax.baseline_variance
    python -m score_jax.baseline_variance --run=WORKDIR --at=stage1

Two pairs of settings that have one expected gradient and differ in variance:

    baseline      'shaped' or 'factored': of the rewards (`rl.rewards`)
    kl_baseline   'none' or 'leave_one_out': of the KL to go (`rl.objective`)

Without a run the policies are so small that all their rollouts are enumerated:
for the rewards, a first attempt that is right or wrong, and a second that is,
given the first; for the KL, an attempt of at most three tokens. With a run
the variances are estimated from batches of the run's training problems: of the
rewards' part of the gradient without the KL, and of the KL's part alone.
"""

import contextlib
import dataclasses
import itertools
from typing import NamedTuple

from absl import flags
import jax
import jax.numpy as jnp
import numpy as np
import optax

from score_jax import config as config_lib
from score_jax import door
from score_jax import files
from score_jax import keys
from score_jax import pipeline
from score_jax import run as run_lib
from score_jax import sharding
from score_jax import shutdown
from score_jax import train
from score_jax import types
from score_jax import update
from score_jax.models import decoder
from score_jax.rl import advantages
from score_jax.rl import logprobs
from score_jax.rl import objective
from score_jax.rl import rewards

_ALPHAS = (0.0, 1.0, 10.0)
_SAMPLES = (2, 4)
_IDS, _STOP, _LONGEST = 3, 0, 3  # Of the attempts that are enumerated.
_IDS_OF_CHAIN = 8
_G_OF_CHAIN = 8
KL_BASELINES = ('none', 'leave_one_out')


class Gradient(NamedTuple):
  """A gradient that samples estimate.

  Attributes:
    mean: its expectation, a vector.
    variance: the sum of its entries' variances.
  """

  mean: np.ndarray
  variance: float


def exactly(
    credit: rewards.Credit, samples: int, logits: np.ndarray
) -> Gradient:
  """The estimated gradient of a problem, over all that can be sampled.

  Args:
    credit: of two attempts.
    samples: G.
    logits: that attempt 1 is right, and attempt 2 after a wrong and after a
      right one; what is differentiated.
  """
  right = 1 / (1 + np.exp(-logits))
  outcomes = np.array(list(itertools.product((0, 1), repeat=2)))
  chance, score = np.ones(4), np.zeros((4, 2, 3))
  for n, (r1, r2) in enumerate(outcomes):
    for a, (grade, which) in enumerate(((r1, 0), (r2, 1 + r1))):
      chance[n] *= right[which] if grade else 1 - right[which]
      score[n, a, which] = grade - right[which]
  groups = np.array(list(itertools.product(range(4), repeat=samples)))
  chance_N = chance[groups].prod(axis=1)
  shaped_BA = rewards.shaped_rewards(outcomes[groups.ravel()], credit)
  credit_BA = np.asarray(advantages.leave_one_out(shaped_BA, samples), float)
  credit_NGA = credit_BA.reshape(*groups.shape, 2)
  gradient_NP = (credit_NGA[..., None] * score[groups]).sum(axis=2).mean(axis=1)
  mean = chance_N @ gradient_NP
  return Gradient(mean, float(chance_N @ ((gradient_NP - mean)**2).sum(axis=1)))


def table() -> str:
  """Of the small policy, in Markdown; attempt 2 mends and spoils a little."""
  logits = np.array([-0.5, -2.0, 2.0])
  lines = ['| alpha | G | expected gradients differ by | variance, shaped '
           '| factored | ratio |', '|---|---|---|---|---|---|']
  for alpha, samples in itertools.product(_ALPHAS, _SAMPLES):
    credit = rewards.stage2(2, alpha, 0.0)
    shaped = exactly(credit, samples, logits)
    factored = exactly(rewards.factored(credit), samples, logits)
    differ = np.abs(shaped.mean - factored.mean).max()
    lines.append(
        f'| {alpha:g} | {samples} | {differ:.1e} | {shaped.variance:.4f} | '
        f'{factored.variance:.4f} | {shaped.variance / factored.variance:.3f} |'
    )
  return '\n'.join(lines)


class _Attempts(NamedTuple):
  """All attempts that can be sampled, and their derivatives; N of T tokens.

  Attributes:
    stats: of every token; [N, T].
    alive_NT: int32, 1 for a token of the attempt, 0 behind its stop token.
    chance_N: probability of each attempt.
    slope_NTP: of log pi(token), by the parameters.
    kl_slope_NTP: of the exact KL at the token.
  """

  stats: logprobs.TokenStatistics
  alive_NT: np.ndarray
  chance_N: np.ndarray
  slope_NTP: np.ndarray
  kl_slope_NTP: np.ndarray


def _enumerated(scores: dict, ref_scores: dict) -> _Attempts:
  """Enumerate the attempts of a policy with one set of logits a prefix.

  Args:
    scores: by prefix (a tuple of ids without the stop id), float64 [IDS].
    ref_scores: of the reference.
  """
  columns = {prefix: n for n, prefix in enumerate(scores)}
  softmax = lambda x: np.exp(x) / np.exp(x).sum()
  found = []

  def extend(prefix, tokens):
    if len(prefix) == _LONGEST or (tokens and tokens[-1][0] == _STOP):
      found.append(tokens)
      return
    for token in range(_IDS):
      extend((*prefix, token), [*tokens, (token, prefix)])

  extend((), [])
  shape = len(found), _LONGEST
  logp, ref_logp, kl, alive = (np.zeros(shape) for _ in range(4))
  slope, kl_slope = (np.zeros((*shape, len(columns), _IDS)) for _ in range(2))
  for n, tokens in enumerate(found):
    for t, (token, prefix) in enumerate(tokens):
      p, q = softmax(scores[prefix]), softmax(ref_scores[prefix])
      ratio = np.log(p / q)
      logp[n, t], ref_logp[n, t] = np.log(p[token]), np.log(q[token])
      kl[n, t], alive[n, t] = p @ ratio, 1
      slope[n, t, columns[prefix]] = np.eye(_IDS)[token] - p
      kl_slope[n, t, columns[prefix]] = p * (ratio - kl[n, t])
  flat = lambda x: x.reshape(*shape, -1)
  return _Attempts(
      logprobs.TokenStatistics(logp, np.zeros(shape), ref_logp, kl),
      alive.astype(np.int32), np.exp(logp.sum(axis=1)), flat(slope),
      flat(kl_slope))


def small_policy(seed: int, spread: float) -> dict:
  """Draw logits of a policy whose attempts have at most three tokens.

  Args:
    seed: of the draw.
    spread: standard deviation of the logits.

  Returns:
    float64 [3] by prefix; id 0 ends an attempt.
  """
  rng = np.random.default_rng(seed)
  prefixes = [prefix for length in range(_LONGEST) for prefix in
              itertools.product(range(1, _IDS), repeat=length)]
  return {prefix: rng.normal(size=_IDS) * spread for prefix in prefixes}


def kl_exactly(
    scores: dict, ref_scores: dict, samples: int, kl_baseline: str,
    kl: str = 'exact'
) -> Gradient:
  """Return the estimated gradient of a problem's KL, over all that is sampled.

  It is that of `objective.fused_loss`, in float64.

  Args:
    scores: of the policy, see `small_policy`; what is differentiated.
    ref_scores: of the reference.
    samples: G.
    kl_baseline: 'none' or 'leave_one_out'.
    kl: 'exact' or 'k2'.
  """
  with jax.enable_x64(True):
    every = _enumerated(scores, ref_scores)
    groups = np.array(list(itertools.product(
        range(len(every.chance_N)), repeat=samples)))
    rows = groups.ravel()
    stats = jax.tree.map(lambda x: jnp.asarray(x[rows]), every.stats)

    def loss(stats):
      return objective.fused_loss(
          stats, jnp.asarray(every.alive_NT[rows]), jnp.zeros((len(rows), 1)),
          (1.0,), jnp.full((1,), samples, float), kl=kl,
          group=1 if kl_baseline == 'none' else samples)[0]

    d_stats = jax.device_get(jax.jit(jax.grad(loss))(stats))
  of_rows = (np.einsum('nt,ntp->np', d_stats.logp, every.slope_NTP[rows])
             + np.einsum('nt,ntp->np', d_stats.kl, every.kl_slope_NTP[rows]))
  gradient_MP = of_rows.reshape(*groups.shape, -1).sum(axis=1)
  chance_M = every.chance_N[groups].prod(axis=1)
  mean = chance_M @ gradient_MP
  return Gradient(mean, float(chance_M @ ((gradient_MP - mean)**2).sum(axis=1)))


def kl_table() -> str:
  """Return the table of the KL's baselines, in Markdown."""
  lines = ['| KL | G | expected gradients differ by | variance, none '
           '| leave_one_out | ratio |', '|---|---|---|---|---|---|']
  scores, ref_scores = small_policy(0, 1.0), small_policy(1, 1.0)
  for kl, samples in itertools.product(('exact', 'k2'), _SAMPLES):
    none, others = (
        kl_exactly(scores, ref_scores, samples, kl_baseline, kl)
        for kl_baseline in KL_BASELINES)
    differ = np.abs(none.mean - others.mean).max()
    lines.append(
        f'| {kl} | {samples} | {differ:.1e} | {none.variance:.4f} | '
        f'{others.variance:.4f} | {none.variance / others.variance:.3f} |')
  return '\n'.join(lines)


def kl_sampled(
    tokens: int, ends: bool, kl_baseline: str, kl: str = 'exact',
    draws: int = 256
) -> Gradient:
  """Estimate the gradient of a problem's KL for long attempts.

  The policy is a Markov chain over 8 ids, with G = 8; its gradient is taken by
  the 64 logits. Both baselines are given the same attempts.

  Args:
    tokens: of an attempt: exactly, or on average if `ends`.
    ends: whether id 0 ends an attempt, with chance 1 / `tokens` at each token;
      an attempt then has at most `4 * tokens`.
    kl_baseline: 'none' or 'leave_one_out'.
    kl: 'exact' or 'k2'.
    draws: groups of G attempts.
  """
  rng = np.random.default_rng(0)
  scores_VV = rng.normal(size=(_IDS_OF_CHAIN, _IDS_OF_CHAIN))
  if ends:
    others = np.log(np.exp(scores_VV[:, 1:]).sum(axis=1))
    scores_VV[:, 0] = others - np.log(tokens - 1)
  ref_VV = scores_VV + 0.3 * rng.normal(size=scores_VV.shape)
  ref_VV = jax.nn.log_softmax(jnp.asarray(ref_VV, jnp.float32))
  length = 4 * tokens if ends else tokens

  def loss(scores_VV, ids_GT, alive_GT):
    logp_VV = jax.nn.log_softmax(scores_VV)
    before_GT = jnp.pad(ids_GT, ((0, 0), (1, 0)), constant_values=1)[:, :-1]
    kl_V = jnp.sum(jnp.exp(logp_VV) * (logp_VV - ref_VV), axis=1)
    stats = logprobs.TokenStatistics(
        logp_VV[before_GT, ids_GT], jnp.zeros(ids_GT.shape),
        ref_VV[before_GT, ids_GT], kl_V[before_GT])
    return objective.fused_loss(
        stats, alive_GT, jnp.zeros((len(ids_GT), 1)), (1.0,),
        jnp.full((1,), float(len(ids_GT))), kl=kl,
        group=1 if kl_baseline == 'none' else len(ids_GT))[0]

  def one(scores_VV, key):
    def step(before_G, key):
      ids_G = jax.random.categorical(key, scores_VV[before_G])
      return ids_G, ids_G

    _, ids_TG = jax.lax.scan(step, jnp.ones(_G_OF_CHAIN, jnp.int32),
                             jax.random.split(key, length))
    ids_GT = ids_TG.T
    ended_GT = jnp.cumsum((ids_GT == 0) & ends, axis=1)
    alive_GT = (ended_GT - ((ids_GT == 0) & ends) == 0).astype(jnp.int32)
    return jax.grad(loss)(scores_VV, ids_GT, alive_GT).ravel()

  keys_D = jax.random.split(jax.random.key(0), draws)
  program = jax.jit(lambda scores_VV: jax.lax.map(
      lambda key: one(scores_VV, key), keys_D, batch_size=16))
  return _measured(np.asarray(program(jnp.asarray(scores_VV, jnp.float32)),
                              np.float64))


def long_table() -> str:
  """Return the table of the KL's baselines for long attempts, in Markdown."""
  lines = ['| KL | tokens of an attempt | variance, none | leave_one_out '
           '| ratio |', '|---|---|---|---|---|']
  for kl, ends, tokens in itertools.product(
      ('exact', 'k2'), (False, True), (14, 100, 300)):
    none, others = (kl_sampled(tokens, ends, kl_baseline, kl).variance
                    for kl_baseline in KL_BASELINES)
    lines.append(
        f'| {kl} | {f"{tokens} on average" if ends else tokens} | {none:.3g} | '
        f'{others:.3g} | {none / others:.2f} |')
  return '\n'.join(lines)


def of_run(run: run_lib.Run, at: str, batches: int) -> dict[str, Gradient]:
  """Of a run's Stage II at the weights of a stage, by baseline.

  Returns:
    By name: 'shaped' and 'factored', of the rewards' part of the gradient; 'KL,
    none' and 'KL, leave_one_out', of the KL's part with the KL weight.

  Raises:
    ValueError: there are no such weights.
  """
  found, base = (pipeline.newest(run, stage) for stage in (at, 'base'))
  if found is None or base is None:
    raise ValueError(f'{run.folder} holds no checkpoint of '
                     f'{at if found is None else "base"}; train it first')
  config, rollout = run.config, run.config.rollout
  params = run.start(found.params) if at == 'base' else found.params
  policy = decoder.policy(config.model, base.params, params)
  stages = {name: dataclasses.replace(config.stage2, method='stage2',
                                      baseline=name)
            for name in ('shaped', 'factored')}
  credits = {
      name: train.credit_program(stage, train.stage_credit(config, stage),
                                 rollout.samples, run.mesh)
      for name, stage in stages.items()}
  asked = run.actor.conversation
  attempts = len(asked.attempt_tokens)
  gradient = _gradient_program(run, config.stage2, rewards.none(attempts))
  of_kl = {
      f'KL, {name}': _gradient_program(
          run, dataclasses.replace(config.stage2, kl_baseline=name),
          train.stage_credit(config, config.stage2))
      for name in KL_BASELINES}
  problems = run.problems('train')
  key = keys.purpose_key(config.seed, 'baseline_variance')
  vectors = {name: [] for name in (*credits, *of_kl)}
  for step in range(batches):
    chosen = train.indices(run, 'stage2', len(problems), step, rollout.prompts)
    graded = train.attempts(run, policy, [problems[i] for i in chosen], key,
                            step, asked)
    sampled = graded.rollout
    batch = lambda advantages_BA, attempt_BS, sampled=sampled: types.TrainBatch(
        sampled.tokens_BS, sampled.valid_BS, attempt_BS, sampled.logp_BS,
        advantages_BA, sampled.layout)
    for name, credit_fn in credits.items():
      advantages_BA, attempt_BS, _ = credit_fn(
          graded.grades_BA, sampled.truncated_BA, sampled.attempt_BS)
      vectors[name].append(gradient(
          params, base.params, batch(advantages_BA, attempt_BS)))
    for name, program in of_kl.items():
      vectors[name].append(program(params, base.params, batch(
          jnp.zeros_like(advantages_BA), attempt_BS)))
  return {name: _measured(np.array(found)) for name, found in vectors.items()}


def _gradient_program(run, stage, credit):
  """(parameters, reference, batch) -> the update's gradient, as a vector."""
  config = run.config
  keep = optax.GradientTransformation(
      lambda params: jax.tree.map(jnp.zeros_like, params),
      lambda grads, state, params=None: (grads, grads))

  def program(params, reference, batch):
    state, _ = update.rl_update(
        update.init_state(keep, params), reference, batch, model=config.model,
        stage=stage, credit=credit, optimizer=keep,
        temperature=config.rollout.temperature, head_chunk=config.head_chunk,
        samples=config.rollout.samples)
    return jnp.concatenate(
        [x.ravel() for x in jax.tree.leaves(state.opt_state)])

  return jax.jit(program, out_shardings=sharding.named(run.mesh))


def _measured(vectors: np.ndarray) -> Gradient:
  return Gradient(vectors.mean(axis=0),
                  float(vectors.var(axis=0, ddof=1).sum()))


def _define():
  flags.DEFINE_string('run', '', 'The --workdir of a run.')
  flags.DEFINE_enum('at', 'stage1', list(config_lib.STAGES), 'Whose weights.')
  flags.DEFINE_integer('batches', 32, 'Of the run, at least 2.')


def main():
  """Prints the tables, or the variances of a run."""
  given = flags.FLAGS
  if not given.run:
    print(table(), kl_table(), long_table(), sep='\n\n', flush=True)
    return
  if given.batches < 2:
    raise ValueError(f'--batches={given.batches}; a variance needs 2 or more')
  folder = files.opened(given.run)
  record = files.read_json(folder / 'config.json')
  if record is None:
    raise ValueError(f'--run={given.run} is no run: it has no config.json')
  run = run_lib.open_run(config_lib.from_dict(record['config']), folder,
                         shutdown.StopRequest(), evaluating=True)
  with contextlib.closing(run), jax.set_mesh(run.mesh):
    found = of_run(run, given.at, given.batches)
  for name, gradient in found.items():
    print(f'{name}: variance {gradient.variance:.4g}, squared mean '
          f'{gradient.mean @ gradient.mean:.4g}, of {given.batches} batches')


if __name__ == '__main__':
  door.run(main, _define)
