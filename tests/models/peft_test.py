"""LoRA adapters of PEFT: merged by hand, refused by name, written and read."""

import dataclasses
import json
import math
import pathlib

import ml_dtypes
import numpy as np
import pytest

from score_jax import config as config_lib
from score_jax import convert
from score_jax import sharding
from score_jax import weights
from score_jax.models import decoder
from score_jax.models import families
from score_jax.models import safetensors
from score_jax.text import tokenizer as tokenizer_lib
from tests import convert_test
from tests import folders
from tests import peft_folders
from tests.text import families as text_families

TARGETS = ('q_proj', 'o_proj', 'up_proj', 'down_proj')


def read(path) -> dict[str, np.ndarray]:
  """Every matrix of a model, by the names of its family."""
  model = weights.open_model(path)
  return {
      name: families.to_theirs(row, model.params[row.path].part(number))
      for row in families.table(model.config)
      for number, name in enumerate(families.names(model.config, row))}


def chosen(config, targets=TARGETS):
  return {name: shape for name, shape in peft_folders.linears(config).items()
          if name.endswith(targets)}


@pytest.fixture(name='base')
def _base(tmp_path):
  config = folders.small_config('llama')
  return config, folders.write(tmp_path / 'base', config)


def by_hand(arrays, adapters, weight, dora=False):
  """The matrices that have to come out, in float64."""
  out = {name: array.astype(np.float64) for name, array in arrays.items()}
  adapters = {name.removeprefix(peft_folders.PREFIX): a.astype(np.float64)
              for name, a in adapters.items()}
  for name in {name.partition('.lora_')[0] for name in adapters}:
    change = adapters[f'{name}.lora_B.weight'] @ adapters[
        f'{name}.lora_A.weight']
    whole = out[f'{name}.weight'] + weight(name) * change
    if dora:
      lengths = np.sqrt((whole**2).sum(1))
      whole = whole * (
          adapters[f'{name}.lora_magnitude_vector'] / lengths)[:, None]
    out[f'{name}.weight'] = whole
  return out


def check(folder, expected):
  found = read(folder)
  assert found.keys() == expected.keys()
  for name, array in expected.items():
    np.testing.assert_allclose(found[name], array, rtol=2e-6, atol=2e-6)


RANKS = {'up_proj': 2, r'layers\.1\.self_attn\.q_proj': 1}
ALPHAS = {'q_proj': 7, r'.*\.0\.mlp\.up_proj': 0.5}


def rank(name):
  return 2 if name.endswith('up_proj') else (
      1 if name.endswith('1.self_attn.q_proj') else 3)


def alpha(name):
  return 7 if name.endswith('q_proj') else (
      0.5 if name.endswith('0.mlp.up_proj') else 5)


