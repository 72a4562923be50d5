"""The door, as a user meets it: exit codes, single lines, the printed table."""

import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys

import gguf
import jax
import numpy as np
import pytest

from score_jax import main
from tests import door
from tests import profiling_test
from tests.models import gguf_test
from tests.text import tokenizer_test

ROOT = pathlib.Path(__file__).parent.parent
GSM8K = ('--config=experiments/stage2.py:smollm2_gsm8k',
         '--config.model.checkpoint={inputs}/model.gguf')
MESSAGE = re.compile(r'score_jax: [^\n]+\n')


@pytest.fixture(name='finished')
def _finished(tmp_path_factory):
  """The workdir of a whole run, and what it printed."""
  return door.finished(tmp_path_factory.getbasetemp())


@pytest.fixture(name='scratch')
def _scratch(finished):
  """Where output goes."""
  return finished[0].parent


@pytest.fixture(scope='module', name='inputs')
def _inputs(tmp_path_factory):
  """A folder of good and bad input files."""
  folder = tmp_path_factory.mktemp('inputs')
  _write_model(folder / 'model.gguf', rows=290)
  _write_model(folder / 'narrow.gguf', rows=100)
  whole = (folder / 'model.gguf').read_bytes()
  (folder / 'cut.gguf').write_bytes(whole[:-100])
  (folder / 'foreign.gguf').write_bytes(b'PK\x03\x04' + whole)
  (folder / 'empty.gguf').write_bytes(b'')
  good, test = (
      ''.join(_row(f'What is {n} plus {m}?', n + m) for n in range(64))
      for m in (1, 2))
  long = good + _row('very ' * 200 + 'long?', 1)
  _write_problems(folder / 'good', good, test)
  _write_problems(folder / 'same', good, good)
  _write_problems(folder / 'blank', good, '\n')
  _write_problems(folder / 'torn', good + '{"question": "Wh', good)
  _write_problems(folder / 'unanswered', good,
                  _row('?', 2) + '\n{"question": "?", "answer": "six"}\n')
  _write_problems(folder / 'long', long, test)
  _write_problems(folder / 'half', good, good)
  (folder / 'half' / 'test.jsonl').unlink()
  (folder / 'run' / 'checkpoints' / 'base').mkdir(parents=True)
  (folder / 'syntax.py').write_text('def get_config(:\n')
  (folder / 'locked.py').write_text(
      'from score_jax import config\n\ndef get_config():\n'
      '  values = config.defaults()\n  values.stage2.betta1 = 1.0\n')
  (folder / 'none.py').write_text('def get_config():\n  return {}\n')
  return folder


def _write_model(path, rows):
  """A small model with a tokenizer of 290 ids in one file."""
  tokens = json.loads(tokenizer_test.train_json().to_str())['model']
  names = sorted(tokens['vocab'], key=tokens['vocab'].get)
  writer = gguf.GGUFWriter(path, 'llama')
  for name, value in gguf_test.fields(context_length=4096).items():
    add = writer.add_float32 if isinstance(value, float) else writer.add_uint32
    add(f'llama.{name}', value)
  embedding = np.full((rows, gguf_test.D), 0.1, np.float32)
  for name, array in gguf_test.matrices().items():
    writer.add_tensor(name, embedding if 'token_embd' in name else array)
  special = len(tokenizer_test.CHAT)
  writer.add_tokenizer_model('gpt2')
  writer.add_tokenizer_pre('smollm')
  writer.add_token_list(names)
  writer.add_token_types([3] * special + [1] * (len(names) - special))
  writer.add_token_merges([' '.join(pair) for pair in tokens['merges']])
  writer.add_eos_token_id(2)
  writer.write_header_to_file()
  writer.write_kv_data_to_file()
  writer.write_tensors_to_file()
  writer.close()


def _row(question, answer):
  return json.dumps({'question': question, 'answer': f'#### {answer}'}) + '\n'


