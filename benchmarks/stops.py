"""What rows that end early cost the sampler, at the lengths of real attempts.

    python -m benchmarks.stops [--model=random_135m] [--lengths=sampled]

Lengths are tokens of SmolLM2's tokenizer, kept in lengths.json: `answers`, of
every fifth reference answer of GSM8K's test split, for both attempts; and
`sampled`, of the attempts of SmolLM2-135M-Instruct at that split's first 48
problems, at temperature 1 and most 256 tokens. A row ends where these say,
whatever its scores; else sampling is greedy.

Measured in turn: the sampler, and the same where the keys and values of all
rows are read until the last one ends. Both must give the same, to the bit.
"""

import json
import pathlib
import time
from unittest import mock

from absl import flags
import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import compare
from benchmarks import machine
from benchmarks import numbers
from benchmarks import timing
from benchmarks import workload as workload_lib
from benchmarks.sides import ours
from score_jax import config as config_lib
from score_jax import door
from score_jax import keys
from score_jax import types
from score_jax.rollout import attempts
from score_jax.rollout import decode
from score_jax.rollout import sampling

_LENGTHS = pathlib.Path(__file__).with_name('lengths.json')


def lengths_of(name: str, rows: int, limits: list[int]) -> np.ndarray:
  """Tokens of each attempt of so many rows, int32 [B, A], drawn by chance."""
  found = np.array(json.loads(_LENGTHS.read_text())[name], np.int32)
  chosen = np.random.default_rng(0).integers(0, len(found), rows)
  return np.minimum(found[chosen], limits)


def sampler(
    model: config_lib.ModelConfig,
    params: types.Params,
    work: workload_lib.Workload,
    length_BA: np.ndarray,
    long: int,
):
  """The sampler, compiled, for rows that end where they are told to.

  Args:
    model: whose parameters `params` are.
    params: of the policy.
    work: its prompts, instruction and limits.
    length_BA: int32, tokens of each attempt; at most its limit.
    long: in place of `decode.LONG`.

  Returns:
    The program from `params` to a rollout. Its log-probs are scores.
  """
  def left(unused_keys, attempt, t):
    return jnp.asarray(length_BA)[:, attempt - 1] - 1 - t

  def sample(scores_BV, left_B, unused_temperature):
    others_BV = scores_BV[:, workload_lib.STOP + 1 :]
    token_B = workload_lib.STOP + 1 + jnp.argmax(others_BV, axis=-1)
    token_B = jnp.where(left_B == 0, workload_lib.STOP, token_B)
    return token_B.astype(jnp.int32), jnp.max(others_BV, axis=-1)

  prompts = jnp.array(work.prompts)
  splice = jnp.array(work.instruction)
  with (mock.patch.object(keys, 'token_keys', left),
        mock.patch.object(sampling, 'sample', sample),
        mock.patch.object(decode, 'LONG', long)):
    return jax.jit(lambda params: attempts.sample_attempts(
        model, params, prompts, jnp.ones(prompts.shape, bool),
        (splice,) * (len(work.attempt_tokens) - 1), jax.random.key(0),
        jnp.int32(0), jnp.arange(len(length_BA)), samples=work.samples,
        attempt_tokens=tuple(work.attempt_tokens), temperature=0.0,
        stop_ids=(workload_lib.STOP,), pad_id=workload_lib.PAD)
                   ).lower(params).compile()


def main():
  """Prints how many steps of rows are of use, and the times of both."""
  work, _ = compare.prepared(pathlib.Path(flags.FLAGS.build).absolute())
  side = ours.Ours(work)
  length_BA = lengths_of(flags.FLAGS.lengths, len(work.rows()),
                         work.attempt_tokens)
  steps = len(length_BA) * length_BA.max(axis=0).sum()
  print(machine.describe(work.threads))
  print(f'{flags.FLAGS.model}, {len(length_BA)} rows, {flags.FLAGS.lengths}: '
        f'mean tokens {length_BA.mean(axis=0).round(1).tolist()}, most '
        f'{length_BA.max(axis=0).tolist()}; of use are '
        f'{length_BA.sum() / steps:.0%} of all steps of rows')
  programs = {}
  for name, long in {'all rows': max(work.attempt_tokens) + 1,
                     'fewer': decode.LONG}.items():
    began = time.perf_counter()
    programs[name] = sampler(side.model, side.reference, work, length_BA, long)
    print(f'{name}: compiled in {time.perf_counter() - began:.1f} s')
  found = [jax.device_get(run(side.reference)) for run in programs.values()]
  np.testing.assert_array_equal(found[0].length_BA, length_BA)
  jax.tree.map(np.testing.assert_array_equal, *found)
  took = numbers.alternate(
      {name: timing.timed(run, side.reference)
       for name, run in programs.items()}, flags.FLAGS.rounds, warm_up=0)
  for name, wall_s in took.items():
    print(f'{name}: {numbers.spread(wall_s)} s')
  ratio = numbers.ratio(took['fewer'], took['all rows'])
  print(f'all rows takes {ratio} times as long')


def _define():
  compare.define(())
  flags.FLAGS.set_default('attempt', [256, 256])
  flags.DEFINE_enum('lengths', 'answers', ['answers', 'sampled'], 'See above.')


if __name__ == '__main__':
  door.run(main, _define)
