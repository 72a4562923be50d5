"""The contracts: values that flow from one part of the pipeline to the next.

Letters in names of arrays: B rows (problems x samples, problem-major), A
attempts, S slots of a sequence, T tokens, V vocabulary, D width, N query
heads, K key-value heads, H head size, F width of the MLP, L layers.

A sequence is laid out in fixed slots, the same for sampling and training:

    [prompt, left-padded | attempt 1 | splice 1 | attempt 2 | ...]

An attempt that stops early leaves dead slots behind it; they are not valid, and
positions (for RoPE) count valid slots only. So does one that a stop string has
ended: the tokens of that string are dead slots. A splice is one end-of-turn
slot, valid where the attempt before it ran out of tokens or ended with a stop
string, and the correction instruction. `Layout` holds the arithmetic.
"""

import dataclasses
import functools
from typing import Any

import jax

Params = Any  # A nested dict of arrays.


@dataclasses.dataclass(frozen=True)
class Problem:
  """One problem, and what only the grader sees of it.

  Attributes:
    id: unique in its split.
    prompt: the text that is put to the model.
    answer: the gold answer, or the tests of a program.
    tags: what results are told apart by, such as {'level': 'Level 3'}.
    given: an attempt that is there to be repaired; '' if there is none.
  """

  id: str
  prompt: str
  answer: str
  tags: dict[str, str] = dataclasses.field(default_factory=dict)
  given: str = ''


@dataclasses.dataclass(frozen=True)
class Layout:
  """Slots of a sequence.

  Attributes:
    prompt: slots of the left-padded prompt.
    attempts: slots of each attempt.
    splices: slots of what stands between two attempts, one fewer.
  """

  prompt: int
  attempts: tuple[int, ...]
  splices: tuple[int, ...]

  def __post_init__(self):
    if len(self.splices) != len(self.attempts) - 1:
      raise ValueError(
          f'{len(self.attempts)} attempts need {len(self.attempts) - 1} '
          f'splices, got {len(self.splices)}'
      )

  @property
  def starts(self) -> tuple[int, ...]:
    """First slot of each attempt."""
    starts = [self.prompt]
    for length, splice in zip(self.attempts, self.splices):
      starts.append(starts[-1] + length + splice)
    return tuple(starts)

  @property
  def slots(self) -> int:
    return self.starts[-1] + self.attempts[-1]


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=['tokens_BS', 'valid_BS', 'attempt_BS', 'logp_BS',
                 'length_BA', 'truncated_BA', 'stop_token_BA',
                 'stop_bytes_BA'],
    meta_fields=['layout'],
)
@dataclasses.dataclass(frozen=True)
class Rollout:
  """All attempts of a batch of rows, as sampled.

  Attributes:
    tokens_BS: int32, ids; the pad id where not valid.
    valid_BS: bool, slots that hold a token of the sequence.
    attempt_BS: int32, 1-based attempt that sampled the slot; 0 elsewhere.
    logp_BS: float32, natural log-probability of each sampled token under the
      distribution it was drawn from (temperature included); 0 elsewhere.
    length_BA: int32, sampled tokens of each attempt, the stop token included,
      those of a stop string left out.
    truncated_BA: bool, the attempt ended without a stop token or string.
    layout: the slots.
    stop_token_BA: int32, the id of the token in which the stop string began
      that ended the attempt, -1 where none did; None where none is looked for.
    stop_bytes_BA: int32, bytes of that token before the stop string. They are
      graded with the attempt, and neither read by the next one nor learned.
  """

  tokens_BS: jax.Array
  valid_BS: jax.Array
  attempt_BS: jax.Array
  logp_BS: jax.Array
  length_BA: jax.Array
  truncated_BA: jax.Array
  layout: Layout
  stop_token_BA: jax.Array | None = None
  stop_bytes_BA: jax.Array | None = None


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=['tokens_BS', 'valid_BS', 'attempt_BS', 'logp_BS',
                 'advantages_BA'],
    meta_fields=['layout'],
)
@dataclasses.dataclass(frozen=True)
class TrainBatch:
  """A `Rollout` with credit: what the loss sees. Ids, never text.

  Attributes:
    advantages_BA: float32, credit of each attempt after the baseline.
  """

  tokens_BS: jax.Array
  valid_BS: jax.Array
  attempt_BS: jax.Array
  logp_BS: jax.Array
  advantages_BA: jax.Array
  layout: Layout


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=['step', 'params', 'opt_state'],
    meta_fields=[],
)
@dataclasses.dataclass(frozen=True)
class TrainState:
  """What an update changes.

  Attributes:
    step: int32 scalar, updates done in this stage. With the seed it fixes the
      data and the random keys of every later step, so nothing else is kept.
    params: nested dict of what is trained: all weights, or the adapters; see
      `models.decoder.stored_dtype`.
    opt_state: the optax state.
  """

  step: jax.Array
  params: Params
  opt_state: Any
