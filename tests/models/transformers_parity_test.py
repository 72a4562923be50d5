"""Every family against transformers, live, on small random models.

Logits, gradients, greedy attempts, and folders written by either side. Needs
the extra `parity`, which is imported only when the tests run.
"""

import dataclasses
import json

from flax import traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_jax import convert
from score_jax.models import decoder
from score_jax.models import families
from score_jax.models import hf
from score_jax.models import safetensors
from score_jax.models import safetensors_writer
from score_jax.models import stored
from tests.models import golden
from tests.models import golden_test

pytestmark = pytest.mark.parity

LOGITS, GRADIENT = 1e-4, 1e-3  # Relative to the largest number.


def _changed(name, kv_heads, tied):
  return golden.CASES[name] | {
      'num_key_value_heads': kv_heads, 'tie_word_embeddings': tied}


# Every number of kv-heads, and heads tied and not, of every case.
FORMS = [(name, *form) for name in golden.CASES
         for form in ((1, True), (2, False), (4, True), (4, False))]


def _batch(seed, slots=23):
  """Left-padded rows of odd lengths, the longest without padding."""
  rng = np.random.default_rng(seed)
  lengths = np.array([slots, 1, 6, 17])
  valid = np.arange(slots)[None] >= slots - lengths[:, None]
  # Never id 0: torch gives no gradient to a lookup of Gemma's padding.
  return np.where(valid, rng.integers(1, 31, valid.shape), 0), valid


def _our_logits(config, params, tokens, valid):
  positions = np.maximum(np.cumsum(valid, axis=1) - 1, 0)
  return np.asarray(golden_test.program(config)(
      params, tokens.astype(np.int32), positions, valid))


def _check_logits(config, params, model, seed=0):
  tokens, valid = _batch(seed)
  ours = _our_logits(config, params, tokens, valid)[valid]
  theirs = golden.torch_logits(model, tokens, valid)[valid]
  assert np.abs(theirs).max() > 1
  np.testing.assert_allclose(ours, theirs, rtol=0,
                             atol=LOGITS * np.abs(theirs).max())


def _whole(model: stored.Model):
  return traverse_util.unflatten_dict({
      path: stored.whole(param) for path, param in model.params.items()})


@pytest.mark.parametrize('name', golden.CASES)
def test_what_was_recorded_is_what_transformers_computes(name):
  recorded, now = golden.read(name), golden.record(name)
  assert recorded['greedy'] == now['greedy']
  assert golden_test.error(
      [np.asarray(row) for row in now['logits']], recorded['logits']) < 1e-6


def test_what_was_recorded_of_forms_is_what_transformers_computes():
  recorded, now = golden.read('forms'), golden.record_forms()
  assert set(recorded) == set(now)
  for name, expected in recorded.items():
    assert golden_test.error(
        [np.asarray(row) for row in now[name]], expected) < 1e-6, name


# Fields that are added to a file: each is computed as by transformers, or
# refused, alone and with any other one.
_YARN = {'rope_type': 'yarn', 'factor': 4.0,
         'original_max_position_embeddings': 16}
_LINEAR = {'type': 'linear', 'factor': 2.0}
_BY_KIND = {'full_attention': _YARN, 'sliding_attention': _LINEAR}
ADDED = [
    {'rope_scaling': _YARN}, {'rope_scaling': _LINEAR}, {'rope_scaling': {}},
    {'rope_scaling': {'rope_type': 'dynamic', 'factor': 2.0}},
    {'rope_scaling': _LINEAR | {'rope_type': 'yarn'}},
    {'rope_parameters': _YARN | {'rope_theta': 90.0}},
    {'rope_parameters': {'rope_type': 'default', 'rope_theta': 90.0}},
    {'rope_parameters': _BY_KIND}, {'rope_theta': 30.0}, {'rope_theta': None},
    {'partial_rotary_factor': 0.5}, {'original_max_position_embeddings': 8},
    {'sliding_window_pattern': 2}, {'_sliding_window_pattern': 2},
    {'sliding_window': 3}, {'use_sliding_window': True},
    {'max_window_layers': 0}, {'hidden_act': 'gelu'},
    {'hidden_activation': 'gelu'}, {'head_dim': None}, {'head_dim': 4},
    {'num_key_value_heads': None}, {'query_pre_attn_scalar': 5},
    {'final_logit_softcapping': 2.0}, {'attn_logit_softcapping': 2.0},
    {'rope_local_base_freq': 20.0}, {'max_position_embeddings': 32},
    {'use_bidirectional_attention': True}, {'tie_word_embeddings': True},
]


@pytest.mark.parametrize('name', golden.CASES)
def test_added_fields_are_computed_as_by_transformers_or_refused(name):
  rng = np.random.default_rng(0)
  computed = 0
  for first in ADDED:
    second = ADDED[rng.integers(len(ADDED))]
    for added in (first, first | second):
      values = golden.CASES[name] | json.loads(json.dumps(added))
      try:
        config, params = golden_test.ours(values)
      except ValueError as error:
        assert str(error).startswith('config.json')
        assert '\n' not in str(error)
        continue
      model = golden.torch_model(values)
      _check_logits(config, params, model)
      computed += 1
  assert computed > 10


