"""The table of results."""

from score_jax.report import table as table_lib

BASE = {
    'n': 1000, 'accuracy_t1': 0.4123, 'accuracy_t2': 0.4, 'delta': -0.0123,
    'delta_ci95': [-0.03, 0.0054], 'i_to_c': 0.0312, 'c_to_i': 0.0435,
    'unchanged': 0.8, 'truncated_t1': 0.0, 'truncated_t2': 0.0121,
}
BETTER = BASE | {
    'n': 998, 'accuracy_t2': 1.0, 'delta': 0.1234, 'delta_ci95': [0.1, 0.15],
    'unchanged': 0.05,
}


def test_every_cell():
  table = table_lib.results_table(
      {'task': 'chain', 'stages': {'stage2': BETTER, 'base': BASE}})
  assert table.splitlines() == [
      '             n  acc@t1  acc@t2  delta [95% interval]  i->c  c->i  '
      'unchanged  truncated t1/t2',
      'base      1000   41.2%   40.0%     -1.2 [-3.0, +0.5]  3.1%  4.3%  '
      '    80.0%        0.0%/1.2%',
      'Stage II   998   41.2%  100.0%  +12.3 [+10.0, +15.0]  3.1%  4.3%  '
      '     5.0%        0.0%/1.2%',
  ]


def test_stages_stand_in_the_order_of_training():
  stages = {'stage2': BASE, 'stage1': BASE, 'base': BASE}
  lines = table_lib.results_table({'stages': stages}).splitlines()
  assert [line[:8].strip() for line in lines[1:]] == [
      'base', 'Stage I', 'Stage II']
