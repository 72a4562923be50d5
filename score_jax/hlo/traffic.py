"""Bytes that a program reads and writes in a device's memory (HBM).

Counted are operands and results of instructions that lie there; what the
compiler keeps in a chip's inner memories is not. Of an array that is sliced,
looked up or changed in place, only that part counts.
"""

from score_jax.hlo import text

# Names for what is there already, and ends of what was counted at its start.
_FREE = ('parameter', 'constant', 'tuple', 'get-tuple-element', 'bitcast',
         'while', 'conditional', 'call', 'after-all', 'partition-id',
         'optimization-barrier')
_SLICES = ('dynamic-slice', 'slice', 'gather')


def accessed(module: text.Module) -> int:
  """Of one device, loops counted as often as they run."""
  return sum(times * of_computation(module, name)
             for name, times in module.runs.items())


def of_loop(module: text.Module, body: str) -> int:
  """Of one trip of a loop, of one device."""
  times, _ = text.runs(module.computations, body)
  return sum(count * of_computation(module, name)
             for name, count in times.items())


def of_computation(module: text.Module, name: str) -> int:
  """Of one run of a computation, what it calls left out."""
  if name in module.inner:
    return 0
  shapes = {one.name: one.shape for one in module.computations[name]}
  return sum(_of_instruction(module, one, shapes)
             for one in module.computations[name])


def _of_instruction(module, one, shapes) -> int:
  if one.op in _FREE or one.op.endswith(('-done', '-update')):
    return 0
  if one.name.startswith('async-collective-'):  # Fusions that begin and end it.
    return _hbm(one.shape) if '-start' in one.name else 0
  if 'custom_call_target="ConcatBitcast"' in one.rest:
    return 0
  given = [shapes[operand] for operand in one.operands]
  if one.op == 'fusion':
    return _of_fusion(module, one, given)
  result = one.shape
  if one.op == 'slice-start':  # Its result: ((array), part, flag).
    part = text.layouts(result)[-2][0]
    return sum(min(size, part) for size in _sizes(result))
  if one.op.endswith('-start'):  # Names both ends.
    return _hbm(result)
  if one.op in _SLICES:
    return _least(given[0], result) + _hbm(result)
  if one.op == 'dynamic-update-slice':
    return _hbm(given[1]) + _least(result, given[1])
  return sum(map(_hbm, given)) + _hbm(result)


def _sizes(shape) -> list[int]:
  """Bytes of each array of a shape; 0 outside HBM, in a memory `S(n)`."""
  return [0 if 'S(' in layout else size for size, layout in text.layouts(shape)]


def _hbm(shape) -> int:
  return sum(_sizes(shape))


def _least(shape, part) -> int:
  """Bytes of a part of an array, if the array lies in HBM."""
  return min(_hbm(shape), _whole(part))


def _whole(shape) -> int:
  return sum(size for size, _ in text.layouts(shape))


def _of_fusion(module, one, given) -> int:
  """What is read of its operands and written of its result."""
  inside = module.computations[text.called(one)[0]]
  read = sum(
      min(_hbm(shape), _used(module, inside, parameter, 0))
      for shape, parameter in zip(given, _parameters(inside), strict=True))
  written = sum(map(min, _sizes(one.shape), _made(module, inside)))
  return read + written


def _used(module, inside, value, as_result) -> int:
  """Bytes that a fused computation uses of one of its values.

  Those are `as_result` where the value is what the computation returns.
  """
  total = as_result if value.is_root else 0
  for one in inside:
    for place in (n for n, name in enumerate(one.operands)
                  if name == value.name):
      if text.is_spread(one):
        continue
      if one.op in ('bitcast', 'tuple'):
        total += _used(module, inside, one, as_result)
      elif one.op in _SLICES and place == 0:
        total += _whole(one.shape)
      elif one.op == 'fusion':
        called = module.computations[text.called(one)[0]]
        total += _used(module, called, _parameters(called)[place],
                       _used(module, inside, one, as_result))
      elif one.op != 'dynamic-update-slice' or place != 0:  # Else in place.
        total += _whole(value.shape)
  return total


def _parameters(computation):
  found = {int(one.rest.partition(')')[0]): one for one in computation
           if one.op == 'parameter'}
  return [found[n] for n in sorted(found)]


def _made(module, inside) -> list[int]:
  """Bytes that a fused computation makes of each array of its result."""
  named = {one.name: one for one in inside}

  def of(one):
    if one.op == 'tuple':
      return [size for name in one.operands for size in of(named[name])]
    if one.op == 'parameter' or text.is_spread(one):  # There already.
      return [0 for _ in text.layouts(one.shape)]
    if one.op == 'bitcast':
      return of(named[one.operands[0]])
    if one.op == 'fusion':
      return _made(module, module.computations[text.called(one)[0]])
    if one.op == 'dynamic-update-slice':
      return [_whole(named[one.operands[1]].shape)]
    return [size for size, _ in text.layouts(one.shape)]

  return of(next(one for one in inside if one.is_root))