@pytest.mark.parametrize('name', ['llama', 'qwen2', 'gemma3'])
@pytest.mark.parametrize('has', ['both', 'equal', 'head', 'embedding'])
def test_a_head_of_a_tied_model_is_that_of_transformers(tmp_path, name, has):
  values = golden.CASES[name] | {'tie_word_embeddings': True}
  model = golden.torch_model(values)
  model.save_pretrained(tmp_path)
  arrays = dict(safetensors.open_folder(tmp_path))
  embedding = arrays['model.embed_tokens.weight']
  arrays['lm_head.weight'] = embedding.copy()
  if has == 'both':
    arrays['lm_head.weight'] = embedding[::-1].copy()
  if has == 'head':
    del arrays['model.embed_tokens.weight']
  if has == 'embedding':
    del arrays['lm_head.weight']
  folder = tmp_path / 'changed'
  specs = {key: (a.shape, a.dtype) for key, a in arrays.items()}
  with safetensors_writer.Writer(folder, specs, 10**9) as writer:
    for key, array in arrays.items():
      writer.put(key, array)
  (folder / 'config.json').write_text((tmp_path / 'config.json').read_text())
  opened = hf.open_model(folder)
  assert opened.config.tied_head == (has != 'both')
  import transformers
  theirs = transformers.AutoModelForCausalLM.from_pretrained(
      folder, attn_implementation='eager').eval()
  _check_logits(opened.config, _whole(opened), theirs)


@pytest.mark.parametrize('name', golden.FORMS)
def test_an_exported_form_is_loaded(tmp_path, name):
  import transformers
  config, params = golden_test.ours(golden.FORMS[name])
  arrays = golden_test.theirs(config, params)
  specs = {key: (a.shape, a.dtype) for key, a in arrays.items()}
  with safetensors_writer.Writer(tmp_path, specs, 10**9) as writer:
    for key, array in arrays.items():
      writer.put(key, np.ascontiguousarray(array))
  (tmp_path / 'config.json').write_text(
      json.dumps(families.config_json(config, 'float32')))
  model = transformers.AutoModelForCausalLM.from_pretrained(
      tmp_path, attn_implementation='eager').eval()
  _check_logits(config, params, model)


@pytest.mark.parametrize('name, kv_heads, tied', FORMS)
def test_logits_equal(name, kv_heads, tied):
  values = _changed(name, kv_heads, tied)
  model = golden.torch_model(values)
  config, params = golden_test.ours(values)
  assert (config.num_kv_heads, config.tied_head) == (kv_heads, tied)
  _check_logits(config, params, model, seed=kv_heads)


@pytest.mark.parametrize('name', golden.CASES)
def test_gradients_of_a_log_likelihood_equal(name):
  import torch
  values = _changed(name, 2, tied=name != 'llama')
  tokens, valid = _batch(seed=1)
  scored = valid[:, 1:] & valid[:, :-1]
  model = golden.torch_model(values)
  logits = model(torch.from_numpy(tokens),
                 attention_mask=torch.from_numpy(valid.astype(int))).logits
  logp = torch.log_softmax(logits[:, :-1], -1).gather(
      -1, torch.from_numpy(tokens[:, 1:, None]))[..., 0]
  logp[torch.from_numpy(scored)].sum().backward()
  theirs = {name: p.grad.numpy() for name, p in model.named_parameters()}

  config, params = golden_test.ours(values)
  positions = np.maximum(np.cumsum(valid, axis=1) - 1, 0)

  @jax.jit
  @jax.grad
  def gradient(params):
    hidden, _ = decoder.forward(config, params, jnp.asarray(tokens),
                                jnp.asarray(positions), jnp.asarray(valid))
    logits = decoder.logits(config, hidden, decoder.head(config, params))
    logp = jnp.take_along_axis(jax.nn.log_softmax(logits[:, :-1]),
                               tokens[:, 1:, None], axis=-1)[..., 0]
    return jnp.sum(jnp.where(scored, logp, 0))

  ours = golden_test.theirs(config, gradient(params))
  assert set(ours) == set(theirs)
  for tensor, expected in theirs.items():
    assert np.abs(expected).max() > 0, tensor
    np.testing.assert_allclose(
        ours[tensor], expected, rtol=0,
        atol=GRADIENT * np.abs(expected).max(), err_msg=tensor)


@pytest.mark.parametrize('name, kv_heads, tied', FORMS[::3])
def test_greedy_attempts_equal_those_of_generate(name, kv_heads, tied):
  values = _changed(name, kv_heads, tied)
  model = golden.torch_model(values)
  config, params = golden_test.ours(values)
  config = dataclasses.replace(config, unroll_decode=kv_heads > 1)
  assert golden_test.sampled(config, params) == [
      golden.torch_attempts(model, ids) for ids in golden.prompts()]


