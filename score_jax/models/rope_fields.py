"""RoPE in a config.json: read and written as transformers 4 and 5 do.

Transformers 5.24 (`modeling_rope_utils.py`, `configuration_gemma3.py`) merges
two groups: `rope_parameters`, its own, and `rope_scaling`, of transformers 4.
The latter replaces the former; in Gemma 3 it is laid over what the former says
of layers without a window.
"""

import dataclasses
from typing import Any

from score_jax import config as config_lib
from score_jax.models import config_values

_BASE = 10_000.0
_GEMMA3_BASES = {'full_attention': 1e6, 'sliding_attention': _BASE}
_GEMMA3_NAMES = {'full_attention': 'rope_theta',
                 'sliding_attention': 'rope_local_base_freq'}

_FIELDS = {
    'linear': {'factor': 'factor'},
    'llama3': {'factor': 'factor', 'low_freq': 'low_freq_factor',
               'high_freq': 'high_freq_factor',
               'original_positions': 'original_max_position_embeddings'},
    'yarn': {'factor': 'factor',
             'original_positions': 'original_max_position_embeddings',
             'beta_fast': 'beta_fast', 'beta_slow': 'beta_slow',
             'truncate': 'truncate', 'attention_factor': 'attention_factor',
             'mscale': 'mscale', 'mscale_all_dim': 'mscale_all_dim'},
}
"""Names of transformers by ours, for every kind that is computed."""

_OPTIONAL = ('beta_fast', 'beta_slow', 'truncate', 'attention_factor',
             'mscale', 'mscale_all_dim')
_COMMON = ('rope_type', 'type', 'rope_theta')
_IDLE = {
    'partial_rotary_factor': (1, 1.0), 'finetuned': (True, False),
}
"""Fields that change nothing if they have one of these values."""


def read(values: config_values.Values) -> tuple[dict[str, Any], list[str]]:
  """Return the fields of `ModelConfig` about RoPE, and remarks on them.

  Raises:
    ValueError: a scaling that is not computed; fields that contradict each
      other, are missing or ill-typed.
  """
  if values.family == 'gemma3':
    return _read_gemma3(values), []
  old, new = (values.get(name, dict) or {}
              for name in ('rope_scaling', 'rope_parameters'))
  name = 'rope_scaling' if old else 'rope_parameters'
  chosen = dict(old or new)
  _refuse_nested(values, chosen, name)
  base = _BASE
  if 'rope_theta' in values.names:
    base = values.require('rope_theta', float)
  chosen.setdefault('rope_theta', base)
  group = _Group(values, name, chosen)
  found = {'rope_base': group.number('rope_theta'),
           'rope_scaling': group.scaling()}
  return found, _remarks(values, old, new, found['rope_base'])


def _remarks(values, old, new, base):
  """Say what loses to another field of the file."""
  remarks = []
  if old and new:
    remarks.append(f'{values.where}: rope_scaling replaces rope_parameters, as '
                   'in transformers 5.24')
  thetas = [config_values.finite(theta) for theta in (
      values.get('rope_theta'), new.get('rope_theta'))]
  lost = [theta for theta in thetas if theta not in (None, base)]
  if lost:
    remarks.append(
        f'{values.where}: rope_theta is {base:g} and not {lost[0]:g}, as in '
        f'transformers 5.24; write it into '
        f'{"rope_scaling" if old else "rope_parameters"} to change that')
  return remarks


def _read_gemma3(values):
  new = values.get('rope_parameters', dict) or {}
  old = values.get('rope_scaling', dict) or {}
  if new and not {*new} & {*_GEMMA3_BASES}:
    values.refuse('rope_parameters without full_attention and '
                  'sliding_attention')
  unknown = [name for name in new if name not in _GEMMA3_BASES]
  if unknown:
    values.refuse(f'rope_parameters.{unknown[0]}')
  _refuse_nested(values, old, 'rope_scaling')
  if not new and 'type' in old and 'rope_type' not in old:
    # Transformers lays it over a group that has the rope_type 'default'.
    values.refuse('rope_scaling with type and without rope_type')
  if old and new and new.get('full_attention') is None:
    values.refuse('rope_scaling next to rope_parameters without full_attention')
  groups = {}
  for kind, base in _GEMMA3_BASES.items():
    chosen = new.get(kind)
    name = f'rope_parameters.{kind}'
    chosen = {} if chosen is None else dict(
        config_values.typed(chosen, dict, f'{values.where}: {name}'))
    if kind == 'full_attention' and old:
      chosen, name = chosen | old, 'rope_scaling'
    if _GEMMA3_NAMES[kind] in values.names:
      base = values.require(_GEMMA3_NAMES[kind], float)
    chosen.setdefault('rope_theta', base)
    groups[kind] = _Group(values, name, chosen)
  far, near = groups.values()
  return {'rope_base': far.number('rope_theta'),
          'rope_scaling': far.scaling(),
          'local_rope_base': near.number('rope_theta'),
          'local_rope_scaling': near.scaling()}


def _refuse_nested(values, chosen, name):
  nested = [key for key, value in chosen.items() if isinstance(value, dict)]
  if nested:
    values.refuse(f'{name}.{nested[0]}, RoPE by kind of layer,')


