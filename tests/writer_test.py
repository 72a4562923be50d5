"""The files of a run: equal between equal runs, whole after a kill."""

import datetime
import json
import subprocess

import jax.numpy as jnp
import numpy as np
import pytest

from score_jax import files
from score_jax import writer as writer_lib
from tests.board_test import shown


@pytest.fixture(name='writer')
def make_writer(tmp_path):
  return writer_lib.Writer(tmp_path / 'run')


def test_metrics_lines_are_fixed_and_bit_exact(writer):
  third = np.float32(1) / np.float32(3)
  writer.metrics('base', 1, {'z': third, 'a': 0.1, 'n': 3, 'none': None})
  writer.metrics('base', 2, {'none': None, 'n': 3, 'a': 0.1,
                             'z': jnp.asarray(third)})
  lines = (writer.workdir / 'metrics.jsonl').read_text().splitlines()
  assert lines[0] == (
      '{"stage": "base", "step": 1, "a": 0.1, "n": 3, "none": null, '
      '"z": 0.3333333432674408}')
  assert lines[1] == lines[0].replace('"step": 1', '"step": 2')
  assert np.float32(json.loads(lines[0])['z']) == third


def test_clock_never_reaches_the_metrics(tmp_path):
  texts = []
  for name in 'ab':
    writer = writer_lib.Writer(tmp_path / name)
    for step in (1, 2):
      writer.metrics('stage1', step, {'loss': 0.5 / step})
      writer.timing('stage1', step, {'step_s': 7.0 + len(texts)})
    texts.append((writer.workdir / 'metrics.jsonl').read_bytes())
  assert texts[0] == texts[1]
  timings = [json.loads(line) for line in
             (tmp_path / 'b' / 'timings.jsonl').read_text().splitlines()]
  assert timings[1] == {'stage': 'stage1', 'step': 2, 'step_s': 8.0}


@pytest.mark.parametrize('value', [
    float('nan'), float('inf'), np.float32('-inf'), jnp.zeros(2), 'x', [1.0]])
def test_what_is_no_finite_number_is_named_and_not_written(writer, value):
  with pytest.raises(ValueError, match='stage2 step 7: kl is') as error:
    writer.metrics('stage2', 7, {'loss': 1.0, 'kl': value})
  assert '\n' not in str(error.value)
  assert not (writer.workdir / 'metrics.jsonl').exists()


def test_tensorboard_shows_metrics_and_timings_by_stage(writer):
  writer.metrics('stage1', 3, {'acc@t1': 0.25, 'none': None})
  writer.timing('stage1', 3, {'step_s': 2.0})
  writer.metrics('stage2', 1, {'acc@t1': 0.5})
  board = writer.workdir / 'tensorboard'
  assert shown(board / 'stage1') == {
      ('stage1/acc@t1', 3): 0.25, ('stage1/step_s', 3): 2.0}
  assert shown(board / 'stage2') == {('stage2/acc@t1', 1): 0.5}


def log_three_stages(writer, steps=3):
  for stage in ('base', 'stage1', 'stage2'):
    for step in range(1, steps + 1):
      writer.metrics(stage, step, {'loss': float(step)})
      writer.timing(stage, step, {'s': float(step)})


@pytest.mark.parametrize('again', [False, True])
def test_rewind_keeps_what_is_before(tmp_path, again):
  writer = writer_lib.Writer(tmp_path)
  log_three_stages(writer)
  whole = {}
  for name in ('metrics.jsonl', 'timings.jsonl'):
    whole[name] = (tmp_path / name).read_text().splitlines(keepends=True)
    with open(tmp_path / name, 'a', encoding='utf-8') as file:
      file.write('{"stage": "stage2", "st')  # A kill.
  if again:
    writer = writer_lib.Writer(tmp_path)
  writer.rewind('stage1', 2)
  for name, lines in whole.items():  # All but step 3 of stage1.
    assert (tmp_path / name).read_text() == ''.join(lines[:5] + lines[6:])
  writer.metrics('stage1', 3, {'loss': 30.0})
  writer.rewind('stage2', 1)
  writer.metrics('stage2', 2, {'loss': 10.0})
  assert (tmp_path / 'metrics.jsonl').read_text().splitlines()[5:] == [
      '{"stage": "stage1", "step": 3, "loss": 30.0}',
      '{"stage": "stage2", "step": 1, "loss": 1.0}',
      '{"stage": "stage2", "step": 2, "loss": 10.0}']


