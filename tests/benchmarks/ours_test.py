"""Our own side of the comparisons, on a small model."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import models
from benchmarks import workload
from benchmarks.sides import ours


@pytest.fixture(name='side', scope='module')
def make_side(tmp_path_factory):
  folder = models.folder_of('random_1m', tmp_path_factory.mktemp('build'))
  return ours.Ours(workload.make(
      str(folder), models.RANDOM['random_1m'].vocab_size, prompts=8, samples=2,
      prompt_tokens=6, attempt_tokens=(4, 3), instruction_tokens=2))


def test_attempts_take_all_their_tokens(side):
  attempts = side.rollout(seed=0)['attempts']
  assert [list(map(len, row)) for row in attempts] == [[4, 3]] * 16
  assert attempts != side.rollout(seed=1)['attempts']


def test_greedy_attempts_of_a_problem_are_equal(side):
  attempts = side.rollout(seed=0, greedy=True)['attempts']
  assert attempts[0] == attempts[1] != attempts[2]


def test_scores_are_of_the_rows_to_learn(side):
  logp = np.array(side.score()['logp'])
  assert logp.shape == (16, 7) and (logp < 0).all()


def test_updates_make_the_paid_rows_likelier(side, monkeypatch):
  credit = np.repeat(side.work.credit, (4, 3), axis=1)
  before = np.array(side.score()['logp'])
  losses = [side.update()['loss'] for _ in range(3)]
  assert np.isfinite(losses).all()
  # A copy: the next update gives these up.
  monkeypatch.setattr(side, 'reference',
                      jax.tree.map(jnp.copy, side.state.params))
  assert np.sum(credit * (np.array(side.score()['logp']) - before)) > 0


def test_a_whole_step_learns_from_what_it_sampled(side):
  step = int(side.state.step)
  assert np.isfinite(side.step(seed=3)['loss'])
  assert int(side.state.step) == step + 1


def test_programs_are_those_of_update_and_rollout(side):
  step = int(side.state.step)
  (update, learn), (sampler, sample) = side.programs().values()
  assert 'HloModule jit_update_stage2' in update
  assert 'HloModule jit_sample_attempts' in sampler
  assert learn()['loss'] != learn()['loss']  # Each learns from the one before.
  assert int(side.state.step) == step + 2
  expected = side._sample(seed=0, greedy=False)  # By the policy of now.
  assert np.array_equal(sample().tokens_BS, expected.tokens_BS)


def test_products_are_those_of_a_layer_forwards_and_backwards(side):
  # 6 slots of a prompt, and of two samples 4, 3 and 2 + 1 between them. Query
  # and out 128 x 128, key and value 128 x 64, the MLP three of 128 x 384.
  weights = 2 * 128 * 128 + 2 * 128 * 64 + 3 * 128 * 384
  assert side.products() == {'flops': 3 * 2 * (6 + 2 * (7 + 3)) * weights}


def test_products_are_compiled_as_those_of_the_update(side):
  given = [jnp.ones((64, 64))] * 3
  texts = [product.lower(*given).compile().as_text()
           for product in side.product_programs]
  assert not any('ynn' in text for text in texts)  # See score_jax/compiler.py.


def test_rows_are_split_over_the_devices(side):
  update, _ = side.programs()['update']
  assert side.mesh.size == 8
  # Of a device: a problem's prompt of 6 tokens, and 2 samples of 10 more.
  assert ' = f32[26,128]' in update
