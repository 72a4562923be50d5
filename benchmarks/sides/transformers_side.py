"""Hugging Face transformers: `generate` once for each attempt."""

import functools

import torch
import transformers

from benchmarks import serve
from benchmarks import workload as workload_lib


class Transformers:
  """See `benchmarks.sides.ours`."""

  def __init__(self, work: workload_lib.Workload):
    torch.set_num_threads(work.threads)
    self.work = work
    self.model = transformers.AutoModelForCausalLM.from_pretrained(
        work.weights, dtype=torch.float32)

  def versions(self) -> dict[str, str]:
    """Of the libraries."""
    return serve.versions('torch', 'transformers')

  def rollout(self, seed: int, greedy: bool = False) -> dict:
    """All attempts of every row."""
    torch.manual_seed(seed)
    prompts = self.work.rows()
    attempts = [[] for _ in prompts]
    for length in self.work.attempt_tokens:
      found = self._generate(prompts, length, greedy)
      for row, ids in zip(attempts, found):
        row.append(ids)
      prompts = list(map(self.work.next_prompt, prompts, found))
    return {'attempts': attempts}

  def score(self) -> dict:
    """Log-probs of the rows to learn, attempts side by side, [B, tokens]."""
    prompt_BP, completion_BC, learned_BC = self.learned()
    tokens_BS = torch.cat([prompt_BP, completion_BC], dim=1)
    kept = completion_BC.shape[1]
    with torch.no_grad():
      logits = self.model(tokens_BS, logits_to_keep=kept + 1).logits[:, :-1]
      logp = torch.log_softmax(logits, -1).gather(
          -1, completion_BC[..., None])[..., 0]
    return {'logp': [row[mask].tolist()
                     for row, mask in zip(logp, learned_BC.bool())]}

  @torch.no_grad()
  def products(self) -> dict:
    """Those of a layer with its weights, and of their gradients, in turn."""
    rows, flops = self.work.slots_together(), 0
    for module in self.model.model.layers[0].modules():
      if isinstance(module, torch.nn.Linear):
        outs, ins = module.weight.shape
        x, dy = _drawn(rows, ins), _drawn(rows, outs)
        for product in (lambda x, w, dy: x @ w.T, lambda x, w, dy: dy @ w,
                        lambda x, w, dy: dy.T @ x):
          product(x, module.weight, dy)
        flops += 6 * rows * ins * outs
    return {'flops': flops}

  def learned(self) -> tuple[torch.Tensor, ...]:
    """Prompts [B, P], all behind them [B, C], and where an attempt stands."""
    between = [self.work.stop_ids[0], *self.work.instruction]
    completions, masks = [], []
    for row in self.work.learned:
      ids, mask = list(row[0]), [1] * len(row[0])
      for attempted in row[1:]:
        ids += [*between, *attempted]
        mask += [0] * len(between) + [1] * len(attempted)
      completions.append(ids)
      masks.append(mask)
    return tuple(map(torch.tensor, (self.work.rows(), completions, masks)))

  @torch.no_grad()
  def _generate(self, prompts, length, greedy):
    longest = max(map(len, prompts))
    pad = lambda ids, value: [value] * (longest - len(ids))
    tokens = torch.tensor([pad(ids, workload_lib.PAD) + ids for ids in prompts])
    mask = torch.tensor([pad(ids, 0) + [1] * len(ids) for ids in prompts])
    settings = {} if greedy else {'temperature': 1.0, 'top_p': 1.0, 'top_k': 0}
    self.model.eval()
    found = self.model.generate(
        tokens, attention_mask=mask, max_new_tokens=length,
        do_sample=not greedy, eos_token_id=self.work.ending or None,
        pad_token_id=workload_lib.PAD, **settings)
    return [self.work.cut(row) for row in found[:, longest:].tolist()]


@functools.cache
def _drawn(*shape):
  return torch.randn(shape)


if __name__ == '__main__':
  serve.serve(Transformers)
