"""Small random models, and what transformers computes of them.

    python -m tests.models.golden            # with the extra `parity`

writes golden/NAME.json for every case: logits and greedy ids, from torch in
float32. The tests read these and need neither.
"""

import json
import pathlib
import sys
import zlib

import numpy as np

FOLDER = pathlib.Path(__file__).with_suffix('')

_SIZES = {
    'vocab_size': 31, 'hidden_size': 16, 'intermediate_size': 20,
    'num_attention_heads': 4, 'num_key_value_heads': 2, 'num_hidden_layers': 2,
    'head_dim': 12, 'max_position_embeddings': 64, 'rms_norm_eps': 0.01,
    'initializer_range': 0.02,
}
_LLAMA3 = {
    'rope_type': 'llama3', 'factor': 8.0, 'low_freq_factor': 1.0,
    'high_freq_factor': 4.0, 'original_max_position_embeddings': 32,
}
_GEMMA2 = _SIZES | {
    'architectures': ['Gemma2ForCausalLM'], 'model_type': 'gemma2',
    'hidden_activation': 'gelu_pytorch_tanh', 'query_pre_attn_scalar': 7,
    'attn_logit_softcapping': 2.0, 'final_logit_softcapping': 3.0,
    'sliding_window': 4, 'rope_theta': 100.0, 'num_hidden_layers': 4,
}
_GEMMA3 = _SIZES | {
    'architectures': ['Gemma3ForCausalLM'], 'model_type': 'gemma3_text',
    'hidden_activation': 'gelu_pytorch_tanh', 'query_pre_attn_scalar': 7,
    'sliding_window': 4,
}

CASES = {
    # Waves that are kept, mixed and slowed.
    'llama': _SIZES | {
        'architectures': ['LlamaForCausalLM'], 'model_type': 'llama',
        'tie_word_embeddings': True, 'rope_theta': 1000.0,
        'rope_scaling': _LLAMA3},
    # As many kv-heads as heads; head_dim follows from the width.
    'llama_untied': {k: v for k, v in _SIZES.items() if k != 'head_dim'} | {
        'architectures': ['LlamaForCausalLM'], 'model_type': 'llama',
        'tie_word_embeddings': False, 'num_key_value_heads': 4,
        'rope_parameters': {'rope_type': 'default', 'rope_theta': 50.0}},
    'gemma2': _GEMMA2,
    'gemma3': _GEMMA3 | {
        'num_hidden_layers': 7, 'num_key_value_heads': 1,
        'rope_theta': 1000.0, 'rope_local_base_freq': 30.0,
        'rope_scaling': {'rope_type': 'linear', 'factor': 8.0}},
    # In the words of transformers 5, with another period and with a softcap.
    'gemma3_pairs': _GEMMA3 | {
        'num_hidden_layers': 3, 'sliding_window': 5,
        'final_logit_softcapping': 4.0,
        'layer_types': ['sliding_attention', 'full_attention',
                        'sliding_attention'],
        'rope_parameters': {
            'full_attention': {'rope_type': 'default', 'rope_theta': 500.0},
            'sliding_attention': {'rope_type': 'default', 'rope_theta': 20.0},
        }},
    'qwen2': _SIZES | {
        'architectures': ['Qwen2ForCausalLM'], 'model_type': 'qwen2',
        'tie_word_embeddings': False, 'rope_theta': 1000.0,
        'num_key_value_heads': 1, 'hidden_size': 48},
    'qwen3': _SIZES | {
        'architectures': ['Qwen3ForCausalLM'], 'model_type': 'qwen3',
        'tie_word_embeddings': True, 'rope_theta': 1000.0,
        'head_dim': 6},
}
"""Contents of config.json. Sizes, bases and caps are such that each matters."""
# Transformers' Qwen2 has no head_dim of its own.
del CASES['qwen2']['head_dim']


def _changed(name, **changes):
  values = CASES[name] | changes
  return {key: value for key, value in values.items() if value is not ...}


_YARN = {'rope_type': 'yarn', 'factor': 4.0,
         'original_max_position_embeddings': 16}
_DEFAULT = {'rope_type': 'default', 'rope_theta': 1000.0}

