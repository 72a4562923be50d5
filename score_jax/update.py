"""One step of training: micro-batches -> gradient -> new state, in one program.

`rl_update` is SCoRe's (both stages differ only in their `Credit`); `lm_update`
is ordinary language modelling, which makes the base model. Both are pure
functions of arrays and static settings; `train` jits them and donates the
state.
"""

from collections.abc import Callable
import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import optax

from score_jax import config as config_lib
from score_jax import optimizers
from score_jax import sharding
from score_jax import types
from score_jax.models import branches as branches_lib
from score_jax.models import decoder
from score_jax.rl import chunks
from score_jax.rl import logprobs
from score_jax.rl import objective
from score_jax.rl import rewards


def init_state(optimizer, params: types.Params) -> types.TrainState:
  """Step 0 with a fresh optimizer."""
  return types.TrainState(jnp.int32(0), params, optimizer.init(params))


def positions(valid_BS: jax.Array) -> jax.Array:
  """Position of each slot, counted over valid slots, int32."""
  return jnp.maximum(jnp.cumsum(valid_BS, axis=1, dtype=jnp.int32) - 1, 0)


def of_attempts(x_BS: jax.Array, layout: types.Layout, shift: int = 0):
  """The slots of all attempts side by side, [B, sum of attempts, ...].

  With `shift=-1` the slots one earlier, whose hidden states predict them.
  """
  return jnp.concatenate(
      [x_BS[:, start + shift : start + shift + length]
       for start, length in zip(layout.starts, layout.attempts)], axis=1)


@jax.named_scope('update')
def rl_update(
    state: types.TrainState,
    reference: types.Params,
    batch: types.TrainBatch,
    *,
    model: config_lib.ModelConfig,
    stage: config_lib.StageConfig,
    credit: rewards.Credit,
    optimizer: optax.GradientTransformation,
    temperature: float,
    head_chunk: int,
    samples: int = 1,
    seed: int = 0,
) -> tuple[types.TrainState, dict[str, jax.Array]]:
  """One SCoRe step on a batch of rollouts.

  With LoRA `state` holds the adapters alone, and the policy is those on the
  reference: no second copy of the base exists.

  Args:
    state: see `types.TrainState`.
    reference: the base model, which stays as it is.
    batch: graded rollouts.
    model: of the policy.
    stage: settings of the loss.
    credit: the stage's coefficients.
    optimizer: see `optimizers.make_optimizer`.
    temperature: that the rollouts were sampled with.
    head_chunk: positions whose scores exist at one time.
    samples: neighbours in the batch that are samples of one problem; what can
      be of their prompt is read once, and the KL to go has its baseline over
      them.
    seed: of stochastic rounding, where weights or moments are bfloat16.

  Returns:
    The new state and metrics: `loss`, `grad_norm`, and for each attempt the
    mean KL of the rows that learn from it, and mean entropy and log-prob gap a
    token (nats).

  Raises:
    ValueError: the KL has a leave-one-out baseline, and a micro-batch holds no
      two samples of a problem.
  """
  layout, attempts = batch.layout, len(batch.layout.attempts)
  attempt_BT = of_attempts(batch.attempt_BS, layout)
  normaliser_A = objective.normalisers(attempt_BT, attempts,
                                       stage.normalisation)
  moved = _differs(model, state.params, reference)
  rows_A = objective.normalisers(attempt_BT, attempts, 'sequence')
  group = baseline_group(stage, credit, samples, len(attempt_BT))
  branches = branches_lib.Branches(layout.prompt, rows_together(
      samples, len(attempt_BT), sharding.ways('batch'), stage.micro_batches))

  def of_chunk(hidden_BCD, head_DV, of_tokens, fixed, behind_BA):
    ref_hidden_BCD, tokens_BC, attempt_BC = of_tokens
    ref_head_DV, advantages_BA, normaliser_A, moved = fixed
    stats = logprobs.token_statistics(
        hidden_BCD, head_DV, ref_hidden_BCD, ref_head_DV, tokens_BC,
        temperature=temperature, softcap=model.final_softcap)
    stats = logprobs.without_kl(stats, moved)
    loss, behind_BA = objective.fused_loss(
        stats, attempt_BC, advantages_BA, credit.kl_A, normaliser_A, behind_BA,
        kl=stage.kl, kl_credit=stage.kl_credit, group=group)
    return loss, (behind_BA, stats)

  def loss_fn(params, micro):
    policy = decoder.policy(model, reference, params)
    hidden = functools.partial(
        _attempt_hidden, micro.tokens_BS, micro.valid_BS, layout, branches)
    with jax.named_scope('policy'):
      of_policy = hidden(model, policy), decoder.head(model, policy)
    with jax.named_scope('reference'):
      ref_hidden_BTD = hidden(decoder.without_adapters(model), reference)
      ref_head_DV = decoder.head(model, reference)
    attempt_BT = of_attempts(micro.attempt_BS, layout)
    with jax.named_scope('loss'):
      loss, stats = chunks.loss(
          of_chunk, *of_policy,
          (ref_hidden_BTD, of_attempts(micro.tokens_BS, layout), attempt_BT),
          (ref_head_DV, micro.advantages_BA, normaliser_A, moved),
          jnp.zeros(micro.advantages_BA.shape, jnp.float32), chunk=head_chunk)
    sampler_logp_BT = of_attempts(micro.logp_BS, layout)
    return loss, objective.token_sums(stats, attempt_BT, sampler_logp_BT,
                                      attempts)

  loss, sums, grads = accumulate(loss_fn, state.params, batch,
                                 stage.micro_batches, group)
  metrics = {'loss': loss, 'grad_norm': optax.tree.norm(grads)}
  for a in range(1, attempts + 1):
    tokens = jnp.maximum(sums[f'tokens_t{a}'], 1)
    metrics[f'kl_t{a}'] = sums[f'kl_t{a}'] / rows_A[a - 1]
    metrics[f'entropy_t{a}'] = sums[f'entropy_t{a}'] / tokens
    metrics[f'logp_gap_t{a}'] = sums[f'logp_gap_t{a}'] / tokens
  return apply_gradients(optimizer, state, grads, seed), metrics


