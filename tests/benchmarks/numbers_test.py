"""Medians, ratios and exponents, by hand."""

import pytest

from benchmarks import numbers


def test_a_spread_is_the_median_between_the_extremes():
  assert numbers.spread([3, 1, 10]) == (3, 1, 10)
  assert str(numbers.spread([0.5, 2, 1])) == '1 [0.5, 2]'


def test_a_ratio_is_of_neighbours_and_not_of_medians():
  # Pairs 2, 1, 4: the machine was slow in the second round, for both.
  assert numbers.ratio([1, 10, 1], [2, 10, 4]) == (2, 1, 4)


def test_sides_alternate_and_what_compiles_is_not_counted():
  order = []

  def call(name):
    return lambda number: order.append((name, number)) or number

  found = numbers.alternate({'a': call('a'), 'b': call('b')}, rounds=2)
  assert order == [(name, number) for number in range(4) for name in 'ab']
  assert found == {'a': [2, 3], 'b': [2, 3]}


@pytest.mark.parametrize('power', [-1, 0, 1, 2])
def test_the_exponent_of_a_power(power):
  sizes = [1, 2, 4, 8]
  assert numbers.exponent(sizes, [3 * n**power for n in sizes]) == (
      pytest.approx(power))


def test_an_exponent_is_fitted_where_points_are_off_the_line():
  # log2: (0, 0), (1, 2), (2, 1): slope 1 / 2.
  assert numbers.exponent([1, 2, 4], [1, 4, 2]) == pytest.approx(0.5)


def test_what_was_not_measured_at_every_size_is_no_series():
  rows = {1: {'bytes': 2.0, 'seconds': 1.0}, 2: {'bytes': 4.0}}
  assert numbers.series(rows) == {'bytes': [2.0, 4.0]}
