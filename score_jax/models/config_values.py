"""Typed access to the values of a config.json, with one-line errors."""

import math
from typing import Any


class Values:
  """The fields of a config.json, and the defaults of its model class.

  Attributes:
    where: the path, for messages.
    family: a name of `families.FAMILIES`.
    names: the fields that the file has.
  """

  def __init__(
      self,
      values: dict[str, Any],
      defaults: dict[str, Any],
      where: str,
      family: str,
  ):
    self.where = where
    self.family = family
    self.names = tuple(values)
    self._values = values
    self._defaults = defaults

  def has(self, name: str) -> bool:
    """Return whether the file or the defaults have a value, not null."""
    return self.get(name) is not None

  def get(self, name: str, kind: type | None = None) -> Any:
    """Return a value, or None where it is null or missing.

    Raises:
      ValueError: it is not of type `kind`. Integers are floats, too.
    """
    value = self._values.get(name, self._defaults.get(name))
    if value is None or kind in (None, object):
      return value
    return typed(value, kind, f'{self.where}: {name}')

  def require(self, name: str, kind: type) -> Any:
    """Return a value; ValueError if it is null, missing or of another type."""
    value = self.get(name, kind)
    if value is None:
      null = ' (it is null)' if name in self._values else ''
      raise ValueError(f'{self.where} lacks {name}{null}')
    return value

  def refuse(self, what: str):
    """Raise a ValueError that names the file, the field and the family."""
    raise ValueError(
        f'{self.where}: {what} is not supported for the family {self.family}')


def typed(value: Any, kind: type, where: str) -> Any:
  """Return a value of JSON if it is of type `kind`; integers are floats, too.

  Raises:
    ValueError: it is of another type, or a number that is not finite.
  """
  number = finite(value) if kind is float else value
  if type(number) is not kind:
    raise ValueError(f'{where} must be {kind.__name__}, got {short(value)}')
  return number


def finite(value: Any) -> float | None:
  """Return a number as a finite float; None for anything else."""
  try:
    is_number = type(value) in (int, float) and math.isfinite(value)
  except OverflowError:  # An integer with hundreds of digits.
    is_number = False
  return float(value) if is_number else None


def short(value: Any) -> str:
  """Return the first characters of a value as a message shows it."""
  text = repr(value)
  return text if len(text) <= 60 else f'{text[:57]}...'
