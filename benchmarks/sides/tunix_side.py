"""google-tunix: its vanilla sampler, and the step of its GRPO trainer."""

import json
import pathlib

from flax import nnx
import jax.numpy as jnp
import numpy as np
import optax
from tunix.generate import sampler as sampler_lib
from tunix.models.llama3 import model as model_lib
from tunix.models.llama3 import params as params_lib
from tunix.rl import algo_core
from tunix.rl import common
from tunix.rl import trainer as trainer_lib
from tunix.rl.grpo import grpo_learner
from tunix.sft import peft_trainer

from benchmarks import serve
from benchmarks import workload as workload_lib


class _Ids:
  """A tokenizer whose text is ids, as Tunix takes text alone."""

  def encode(self, text, **unused):
    return list(map(int, text.split()))

  def decode(self, ids, **unused):
    return ''

  def bos_id(self):
    return 0  # None: another one would be put before each prompt.

  def eos_id(self):
    return -1  # No token.

  def pad_id(self):
    return workload_lib.PAD


class Tunix:
  """See `benchmarks.sides.ours`."""

  def __init__(self, work: workload_lib.Workload):
    self.work = work
    folder = pathlib.Path(work.weights)
    self.config = _config(json.loads((folder / 'config.json').read_text()))
    load = lambda: params_lib.create_model_from_safe_tensors(
        str(folder), self.config, dtype=jnp.float32)
    self.model, self.reference = load(), nnx.split(load())
    slots = len(work.prompts[0]) + sum(work.attempt_tokens) + (
        1 + len(work.instruction)) * (len(work.attempt_tokens) - 1)
    self.sampler = sampler_lib.Sampler(
        self.model, _Ids(), sampler_lib.CacheConfig(
            slots, self.config.num_layers, self.config.num_kv_heads,
            self.config.head_dim))
    self.trainer = self._make_trainer()

  def versions(self) -> dict[str, str]:
    """Of the libraries."""
    return serve.versions('google-tunix', 'jax', 'flax')

  def rollout(self, seed: int, greedy: bool = False) -> dict:
    """All attempts of every row."""
    prompts = self.work.rows()
    attempts = [[] for _ in prompts]
    longest = len(prompts[0])
    self.sampler.transformer_state = nnx.variables(self.model)
    for number, length in enumerate(self.work.attempt_tokens):
      found = self._generate(prompts, longest, length, seed + number, greedy)
      for row, ids in zip(attempts, found):
        row.append(ids)
      prompts = list(map(self.work.next_prompt, prompts, found))
      longest += length + 1 + len(self.work.instruction)
    return {'attempts': attempts}

  def score(self) -> dict:
    """Log-probs of the rows to learn, attempts side by side, [B, tokens]."""
    prompt_BP, completion_BC, mask_BC = self._laid_out(self.work.learned)
    logp_BC = np.asarray(self._logps(prompt_BP, completion_BC))
    return {'logp': [row[mask].tolist() for row, mask in zip(logp_BC, mask_BC)]}

  def update(self) -> dict:
    """One step on the rows to learn."""
    return self._learn(self.work.learned, np.array(self.work.credit))

  def step(self, seed: int) -> dict:
    """Rollouts, grades, and one update on them."""
    attempts = self.rollout(seed)['attempts']
    credit = self.work.advantages(self.work.grades(attempts))
    return self._learn(attempts, np.array(credit))

  def _generate(self, prompts, longest, length, seed, greedy):
    """Attempts without their stop tokens, which the sampler does not give."""
    settings = {} if greedy else {'temperature': 1.0, 'top_p': 1.0}
    found = self.sampler(
        [' '.join(map(str, ids)) for ids in prompts], length,
        max_prompt_length=longest, eos_tokens=self.work.ending or None,
        seed=seed, return_logprobs=not greedy, **settings)
    return [np.asarray(ids).tolist() for ids in found.tokens]

  def _make_trainer(self):
    settings = grpo_learner.GRPOConfig(
        num_generations=self.work.samples, beta=self.work.kl)
    settings.temperature = 1.0
    trainer = trainer_lib.Trainer(
        self.model, optax.adamw(self.work.learning_rate, weight_decay=0.0),
        peft_trainer.TrainingConfig(eval_every_n_steps=1),
        custom_checkpoint_metadata_fn=dict)
    trainer.with_loss_fn(
        lambda model, train_example: algo_core.grpo_loss_fn(
            model, train_example, settings, workload_lib.PAD, -1),
        has_aux=True)
    return trainer.with_gen_model_input_fn(lambda x: {'train_example': x})

  def _logps(self, prompt_BP, completion_BC):
    return common.compute_per_token_logps(
        *self.reference, prompt_BP, completion_BC, workload_lib.PAD, -1)

  def _learn(self, attempts, credit_BA):
    prompt_BP, completion_BC, mask_BC = self._laid_out(attempts)
    began_BC = np.diff(mask_BC.astype(int), axis=1, prepend=0) == 1
    attempt_BC = np.maximum(began_BC.cumsum(axis=1) - 1, 0)
    example = common.TrainExample(
        prompt_ids=prompt_BP, prompt_mask=np.ones(prompt_BP.shape, bool),
        completion_ids=completion_BC, completion_mask=mask_BC,
        advantages=np.take_along_axis(credit_BA, attempt_BC, axis=1),
        ref_per_token_logps=self._logps(prompt_BP, completion_BC),
        old_per_token_logps=None)
    train_step, _ = self.trainer.jit_train_and_eval_step()
    loss, _, _ = train_step(example)
    return {'loss': float(loss)}

  def _laid_out(self, attempts):
    """Prompts, what is behind them, right-padded, and where attempts stand.

    Of one width in every step, so that nothing is compiled again.
    """
    rows = self.work.rows()
    width = sum(self.work.attempt_tokens) + (
        1 + len(self.work.instruction)) * (len(self.work.attempt_tokens) - 1)
    completions = np.full((len(rows), width), workload_lib.PAD, np.int32)
    masks = np.zeros(completions.shape, bool)
    for n, (prompt, row) in enumerate(zip(rows, attempts)):
      text = list(prompt)
      for number, ids in enumerate(row):
        start = len(text) - len(prompt)
        masks[n, start : start + len(ids)] = True
        text += ids
        if number + 1 < len(row):
          text = self.work.next_prompt(text[: len(text) - len(ids)], ids)
      completions[n, : len(text) - len(prompt)] = text[len(prompt):]
    return np.array(rows, np.int32), completions, masks


def _config(values) -> model_lib.ModelConfig:
  """Of a config.json of the Llama family."""
  rope = values.get('rope_parameters') or values
  return model_lib.ModelConfig(
      num_layers=values['num_hidden_layers'], vocab_size=values['vocab_size'],
      embed_dim=values['hidden_size'], hidden_dim=values['intermediate_size'],
      num_heads=values['num_attention_heads'], head_dim=values['head_dim'],
      num_kv_heads=values['num_key_value_heads'],
      rope_theta=int(rope['rope_theta']), norm_eps=values['rms_norm_eps'],
      weight_tying=values['tie_word_embeddings'])


if __name__ == '__main__':
  serve.serve(Tunix)