def log_steps(writer, steps):
  for step in steps:
    writer.metrics('stage1', step, {'loss': float(step)})
    writer.timing('stage1', step, {'s': float(step)})


def test_rows_of_an_earlier_stage_are_put_before_those_of_later_ones(
    tmp_path):
  writer = writer_lib.Writer(tmp_path)
  log_three_stages(writer)
  writer.flush()
  whole = (tmp_path / 'metrics.jsonl').read_bytes()
  writer.rewind('stage1', 0, 3)
  for step in (1, 2):  # And killed.
    log_steps(writer, [step])
    rows = [json.loads(line) for line in
            (tmp_path / 'metrics.jsonl').read_text().splitlines()]
    assert [(r['stage'], r['step']) for r in rows] == [
        ('base', 1), ('base', 2), ('base', 3),
        *(('stage1', n + 1) for n in range(step)),
        ('stage2', 1), ('stage2', 2), ('stage2', 3)]
  writer = writer_lib.Writer(tmp_path)
  writer.rewind('stage1', 1, 3)
  log_steps(writer, [2, 3])
  writer.flush()
  assert (tmp_path / 'metrics.jsonl').read_bytes() == whole


def row(step, stage='stage1'):
  return json.dumps({'stage': stage, 'step': step, 's': float(step)})


DAMAGE = {  # Lines of a log that a checkpoint of step 4 follows, and the words.
    'first': ((2, 3, 4), 'stage1 step 1 is missing'),
    'last': ((1, 2, 3), 'stage1 step 4 is missing'),
    'several': ((1, 4), 'stage1 steps 2 to 3 are missing'),
    'apart': ((2, 4), 'stage1 steps 1, 3 are missing'),
    'all': ((), 'stage1 steps 1 to 4 are missing'),
    'only later ones': ((5, 6), 'stage1 steps 1 to 4 are missing'),
    'twice': ((1, 2, 2, 3, 4), 'stage1 step 2 is there more than once'),
    'a block twice': ((1, 2, 3, 1, 2, 3, 4),
                      'stage1 steps 1 to 3 are there more than once'),
    'swapped': ((1, 3, 2, 4), 'stage1 step 2 is out of order'),
    'backwards': ((4, 3, 2, 1), 'stage1 steps 1 to 3 are out of order'),
    'cut row': ((1, 2, '{"stage": "stage1", "st', 4), 'line 3 is not JSON'),
    'no object': ((1, 2, '3', 3, 4), 'line 3 is no JSON object'),
    'zeros': ((1, '\0' * 40, 3, 4), 'line 2 is not JSON'),
    'not UTF-8': ((1, b'{"stage": "st\xffge1"}', 3, 4), 'line 2 is not JSON'),
    'empty line': ((1, 2, '', 3, 4), 'line 3 is not JSON'),
    'another stage': ((1, 2, 3, row(4, 'stage3')), 'holds a line of no stage'),
    'no step': ((1, 2, 3, '{"stage": "stage1"}', '{"stage": "stage1", "step": '
                 '"4"}'), "with the step '4'"),
    'bool': ((1, 2, 3, 4, '{"stage": "stage1", "step": true}'), 'step True'),
    'zero': ((0, 1, 2, 3, 4), 'a line of stage1 with the step 0'),
    'beyond': ((1, 2, 3, 4, 5, 6, 7), 'step 7 is beyond the last step 6'),
    'stages': ((1, 2, 3, 4, row(1, 'base')),
               'rows of base come after rows of stage1'),
}


def damaged_log(path, lines):
  path.write_bytes(b''.join(
      (line if isinstance(line, bytes) else
       (row(line) if isinstance(line, int) else line).encode()) + b'\n'
      for line in lines))


@pytest.mark.parametrize('name', ['metrics.jsonl', 'timings.jsonl'])
@pytest.mark.parametrize('lines, words', DAMAGE.values(), ids=DAMAGE)
def test_a_log_that_lacks_steps_of_a_checkpoint_is_refused_and_stays(
    writer, name, lines, words):
  log_steps(writer, range(1, 7))
  path = writer.workdir / name
  damaged_log(path, lines)
  before = path.read_bytes()
  with pytest.raises(ValueError) as error:
    writer.rewind('stage1', 4, 6)
  message = str(error.value)
  assert '\n' not in message and str(path) in message
  assert words in message and '--allow_gaps' in message
  assert path.read_bytes() == before


