"""What both sides read, and how attempts become prompts."""

import dataclasses

import jax.numpy as jnp
import numpy as np

from benchmarks import workload
from score_jax.rl import advantages
from score_jax.rl import rewards

SIZES = dict(prompts=3, samples=2, prompt_tokens=5, attempt_tokens=(4, 2),
             instruction_tokens=3)


def made(**others):
  return workload.make('folder', 1000, **(SIZES | others))


def test_the_file_says_all_of_it(tmp_path):
  work = made(ends=True, threads=1)
  work.write(tmp_path / 'work.json')
  assert workload.read(tmp_path / 'work.json') == work


def test_sizes_are_those_asked_for_and_ids_no_padding():
  work = made()
  assert [len(ids) for ids in work.prompts] == [5] * 3
  assert len(work.rows()) == len(work.learned) == len(work.credit) == 6
  assert [list(map(len, row)) for row in work.learned] == [[4, 2]] * 6
  assert min(min(ids) for ids in work.prompts) >= workload.FIRST
  assert work == made() != made(seed=1)


def test_rows_stand_problem_major():
  work = made()
  assert work.rows()[:2] == [work.prompts[0]] * 2


def test_an_attempt_is_cut_behind_its_first_stop():
  work = made(ends=True)
  stop = work.stop_ids[3]
  assert work.cut([900, stop, 901, stop]) == [900, stop]
  assert work.cut([900, 901]) == [900, 901]
  assert made().cut([900, stop, 901]) == [900, stop, 901]


def test_so_many_ids_stop_that_attempts_have_the_mean_asked_for():
  # 1000 / 40: one of 40 tokens drawn alike.
  assert len(made(ends=True, mean_tokens=40).stop_ids) == 25


def test_an_attempt_that_ran_out_is_closed():
  work = made(ends=True)
  other = work.stop_ids[1]
  assert work.next_prompt([7], [900, other]) == (
      [7, 900, other] + work.instruction)
  assert work.next_prompt([7], [900]) == (
      [7, 900, workload.STOP] + work.instruction)


def test_the_last_number_is_graded():
  work = dataclasses.replace(made(prompts=2, samples=1), golds=['12', '30'])
  assert work.grades([[[5, 12], [12, 5]], [[30], [3]]]) == [[1, 0], [1, 0]]


def test_peers_have_the_advantages_of_a_run():
  work = made(prompts=2, samples=3)
  grades = [[0, 1], [1, 1], [1, 0], [0, 0], [0, 1], [1, 0]]
  shaped = rewards.shaped_rewards(
      jnp.array(grades), rewards.stage2(2, workload.BONUS, work.kl))
  np.testing.assert_allclose(
      work.advantages(grades), advantages.leave_one_out(shaped, 3), rtol=1e-6)
  # 11 less the mean of 1 and -10.
  assert work.advantages(grades)[0][1] == 11 - (1 - 10) / 2