def _differs(model, params, reference) -> jax.Array:
  """Return whether any weight of the policy is not the reference's; bool []."""
  if model.lora.rank:  # Adapters whose second factors are zero change nothing.
    paths_and_leaves = jax.tree_util.tree_leaves_with_path(params)
    changed = [jnp.any(leaf != 0) for path, leaf in paths_and_leaves
               if path[-1].key == 'lora_b']
  else:
    changed = jax.tree.leaves(jax.tree.map(
        lambda w, ref: jnp.any(w != ref.astype(w.dtype)), params, reference))
  return jnp.any(jnp.stack(changed))


def baseline_group(
    stage: config_lib.StageConfig,
    credit: rewards.Credit,
    samples: int,
    rows: int,
) -> int:
  """Return how many adjacent samples the KL to go has its baseline over.

  These are all G samples of a problem where a micro-batch holds whole problems,
  and otherwise as many as it holds of one. The number does not depend on the
  devices.

  Args:
    stage: settings of the loss.
    credit: the stage's coefficients.
    samples: of a problem, adjacent.
    rows: of the batch.

  Returns:
    At least 2; 1 where there is no baseline, or nothing that needs one.

  Raises:
    ValueError: a micro-batch holds no two samples of a problem.
  """
  if (stage.kl_baseline == 'none' or stage.kl_credit == 'token'
      or not any(credit.kl_A)):
    return 1
  group = math.gcd(samples, rows // stage.micro_batches)
  if group < 2:
    raise ValueError(
        f"kl_baseline is 'leave_one_out', but a micro-batch of "
        f'{rows // stage.micro_batches} rows, {samples} a problem, holds no '
        "two samples of each; lower micro_batches, or set kl_baseline='none'")
  return group


def rows_together(
    samples: int, rows: int, ways: int, micro_batches: int
) -> int:
  """Samples of a problem that are in one device's part of a micro-batch.

  Args:
    samples: of a problem, side by side.
    rows: of a batch.
    ways: devices that its rows are split over.
    micro_batches: parts, see `accumulate`.
  """
  return math.gcd(samples, rows // ways // micro_batches)


def _attempt_hidden(tokens_BS, valid_BS, layout, branches, model, params):
  """Hidden states that predict the attempts' tokens: one pass for all."""
  given = tokens_BS, positions(valid_BS), valid_BS
  if branches.count > 1:
    hidden_BTD = decoder.forward_branches(model, params, *given, branches)
  else:
    hidden_BSD, _ = decoder.forward(model, params, *given)
    hidden_BTD = hidden_BSD[:, layout.prompt - 1 :]
  return of_attempts(hidden_BTD, layout, shift=-layout.prompt)


@jax.named_scope('update')
def lm_update(
    state: types.TrainState,
    tokens_BS: jax.Array,
    valid_BS: jax.Array,
    *,
    model: config_lib.ModelConfig,
    micro_batches: int,
    optimizer: optax.GradientTransformation,
    head_chunk: int,
    seed: int = 0,
) -> tuple[types.TrainState, dict[str, jax.Array]]:
  """One step of next-token cross-entropy on sequences with dead slots.

  Learned is every valid token whose slot follows a valid one, so the first of
  a prompt is not, nor what follows the dead slots behind a short attempt.

  Returns:
    The new state and metrics: `loss`, the mean over those tokens in nats, and
    `grad_norm`.
  """
  learned = lambda valid_BS: valid_BS[:, 1:] & valid_BS[:, :-1]
  count = jnp.maximum(jnp.sum(learned(valid_BS), dtype=jnp.float32), 1)

  def of_chunk(hidden_BCD, head_DV, of_tokens, count, nothing):
    tokens_BC, learned_BC = of_tokens
    logp_BC = logprobs.token_logps(hidden_BCD, head_DV, tokens_BC,
                                   softcap=model.final_softcap)
    loss = -jnp.sum(jnp.where(learned_BC, logp_BC, 0)) / count
    return loss, (nothing, None)

  def loss_fn(params, micro):
    tokens, valid = micro
    with jax.named_scope('policy'):
      hidden_BSD, _ = decoder.forward(model, params, tokens, positions(valid),
                                      valid)
    with jax.named_scope('loss'):
      loss, _ = chunks.loss(
          of_chunk, hidden_BSD[:, :-1], decoder.head(model, params),
          (tokens[:, 1:], learned(valid)), count, chunk=head_chunk)
    return loss, {}

  loss, _, grads = accumulate(loss_fn, state.params,
                              (tokens_BS, valid_BS), micro_batches)
  metrics = {'loss': loss, 'grad_norm': optax.tree.norm(grads)}
  return apply_gradients(optimizer, state, grads, seed), metrics


def accumulate(
    loss_fn: Callable, params, batch: Any, micro_batches: int, group: int = 1
):
  """Loss, sums and gradient of `batch`, as totals over its micro-batches.

  Args:
    loss_fn: (params, micro-batch) -> (loss, dict of sums), both of which add
      up over rows: divide by totals of the whole batch, not of a part.
    params: what is differentiated.
    batch: a pytree of arrays with rows in front.
    micro_batches: parts, which run one after the other; each is split evenly
      over the devices.
    group: adjacent rows that stay in one micro-batch; divides its rows.

  Returns:
    Loss, sums and gradient; the gradient is float32 also where weights are not.
  """
  def value_and_grad(params, micro):
    (loss, sums), grads = jax.value_and_grad(loss_fn, has_aux=True)(
        params, micro)
    return loss, sums, jax.tree.map(lambda g: g.astype(jnp.float32), grads)

  if micro_batches == 1:
    return value_and_grad(params, batch)

  ways = sharding.ways('batch')

  def split(x):  # Neighbours stay so, each part spread over the devices.
    if len(x) // ways // micro_batches % group:
      # A group is spread over neighbouring devices, so rows change devices.
      x = x.reshape(micro_batches, -1, *x.shape[1:])
    else:  # Every device cuts its own rows.
      x = x.reshape(ways, micro_batches, -1, *x.shape[1:])
      x = jnp.moveaxis(x, 1, 0).reshape(micro_batches, -1, *x.shape[3:])
    names = (None, 'batch') + (None,) * (x.ndim - 2)
    return sharding.constrain(x, *names)

  def step(total, micro):
    return jax.tree.map(jnp.add, total, value_and_grad(params, micro)), None

  parts = jax.tree.map(split, batch)
  first = jax.tree.map(lambda x: x[0], parts)
  zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype),
                       jax.eval_shape(value_and_grad, params, first))
  return jax.lax.scan(step, zeros, parts)[0]


@jax.named_scope('optimizer')
def apply_gradients(optimizer, state: types.TrainState, grads, seed: int = 0):
  """The state after one optimizer step; what is random is the step's own."""
  key = jax.random.fold_in(jax.random.key(seed), state.step)
  weights_key, moments_key = jax.random.split(key)
  optimizer = optax.with_extra_args_support(optimizer)
  changes, opt_state = optimizer.update(
      grads, state.opt_state, state.params, key=moments_key)
  params = optimizers.apply_changes(state.params, changes, weights_key)
  return types.TrainState(state.step + 1, params, opt_state)