@pytest.mark.parametrize('lines, words', DAMAGE.values(), ids=DAMAGE)
def test_with_allow_gaps_nothing_is_lost_without_a_copy(
    tmp_path, lines, words):
  said = []
  writer = writer_lib.Writer(tmp_path, said.append, allow_gaps=True)
  log_steps(writer, range(1, 7))
  path = tmp_path / 'metrics.jsonl'
  damaged_log(path, lines)
  before = path.read_bytes()
  writer.rewind('stage1', 4, 6)
  assert any(words in line for line in said)
  kept = [json.loads(line) for line in path.read_text().splitlines()]
  steps = [found['step'] for found in kept if found['stage'] == 'stage1']
  assert steps == sorted({n for n in lines if n in (1, 2, 3, 4)
                          and not isinstance(n, bool)})
  dropped = [line for line in before.splitlines(keepends=True)
             if line not in path.read_bytes().splitlines(keepends=True)
             and line not in (row(5).encode() + b'\n',
                              row(6).encode() + b'\n')]
  if dropped:
    assert (tmp_path / 'metrics.jsonl.damaged-1').read_bytes() == before
  writer.metrics('stage1', 5, {'loss': 5.0})
  again = writer_lib.Writer(tmp_path, said.append, allow_gaps=True)
  again.rewind('stage1', 4, 6)  # Readable now; a gap stays one.


def test_a_log_that_is_gone_is_noticed(writer):
  log_steps(writer, [1, 2])
  (writer.workdir / 'timings.jsonl').unlink()
  with pytest.raises(ValueError, match='timings.jsonl: stage1 steps 1 to 2 are '
                     'missing, and there is a checkpoint of stage1 step 2'):
    writer.check_logs('stage1', 2)


def test_whole_logs_are_left_alone(writer):
  log_three_stages(writer)
  before = [(path.stat().st_mtime_ns, path.read_bytes())
            for path in sorted(writer.workdir.glob('*.jsonl'))]
  for stage in ('base', 'stage1', 'stage2'):
    writer.check_logs(stage, 3)
  assert before == [(path.stat().st_mtime_ns, path.read_bytes())
                    for path in sorted(writer.workdir.glob('*.jsonl'))]


def test_a_flush_brings_rows_to_the_disk(writer, monkeypatch):
  synced = []
  log_steps(writer, [1])
  monkeypatch.setattr(files.os, 'fsync', lambda opened: synced.append(
      files.os.readlink(f'/proc/self/fd/{opened}').rpartition('/')[2]))
  writer.flush()
  assert {'metrics.jsonl', 'timings.jsonl'} <= set(synced)
  synced.clear()
  writer.flush()
  assert not synced


def test_a_writer_that_lost_its_workdir_writes_nothing(tmp_path):
  def guard():
    raise ValueError('process 7 on elsewhere has taken over this workdir')

  writer = writer_lib.Writer(tmp_path)
  log_steps(writer, [1, 2])
  writer.guard = guard
  before = {path: path.read_bytes() for path in tmp_path.rglob('*')
            if path.is_file()}
  for write in (
      lambda: log_steps(writer, [3]), writer.flush,
      lambda: writer.timing('stage1', 3, {}),
      lambda: writer.rewind('stage1', 0),
      lambda: writer.check_logs('stage1', 2),
      lambda: writer.transcripts('stage1', []), writer.keep_results,
      lambda: writer.results({}), lambda: writer.config({}),
      lambda: writer.evaluation('x')):
    with pytest.raises(ValueError, match='has taken over'):
      write()
  assert before == {path: path.read_bytes() for path in tmp_path.rglob('*')
                    if path.is_file()}


TRANSCRIPTS = {  # Ids of the lines after an evaluation of a, b, c; the words.
    'first': ('bc', "stage1: transcripts of problem 'a' are missing"),
    'last': ('ab', "stage1: transcripts of problem 'c' are missing"),
    'two': ('b', "stage1: transcripts of problems 'a', 'c' are missing"),
    'all': ('', "stage1: transcripts of problems 'a', 'b', 'c' are missing"),
    'twice': ('abbc', "'b' are there more than once or are of no evaluated"),
    'foreign': ('abcd', "'d' are there more than once or are of no evaluated"),
    'swapped': ('acb', "out of order from problem 'c'"),
    'changed': ('aBc', 'stage1: a transcript was changed'),
    'cut': ('a{c', 'line 2 is not JSON'),
}