FORMS = {
    # What model cards say to add, to a file of transformers 5: it replaces
    # `rope_parameters`, and the base in there.
    'rope_scaling_wins': _changed(
        'llama', rope_scaling=_YARN, rope_parameters=_DEFAULT, rope_theta=...),
    'rope_scaling_wins_with_a_base': _changed(
        'qwen2', rope_scaling=_YARN | {'rope_theta': 300.0},
        rope_parameters=_DEFAULT, rope_theta=...),
    'yarn_of_4': _changed('llama_untied', rope_theta=100.0, rope_scaling={
        'type': 'yarn', 'factor': 8.0, 'original_max_position_embeddings': 8},
        rope_parameters=...),
    'yarn_with_everything': _changed('qwen2', rope_scaling=_YARN | {
        'beta_fast': 4.0, 'beta_slow': 0.5, 'truncate': False,
        'attention_factor': 0.8, 'mscale': 2.0, 'mscale_all_dim': 3.0}),
    'yarn_with_mscale': _changed('qwen3', rope_scaling=_YARN | {
        'mscale': 2.0, 'mscale_all_dim': 0.5}),
    # The factor is that of the lengths; without them, of 64 positions.
    'yarn_without_a_factor': _changed(
        'qwen3', rope_scaling=_YARN | {'factor': None, 'beta_slow': 0}),
    'yarn_without_a_length': _changed('llama', rope_scaling={
        'rope_type': 'yarn', 'factor': 2.0}),
    'linear': _changed('qwen3', rope_scaling={'type': 'linear', 'factor': 3}),
    'yarn_in_a_window': _changed(
        'gemma3_pairs', rope_parameters={
            'full_attention': _YARN | {'rope_theta': 500.0},
            'sliding_attention': _YARN | {'factor': 3.0, 'beta_fast': 8.0}}),
    'linear_in_a_window': _changed(
        'gemma3_pairs', rope_scaling={'factor': 8.0}, rope_parameters={
            'full_attention': {'rope_type': 'linear', 'factor': 2.0},
            'sliding_attention': {'rope_type': 'linear', 'factor': 2.0}},
        rope_theta=700.0, rope_local_base_freq=40.0),
    'llama3_in_a_window': _changed('gemma3_pairs', rope_parameters={
        'sliding_attention': _LLAMA3 | {'rope_theta': 100.0}}),
    'yarn_of_all_layers': _changed('gemma2', rope_scaling=_YARN),
    'gelu_by_erf': _changed('gemma2', hidden_activation='gelu'),
    'one_of_two_periods': _changed(
        'gemma3', sliding_window_pattern=2, _sliding_window_pattern=3,
        hidden_activation='gelu'),
    'all_in_a_window': _changed(
        'gemma3_pairs', layer_types=['sliding_attention'] * 3),
    'a_length_outside': _changed(
        'llama', rope_scaling={k: v for k, v in _LLAMA3.items()
                               if k != 'original_max_position_embeddings'},
        original_max_position_embeddings=16),
}
"""Forms of the cases, of which logits alone are recorded."""

# Prompts of odd lengths, some longer than a window, and what a rollout needs.
LENGTHS = (13, 1, 6, 9)
SLOTS = max(LENGTHS)
STOPS = (2, 3, 4, 5, 6, 20, 26)
PAD = 0
ATTEMPTS = (7, 8)
SPLICE = (7, 8, 9)


def prompts() -> list[list[int]]:
  """Ids of each prompt."""
  rng = np.random.default_rng(3)
  return [rng.integers(7, 31, n).tolist() for n in LENGTHS]


def padded() -> tuple[np.ndarray, np.ndarray]:
  """The prompts left-padded: tokens and valid, [N, P]."""
  tokens = np.full((len(LENGTHS), SLOTS), PAD, np.int32)
  valid = np.zeros(tokens.shape, bool)
  for row, ids in enumerate(prompts()):
    tokens[row, SLOTS - len(ids):] = ids
    valid[row, SLOTS - len(ids):] = True
  return tokens, valid