@pytest.mark.parametrize('changes, targets, rank, weight', [
    ({}, TARGETS, lambda _: 3, lambda _: 5 / 3),
    ({'use_rslora': True}, TARGETS, lambda _: 3, lambda _: 5 / math.sqrt(3)),
    ({'rank_pattern': RANKS, 'alpha_pattern': ALPHAS}, TARGETS, rank,
     lambda name: alpha(name) / rank(name)),
    ({'rank_pattern': RANKS, 'use_rslora': True}, TARGETS, rank,
     lambda name: 5 / math.sqrt(rank(name))),
    ({'lora_alpha': -0.5}, TARGETS, lambda _: 3, lambda _: -0.5 / 3),
    ({'use_dora': True}, TARGETS, lambda _: 3, lambda _: 5 / 3),
    ({'target_modules': r'.*\.(q|v)_proj'}, ('q_proj', 'v_proj'),
     lambda _: 3, lambda _: 5 / 3),
    ({'target_modules': 'all-linear'}, ('proj',), lambda _: 3,
     lambda _: 5 / 3),
    ({'target_modules': 'up_proj'}, ('up_proj',), None, None),
    ({'target_modules': ['model.layers.1.mlp.up_proj', 'self_attn.q_proj']},
     ('1.mlp.up_proj', 'q_proj'), lambda _: 3, lambda _: 5 / 3),
    ({'exclude_modules': ['o_proj', 'mlp.down_proj']}, ('q_proj', 'up_proj'),
     lambda _: 3, lambda _: 5 / 3),
    ({'exclude_modules': r'.*\.mlp\..*'}, ('q_proj', 'o_proj'),
     lambda _: 3, lambda _: 5 / 3),
    ({'layers_to_transform': 1}, tuple(
        f'layers.1.{part}' for part in ('self_attn.q_proj', 'self_attn.o_proj',
                                        'mlp.up_proj', 'mlp.down_proj')),
     lambda _: 3, lambda _: 5 / 3),
    ({'layers_to_transform': [0], 'layers_pattern': ['h', 'layers'],
      'target_modules': ['q_proj']}, ('0.self_attn.q_proj',), lambda _: 3,
     lambda _: 5 / 3),
    ({'fan_in_fan_out': True, 'init_lora_weights': 'gaussian',
      'lora_dropout': 0.9, 'megatron_core': 'x'}, TARGETS, lambda _: 3,
     lambda _: 5 / 3),
])
def test_an_adapter_is_merged_as_peft_computes_it(
    base, tmp_path, changes, targets, rank, weight):
  config, arrays = base
  if rank is None:  # A text is a regular expression for whole names.
    modules = chosen(config, targets)
    peft_folders.write(tmp_path / 'base', peft_folders.tensors(
        modules, dict.fromkeys(modules, 3)), **changes)
    with pytest.raises(ValueError, match='matches no matrix of the model'):
      weights.open_model(tmp_path / 'base')
    return
  modules, dora = chosen(config, targets), bool(changes.get('use_dora'))
  adapters = peft_folders.tensors(
      modules, {name: rank(name) for name in modules}, dora=dora)
  expected = by_hand(arrays, adapters, weight, dora)
  alone = peft_folders.write(
      tmp_path / 'adapter', adapters,
      base_model_name_or_path=str(tmp_path / 'base'), **changes)
  check(alone, expected)
  adapted = {f'{name}.weight' for name in modules}
  for name, array in read(alone).items():  # And nothing else.
    assert np.array_equal(array, arrays[name]) == (name not in adapted)
  peft_folders.write(tmp_path / 'base', adapters, **changes)
  check(tmp_path / 'base', expected)


@pytest.mark.parametrize('family', sorted(folders.SMALL))
def test_every_family_and_dtype_has_adapters(family, tmp_path):
  config = folders.small_config(family)
  arrays = folders.write(tmp_path / 'base', config, 'bfloat16')
  modules = peft_folders.linears(config)
  adapters = peft_folders.tensors(
      modules, dict.fromkeys(modules, 3), dtype=ml_dtypes.bfloat16)
  peft_folders.write(tmp_path / 'base', adapters, target_modules='all-linear')
  check(tmp_path / 'base', by_hand(arrays, adapters, lambda _: 5 / 3))
  model = weights.open_model(tmp_path / 'base')
  dtypes = {path[-1]: param.dtype for path, param in model.params.items()}
  assert dtypes['kernel'] == np.float32 or not config.tied_head
  assert model.params['final_norm', 'scale'].dtype == ml_dtypes.bfloat16


def test_a_head_that_is_not_tied_can_have_an_adapter(base, tmp_path):
  config, arrays = base
  modules = {'lm_head': (config.vocab_size, config.width)}
  adapters = peft_folders.tensors(modules, {'lm_head': 3})
  peft_folders.write(tmp_path / 'base', adapters, target_modules=['lm_head'])
  check(tmp_path / 'base', by_hand(arrays, adapters, lambda _: 5 / 3))


@pytest.mark.parametrize('prefix', ['', 'base_model.model.'])
@pytest.mark.parametrize('multimodal', [
    'model.', 'model.language_model.', 'language_model.model.'])
def test_adapters_of_a_multimodal_model_are_those_of_its_text_model(
    base, tmp_path, prefix, multimodal):
  config, arrays = base
  modules = chosen(config)
  adapters = peft_folders.tensors(modules, {
      name: 2 if '.1.self_attn.q' in name else 3 for name in modules})
  named = {name.replace(peft_folders.PREFIX + 'model.', prefix + multimodal): a
           for name, a in adapters.items()}
  assert named.keys() != adapters.keys() or (prefix and multimodal == 'model.')
  named[f'{prefix}vision_tower.layers.0.self_attn.q_proj.lora_A.weight'] = (
      np.ones((3, 5), np.float32))
  peft_folders.write(
      tmp_path / 'base', named, rank_pattern={
          f'{multimodal}layers.1.self_attn.q_proj'.replace('.', r'\.'): 2})
  check(tmp_path / 'base', by_hand(
      arrays, adapters,
      lambda name: 5 / (2 if '.1.self_attn.q' in name else 3)))