@pytest.mark.parametrize('name', golden.CASES)
def test_greedy_attempts_equal_those_of_a_padded_batch(name):
  import torch
  model = golden.torch_model(golden.CASES[name])
  tokens, valid = golden.padded()
  out = model.generate(
      torch.from_numpy(tokens.astype(np.int64)),
      attention_mask=torch.from_numpy(valid.astype(int)),
      max_new_tokens=golden.ATTEMPTS[0], do_sample=False,
      eos_token_id=list(golden.STOPS), pad_token_id=golden.PAD)
  found = golden_test.sampled(*golden_test.case(name))
  for row, (first, _) in zip(out[:, golden.SLOTS:].tolist(), found):
    assert row[:len(first)] == first
    assert set(row[len(first):]) <= {golden.PAD}


@pytest.mark.parametrize('name', golden.CASES)
def test_a_folder_that_transformers_saved_is_read(tmp_path, name):
  # config.json is in the words of transformers 5, the weights are in shards.
  model = golden.torch_model(golden.CASES[name])
  model.save_pretrained(tmp_path, max_shard_size='6KB')
  assert len(list(tmp_path.glob('*.safetensors'))) > 1
  opened = hf.open_model(tmp_path)
  assert opened.config == golden_test.case(name)[0]
  assert opened.dtype == 'float32'
  _check_logits(opened.config, _whole(opened), model)


def _export(source, folder, dtype):
  """Writes a model as a Hugging Face folder, by the mapping alone."""
  config, rows = source.config, families.table(source.config)
  specs = {name: (row.shape, np.dtype(dtype)) for row in rows
           for name in families.names(config, row)}
  with safetensors_writer.Writer(folder, specs, 4000) as writer:
    for row in rows:
      for i, name in enumerate(families.names(config, row)):
        layer = source.params[row.path].part(i)
        assert layer.dtype == dtype
        writer.put(name, families.to_theirs(row, layer))
  (folder / 'config.json').write_text(
      json.dumps(families.config_json(config, dtype)))


def _export_by_command(source, folder, dtype):
  """Likewise, through an Orbax folder and back."""
  between = folder.parent / 'orbax'
  convert.convert(convert.open_source(source.where), between, 'orbax')
  convert.convert(convert.open_source(str(between)), folder, 'hf')


@pytest.mark.parametrize('dtype, export', [
    ('float32', _export), ('float16', _export), ('bfloat16', _export),
    ('bfloat16', _export_by_command)])
@pytest.mark.parametrize('name', golden.CASES)
def test_a_round_trip_is_bit_equal_and_transformers_loads_it(
    tmp_path, name, dtype, export):
  import torch
  model = golden.torch_model(golden.CASES[name]).to(getattr(torch, dtype))
  model.save_pretrained(tmp_path / 'theirs', max_shard_size='6KB')
  source = hf.open_model(tmp_path / 'theirs')
  assert source.dtype == dtype
  folder = tmp_path / 'ours'
  if export is _export:
    folder.mkdir()
  export(source, folder, dtype)

  before = safetensors.open_folder(tmp_path / 'theirs')
  after = safetensors.open_folder(folder)
  assert set(before) == set(after)
  for tensor in before:
    assert before.dtypes[tensor] == after.dtypes[tensor]
    assert before[tensor].tobytes() == after[tensor].tobytes(), tensor
  # Both are loaded: a model that is cast has rounded angles as well.
  loaded, back = map(_load, (tmp_path / 'theirs', folder))
  assert type(back) is type(loaded) is type(model)
  assert back.dtype == loaded.dtype == getattr(torch, dtype)
  tokens, valid = _batch(seed=2)
  np.testing.assert_array_equal(golden.torch_logits(back, tokens, valid),
                                golden.torch_logits(loaded, tokens, valid))
  if dtype == 'float32':
    _check_logits(source.config, _whole(source), back)


def _load(folder):
  import transformers
  model, loading = transformers.AutoModelForCausalLM.from_pretrained(
      folder, output_loading_info=True, attn_implementation='eager')
  assert not any(loading.values()), loading
  return model.eval()


def test_the_text_model_of_a_multimodal_folder_is_read(tmp_path):
  import torch
  import transformers
  values = golden.CASES['gemma3']
  text = {k: v for k, v in values.items() if k != 'architectures'}
  config = transformers.Gemma3Config(
      text_config=text, mm_tokens_per_image=4, vision_config=dict(
          hidden_size=8, intermediate_size=8, num_hidden_layers=1,
          num_attention_heads=2, image_size=28, patch_size=14))
  config._attn_implementation = 'eager'
  model = transformers.Gemma3ForConditionalGeneration(config).eval()
  alone = golden.torch_model(values)
  model.model.language_model.load_state_dict(alone.model.state_dict())
  model.tie_weights()
  model.to(torch.float32).save_pretrained(tmp_path)
  names = safetensors.open_folder(tmp_path)
  assert any('vision_tower' in name for name in names)
  assert not any(name.startswith('model.layers') for name in names)
  opened = hf.open_model(tmp_path)
  assert opened.config == golden_test.case('gemma3')[0]
  _check_logits(opened.config, _whole(opened), alone)