def array(name: str, shape: tuple[int, ...], plus_one: bool) -> np.ndarray:
  """The random tensor `name` of Hugging Face, float32.

  Its numbers depend on its name and shape alone, and are large enough for
  attention to choose and for norms to matter.

  Args:
    name: of the tensor.
    shape: of the tensor.
    plus_one: whether norms multiply by 1 + scale.
  """
  rng = np.random.default_rng(zlib.crc32(name.encode()))
  normal = rng.standard_normal(shape)
  if name.endswith('norm.weight'):
    normal = 0.4 * normal + (not plus_one)
  elif name.endswith('.bias'):
    normal *= 0.7
  elif 'embed_tokens' in name or 'lm_head' in name:
    normal *= 0.4
  else:
    gain = 3.0 if 'o_proj' in name or 'down_proj' in name else 2.0
    normal *= gain * shape[1]**-0.5
  return normal.astype(np.float32)


def torch_model(values: dict):
  """Transformers' model of a config.json, float32, with random weights."""
  import torch
  import transformers
  # More threads, on few cores that XLA's pool holds too, wait for each other.
  torch.set_num_threads(1)
  values = json.loads(json.dumps(values))  # They change what they are given.
  config = transformers.AutoConfig.for_model(**values)
  # The plain form: fused kernels leave out softcaps.
  config._attn_implementation = 'eager'
  model = getattr(transformers, values['architectures'][0])(config)
  plus_one = values['model_type'].startswith('gemma')
  with torch.no_grad():
    for name, weight in model.named_parameters():
      weight.copy_(torch.from_numpy(array(name, weight.shape, plus_one)))
  return model.to(torch.float32).eval()


def torch_logits(model, tokens, valid) -> np.ndarray:
  """Float32 logits [N, P, V] of left-padded rows."""
  import torch
  with torch.no_grad():
    return model(
        torch.from_numpy(np.asarray(tokens, np.int64)),
        attention_mask=torch.from_numpy(np.asarray(valid, np.int64)),
    ).logits.float().numpy()


def torch_greedy(model, ids: list[int], length: int) -> list[int]:
  """What `generate` adds to a prompt, up to and with the first stop."""
  import torch
  out = model.generate(
      torch.tensor([ids]), attention_mask=torch.ones(1, len(ids), dtype=int),
      max_new_tokens=length, do_sample=False, eos_token_id=list(STOPS),
      pad_token_id=PAD)
  return out[0, len(ids):].tolist()


def torch_attempts(model, ids: list[int]) -> list[list[int]]:
  """Both attempts, greedily, each by one call of `generate`."""
  first = torch_greedy(model, ids, ATTEMPTS[0])
  close = [] if first[-1] in STOPS else [STOPS[0]]
  second = torch_greedy(
      model, [*ids, *first, *close, *SPLICE], ATTEMPTS[1])
  return [first, second]


def record(name: str) -> dict:
  """Logits of the last four tokens of each prompt, and greedy attempts."""
  model = torch_model(CASES[name])
  return {'logits': _last_logits(model),
          'greedy': [torch_attempts(model, ids) for ids in prompts()]}


def record_forms() -> dict:
  """Logits of the last four tokens of each prompt, of all `FORMS`."""
  return {name: _last_logits(torch_model(values))
          for name, values in FORMS.items()}


def _last_logits(model):
  tokens, valid = padded()
  return [[[float(f'{x:.7g}') for x in scores] for scores in row[-min(n, 4):]]
          for row, n in zip(torch_logits(model, tokens, valid), LENGTHS)]


def read(name: str) -> dict:
  """What was recorded of a case."""
  return json.loads((FOLDER / f'{name}.json').read_text())


def main():
  FOLDER.mkdir(exist_ok=True)
  if not sys.argv[1:] or 'forms' in sys.argv:
    (FOLDER / 'forms.json').write_text(
        json.dumps(record_forms(), separators=(',', ':')) + '\n')
  for name in [x for x in sys.argv[1:] if x != 'forms'] or (
      () if sys.argv[1:] else CASES):
    recorded = record(name)
    path = FOLDER / f'{name}.json'
    path.write_text(json.dumps(recorded, separators=(',', ':')) + '\n')
    lengths = [[len(ids) for ids in row] for row in recorded['greedy']]
    print(f'{path.name}: attempts of {lengths} ids')


if __name__ == '__main__':
  main()