def _write_problems(folder, train, test):
  folder.mkdir()
  (folder / 'train.jsonl').write_text(train)
  (folder / 'test.jsonl').write_text(test)


def _refused(ended: door.Ended, *words: str):
  assert ended.code == 2, ended
  assert MESSAGE.fullmatch(ended.err), ended.err
  for word in words:
    assert word in ended.err


# Flags and what the line says. Each is refused before a workdir is looked at.
FLAGS = {
    'no_config': ((), '--config=FILE is missing',
                  '--config=experiments/stage2.py'),
    'no_such_file': (('--config=experiments/stage3.py',),
                     "No such file or directory: 'experiments/stage3.py'"),
    'no_such_file_and_an_override': (
        ('--config=stage2.py', '--config.seed=1'), 'No such file', 'stage2.py'),
    'folder_as_config': (('--config=experiments',), 'Is a directory'),
    'config_that_is_no_python': (('--config={inputs}/syntax.py',),
                                 'syntax.py: invalid syntax', 'line 1'),
    'config_with_an_unknown_field': (
        ('--config={inputs}/locked.py',), 'locked.py: ', 'betta1'),
    'config_that_is_no_config': (('--config={inputs}/none.py',), 'ConfigDict'),
    'unknown_variant': (
        ('--config=experiments/stage2.py:chian',), "unknown variant 'chian'; "
        "did you mean 'chain'?; known: chain, ", 'smollm2_sums'),
    'unknown_field': ((*door.TINY, '--config.stage2.betta1=1'),
                      'unknown field config.stage2.betta1', "mean 'beta1'"),
    'group_as_a_field': ((door.TINY[0], '--config.stage2=1'),
                         '--config.stage2=1', 'not a dict'),
    'ill_typed_int': ((*door.TINY, '--config.stage2.steps=1.5'),
                      '--config.stage2.steps=1.5'),
    'ill_typed_tuple': (
        (*door.TINY, '--config.rollout.attempt_tokens=(3,"a")'),
        "config.rollout.attempt_tokens must be int, got 'a'"),
    'not_finite': ((*door.TINY, '--config.stage1.beta1=nan'),
                   'config.stage1.beta1 must be finite, got nan'),
    'unknown_mode': ((*door.TINY, '--mode=test'), '--mode=test', 'train|eval'),
    'unknown_flag': ((*door.TINY, '--wrkdir=x'), "'wrkdir'",
                     'Did you mean: workdir'),
    'no_flag': ((*door.TINY, 'x'), "unexpected argument 'x'", 'begin with --'),
    'unknown_stage': ((*door.TINY, '--config.stage=stage3'), "'stage3'",
                      'known: base, stage1, stage1b, stage2'),
    'unknown_task': ((*door.TINY, '--config.task.name=gsm'),
                     "config.task.name is 'gsm'; did you mean 'gsm8k'"),
    'mesh': ((*door.TINY, '--config.mesh.data=3'), "'data': 3",
             'does not fit 1 devices'),
    'no_transcripts': ((*door.TINY, '--config.task.name=sums'),
                       'no transcripts', '--config.model.checkpoint=FILE'),
    'no_folder_of_problems': (GSM8K, '--config.task.data_dir=FOLDER'),
    'no_problems': ((*GSM8K, '--config.task.data_dir={inputs}/half'),
                    '{inputs}/half/test.jsonl: No such file'),
    'empty_problems': ((*GSM8K, '--config.task.data_dir={inputs}/blank'),
                       '{inputs}/blank/test.jsonl is empty'),
    'torn_problems': ((*GSM8K, '--config.task.data_dir={inputs}/torn'),
                      '{inputs}/torn/train.jsonl, line 65: not JSON'),
    'unanswered_problems': (
        (*GSM8K, '--config.task.data_dir={inputs}/unanswered'),
        '{inputs}/unanswered/test.jsonl, line 3: the answer does not end in'),
    'unfit_tokenizer': (
        (GSM8K[0], '--config.model.checkpoint={inputs}/narrow.gguf',
         '--config.task.data_dir={inputs}/good'),
        'has 290 ids and config.model.vocab_size is 100'),
    'foreign_tokenizer': (
        (*door.TINY, '--config.model.tokenizer={inputs}/syntax.py'),
        '{inputs}/syntax.py is not a tokenizer'),
    **{
        f'{kind}_weights': (
            (GSM8K[0], f'--config.model.checkpoint={{inputs}}/{kind}.gguf'),
            f'{{inputs}}/{kind}.gguf', words)
        for kind, words in {
            'cut': 'damaged GGUF file, download it again',
            'foreign': 'is not a GGUF file', 'empty': 'is not a GGUF file',
            'absent': 'neither a file, a folder nor one of: smollm2_135m',
        }.items()
    },
    'run_as_weights': (
        (GSM8K[0], '--config.model.checkpoint={inputs}/run'),
        '{inputs}/run is of a run', 'score_jax.convert --from={inputs}/run '),
    'stage_as_weights': (
        (GSM8K[0], '--config.model.checkpoint={inputs}/run/checkpoints/base'),
        'checkpoints/base is of a run', 'score_jax.convert --from='),
    'name_on_the_hub': (
        (GSM8K[0], '--config.model.checkpoint=Qwen/Qwen3-0.6B'),
        'Qwen/Qwen3-0.6B is no folder here',
        'hf download Qwen/Qwen3-0.6B --local-dir=DIR'),
    'compile_cache_is_a_file': (
        (*door.TINY, '--compile_cache={inputs}/syntax.py'),
        '--compile_cache={inputs}/syntax.py is a file; name a folder'),
    'workdir_is_a_file': (
        (*door.TINY, '--workdir={inputs}/syntax.py'),
        '--workdir={inputs}/syntax.py is a file; name a folder'),
    'workdir_of_another_run': (
        (*door.TINY, '--config.seed=1', '--config.stage2.alpha=3'),
        'config.seed is 0 there and 1 here',
        'config.stage2.alpha is 10.0 there and 3.0 here',
        'take another --workdir'),
    'seed_of_too_many_bits': (
        (*door.TINY, '--config.seed=9223372036854775808'),
        'config.seed is 9223372036854775808; it must be below 4294967296'),
    'field_of_another_group': (
        (*door.TINY, '--config.stage2.learning_rate=1e-5'),
        'did you mean config.stage2.optimizer.learning_rate?'),
    'long_warm_up': (
        (*door.TINY, '--config.stage1.optimizer.warmup_steps=4'),
        'config.stage1.optimizer.warmup_steps is 4, more than config.stage1.'
        'steps 3'),
    'sizes_of_no_machine': (
        (*door.TINY, '--config.rollout.prompts=100000000'),
        'config.rollout.prompts x samples', 'GiB on each device'),
    'unknown_study': (
        (*door.TINY, '--config.evaluation.studies=scaling,in_row'),
        "config.evaluation.studies is 'in_row'", "did you mean 'in_a_row'"),
    **{f'long_{name}': ((*door.TINY, f'--{flag}=/tmp/{"x" * 5000}'),
                        f'/tmp/{"x" * 50}', 'characters)')
       for name, flag in {
           'checkpoint': 'config.model.checkpoint',
           'tokenizer': 'config.model.tokenizer',
           'workdir': 'workdir', 'compile_cache': 'compile_cache'}.items()},
}