@pytest.mark.parametrize('ids, words', TRANSCRIPTS.values(), ids=TRANSCRIPTS)
def test_transcripts_that_are_not_those_of_the_evaluation_are_refused(
    tmp_path, ids, words):
  said = []
  writer = writer_lib.Writer(tmp_path, said.append)
  writer.transcripts('base', [{'id': 'a'}])
  writer.transcripts('stage1', [{'id': name} for name in 'abc'])
  digest = writer.transcripts_digest('stage1')
  writer.check_transcripts('stage1', list('abc'), digest)
  path = tmp_path / 'transcripts.jsonl'
  lines = ['{"stage": "base", "id": "a"}'] + [
      '{"stage": "st' if name == '{' else json.dumps(
          {'stage': 'stage1', 'id': name.lower()}
          | ({'more': 1} if name == 'B' else {})) for name in ids]
  path.write_text(''.join(f'{line}\n' for line in lines[: len(ids) + 1]))
  before = path.read_bytes()
  if words.startswith('line'):
    words = words.replace('2', '3')  # One of base comes first.
  with pytest.raises(ValueError) as error:
    writer.check_transcripts('stage1', list('abc'), digest)
  assert words in str(error.value) and '\n' not in str(error.value)
  assert path.read_bytes() == before
  writer = writer_lib.Writer(tmp_path, said.append, allow_gaps=True)
  writer.check_transcripts('stage1', list('abc'), digest)
  assert words in said[-1] and path.read_bytes() == before


@pytest.mark.parametrize('again', [False, True])
def test_rewind_purges_tensorboard_by_stage(tmp_path, again):
  writer = writer_lib.Writer(tmp_path)
  log_three_stages(writer)
  if again:
    writer = writer_lib.Writer(tmp_path)
  writer.rewind('stage1', 1)
  writer.metrics('base', 4, {'loss': 40.0})
  writer.metrics('stage1', 5, {'loss': 50.0})
  writer.metrics('stage2', 6, {'loss': 60.0})
  board = tmp_path / 'tensorboard'
  loss = {
      stage: {step: value for (tag, step), value in shown(board / stage).items()
              if tag == f'{stage}/loss'}
      for stage in ('base', 'stage1', 'stage2')
  }
  assert loss == {
      'base': {1: 1.0, 2: 2.0, 3: 3.0, 4: 40.0},
      'stage1': {1: 1.0, 5: 50.0},
      'stage2': {1: 1.0, 2: 2.0, 3: 3.0, 6: 60.0},
  }


def test_rewind_of_a_new_folder_writes_nothing(writer):
  writer.rewind('base', 0)
  assert not list(writer.workdir.iterdir())


def test_a_line_of_no_stage_is_named(writer):
  (writer.workdir / 'metrics.jsonl').write_text('{"stage": "warmup"}\n')
  with pytest.raises(ValueError, match='metrics.jsonl holds a line of no'):
    writer.rewind('base', 0)
  with pytest.raises(ValueError, match='metrics.jsonl holds a line of no'):
    writer.check_logs('base', 0)


def test_boards_that_cannot_be_written_are_named(writer):
  (writer.workdir / 'tensorboard').write_text('in the way')
  with pytest.raises(ValueError, match='tensorboard/base: Not a directory'):
    writer.metrics('base', 1, {'loss': 1.0})


def test_transcripts_of_a_stage_are_replaced_in_place(writer):
  def rows(text):
    return [{'id': str(i), 'problem': '1+1', 'attempts': [text, 'two\n2'],
             'answer': '2', 'grades': [0, 1]} for i in range(2)]

  writer.transcripts('stage1', rows('first'))
  writer.transcripts('base', rows('√ base'))
  writer.transcripts('stage1', rows('again'))
  path = writer.workdir / 'transcripts.jsonl'
  got = [json.loads(line) for line in path.read_text().splitlines()]
  assert [(r['stage'], r['id'], r['attempts'][0]) for r in got] == [
      ('base', '0', '√ base'), ('base', '1', '√ base'),
      ('stage1', '0', 'again'), ('stage1', '1', 'again')]
  assert got[3] == {'stage': 'stage1', **rows('again')[1]}


