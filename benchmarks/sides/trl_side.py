"""TRL: GRPOTrainer's loss, gradients and optimizer, on given rows.

Rollouts are those of transformers, which its trainer calls as well. What its
trainer does besides (logs, data, tokens to text) is left out.
"""

import tempfile

import datasets
import tokenizers
import torch
import transformers
import trl

from benchmarks import serve
from benchmarks import workload as workload_lib
from benchmarks.sides import transformers_side


class Trl(transformers_side.Transformers):
  """See `benchmarks.sides.ours`."""

  def __init__(self, work: workload_lib.Workload):
    super().__init__(work)
    rows = len(work.learned)
    tokens = len(work.instruction) + 1 + sum(work.attempt_tokens)
    self.trainer = trl.GRPOTrainer(
        model=self.model, reward_funcs=lambda completions, **unused: [
            0.0 for _ in completions],
        args=trl.GRPOConfig(
            output_dir=tempfile.mkdtemp(), use_cpu=True, bf16=False,
            beta=work.kl, learning_rate=work.learning_rate, temperature=1.0,
            loss_type='dr_grpo', per_device_train_batch_size=rows,
            num_generations=work.samples, max_completion_length=tokens,
            lr_scheduler_type='constant', max_grad_norm=0.0, max_steps=1000,
            report_to='none', save_strategy='no'),
        train_dataset=datasets.Dataset.from_list([{'prompt': 'a'}] * rows),
        processing_class=_tokenizer())
    self.trainer.current_gradient_accumulation_steps = 1
    self.optimizer = self.trainer.create_optimizer()

  def versions(self) -> dict[str, str]:
    """Of the libraries."""
    return super().versions() | serve.versions('trl')

  def update(self) -> dict:
    """One step on the rows to learn."""
    prompt_BP, completion_BC, learned_BC = self.learned()
    return self._learn(prompt_BP, completion_BC,
                       torch.ones_like(completion_BC), learned_BC,
                       self.work.credit)

  def step(self, seed: int) -> dict:
    """Rollouts, grades, and one update on them."""
    attempts = self.rollout(seed)['attempts']
    credit = self.work.advantages(self.work.grades(attempts))
    return self._learn(torch.tensor(self.work.rows()),
                       *self._laid_out(attempts), credit)

  def _laid_out(self, attempts):
    """Tokens behind the prompts, right-padded, valid ones, and attempts."""
    completions, learned = [], []
    for prompt, row in zip(self.work.rows(), attempts):
      ids, mask = list(row[0]), [1] * len(row[0])
      for last, attempted in zip(row, row[1:]):
        before = len(ids)
        ids = self.work.next_prompt([*prompt, *ids[: before - len(last)]],
                                    last)[len(prompt):] + attempted
        mask += [0] * (len(ids) - before - len(attempted)) + [1] * len(
            attempted)
      completions.append(ids)
      learned.append(mask)
    longest = max(map(len, completions))
    pad = lambda rows, value: torch.tensor(
        [row + [value] * (longest - len(row)) for row in rows])
    valid = [[1] * len(ids) for ids in completions]
    return pad(completions, workload_lib.PAD), pad(valid, 0), pad(learned, 0)

  def _learn(self, prompt_BP, completion_BC, valid_BC, learned_BC, credit):
    trainer = self.trainer
    trainer.model.train()
    inputs = {
        'prompt_ids': prompt_BP, 'prompt_mask': torch.ones_like(prompt_BP),
        'completion_ids': completion_BC, 'completion_mask': valid_BC,
        'tool_mask': learned_BC,
        'advantages': _by_token(learned_BC, torch.tensor(credit))}
    with torch.no_grad():
      inputs['ref_per_token_logps'] = (
          trainer._get_per_token_logps_and_entropies(
              trainer.ref_model, torch.cat([prompt_BP, completion_BC], 1),
              torch.cat([inputs['prompt_mask'], valid_BC], 1),
              completion_BC.shape[1])[0])
    loss = trainer.compute_loss(trainer.model, inputs)
    trainer.accelerator.backward(loss)
    self.optimizer.step()
    self.optimizer.zero_grad()
    return {'loss': loss.item()}


def _by_token(learned_BC, credit_BA):
  """Each token's advantage: of the attempt that it stands in."""
  begins_BC = torch.diff(learned_BC, dim=1, prepend=torch.zeros_like(
      learned_BC[:, :1])) == 1
  attempt_BC = (begins_BC.cumsum(1) - 1).clamp(min=0)
  return credit_BA.gather(1, attempt_BC) * learned_BC


def _tokenizer():
  """One that the trainer asks for, and no text goes through."""
  words = tokenizers.models.WordLevel({'[PAD]': 0, 'a': 1}, unk_token='[PAD]')
  return transformers.PreTrainedTokenizerFast(
      tokenizer_object=tokenizers.Tokenizer(words), pad_token='[PAD]',
      eos_token='a')


if __name__ == '__main__':
  serve.serve(Trl)
