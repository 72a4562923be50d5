"""The command that measures the grader of mathematics, on a few answers."""

import json
import re
import subprocess
import sys

import pytest

from score_jax import grader_accuracy as accuracy
from score_jax.grading import maths
from score_jax.grading import pool
from score_jax.grading import rewritings
from tests import real_data

GOLDS = ['12', '-3', r'\frac{3}{8}', r'2\frac{1}{2}', '0.25', r'50\%',
         r'30^\circ', r'\$5', r'5\text{ cm}', '1,2', r'\text{B}', '52_8',
         '(1,2)', r'(-\infty,0]\cup[1,\infty)', 'x=4', 'y=2x+1', '12345',
         r'3+4\sqrt{2}', r'\frac{\sqrt3}{2}', '(x+1)(x-2)', r'12\pi', 'x^2+1',
         r'\begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix}', r'4,\!321']


def _run(*args):
  return subprocess.run(
      [sys.executable, '-m', 'score_jax.grader_accuracy', *args],
      capture_output=True, text=True)


def _write(path, golds):
  path.parent.mkdir(exist_ok=True)
  path.write_text(''.join(json.dumps({'answer': g}) + '\n' for g in golds))


def test_rewritings_are_many_and_are_right():
  pairs = accuracy.rewritten(GOLDS)
  assert len(pairs) > 200
  assert not [pair for pair in pairs if not maths.grade(pair.gold, pair.text)]


@pytest.mark.parametrize('gold,name,other', [
    (r'\frac{3}{8}', 'decimal', '0.375000'), ('0.25', 'no zero', '.25'),
    (r'\frac{3}{8}', 'slash', '3/8'), ('12345', 'commas', '12,345'),
    (r'2\frac{1}{2}', 'improper', r'\frac{5}{2}'), ('1,2', 'backwards', '2, 1'),
    (r'30^\circ', 'degree in words', '30 degrees'),
    (r'3+4\sqrt{2}', 'terms backwards', r'4\sqrt{2} + 3')])
def test_what_a_rule_makes(gold, name, other):
  assert rewritings.rewritings(gold)[name] == other


def test_a_rule_that_does_not_hold_makes_nothing():
  assert 'decimal' not in rewritings.rewritings(r'\frac{1}{3}')
  assert 'backwards' not in rewritings.rewritings('(1,2)')
  assert 'is x' not in rewritings.rewritings('x=4')


def test_errors_of_both_kinds_are_counted_and_listed():
  always, never = pool.Here(lambda gold, text: 1), pool.Here(lambda *_: 0)
  wrong = len(accuracy.near_misses())
  lines, errors = accuracy.measure(always, ['12'])
  assert 'gold answers: n=2, false refusals 0 (0.000%)' in lines
  assert lines[2] == (
      f'near misses: n={wrong}, false acceptances {wrong} (100.000%)')
  assert errors == {'refused': [], 'accepted': accuracy.near_misses()}
  lines, errors = accuracy.measure(never, ['12'])
  assert 'gold answers: n=2, false refusals 2 (100.000%)' in lines
  assert errors['refused'][0].gold == '12' and not errors['accepted']


def test_the_command_prints_both_rates_and_the_speed(tmp_path):
  _write(tmp_path / 'math' / 'train.jsonl', [*GOLDS, ''])
  found = _run(f'--data_dir={tmp_path}')
  assert found.returncode == 0, found.stderr
  assert f'gold answers: n={2 * len(GOLDS)}, false refusals 0' in found.stdout
  assert 'false acceptances 0 (0.000%)' in found.stdout
  assert re.search(r'speed: \d+ answers in [\d.]+ s, \d+ a second; 0 took',
                   found.stdout)


@pytest.mark.parametrize('row,said', [
    ('{"problem": "x"}', "train.jsonl, line 1: the field 'answer' is not"),
    ('{', 'line 1: not JSON'), ('', 'train.jsonl is empty')])
def test_a_bad_file_is_named_in_one_line(tmp_path, row, said):
  (tmp_path / 'train.jsonl').write_text(row)
  found = _run(f'--data_dir={tmp_path}')
  assert found.returncode == 2 and said in found.stderr
  assert found.stderr.count('\n') == 1


def test_bad_flags_are_named_in_one_line(tmp_path):
  for args, said in (([], '--data_dir=FOLDER is missing'),
                     ([f'--data_dir={tmp_path}'], 'holds neither math/'),
                     (['--data=x'], "Unknown command line flag 'data'"),
                     ([str(tmp_path)], 'unexpected argument')):
    found = _run(*args)
    assert found.returncode == 2 and said in found.stderr
    assert found.stderr.count('\n') == 1


def test_hardly_a_rewriting_of_an_answer_of_math_is_refused():
  pairs = accuracy.rewritten(accuracy.gold_answers(real_data.folder('math')))
  refused = [pair for pair in pairs if not maths.grade(pair.gold, pair.text)]
  # `81,256` for the two answers 81 and 256 is also one number.
  assert len(pairs) > 40_000 and len(refused) <= 2, refused
