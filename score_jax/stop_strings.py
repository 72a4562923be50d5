"""Find texts that end an attempt, in addition to the stop tokens.

A model without a chat template seldom writes a stop token: it continues with
the next problem that it makes up. Each task lists the strings that such text
begins with (`tasks.base.Stops`); `config.task.stop_strings` replaces them. They
are matched while attempts are sampled (`rollout.stops`).
"""

from collections.abc import Callable
from collections.abc import Sequence

from jax.sharding import Mesh
import numpy as np

from score_jax import config as config_lib
from score_jax import sharding
from score_jax import types
from score_jax.rollout import automaton
from score_jax.rollout import stops as stops_lib
from score_jax.tasks import base as tasks_base
from score_jax.text import token_bytes
from score_jax.text import tokenizer as tokenizer_lib

_FIELD = 'config.task.stop_strings'


def of_task(
    config: config_lib.TaskConfig, task: tasks_base.Task, has_template: bool
) -> tuple[tuple[tasks_base.Stops, ...], Callable[[str], int]]:
  """Return the stop strings of a run: all kinds, and gold answer -> kind.

  Args:
    config: of the run.
    task: the task that it makes.
    has_template: whether the model has a chat template. Then the task's own
      strings are not used.
  """
  if config.stop_strings != config_lib.AUTO_STOPS:
    given = tasks_base.Stops(config.stop_strings, config.stop_strings)
    return (given,), lambda answer: 0
  return (() if has_template else task.stops), task.kind_of_stops


class StopStrings:
  """The stop strings of a run, compiled for its tokenizer, on its mesh.

  Attributes:
    note: a line that lists them.
  """

  def __init__(
      self,
      kinds: Sequence[tasks_base.Stops],
      kind_of: Callable[[str], int],
      vocabulary: token_bytes.TokenBytes,
      mesh: Mesh,
  ):
    """Compiles the table.

    Args:
      kinds: all that the problems of a task have.
      kind_of: (gold answer) -> the index of its kind.
      vocabulary: the bytes of every id of the model.
      mesh: where the table is replicated.

    Raises:
      ValueError: see `automaton.compile_table`.
    """
    sets = list(dict.fromkeys(texts for kind in kinds for texts in kind))
    table = automaton.compile_table(sets, vocabulary, _FIELD)
    start = dict(zip(sets, table.starts))
    self.note = 'stop strings: ' + '; '.join(
        f'{", ".join(map(repr, texts))}' for texts in sets if texts)
    self._starts = [tuple(start[texts] for texts in kind) for kind in kinds]
    self._kind_of = kind_of
    self._bytes = vocabulary
    self._mesh = mesh
    everywhere = lambda x: sharding.put(x, sharding.named(mesh))
    self._next_SV, self._size_V = map(everywhere, (table.next_SV, table.size_V))

  def of(
      self, problems: Sequence[types.Problem], attempts: int, corrects: bool
  ) -> stops_lib.Stops:
    """Return what the sampler takes for a batch.

    Args:
      problems: N, in the order of their prompts.
      attempts: that are sampled.
      corrects: the first of them follows an instruction, as later ones do.
    """
    columns = [int(corrects or a > 0) for a in range(attempts)]
    start_NA = np.array(
        [[self._starts[self._kind_of(problem.answer)][column]
          for column in columns] for problem in problems], np.int32)
    return stops_lib.Stops(self._next_SV, self._size_V,
                           sharding.put_rows(start_NA, self._mesh))

  def text(self, ids: Sequence[int], token: int, count: int) -> str:
    """Return the text of an attempt up to its stop string.

    Args:
      ids: its tokens before the one in which the string begins.
      token: the id of that one.
      count: bytes of it before the string; see `types.Rollout.stop_bytes_BA`.
    """
    whole = self._bytes.joined([*ids, token])
    return whole[: len(whole) - len(self._bytes.later[token]) + count].decode(
        errors='replace')


def make(
    config: config_lib.Config,
    task: tasks_base.Task,
    tokenizer: tokenizer_lib.Tokenizer,
    has_template: bool,
    mesh: Mesh,
) -> StopStrings | None:
  """Return the stop strings of a run; None where it has none.

  Raises:
    ValueError: they cannot be matched with this tokenizer, or their table is
      too large.
  """
  kinds, kind_of = of_task(config.task, task, has_template)
  if not any(texts for kind in kinds for texts in kind):
    return None
  vocabulary = tokenizer.token_bytes().of_size(config.model.vocab_size)
  return StopStrings(kinds, kind_of, vocabulary, mesh)
