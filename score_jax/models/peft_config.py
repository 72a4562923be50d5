"""Reads adapter_config.json of PEFT: which matrices, ranks and weights.

The fields are those of `peft.LoraConfig` (peft 0.21, Apache-2.0), whose rules
for names are followed: `check_target_module_exists`, `get_pattern_key` and
`LoraLayer.update_layer`. A field that is not known here is refused unless it is
off.
"""

from collections.abc import Mapping
import dataclasses
import math
import re
from typing import Any

_READ = frozenset({
    'peft_type', 'task_type', 'r', 'lora_alpha', 'use_rslora', 'use_dora',
    'rank_pattern', 'alpha_pattern', 'target_modules', 'exclude_modules',
    'layers_to_transform', 'layers_pattern', 'init_lora_weights', 'bias',
    'base_model_name_or_path'})
# How it was trained, by whom, or a detail of what is off. A dense matrix of the
# families that are read is a torch.nn.Linear, for which PEFT turns
# fan_in_fan_out off.
_HARMLESS = frozenset({
    'auto_mapping', 'peft_version', 'revision', 'inference_mode',
    'lora_dropout', 'fan_in_fan_out', 'megatron_core', 'qalora_group_size',
    'eva_config'})
# Others change the base when they are loaded ('pissa', 'olora', 'loftq', ...).
_INITS = (True, False, None, 'gaussian', 'eva', 'orthogonal')
_INDEX = r'.*?\.[^.]*\.(?P<index>\d+)\.'


class Refusal(ValueError):
  """Names a field of adapter_config.json, without the path of the file."""


@dataclasses.dataclass(frozen=True)
class Adapter:
  """The fields of an adapter_config.json that decide what it computes.

  Attributes:
    rank, alpha: where no pattern has others.
    rank_pattern, alpha_pattern: by a regular expression for the end of a name.
    rslora: the weight is alpha / sqrt(rank), and not alpha / rank.
    dora: matrices are scaled to learned norms of their rows.
    targets, excluded: names, or a regular expression for whole names.
    layers: numbers of layers, or None for all.
    layers_pattern: names of lists of layers.
  """

  rank: int
  alpha: float
  rank_pattern: dict[str, int]
  alpha_pattern: dict[str, float]
  rslora: bool
  dora: bool
  targets: tuple[str, ...] | str
  excluded: tuple[str, ...] | str
  layers: tuple[int, ...] | None
  layers_pattern: tuple[str, ...]

  def rank_of(self, module: str) -> int:
    """Return the rank of a module, by its whole name."""
    return _by_pattern(self.rank_pattern, module, self.rank)

  def weight_of(self, module: str) -> float:
    """Return the factor of B A for a module."""
    rank = self.rank_of(module)
    alpha = _by_pattern(self.alpha_pattern, module, self.alpha)
    return alpha / (math.sqrt(rank) if self.rslora else rank)

  def is_target(self, module: str, is_linear: bool) -> bool:
    """Return whether a module has an adapter.

    Args:
      module: its whole name, such as 'model.layers.0.mlp.up_proj'.
      is_linear: whether 'all-linear' has it: a linear module, but not the head.
    """
    if _matches(self.excluded, module):
      return False
    if isinstance(self.targets, str):
      if self.targets.lower() == 'all-linear':
        return is_linear
      return _matches(self.targets, module)
    if module in self.targets:
      return True
    return _matches(self.targets, module) and self._has_layer(module)

  def _has_layer(self, module):
    if self.layers is None:
      return True
    patterns = [rf'(?:^|.*?\.){pattern}\.(?P<index>\d+)\.'
                for pattern in self.layers_pattern] or [_INDEX]
    found = (re.match(pattern, module) for pattern in patterns)
    match = next(filter(None, found), None)
    return match is not None and int(match['index']) in self.layers