@pytest.mark.parametrize('name', FLAGS)
def test_bad_input_is_one_line_and_touches_nothing(
    name, scratch, finished, inputs):
  args, *words = FLAGS[name]
  workdir, _ = finished
  before = door.tree(workdir), door.tree(inputs)
  args = [arg.replace('{inputs}', str(inputs)) for arg in args]
  words = [word.replace('{inputs}', str(inputs)) for word in words]
  _refused(door.call([f'--workdir={workdir}', *args], scratch), *words)
  assert (door.tree(workdir), door.tree(inputs)) == before


@pytest.mark.parametrize('name', [
    'no_config', 'no_such_file', 'unknown_field', 'torn_problems'])
def test_the_command_itself_refuses_alike(name, tmp_path, inputs):
  args, *words = FLAGS[name]
  args = [arg.replace('{inputs}', str(inputs)) for arg in args]
  _refused(_command([f'--workdir={tmp_path}', *args], XLA_FLAGS=''),
           *(word.replace('{inputs}', str(inputs)) for word in words))
  assert not door.tree(tmp_path)


def test_a_batch_that_the_mesh_cannot_split(tmp_path):
  # On the 8 devices of `conftest`.
  _refused(_command([*door.TINY, '--config.rollout.prompts=12',
                     '--config.stage1.micro_batches=1',
                     '--config.stage2.micro_batches=1',
                     f'--workdir={tmp_path}']),
           'config.rollout.prompts 12 is not divisible by 8', 'use 8 or 16')


