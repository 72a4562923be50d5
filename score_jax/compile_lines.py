"""What was found of a program and a slice, in lines for a person.

Bytes are of one device.
"""

from typing import Any

SPARE = 0.10
"""Of the HBM, to be left."""


def heading(record: dict[str, Any]) -> str:
  """The line on the slice that everything is compiled for."""
  mesh = ', '.join(f'{axis} {size}' for axis, size in record['mesh'].items())
  return (f'{slice_of(record)}: {record["chips"]} chips, {record["slices"]} x '
          f'{record["product"]}; mesh: {mesh}')


def slice_of(record: dict[str, Any]) -> str:
  """Such as '2 x v5e:16x16'."""
  slices = f'{record["slices"]} x ' if record['slices'] > 1 else ''
  return slices + record['topology']


def described(result: dict[str, Any]) -> str:
  """The lines on one program."""
  kinds = {**result['arguments'], 'cache': result['cache'],
           **{f'{k} (stays)': v for k, v in result['resident'].items()},
           'temporaries': result.get('temporaries', 0)}
  title = f'{result["name"]} ({result["compile_s"]:.0f} s): '
  lines = [title + _verdict(result), '  ' + ', '.join(
      f'{kind} {gib(size)}' for kind, size in kinds.items() if size)]
  if 'peak' in result:
    lines += _cost_lines(result)
  if result['largest']:
    lines.append('  largest pieces of memory: ' + '; '.join(result['largest']))
  return '\n'.join(lines + [f'  FAULT: {f}' for f in result['faults']])


def gib(size: float) -> str:
  """Bytes in GiB."""
  return f'{size / 2**30:.2f}'


def _verdict(result) -> str:
  if 'peak' not in result:
    return f'DOES NOT FIT: {result["reason"]}'
  numbers = (f'{gib(result["needed"])} of {gib(result["hbm"])} GiB, '
             f'{result["spare"]:.0%} spare; peak {gib(result["peak"])}')
  if not result['fits']:
    return f'DOES NOT FIT: {numbers}; {result["reason"]}'
  low = ', less than is to be left' if result['spare'] < SPARE else ''
  return f'fits: {numbers}{low}'


def _cost_lines(result) -> list[str]:
  lines = [
      f'  {gib(result["bytes_accessed"])} GiB read and written, at least '
      f'{result["memory_s"]:.3g} s; {result["flops"]:.3g} FLOPs of all devices,'
      f' at least {result["compute_s"]:.3g} s']
  if result['model_flops']:
    lines.append(f'  the model itself: {result["model_flops"]:.3g} FLOPs; '
                 f'{times(result)} times that')
  for attempt, size in result['decode_bytes'].items():
    lines.append(
        f'  a token of attempt {attempt}: {gib(size)} GiB; weights and cache '
        f'are {gib(result["least_decode_bytes"])}')
  if result['sent_bytes']:
    lines.append(_sent(result))
  lines += [f'  {c["kind"]} over {c["axis"]}: {c["count"]} times, '
            f'{gib(c["bytes"])} GiB' for c in result['collectives']]
  if result['unknown_loops']:
    lines.append(f'  {result["unknown_loops"]} loops of unknown length count '
                 'once')
  return lines


def _sent(result) -> str:
  line = (f'  {gib(sum(result["sent_bytes"].values()))} GiB sent within the '
          f'slice, at least {result["links_s"]:.3g} s')
  if result['least_fsdp_bytes']:
    line += (f'; over fsdp {over_fsdp(result)} times what weights and '
             'gradients need')
  return line


def over_fsdp(update: dict[str, Any]) -> str:
  """What an update sends along `fsdp`, over the least of it."""
  least = update['least_fsdp_bytes']
  return f'{update["sent_bytes"].get("fsdp", 0) / least:.2f}' if least else '-'


def times(result: dict[str, Any]) -> str:
  """FLOPs over those of the model itself."""
  return f'{result["flops"] / result["model_flops"]:.2f}'