def test_a_tensor_that_is_there_twice_is_refused(base, tmp_path):
  modules = chosen(base[0])
  adapters = peft_folders.tensors(modules, dict.fromkeys(modules, 3))
  name = next(iter(adapters))
  adapters[name.removeprefix(peft_folders.PREFIX)] = adapters[name] + 1
  peft_folders.write(tmp_path / 'base', adapters)
  with pytest.raises(ValueError, match='has the tensor .*lora_A.* twice'):
    weights.open_model(tmp_path / 'base')


@pytest.mark.parametrize('mesh', [(8, 1, 1), (1, 4, 2)])
def test_a_mesh_holds_the_merged_parameters(tmp_path, mesh):
  config = folders.small_config('qwen3', num_kv_heads=4, vocab_size=32)
  arrays = folders.write(tmp_path / 'base', config, 'bfloat16')
  plain = weights.fingerprint(weights.open_model(tmp_path / 'base'))
  modules = chosen(config)
  adapters = peft_folders.tensors(modules, dict.fromkeys(modules, 3))
  peft_folders.write(tmp_path / 'base', adapters)
  path = str(tmp_path / 'base')
  assert weights.fingerprint(weights.open_model(path)) != plain
  mesh = sharding.make_mesh(config_lib.MeshConfig(*mesh))
  where = sharding.tree_shardings(mesh, decoder.logical_axes(config))
  assert weights.model_config(path, config_lib.ModelConfig()) == config
  params = weights.load_params(path, config, where)
  expected = by_hand(arrays, adapters, lambda _: 5 / 3)
  for row in families.table(config):
    array = params
    for key in row.path:
      array = array[key]
    for number, name in enumerate(families.names(config, row)):
      found = np.asarray(array)[number] if '{}' in row.name else array
      np.testing.assert_allclose(
          families.to_theirs(row, np.asarray(found)), expected[name],
          rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize('changes, words', [
    ({'peft_type': 'LOHA'}, "peft_type='LOHA'"),
    ({'peft_type': None}, 'peft_type=None'),
    ({'task_type': 'SEQ_CLS'}, "task_type='SEQ_CLS'"),
    ({'init_lora_weights': 'pissa'}, "init_lora_weights='pissa' changes the"),
    ({'init_lora_weights': 'pissa_niter_16'}, 'pissa_niter_16'),
    ({'init_lora_weights': 'olora'}, "init_lora_weights='olora'"),
    ({'init_lora_weights': 'loftq'}, "init_lora_weights='loftq'"),
    ({'init_lora_weights': ['pissa']}, 'init_lora_weights='),
    ({'bias': 'all'}, "bias='all'"), ({'bias': 'lora_only'}, 'lora_only'),
    ({'modules_to_save': ['lm_head']}, "modules_to_save=['lm_head']"),
    ({'trainable_token_indices': [1]}, 'trainable_token_indices=[1]'),
    ({'layer_replication': [[0, 1]]}, 'layer_replication='),
    ({'lora_bias': True}, 'lora_bias=True'),
    ({'target_parameters': ['x']}, 'target_parameters='),
    ({'alora_invocation_tokens': [5]}, 'alora_invocation_tokens=[5]'),
    ({'use_qalora': True}, 'use_qalora=True'),
    ({'loftq_config': {'loftq_bits': 4}}, 'loftq_config='),
    ({'megatron_config': {'a': 1}}, 'megatron_config='),
    ({'arrow_config': {'a': 1}}, 'arrow_config='),
    ({'invented_in_2027': 0.5}, 'invented_in_2027=0.5'),
    ({'use_dora': 'yes'}, "use_dora must be true or false, got 'yes'"),
    ({'r': 0}, 'r must be a positive whole number, got 0'),
    ({'r': '8'}, "r must be a positive whole number, got '8'"),
    ({'r': True}, 'r must be'), ({'r': 2.5}, 'r must be'),
    ({'lora_alpha': None}, 'lora_alpha must be a number, got None'),
    ({'lora_alpha': math.inf}, 'lora_alpha must be'),
    ({'lora_alpha': math.nan}, 'lora_alpha must be'),
    ({'rank_pattern': [1]}, 'rank_pattern must be an object'),
    ({'rank_pattern': {'(': 1}}, 'rank_pattern: '),
    ({'alpha_pattern': {'q_proj': 'a'}}, "alpha_pattern['q_proj'] must be"),
    ({'target_modules': None}, 'target_modules names no module'),
    ({'target_modules': 7}, 'target_modules must hold names, got 7'),
    ({'target_modules': '('}, 'target_modules: '),
    ({'target_modules': ['embed_tokens']}, 'target_modules has model.embed_'),
    ({'target_modules': ['nothing']}, 'matches no matrix'),
    ({'layers_to_transform': [0.5]}, 'layers_to_transform must hold numbers'),
    ({'layers_to_transform': 0, 'target_modules': r'.*q_proj'},
     'needs a list as target_modules'),
    ({'layers_pattern': 'layers'}, 'layers_pattern needs layers_to_transform'),
    ({'target_modules': ['q_proj']}, 'not targets of its config: '),
    ({'target_modules': [*TARGETS, 'v_proj']}, 'missing: model.layers.0.'),
    ({'r': 4}, 'of another shape or dtype: '),
    ({'rank_pattern': {'q_proj': 2}}, 'of another shape or dtype: '),
    ({'use_dora': True}, 'lora_magnitude_vector'),
    ({'base_model_name_or_path': '.'}, 'weights of a model and an adapter to'),
])
def test_what_is_not_computed_is_refused_by_name(
    base, tmp_path, changes, words, monkeypatch):
  config, _ = base
  monkeypatch.chdir(tmp_path)
  modules = chosen(config)
  peft_folders.write(tmp_path / 'base', peft_folders.tensors(
      modules, dict.fromkeys(modules, 3)), **changes)
  with pytest.raises(ValueError) as error:
    weights.open_model(tmp_path / 'base')
  assert words in str(error.value) and '\n' not in str(error.value)
  assert str(tmp_path / 'base') in str(error.value)
  assert len(str(error.value)) < 1500


def test_adapters_of_a_tied_head_are_refused(tmp_path):
  config = folders.small_config('qwen2')
  folders.write(tmp_path / 'base', config)
  modules = {'lm_head': (config.vocab_size, config.width)}
  peft_folders.write(tmp_path / 'base', peft_folders.tensors(
      modules, {'lm_head': 3}), target_modules=['lm_head'])
  with pytest.raises(ValueError, match='target_modules has lm_head'):
    weights.open_model(tmp_path / 'base')


@pytest.mark.parametrize('change, words', [
    (lambda f: (f / 'adapter_model.safetensors').unlink(),
     'has adapter_config.json and no adapter_model.safetensors'),
    (lambda f: (f / 'adapter_model.safetensors').rename(
        f / 'adapter_model.bin'), 'pickled weights are not read'),
    (lambda f: (f / 'adapter_config.json').unlink(),
     'an adapter without adapter_config.json'),
    (lambda f: (f / 'adapter_config.json').write_text('[]'),
     'an adapter without adapter_config.json'),
    (lambda f: (f / 'adapter_config.json').write_text('{'),
     'adapter_config.json'),
    (lambda f: (f / 'adapter_model.safetensors').write_bytes(b'x' * 99),
     'adapter_model.safetensors is damaged'),
    (lambda f: (f / 'model.safetensors').unlink(),
     'base_model_name_or_path=\'None\', which is no folder here'),
    (lambda f: (f / 'model.json').write_text('{}'),
     'converted weights and an adapter'),
])
def test_a_folder_with_a_part_of_an_adapter_is_refused(
    base, tmp_path, change, words):
  config, _ = base
  modules, folder = chosen(config), tmp_path / 'base'
  peft_folders.write(folder, peft_folders.tensors(
      modules, dict.fromkeys(modules, 3)))
  weights.open_model(folder)
  change(folder)
  with pytest.raises(ValueError) as error:
    weights.open_model(folder)
  assert words in str(error.value) and '\n' not in str(error.value)


@pytest.mark.parametrize('named', [
    'meta-llama/Llama-3.2-1B', 'missing', '', 7, None, 'itself', 'another'])
def test_an_adapter_without_its_base_is_refused(base, tmp_path, named):
  modules = chosen(base[0])
  adapters = peft_folders.tensors(modules, dict.fromkeys(modules, 3))
  folder = tmp_path / 'adapter'
  if named == 'itself':
    named = str(folder)
  if named == 'another':  # An adapter on an adapter.
    named = str(peft_folders.write(tmp_path / 'other', adapters,
                                   base_model_name_or_path=str(folder)))
  peft_folders.write(folder, adapters, base_model_name_or_path=named)
  with pytest.raises(ValueError) as error:
    weights.open_model(folder)
  assert 'holds an adapter and no weights of a model' in str(error.value)
  assert '\n' not in str(error.value)


def test_a_converted_base_takes_the_adapter_too(base, tmp_path):
  config, arrays = base
  convert_test._convert(tmp_path / 'base', tmp_path / 'orbax', 'orbax')
  modules = chosen(config)
  adapters = peft_folders.tensors(modules, dict.fromkeys(modules, 3))
  folder = peft_folders.write(tmp_path / 'adapter', adapters,
                              base_model_name_or_path=str(tmp_path / 'orbax'))
  expected = by_hand(arrays, adapters, lambda _: 5 / 3)
  check(folder, expected)
  # Merged into a separate folder, with the tokenizer of the base.
  text_families.write_json(tmp_path / 'orbax', 'qwen3')
  to = convert_test._convert(folder, tmp_path / 'merged', 'hf')
  check(to, expected)
  for path in (to, folder):
    assert tokenizer_lib.load(path).stop_ids == (2, 0)


LORA = config_lib.LoraConfig(rank=3, alpha=6.0,
                             targets='attention/(query|out)|mlp/(gate|down)')


@pytest.fixture(name='run')
def _run(tmp_path):
  plain = folders.small_config('qwen2')
  folders.write(tmp_path / 'base', plain, 'bfloat16')
  model = dataclasses.replace(plain, lora=LORA)
  _, trees = convert_test._workdir(
      tmp_path / 'run', model, checkpoint_path=str(tmp_path / 'base'))
  return tmp_path, trees[-1]


def test_adapters_of_a_run_become_a_folder_of_peft(run):
  root, tree = run
  to = convert_test._convert(root / 'run', root / 'peft', 'peft')
  assert {path.name for path in to.iterdir()} == {
      'adapter_config.json', 'adapter_model.safetensors'}
  values = json.loads((to / 'adapter_config.json').read_text())
  assert values['target_modules'] == [
      'down_proj', 'gate_proj', 'o_proj', 'q_proj']
  assert (values['r'], values['lora_alpha']) == (3, 6)
  assert values['base_model_name_or_path'] == str(root / 'base')
  found = safetensors.open_folder(to / 'adapter_model.safetensors')
  assert len(found) == 16
  # Every number, to the bit: x A B in our axes, B A x in theirs.
  for part, name, theirs in (
      ('attention', 'query', 'self_attn.q_proj'), ('mlp', 'down',
                                                   'mlp.down_proj'),
      ('attention', 'out', 'self_attn.o_proj'), ('mlp', 'gate',
                                                 'mlp.gate_proj')):
    for layer in range(2):
      a, b = (np.asarray(tree['blocks'][part][name][leaf][layer])
              for leaf in ('lora_a', 'lora_b'))
      where = f'base_model.model.model.layers.{layer}.{theirs}.lora_'
      np.testing.assert_array_equal(
          found[f'{where}A.weight'].T.reshape(a.shape), a)
      np.testing.assert_array_equal(
          found[f'{where}B.weight'].T.reshape(b.shape), b)


def test_exported_adapters_merge_to_what_the_run_exports(run):
  root, _ = run
  merged = convert_test._convert(root / 'run', root / 'hf', 'hf',
                                 dtype='float32')
  adapter = convert_test._convert(root / 'run', root / 'peft', 'peft')
  check(adapter, read(merged))
  assert not np.array_equal(
      read(adapter)['model.layers.1.mlp.down_proj.weight'],
      read(root / 'base')['model.layers.1.mlp.down_proj.weight'])


def test_the_dtype_of_exported_adapters_can_be_chosen(run):
  root, _ = run
  for dtype, name in ((None, 'F32'), ('bfloat16', 'BF16'), ('float16', 'F16')):
    to = convert_test._convert(root / 'run', root / f'to_{dtype}', 'peft',
                               dtype=dtype)
    found = safetensors.open_folder(to / 'adapter_model.safetensors')
    assert {*found.dtypes.values()} == {name}


def test_without_adapters_nothing_is_written_for_peft(run, tmp_path):
  root, _ = run
  convert_test._workdir(root / 'full', folders.small_config('llama'))
  for source in ('base', 'full'):
    with pytest.raises(ValueError, match='has no adapters of a run'):
      convert_test._convert(root / source, root / 'to', 'peft')
  assert not list(pathlib.Path(root).glob('to*'))


def test_a_base_that_peft_cannot_load_is_not_named(run):
  root, _ = run
  source = convert.open_source(str(root / 'run'))
  assert convert._peft_base(source.run.config) == str(root / 'base')
  (root / 'base').rename(root / 'gone')
  assert convert._peft_base(source.run.config) is None