@dataclasses.dataclass(frozen=True)
class _Group:
  """The RoPE parameters of one kind of layer.

  Attributes:
    values: the whole file.
    name: of the group in the file.
    chosen: its fields, with the base.
  """

  values: config_values.Values
  name: str
  chosen: dict[str, Any]

  def number(self, field: str) -> float:
    """Return a field that must be a finite number."""
    number = config_values.finite(self.chosen.get(field))
    if number is None:
      raise ValueError(
          f'{self.values.where}: {field} of RoPE must be a number, got '
          f'{config_values.short(self.chosen.get(field))} in {self.name}')
    return number

  def scaling(self) -> config_lib.RopeScaling:
    """Return the scaling; ValueError unless it is computed exactly."""
    kind = self._kind()
    if kind == 'default':
      self._refuse_others(())
      return config_lib.RopeScaling()
    if not isinstance(kind, str) or kind not in _FIELDS:
      self.values.refuse(f'RoPE scaling {config_values.short(kind)} '
                         f'({self.name})')
    fields = _FIELDS[kind]
    self._refuse_others(fields.values())
    found = {ours: self._field(ours, theirs)
             for ours, theirs in fields.items()}
    if kind == 'yarn' and self.values.family == 'gemma3' and (
        not found['truncate']):
      # Transformers looks for it in the wrong group, and truncates.
      self.values.refuse(f'truncate=False ({self.name})')
    return config_lib.RopeScaling(kind=kind, **found)

  def _kind(self):
    new, old = (self.chosen.get(name, 'default')
                for name in ('rope_type', 'type'))
    if {'rope_type', 'type'} <= {*self.chosen} and new != old:
      self.values.refuse(f'{self.name} with rope_type {new!r} and type {old!r}')
    return new if 'rope_type' in self.chosen else old

  def _refuse_others(self, fields):
    """Refuse what this kind of scaling does not use."""
    known = (*_COMMON, *fields, 'original_max_position_embeddings')
    for name, value in self.chosen.items():
      if name in known or value is None:
        continue
      if name == 'factor' and value == 1 or value in _IDLE.get(name, ()):
        continue
      self.values.refuse(f'{name}={config_values.short(value)} in {self.name} '
                         f'of the kind {self._kind()!r}')

  def _field(self, ours, theirs):
    default = getattr(config_lib.RopeScaling(), ours)
    if ours == 'original_positions':
      return self._original_positions()
    if ours == 'factor' and self._kind() == 'yarn' and (
        'factor' in self.chosen and self.chosen['factor'] is None):
      positions = self.values.require('max_position_embeddings', int)
      return positions / self._original_positions()
    value = self.chosen.get(theirs)
    if ours == 'truncate':
      return default if theirs not in self.chosen else config_values.typed(
          value, bool, f'{self.values.where}: truncate of RoPE ({self.name})')
    if ours in _OPTIONAL and value is None:
      return default
    number = self.number(theirs)
    if ours == 'attention_factor' and number <= 0:
      self.values.refuse(f'attention_factor={number} ({self.name})')
    if ours in _OPTIONAL and not number:
      return default  # Transformers takes a beta of 0 for none.
    return number

  def _original_positions(self) -> int:
    """The context before scaling, as an integer."""
    field = 'original_max_position_embeddings'
    inside = self.chosen.get(field)
    if field in self.values.names:
      outside = self.values.get(field, int)
      if (outside is None or self.values.family == 'gemma3'
          or inside not in (None, outside)):
        self.values.refuse(f'{field}={outside} next to {self.name}')
      return outside
    if field not in self.chosen:
      return self.values.require('max_position_embeddings', int)
    number = self.number(field)
    if number != int(number):
      self.values.refuse(f'{field}={number} ({self.name})')
    return int(number)


def write(config: config_lib.ModelConfig) -> dict[str, Any]:
  """Return the fields of a config.json about RoPE.

  Those of transformers 4, which 5 and vLLM read, too; of a Gemma 3 whose layers
  with a window have a scaling, `rope_parameters`, as 4 has no such model.
  """
  if config.local_rope_scaling.kind != 'none':
    return {'rope_parameters': {
        'full_attention': {'rope_theta': config.rope_base}
                          | _scaling_json(config.rope_scaling),
        'sliding_attention': {'rope_theta': config.local_rope_base}
                             | _scaling_json(config.local_rope_scaling)}}
  values = {'rope_theta': config.rope_base, 'rope_scaling': None}
  if config.rope_scaling.kind != 'none':
    values['rope_scaling'] = _scaling_json(config.rope_scaling)
  if config.family == 'gemma3':
    values['rope_local_base_freq'] = config.local_rope_base or config.rope_base
  return values


def _scaling_json(scaling):
  if scaling.kind == 'none':
    return {'rope_type': 'default'}
  default = config_lib.RopeScaling()
  return {'rope_type': scaling.kind} | {
      theirs: getattr(scaling, ours)
      for ours, theirs in _FIELDS[scaling.kind].items()
      if ours not in _OPTIONAL or (
          getattr(scaling, ours) != getattr(default, ours))}