def read(values: Any) -> Adapter:
  """Read the contents of an adapter_config.json.

  Raises:
    Refusal: it is of another kind than LoRA, has a field that changes what is
      computed in a way that is not supported, or one that makes no sense.
  """
  if not isinstance(values, Mapping):
    raise Refusal('it holds no object')
  _check_supported(values)
  layers = values.get('layers_to_transform')
  layers = [layers] if type(layers) is int else layers
  adapter = Adapter(
      rank=_number(values.get('r', 8), 'r', int),
      alpha=_number(values.get('lora_alpha', 8), 'lora_alpha', float),
      rank_pattern=_pattern(values, 'rank_pattern', int),
      alpha_pattern=_pattern(values, 'alpha_pattern', float),
      rslora=_flag(values, 'use_rslora'), dora=_flag(values, 'use_dora'),
      targets=_names(values, 'target_modules'),
      excluded=_names(values, 'exclude_modules'),
      layers=_layers(layers), layers_pattern=_listed(values, 'layers_pattern'))
  if not adapter.targets:
    raise Refusal('target_modules names no module')
  _check_layers(adapter)
  return adapter


def _check_supported(values):
  kind = values.get('peft_type')
  if kind != 'LORA':
    raise Refusal(f'peft_type={kind!r:.60} is not supported, LORA is')
  task = values.get('task_type')
  if task not in (None, 'CAUSAL_LM'):
    raise Refusal(f'task_type={task!r:.60} is not supported, CAUSAL_LM is')
  init = values.get('init_lora_weights', True)
  if not isinstance(init, bool | str | None) or init not in _INITS:
    raise Refusal(
        f'init_lora_weights={init!r:.60} changes the base weights, which is '
        'not supported; convert the adapter with save_pretrained(..., '
        'path_initial_model_for_weight_conversion=...)')
  bias = values.get('bias', 'none')
  if bias not in ('none', None):
    raise Refusal(f"bias={bias!r:.60} is not supported, 'none' is")
  for name, value in values.items():
    if name not in _READ | _HARMLESS and value:  # Off: None, False, [], {}.
      raise Refusal(f'{name}={value!r:.60} is not supported')


def _number(value, name, kind):
  ok = type(value) in (int, float) and abs(value) < 1e9  # Nor not a number.
  if kind is int:
    ok = ok and value > 0 and value % 1 == 0
  if not ok:
    what = 'positive whole number' if kind is int else 'number'
    raise Refusal(f'{name} must be a {what}, got {value!r:.60}')
  return kind(value)


def _flag(values, name):
  value = values.get(name) or False
  if value is not True and value is not False:
    raise Refusal(f'{name} must be true or false, got {value!r:.60}')
  return value


def _pattern(values, name, kind):
  pattern = values.get(name) or {}
  if not isinstance(pattern, Mapping):
    raise Refusal(f'{name} must be an object, got {pattern!r:.60}')
  for key in pattern:
    _compiled(key, name)
  return {key: _number(value, f'{name}[{key!r:.60}]', kind)
          for key, value in pattern.items()}


def _names(values, name):
  """A regular expression, or names."""
  value = values.get(name)
  if isinstance(value, str) and value:
    _compiled(value, name)
    return value
  return _listed(values, name)


def _listed(values, name) -> tuple[str, ...]:
  value = values.get(name) or ()
  value = [value] if isinstance(value, str) else value
  if not isinstance(value, list | tuple) or not all(
      isinstance(item, str) for item in value):
    raise Refusal(f'{name} must hold names, got {value!r:.60}')
  return tuple(value)


def _layers(layers) -> tuple[int, ...] | None:
  if not layers and layers != 0:
    return None
  if not isinstance(layers, list) or not all(type(i) is int for i in layers):
    raise Refusal(f'layers_to_transform must hold numbers, got {layers!r:.60}')
  return tuple(layers)


def _check_layers(adapter):
  if adapter.layers is not None and isinstance(adapter.targets, str):
    raise Refusal('layers_to_transform needs a list as target_modules')
  if adapter.layers_pattern and adapter.layers is None:
    raise Refusal('layers_pattern needs layers_to_transform')
  for pattern in adapter.layers_pattern:
    _compiled(pattern, 'layers_pattern')


def _compiled(pattern, name):
  try:
    re.compile(pattern)
  except (re.error, RecursionError, OverflowError) as error:
    raise Refusal(f'{name}: {pattern!r:.60} is no regular expression: {error}'
                  ) from error


def _matches(names, module):
  if isinstance(names, str):
    return re.fullmatch(names, module) is not None
  return any(module == name or module.endswith(f'.{name}') for name in names)


def _by_pattern(pattern, module, default):
  """The value of the first key that matches the end of a module's name."""
  for key, value in pattern.items():
    if re.match(rf'(.*\.)?({key})$', module):
      return value
  return pattern.get(module, default)
