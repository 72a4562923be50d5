"""Where lines, bars and ticks come to lie."""

import pytest

from score_jax.report import charts


def _line(points, series='a', run='', colour=0, dash=0):
  return charts.Line(series, run, points, colour, dash)


def test_a_line_goes_from_edge_to_edge_of_the_plot():
  chart = charts.lines('Accuracy', 'step', charts.PERCENT, [
      _line([(1, 0.0), (2, 0.5), (3, 1.0)])])
  # 40..310 across; 152 at 0 and 8 at 1, so that 0.5 is at 80.
  assert chart.marks[0].path == 'M40,152L175,80L310,8'
  assert [tick.text for tick in chart.y_ticks] == [
      '0%', '25%', '50%', '75%', '100%']
  assert [(tick.at, tick.text) for tick in chart.x_ticks] == [
      (40, '1'), (175, '2'), (310, '3')]
  assert chart.words() == 'Accuracy over step: a ends at 100.0%'


def test_doublings_take_equal_space():
  chart = charts.lines('Vote', 'samples', charts.PERCENT, [
      _line([(2, 0.6), (4, 0.7), (8, 0.8)])], from_zero=False, doubling=True)
  assert [(tick.at, tick.text) for tick in chart.x_ticks] == [
      (40, '2'), (175, '4'), (310, '8')]
  assert chart.y_ticks[0].text == '60%'


def test_negative_values_have_their_place_and_zero_is_in():
  chart = charts.lines('Delta', 'step', charts.POINTS, [
      _line([(1, -0.1), (2, -0.2)])])
  assert [tick.text for tick in chart.y_ticks] == [
      '-20', '-15', '-10', '-5', '0']
  assert chart.marks[0].last == '-20.0'


def test_one_point_is_a_dot_in_the_middle():
  chart = charts.lines('KL', 'step', charts.PLAIN, [_line([(7, 2.0)])])
  assert chart.marks[0].path == 'M175,8L175,8'
  assert [tick.text for tick in chart.x_ticks] == ['7']


def test_of_many_points_means_over_neighbours_are_drawn():
  points = [(x, float(x % 2)) for x in range(1, 301)]  # 1, 0, 1, 0, ...
  path = charts.lines('x', 'step', charts.PLAIN, [_line(points)]).marks[0].path
  places = path[1:].split('L')
  assert len(places) == charts.MAX_POINTS == 150
  # Every two make 0.5; the axis ends at 0.6: 152 - 144 * 5 / 6 = 32.
  assert {place.split(',')[1] for place in places} == {'32'}


def test_a_legend_has_a_row_a_series():
  chart = charts.lines('x', 'step', charts.PLAIN, [
      _line([(1, 1.0)], 'one', 'A'), _line([(1, 2.0)], 'one', 'B', colour=7),
      _line([(1, 3.0)], 'two', 'A', dash=1)])
  assert [(series, [(m.run, m.style, m.last) for m in marks])
          for series, marks in chart.legend()] == [
      ('one', [('A', 'c0 d0', '1'), ('B', 'c1 d0', '2')]),
      ('two', [('A', 'c0 d1', '3')])]


def test_bars_stand_between_their_edges():
  chart = charts.histogram('Edits', 'ratio', [0, 0.5, 1], [4, 1])
  # 270 across for 1; half a unit is left free on either side of a bar.
  assert chart.bars == [
      (40.5, 8.0, 134.0, 144.0, '4 from 0 to 0.5'),
      (175.5, 116.0, 134.0, 36.0, '1 from 0.5 to 1')]


def test_edges_and_counts_have_to_fit():
  with pytest.raises(ValueError):
    charts.histogram('Edits', 'ratio', [0, 0.5, 1], [4, 1, 2])


@pytest.mark.parametrize('low, high, expected', [
    (0, 0, [0, 0.25]),
    (0, 1, [0, 0.25, 0.5, 0.75, 1]),
    (-0.13, 0.2, [-0.2, -0.1, 0, 0.1, 0.2]),
    (3, 3, [3, 4]),
    (1, 1200, [0, 500, 1000, 1500]),
    (0, 0.0000012, [0, 5e-7, 1e-6, 1.5e-6]),
])
def test_ticks_are_round_and_cover(low, high, expected):
  assert charts.ticks(low, high) == pytest.approx(expected, abs=1e-12)
