"""The loss head alone: its memory, and its time against the naive one.

    python -m benchmarks.head [--rows=16] [--tokens=2048] [--vocab=262144]

Log-prob, entropy and exact KL of every token, and the gradients of hidden
states and head: once in chunks, and once from scores [B, T, V] that all exist.
Memory is the compiler's, of programs of the whole size; time is of rows and
tokens that the naive head has room for.
"""

import functools

from absl import flags
import jax
import jax.numpy as jnp

from benchmarks import machine
from benchmarks import numbers
from benchmarks import timing
from score_jax import door
from score_jax.rl import chunks
from score_jax.rl import logprobs


def of_chunk(hidden_BTD, head_DV, of_tokens, ref_head_DV, behind=()):
  """A sum to which every statistic that has a gradient adds, as `OfChunk`."""
  ref_hidden_BTD, tokens_BT, weight_BT = of_tokens
  stats = logprobs.token_statistics(
      hidden_BTD, head_DV, ref_hidden_BTD, ref_head_DV, tokens_BT,
      temperature=1.0)
  of_tokens_BT = weight_BT * (stats.logp + 0.01 * stats.kl)
  return jnp.sum(of_tokens_BT), (behind, stats.entropy)


def program(loss):
  """Loss and gradients of hidden states and head, jitted."""
  return jax.jit(jax.value_and_grad(loss, argnums=(0, 1), has_aux=True))


def naive(*given):
  """The loss from all scores at once."""
  loss, (_, entropy_BT) = of_chunk(*given)
  return loss, entropy_BT


def chunked(chunk: int):
  """The loss as `score_jax` takes it."""
  return functools.partial(chunks.loss, of_chunk, chunk=chunk)


def arguments(rows, tokens, width, vocab):
  """Random ones of these sizes."""
  keys = jax.random.split(jax.random.key(0), 5)
  states = lambda key: jax.random.normal(key, (rows, tokens, width))
  head = lambda key: jax.random.normal(key, (width, vocab)) * width**-0.5
  ids_BT = jax.random.randint(keys[4], (rows, tokens), 0, vocab)
  weight_BT = jnp.sin(ids_BT.astype(jnp.float32))
  return (states(keys[0]), head(keys[1]), (states(keys[2]), ids_BT, weight_BT),
          head(keys[3]))


def _define():
  for name, value, what in (
      ('rows', 16, 'B.'), ('tokens', 2048, 'T.'), ('width', 640, 'D.'),
      ('vocab', 262_144, 'V.'), ('timed_rows', 2, 'B, where time is taken.'),
      ('timed_tokens', 128, 'T, where time is taken.'), ('rounds', 5, '')):
    flags.DEFINE_integer(name, value, what, lower_bound=1)
  flags.DEFINE_multi_integer('chunk', [1, 4, 8], 'Positions at one time.',
                            lower_bound=1)


def _temporaries(loss, *sizes):
  shapes = jax.eval_shape(functools.partial(arguments, *sizes))
  compiled = program(loss).lower(*shapes).compile()
  return compiled.memory_analysis().temp_size_in_bytes


def main():
  """Prints memory and time of every chunk."""
  asked = flags.FLAGS
  print(machine.describe(2))
  whole = 4 * asked.rows * asked.tokens * asked.vocab
  print(f'[{asked.rows}, {asked.tokens}, {asked.vocab}] in float32: '
        f'{whole / 2**30:.1f} GiB')
  given = arguments(asked.timed_rows, asked.timed_tokens, asked.width,
                    asked.vocab)
  for chunk in asked.chunk:
    temporaries = _temporaries(chunked(chunk), asked.rows, asked.tokens,
                               asked.width, asked.vocab)
    # As many scores at one time as there.
    same = max(1, chunk * asked.rows // asked.timed_rows)
    calls = {'ours': program(chunked(same)), 'naive': program(naive)}
    timed = {name: timing.timed(call, *given) for name, call in calls.items()}
    wall_s = numbers.alternate(timed, asked.rounds)
    print(f'{chunk} positions: temporaries {temporaries / 2**30:.2f} GiB, '
          f'{temporaries / whole:.1%} of it; '
          f'{numbers.ratio(wall_s["naive"], wall_s["ours"])} times the time of '
          'the naive head')


if __name__ == '__main__':
  door.run(main, _define)