def _command(args, **environ):
  """The command as a process of its own."""
  done = subprocess.run(
      [sys.executable, '-m', 'score_jax.main', *args], cwd=ROOT,
      env=os.environ | environ, capture_output=True, text=True, check=False)
  return door.Ended(done.returncode, done.stdout, done.stderr)


def test_prompts_that_are_too_long_are_counted_and_listed(tmp_path, inputs):
  args = [arg.replace('{inputs}', str(inputs)) for arg in GSM8K]
  _refused(
      door.call([*args, f'--config.task.data_dir={inputs}/long',
                 '--config.rollout.prompt_buckets=(400,)',
                 '--config.task.long_prompts=error',
                 f'--workdir={tmp_path / "run"}'], tmp_path),
      "1 of 58 prompts of the split 'train' are longer than 400 tokens, the "
      'longest 1037: gsm8k-train-65;', 'config.rollout.prompt_buckets',
      "config.task.long_prompts='drop'")


def test_problems_that_are_held_out_are_not_trained_on(tmp_path, inputs):
  args = [arg.replace('{inputs}', str(inputs)) for arg in GSM8K]
  ended = door.call([*args, f'--config.task.data_dir={inputs}/same',
                     f'--workdir={tmp_path / "run"}'], tmp_path)
  _refused(ended, "the task 'gsm8k' has no split 'train'; it has test")
  assert 'gsm8k: 64 left out of train, held out as well: ' in ended.out


def test_long_prompts_can_be_left_out(scratch, tmp_path):
  # The base's corpus has long prompts as well.
  ended = door.call(
      [*door.TINY, '--config.rollout.prompt_buckets=(10,)',
       '--config.task.long_prompts=drop', '--config.stage=base',
       f'--workdir={tmp_path}'], scratch)
  assert ended.code == 0, ended.err
  for count in ('14 of 64', '662 of 2000', '21 of 64'):
    assert f'left out: {count} prompts of the split ' in ended.out


def test_weights_of_stage_1_are_looked_for_before_the_base_is_trained(
    scratch, tmp_path):
  ended = door.call(
      [*door.TINY, f'--config.stage1.checkpoint={tmp_path}/none',
       f'--workdir={tmp_path}/run'], scratch)
  _refused(ended, f'config.stage1.checkpoint: {tmp_path}/none holds no')
  assert 'base: 4 steps' not in ended.out


@pytest.mark.parametrize('args,words', [
    (('--config.evaluation.problems=2001',),
     ("config.evaluation.problems is 2001, and the split 'test' of task "
      "'chain' has 2000 problems",)),
    ((f'--config.stage1.checkpoint=/tmp/{"x" * 5000}',),
     ('/tmp/xxx', 'too long')),
    (('--config.stage1.checkpoint=/proc/self/mem/x',), ('/proc/self/mem/x',)),
])
def test_what_shows_with_the_data_is_one_line(scratch, tmp_path, args, words):
  ended = door.call([*door.TINY, f'--workdir={tmp_path}/run', *args], scratch)
  _refused(ended, *words)
  assert 'base: 4 steps' not in ended.out


