"""LoRA adapters against the package peft, live, in both directions.

Needs the extra `parity`, which is imported only when the tests run.
"""

import dataclasses
import json

import jax
import numpy as np
import pytest

from score_jax import config as config_lib
from score_jax import weights
from score_jax.models import decoder
from tests import convert_test
from tests import folders
from tests.models import golden
from tests.models import transformers_parity_test

pytestmark = pytest.mark.parity

LOGITS = 1e-4  # Relative to the largest number.


def ours(path, tokens, valid):
  """Logits of weights that are opened from a path, at valid positions."""
  model = weights.open_model(path)
  params = transformers_parity_test._whole(model)
  config = dataclasses.replace(model.config, attention='plain')
  return transformers_parity_test._our_logits(
      config, params, tokens, valid)[valid]


def base_model(path):
  import torch
  import transformers
  return transformers.AutoModelForCausalLM.from_pretrained(
      path, attn_implementation='eager', dtype=torch.float32).eval()


def theirs(base, adapter, tokens, valid):
  """Logits of peft, with the adapter next to its base and not merged."""
  import peft
  model = peft.PeftModel.from_pretrained(base_model(base), adapter).eval()
  return golden.torch_logits(model, tokens, valid)[valid]


def check_close(one, other):
  assert np.abs(other).max() > 0.5
  np.testing.assert_allclose(
      one, other, rtol=0, atol=LOGITS * np.abs(other).max())


VARIANTS = {
    'plain': {}, 'rslora': {'use_rslora': True}, 'dora': {'use_dora': True},
    'patterns': {'rank_pattern': {'q_proj': 2, r'layers\.1\.mlp\.up_proj': 1},
                 'alpha_pattern': {'down_proj': 9, 'layers.0': 2}},
    'all': {'target_modules': 'all-linear'},
    'expression': {'target_modules': r'.*\.(q|v)_proj'},
    'layers': {'layers_to_transform': [1], 'layers_pattern': 'layers'},
    'excluded': {'exclude_modules': ['o_proj']},
    'transposed': {'fan_in_fan_out': True},
    'both': {'use_dora': True, 'use_rslora': True,
             'rank_pattern': {'up_proj': 4}},
}


@pytest.mark.parametrize('family', sorted(folders.SMALL))
@pytest.mark.parametrize('variant', sorted(VARIANTS))
def test_logits_of_an_adapter_of_peft_are_equal(family, variant, tmp_path):
  import peft
  import torch
  folders.write(tmp_path / 'base', folders.small_config(family))
  torch.manual_seed(0)
  settings = {'target_modules': ['q_proj', 'o_proj', 'up_proj', 'down_proj'],
              **VARIANTS[variant]}
  model = peft.get_peft_model(base_model(tmp_path / 'base'), peft.LoraConfig(
      task_type='CAUSAL_LM', r=3, lora_alpha=5, init_lora_weights=False,
      **settings))
  model.save_pretrained(tmp_path / 'adapter')
  tokens, valid = transformers_parity_test._batch(seed=0)
  tokens = np.minimum(tokens, 28)
  expected = theirs(tmp_path / 'base', tmp_path / 'adapter', tokens, valid)
  found = ours(tmp_path / 'adapter', tokens, valid)
  check_close(found, expected)
  plain = ours(tmp_path / 'base', tokens, valid)
  assert np.abs(found - plain).max() > 0.01 * np.abs(expected).max()


@pytest.mark.parametrize('family', sorted(folders.SMALL))
@pytest.mark.parametrize('targets', [
    'attention/(query|out)|mlp/(gate|down)', 'attention/.*|mlp/.*'])
def test_peft_loads_exported_adapters_with_equal_logits(
    family, targets, tmp_path):
  plain = folders.small_config(family)
  folders.write(tmp_path / 'base', plain)
  lora = config_lib.LoraConfig(rank=3, alpha=6.0, targets=targets)
  config, trees = convert_test._workdir(
      tmp_path / 'run', dataclasses.replace(plain, lora=lora),
      checkpoint_path=str(tmp_path / 'base'))
  adapter = convert_test._convert(tmp_path / 'run', tmp_path / 'to', 'peft')
  values = json.loads((adapter / 'adapter_config.json').read_text())
  assert values['base_model_name_or_path'] == str(tmp_path / 'base')
  tokens, valid = transformers_parity_test._batch(seed=0)
  tokens = np.minimum(tokens, 28)
  expected = theirs(tmp_path / 'base', adapter, tokens, valid)
  # The policy as it was trained, with adapters on their base.
  base = transformers_parity_test._whole(weights.open_model(tmp_path / 'base'))
  policy = decoder.policy(config.model, base, jax.tree.map(
      np.asarray, trees[-1]))
  model = dataclasses.replace(config.model, attention='plain',
                              dtype='float32', remat='none')
  check_close(transformers_parity_test._our_logits(
      model, policy, tokens, valid)[valid], expected)
  check_close(ours(adapter, tokens, valid), expected)
  # And as transformers loads it by the name of the folder alone.
  import transformers
  alone = transformers.AutoModelForCausalLM.from_pretrained(
      adapter, attn_implementation='eager').eval()
  check_close(golden.torch_logits(alone, tokens, valid)[valid], expected)
