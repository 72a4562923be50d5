"""The numbers in the tables of a report."""

from score_jax.report import paper
from score_jax.report import runs as runs_lib
from score_jax.report import tables
from tests.report import made


def _read(*folders):
  return runs_lib.read([str(folder) for folder in folders])


def _texts(table):
  return [[f'{cell.text} [{cell.below}]' if cell.below else cell.text
           for cell in row] for row in table.rows]


def test_every_number_of_every_stage_with_its_interval(tmp_path):
  run, = _read(made.run(tmp_path / 'a'))
  table = tables.results(run)
  assert table.columns == (
      'stage', 'n', 'acc@t1', 'acc@t2', 'delta', 'i→c', 'c→i', 'fix rate',
      'unchanged', 'truncated\nt1', 'truncated\nt2', 'McNemar\np')
  assert _texts(table) == [
      ['base', '1,000', '41.2%', '40.0%', '-1.2 [-3.0 to +0.5]', '3.1%', '4.3%',
       '–', '80.0%', '0.0%', '1.2%', '–'],
      ['Stage II', '1,000', '41.2% [38.1 to 44.3]', '40.0% [37.0 to 43.0]',
       '-1.2 [-3.0 to +0.5]', '3.1% [2.0 to 4.2]', '4.3% [3.1 to 5.6]',
       '5.3% [3.0 to 7.0]', '80.0%', '0.0%', '1.2%', '< 0.001'],
  ]


def test_columns_without_a_number_are_left_out(tmp_path):
  run, = _read(made.run(tmp_path / 'a', results={'base': made.RATES}))
  assert len(tables.results(run).columns) == 10
  assert tables.groups(run) == tables.studies(run) == []


def test_groups_have_a_table_each_in_order(tmp_path):
  run, = _read(made.run(tmp_path / 'a'))
  level, subject = tables.groups(run)
  assert (level.title, subject.title) == ('a, by level', 'a, by subject')
  assert [row[:2] for row in _texts(level)] == [
      ['Level 1, Stage II', '11'], ['Level 2, Stage II', '12']]
  assert _texts(subject)[0][:2] == ['Algebra, Stage II', '21']


def test_studies_have_a_table_each(tmp_path):
  run, = _read(made.run(tmp_path / 'a'))
  found = {table.title: (table.columns, _texts(table))
           for table in tables.studies(run)}
  refined = found.pop('a, Self-Refine, by prompting')
  assert refined[1][0][:4] == ['Stage II', '1,000', '41.2%', '32.1%']
  assert found == {
      'a, two samples, nothing corrected': (
          ('stage', 'pass@2', 'tokens', 'of two\nattempts',
           'temperature'),
          [['Stage II', '50.0%', '400', '420', '0.7']]),
      'a, repair of given attempts': (
          ('stage', 'n', 'accuracy', 'unchanged', 'truncated'),
          [['Stage II', '164', '30.1% [24.0 to 37.0]', '20.0%', '0.0%']]),
      'a, grading': (
          ('stage', 'timeouts', 'crashes', 'answers\na second'),
          [['Stage II', '3', '1', '812']]),
  }


def test_what_a_run_is(tmp_path):
  runs = _read(made.run(tmp_path / 'a'), made.run(tmp_path / 'b', 'code'))
  assert _texts(tables.overview(runs)) == [
      [f'{label} [made]', task, 'qwen3', 'base, Stage I, Stage II',
       '2 min 1 s', '0123456789ab [with changes]', '2026-11-24 09:00', '1 cpu']
      for label, task in (('a', 'math'), ('b', 'code'))]


def test_only_fields_that_differ_are_listed(tmp_path):
  runs = _read(
      made.run(tmp_path / 'a', config={'seed': 1, 'stage1': {'alpha': 10.0}}),
      made.run(tmp_path / 'b', config={'stage1': {'alpha': 5.0}}))
  table = tables.differences(runs)
  assert table.columns == ('field', 'a', 'b')
  assert _texts(table) == [['seed', '1', '–'], ['stage1.alpha', '10.0', '5.0']]


def test_the_paper_adds_up():
  for table in paper.of_tasks(set()):
    for _, t1, t2, delta, up, down, *_ in _texts(table):
      t1, t2, up, down = (float(x.strip('%')) for x in (t1, t2, up, down))
      assert abs(t2 - t1 - float(delta)) < 0.11  # Shares are rounded.
      assert abs(up - down - float(delta)) < 0.11


def test_the_paper_stands_beside_tasks_of_its_kind():
  titles = lambda *names: [t.title for t in paper.of_tasks(set(names))]
  assert titles('gsm8k', 'math') == ['The paper, MATH']
  assert titles('code') == ['The paper, HumanEval']
  assert titles('code', 'math') == titles('chain') == [
      'The paper, MATH', 'The paper, HumanEval']


def test_the_paper_s_own_result_is_as_published():
  maths, code = paper.of_tasks(set())
  assert _texts(maths)[-1] == [
      'SCoRe', '60.0%', '64.4%', '+4.4', '5.8%', '1.4%']
  assert _texts(code)[-1] == [
      'SCoRe', '52.4%', '64.6%', '+12.2', '15.2%', '3.0%', '60.6%']
