"""score_jax: the programs that a run itself jits, on one workload."""

from collections.abc import Callable
import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import bounds
from benchmarks import serve
from benchmarks import workload as workload_lib
from score_jax import actor
from score_jax import compiler
from score_jax import config as config_lib
from score_jax import keys
from score_jax import sharding
from score_jax import states as states_lib
from score_jax import train
from score_jax import types
from score_jax import update
from score_jax import weights
from score_jax.models import decoder
from score_jax.rl import chunks
from score_jax.rl import logprobs

STAGE = 'stage2'


def config_of(
    work: workload_lib.Workload, model: config_lib.ModelConfig
) -> config_lib.Config:
  """The config of a run that does this work on a CPU.

  A device's part of a micro-batch has the samples of one problem, which read
  its prompt once and fit the caches; products with weights take longer to
  compute anew than to keep. All else is as by default.
  """
  of_each, left = divmod(len(work.prompts), jax.device_count())
  return config_lib.Config(
      model=dataclasses.replace(model, remat='dots'),
      rollout=config_lib.RolloutConfig(
          prompts=len(work.prompts), samples=work.samples,
          prompt_buckets=(len(work.prompts[0]),),
          attempt_tokens=tuple(work.attempt_tokens)),
      stage2=config_lib.StageConfig(
          alpha=workload_lib.BONUS, beta1=work.kl,
          micro_batches=1 if left else of_each,
          optimizer=config_lib.OptimizerConfig(
              learning_rate=work.learning_rate)))


def _on_mesh(method):
  """The method with the side's mesh set, as `score_jax.main` has it."""

  @functools.wraps(method)
  def on_mesh(self, *given, **named):
    with jax.set_mesh(self.mesh):
      return method(self, *given, **named)

  return on_mesh