@pytest.mark.parametrize('content', [
    '{"stages":5}', '[]', '{}', '5', '{"stages":{"base":7}}',
    '{"stages":{},"wall_s":[]}', '{"stages":{},"grading":"x"}'])
def test_results_that_no_run_wrote_are_named(
    scratch, finished, tmp_path, content):
  workdir = tmp_path / 'run'
  shutil.copytree(finished[0], workdir)
  (workdir / 'results.json').write_text(content)
  ended = door.call([*door.TINY, f'--workdir={workdir}'], scratch)
  _refused(ended, f'{workdir}/results.json is not as a run writes it')
  assert (workdir / 'results.json').read_text() == content


def test_experiments_need_no_checkout(tmp_path):
  # The folder has a package of the same name, which is not used.
  (tmp_path / 'experiments').mkdir()
  (tmp_path / 'experiments' / '__init__.py').touch()
  done = subprocess.run(
      [sys.executable, '-m', 'score_jax.main', *door.TINY,
       '--config.mesh.data=3', f'--workdir={tmp_path}/run'], cwd=tmp_path,
      env=os.environ | {'PYTHONPATH': str(ROOT), 'XLA_FLAGS': ''},
      capture_output=True, text=True, check=False)
  _refused(door.Ended(done.returncode, done.stdout, done.stderr),
           "'data': 3", 'does not fit 1 devices')


def test_the_traceback_is_there_for_those_who_ask(scratch):
  ended = door.call([*door.TINY, '--config.mesh.data=3', '--v=1'], scratch)
  assert 'Traceback' in ended.err and ended.code != 0


@pytest.mark.parametrize('words, is_line', [
    ('RESOURCE_EXHAUSTED: Out of memory while trying to allocate 99 bytes.\n'
     'BufferAssignment: ...', True),
    ('INTERNAL: Error dispatching computation: Out of memory allocating 99 '
     'bytes.', True),
    ('INTERNAL: something else', False)])
def test_too_little_memory_is_one_line(monkeypatch, capsys, words, is_line):
  def fail():
    raise jax.errors.JaxRuntimeError(words)

  monkeypatch.setattr(main, '_run', fail)
  with pytest.raises(
      SystemExit if is_line else jax.errors.JaxRuntimeError) as error:
    main.main([])
  found = capsys.readouterr().err
  if is_line:
    assert error.value.code == 1 and MESSAGE.fullmatch(found), found
    assert '99 bytes.; raise config.stage1.micro_batches' in found
    assert 'docs/memory.md' in found
  else:
    assert not found


def test_progress_without_a_terminal_is_plain_lines(finished):
  line = re.compile(
      r'(?P<title>base|stage1|stage2|evaluate \w+) (?P<step>\d+)/(?P<total>\d+)'
      r'  (?P<words>.+)  \[\d\d:\d\d elapsed, \d\d:\d\d left\]')
  lines = finished[1].err.splitlines()
  # The model is not trained enough to end its attempts.
  warnings = [text for text in lines if text.startswith('WARNING: ')]
  assert all('ran out of tokens' in text for text in warnings)
  assert len(warnings) <= 5  # One a stage at most, and one an evaluation.
  found = [line.fullmatch(text) for text in lines if text not in warnings]
  assert all(found), finished[1].err
  by_title = {}
  for match in found:
    by_title.setdefault(match['title'], []).append(match)
  for stage, steps in door.STEPS.items():
    shown = lambda title: [int(m['step']) for m in by_title[title]]
    assert shown(stage) == [*range(1, steps + 1)]
    assert shown(f'evaluate {stage}') == [8, 16, 20]
  names = re.sub(r' [-\d.,e+/]+(  |$)', ' ', by_title['stage2'][-1]['words'])
  assert names.split() == ['acc@t1', 'acc@t2', 'delta', 'KL', 'tokens/s']


