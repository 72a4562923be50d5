"""What a program of a pod must not hold or do."""

import dataclasses
import math

from score_jax.hlo import text


@dataclasses.dataclass(frozen=True)
class Sizes:
  """Of a model on a device, by which its arrays are known in a program.

  Attributes:
    layers: of the model.
    vocab: entries of the vocabulary, of all devices and of one.
    width: of the model, of all devices and of one.
    scores: rows on a device times tokens of their attempts.
    smallest: elements of the smallest matrix of a layer.
    blocks: elements of all layers, whole along the width.
  """

  layers: int
  vocab: frozenset[int]
  width: frozenset[int]
  scores: int
  smallest: int
  blocks: int


def faults(module: text.Module, sizes: Sizes) -> list[str]:
  """What is wrong with a program, a line each."""
  found = _scores_of_all_tokens(module, sizes) + _whole_model(module, sizes)
  for attempt, body in text.attempt_loops(module).items():
    found += _gathered_weights(module, sizes, attempt, body)
  return found


def _scores_of_all_tokens(module, sizes) -> list[str]:
  """Arrays with scores over the vocabulary at every token of every row."""
  shapes = {array for instructions in module.computations.values()
            for one in instructions for array in text.arrays(one.shape)}
  return [f'scores of every token exist at one time: {text.named(array)}'
          for array in sorted(shapes) if _is_scores(array[1], sizes)]


def _is_scores(shape, sizes) -> bool:
  for n in shape:
    if n in sizes.vocab:
      others = [m for m in shape if m > 1]
      others.remove(n)
      is_weight = len(others) == 1 and others[0] in sizes.width
      return not is_weight and math.prod(others) >= sizes.scores
  return False


def _gathers(module, name) -> list[tuple[str, tuple[int, ...]]]:
  """The arrays that a computation gathers."""
  return [max(text.arrays(one.shape), key=lambda array: math.prod(array[1]))
          for one in module.computations[name]
          if text.collective(one) == 'all-gather']


def _whole_model(module, sizes) -> list[str]:
  """Computations that gather stacks of layers, not a layer at a time."""
  found = []
  for name in module.computations:
    stacks = [array for array in _gathers(module, name)
              if len(array[1]) > 2 and array[1][0] == sizes.layers]
    if sum(math.prod(shape) for _, shape in stacks) > sizes.blocks / 10:
      found.append('layers are gathered all at once: '
                   + ', '.join(map(text.named, stacks)))
  return found


def _gathered_weights(module, sizes, attempt, body) -> list[str]:
  times, _ = text.runs(module.computations, body)
  return [f'attempt {attempt} gathers a weight at every token: '
          f'{text.named(array)}'
          for name in times for array in _gathers(module, name)
          if math.prod(array[1]) >= sizes.smallest]