class Ours:
  """See `benchmarks.sides`; each method's answer is plain JSON."""

  def __init__(self, work: workload_lib.Workload):
    self.work = work
    self.model = weights.model_config(work.weights, config_lib.ModelConfig())
    self.config = config_of(work, self.model)
    self.mesh = sharding.make_mesh(self.config.mesh)
    states = states_lib.States(self.config, self.mesh)
    self.reference = weights.load_params(
        work.weights, self.model, states_lib.shardings(states.params('base')))
    self.state = jax.jit(
        functools.partial(update.init_state, states.optimizer(STAGE)),
        out_shardings=states.state_places(STAGE))(
            jax.tree.map(jnp.copy, self.reference))
    self.sampler = actor.sampler_program(
        self.model, self.mesh, tuple(work.stop_ids), workload_lib.PAD)
    self.credit_program = train.credit_program(
        self.config.stage2, train.stage_credit(self.config, self.config.stage2),
        work.samples, self.mesh)
    self.update_program = train.stage_program(states, STAGE)
    self.product_programs = [
        jax.jit(product, compiler_options=compiler.options(
            self.config.mesh, self.mesh)) for product in _PRODUCTS]
    self.layout = types.Layout(
        len(work.prompts[0]), tuple(work.attempt_tokens),
        (1 + len(work.instruction),) * (len(work.attempt_tokens) - 1))
    self.batch = self._learned()

  def versions(self) -> dict[str, str]:
    """Of the libraries."""
    return serve.versions('score_jax', 'jax', 'jaxlib')

  def rollout(self, seed: int, greedy: bool = False) -> dict:
    """All attempts of every row."""
    return {'attempts': self._attempts(self._sample(seed, greedy))}

  @_on_mesh
  def score(self) -> dict:
    """Log-probs of the rows to learn, attempts side by side, [B, tokens]."""
    logp_BT = _scored(self.model, self.config.head_chunk, self.reference,
                      self.batch)
    return {'logp': np.asarray(logp_BT).tolist()}

  @_on_mesh
  def update(self) -> dict:
    """One step on the rows to learn."""
    self.state, metrics = self.update_program(
        self.state, self.reference, self.batch)
    return {'loss': float(metrics['loss'])}

  @_on_mesh
  def step(self, seed: int) -> dict:
    """Rollouts, grades, and one update on them."""
    rollout = self._sample(seed, False)
    grades_BA = np.array(self.work.grades(self._attempts(rollout)), np.int32)
    advantages_BA, attempt_BS, _ = self.credit_program(
        sharding.put_rows(grades_BA, self.mesh), rollout.truncated_BA,
        rollout.attempt_BS)
    batch = types.TrainBatch(
        rollout.tokens_BS, rollout.valid_BS, attempt_BS,
        rollout.logp_BS, advantages_BA, rollout.layout)
    self.state, metrics = self.update_program(
        self.state, self.reference, batch)
    return {'loss': float(metrics['loss'])}

  def products(self) -> dict:
    """Those of a layer with its weights, and of their gradients, in turn.

    Compiled as they are in the update.
    """
    rows = self.work.slots_together()
    shapes = bounds.products(self.model)
    for ins, outs in shapes:
      x, w, dy = map(_drawn, ((rows, ins), (ins, outs), (rows, outs)))
      for product in self.product_programs:
        product(x, w, dy).block_until_ready()
    return {'flops': 6 * rows * sum(ins * outs for ins, outs in shapes)}

  @_on_mesh
  def programs(self) -> dict[str, tuple[str, Callable[[], Any]]]:
    """Update and sampler, compiled: the text of each, and what runs it."""
    update_program = self.update_program.lower(
        self.state, self.reference, self.batch).compile()

    def learn():
      self.state, metrics = update_program(
          self.state, self.reference, self.batch)
      return metrics

    given, settings = self._sampling(0, False)
    sampler = self.sampler.lower(*given, **settings).compile()
    return {
        'update': (update_program.as_text(), learn),
        'sampler': (sampler.as_text(),
                    lambda: sampler(self.state.params, *given[1:]))}

  @_on_mesh
  def _sample(self, seed, greedy):
    given, settings = self._sampling(seed, greedy)
    return self.sampler(*given, **settings)

  def _sampling(self, seed, greedy):
    prompts = np.array(self.work.prompts, np.int32)
    rows = np.arange(len(prompts) * self.work.samples, dtype=np.int32)
    split = lambda x: sharding.put_rows(x, self.mesh)
    splices = (np.array(self.work.instruction, np.int32),)
    return (
        self.state.params, split(prompts), split(np.ones(prompts.shape, bool)),
        splices * (len(self.work.attempt_tokens) - 1),
        keys.purpose_key(seed, 'benchmark'), np.int32(0), split(rows)), {
            'samples': self.work.samples,
            'attempt_tokens': self.layout.attempts,
            'temperature': 0.0 if greedy else 1.0}

  def _attempts(self, rollout):
    tokens_BS, attempt_BS = map(
        np.asarray, (rollout.tokens_BS, rollout.attempt_BS))
    numbers = range(1, len(self.layout.attempts) + 1)
    return [[tokens[attempt == a].tolist() for a in numbers]
            for tokens, attempt in zip(tokens_BS, attempt_BS)]

  def _learned(self) -> types.TrainBatch:
    """The rows to learn, laid out as the sampler would have."""
    tokens, attempt = [], []
    between = [self.work.stop_ids[0], *self.work.instruction]
    for prompt, row in zip(self.work.rows(), self.work.learned):
      ids, numbers = list(prompt), [0] * len(prompt)
      for a, attempted in enumerate(row, 1):
        splice = between if a > 1 else []
        ids += [*splice, *attempted]
        numbers += [0] * len(splice) + [a] * len(attempted)
      tokens.append(ids)
      attempt.append(numbers)
    tokens_BS = np.array(tokens, np.int32)
    arrays = (
        tokens_BS, np.ones(tokens_BS.shape, bool), np.array(attempt, np.int32),
        np.zeros(tokens_BS.shape, np.float32),
        np.array(self.work.credit, np.float32))
    return types.TrainBatch(
        *(sharding.put_rows(x, self.mesh) for x in arrays), self.layout)


_PRODUCTS = (
    lambda x, w, dy: x @ w, lambda x, w, dy: dy @ w.T,
    lambda x, w, dy: x.T @ dy)


@functools.cache
def _drawn(shape):
  return jax.random.normal(jax.random.key(0), shape)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _scored(model, chunk, params, batch):
  hidden_BSD, _ = decoder.forward(
      model, params, batch.tokens_BS, update.positions(batch.valid_BS),
      batch.valid_BS)
  _, logp_BT = chunks.loss(
      lambda hidden, head, tokens, *_: (0.0, ((), logprobs.token_logps(
          hidden, head, tokens, softcap=model.final_softcap))),
      update.of_attempts(hidden_BSD, batch.layout, shift=-1),
      decoder.head(model, params),
      update.of_attempts(batch.tokens_BS, batch.layout), chunk=chunk)
  return logp_BT


if __name__ == '__main__':
  serve.serve(Ours)