def test_the_table_at_the_end_is_what_results_json_holds(finished):
  workdir, ended = finished
  title, *rows = [re.split(r'\s{2,}', row)
                  for row in ended.out.splitlines()[-4:]]
  assert title == ['', 'n', 'acc@t1', 'acc@t2', 'delta [95% interval]', 'i->c',
                   'c->i', 'unchanged', 'truncated t1/t2']
  results = json.loads((workdir / 'results.json').read_text())['stages']
  assert [row[0] for row in rows] == ['base', 'Stage I', 'Stage II']
  for row, stage in zip(rows, results.values()):
    percent = lambda name, stage=stage: f'{100 * stage[name]:.1f}%'
    low, high = (f'{100 * x:+.1f}' for x in stage['delta_ci95'])
    assert row[1:] == [
        '20', percent('accuracy_t1'), percent('accuracy_t2'),
        f'{100 * stage["delta"]:+.1f} [{low}, {high}]', percent('i_to_c'),
        percent('c_to_i'), percent('unchanged'),
        f'{percent("truncated_t1")}/{percent("truncated_t2")}']


def test_evaluation_alone_prints_the_same_table(scratch, finished):
  workdir, trained = finished
  before = (workdir / 'results.json').read_bytes()
  metrics = (workdir / 'metrics.jsonl').read_bytes()
  ended = door.call(
      [*door.TINY, '--mode=eval', f'--workdir={workdir}'], scratch)
  assert ended.code == 0, ended.err
  assert ended.out.splitlines()[-4:] == trained.out.splitlines()[-4:]
  assert 'evaluate stage2 20/20' in ended.err
  assert 'stage2 3/3' not in ended.err.replace('evaluate stage2', '')
  assert (workdir / 'metrics.jsonl').read_bytes() == metrics
  stages = lambda data: json.loads(data)['stages']
  assert stages((workdir / 'results.json').read_bytes()) == stages(before)


def test_a_run_that_goes_on_can_be_traced_and_ends_the_same(
    scratch, tmp_path, finished):
  workdir = tmp_path / 'run'
  shutil.copytree(finished[0], workdir)
  shutil.rmtree(workdir / 'checkpoints' / 'stage2')
  ended = door.call(
      [*door.TINY, f'--workdir={workdir}', '--config.profile.steps=1',
       '--config.profile.first=2'], scratch)
  assert ended.code == 0, ended.err
  trace = workdir / 'profile'
  assert f'profile: {trace}/plugins/profile/stage2_2-2\n' in ended.err
  assert profiling_test.steps(trace, 'stage2') == [2]
  found = profiling_test.events(trace)
  assert [name for name, *_ in found].count('grade') == 1
  programs = {stats.get('hlo_module') for *_, stats in found}
  assert {'jit_sample_attempts', 'jit_update_stage2'} <= programs
  assert ((workdir / 'metrics.jsonl').read_bytes()
          == (finished[0] / 'metrics.jsonl').read_bytes())


def test_programs_are_kept_in_the_workdir(tmp_path):
  workdir = tmp_path / 'run'
  fault = door.Fault(f'{workdir}/compile_cache/jit_', what=signal.SIGKILL)
  ended = door.Running([*door.TINY, f'--workdir={workdir}'], tmp_path, None,
                       fault).wait()
  assert ended.code == -signal.SIGKILL, ended.err


def test_evaluation_of_an_empty_folder(scratch, tmp_path):
  _refused(door.call([*door.TINY, '--mode=eval', f'--workdir={tmp_path}'],
                     scratch),
           f'{tmp_path} holds no checkpoint to evaluate', '--mode=train')