def test_results_come_back(writer):
  assert writer.read_results() is None
  results = {'task': 'chain', 'stages': {'base': {'delta': 0.1}}, 'wall_s': {}}
  writer.results(results)
  assert writer.read_results() == results


def test_damaged_results_are_named(writer):
  (writer.workdir / 'results.json').write_text('{"task":')
  with pytest.raises(ValueError, match='results.json is not JSON'):
    writer.read_results()


CONFIG = {'stage': 'base', 'seed': 0, 'name': 'a',
          'model': {'width': 96, 'rope': 1e4, 'buckets': (16, 32)}}


def test_same_config_may_go_on_to_a_later_stage(writer):
  writer.check_config({'config': CONFIG})
  writer.config({'config': CONFIG, 'date': 'x'})
  writer.check_config({'config': CONFIG | {'stage': 'stage2'}, 'date': 'y'})


def test_a_run_that_goes_on_may_be_traced(writer):
  writer.config({'config': CONFIG})
  writer.check_config({'config': CONFIG | {'profile': {'steps': 2}}})


def test_a_base_of_other_weights_is_refused(writer):
  writer.config({'config': CONFIG, 'base': 'ab'})
  writer.check_config({'config': CONFIG, 'base': 'ab'})
  with pytest.raises(ValueError, match='holds other weights'):
    writer.check_config({'config': CONFIG, 'base': 'cd'})


def test_another_config_is_refused_field_by_field(writer):
  writer.config({'config': CONFIG})
  before = (writer.workdir / 'config.json').read_bytes()
  other = CONFIG | {'seed': 1, 'new': True,
                    'model': {'width': 96, 'rope': 1e4, 'buckets': (16,)}}
  with pytest.raises(ValueError) as error:
    writer.check_config({'config': other})
  message = str(error.value)
  assert '\n' not in message and str(writer.workdir) in message
  for part in ('config.seed is 0 there and 1 here',
               'config.new is absent there and true here',
               'config.model.buckets is [16, 32] there and [16] here',
               'another --workdir'):
    assert part in message
  assert 'width' not in message and 'stage is' not in message
  assert (writer.workdir / 'config.json').read_bytes() == before


def test_a_foreign_config_file_is_named(writer):
  (writer.workdir / 'config.json').write_text('[1]')
  with pytest.raises(ValueError, match='config.json is no record of a run'):
    writer.check_config({'config': CONFIG})


def test_a_file_as_workdir_is_named(tmp_path):
  (tmp_path / 'file').write_text('x')
  with pytest.raises(ValueError, match='file: File exists'):
    writer_lib.Writer(tmp_path / 'file')


def test_record_says_what_ran():
  record = json.loads(json.dumps(writer_lib.run_record(CONFIG)))
  assert record['config']['model']['buckets'] == [16, 32]
  assert record['devices'] == 8 and record['device'] == 'cpu'
  assert set(record['versions']) == {
      'python', 'jax', 'jaxlib', 'flax', 'optax', 'orbax-checkpoint',
      'score_jax'}
  assert record['versions']['jax'].count('.') == 2
  assert datetime.datetime.fromisoformat(record['date']).tzinfo is not None


def test_commit_of_a_checkout(tmp_path):
  def git(*args):
    subprocess.run(
        ['git', '-C', str(tmp_path), '-c', 'user.name=n', '-c', 'user.email=e',
         *args], check=True, capture_output=True)

  assert writer_lib._commit(tmp_path) is None
  git('init')
  assert writer_lib._commit(tmp_path) is None
  (tmp_path / 'file').write_text('a')
  git('add', 'file')
  git('commit', '-m', 'one')
  git('tag', '-a', 'v1', '-m', 'v1')
  commit = writer_lib._commit(tmp_path)
  assert len(commit) == 40 and int(commit, 16)
  (tmp_path / 'file').write_text('b')
  assert writer_lib._commit(tmp_path) == commit + '-dirty'
  inside = tmp_path / 'site-packages'  # Installed into another's checkout.
  inside.mkdir()
  assert writer_lib._commit(inside) is None
