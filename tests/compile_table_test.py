"""What is printed of compiled programs, and the tables of the docs."""

import json
import types

import pytest

from score_jax import compile_lines
from score_jax import compile_table

GIB = 2**30


def _program(name, **changes):
  return {
      'name': name, 'hbm': 16 * GIB, 'arguments': {'weights': GIB},
      'resident': {'optimizer': 2 * GIB}, 'cache': 0, 'fits': True,
      'peak': 6 * GIB, 'needed': 8 * GIB, 'temporaries': 5 * GIB, 'spare': 0.5,
      'reason': '', 'largest': [], 'faults': [], 'flops': 3e15,
      'model_flops': 2e15, 'bytes_accessed': 4 * GIB, 'compute_s': 7.0,
      'memory_s': 5.0, 'links_s': 0.5, 'sent_bytes': {},
      'least_fsdp_bytes': 0.0, 'least_decode_bytes': 0, 'decode_bytes': {},
      'collectives': [], 'unknown_loops': 0, 'compile_s': 9.0} | changes


RECORD = {
    'name': 'pod', 'topology': 'v5e:4x4', 'slices': 2, 'chips': 32,
    'product': 'v5litepod-16', 'mesh': {'data': 2, 'fsdp': 4, 'tensor': 4},
    'parts': 4, 'programs': [
        _program('sampler', cache=GIB, least_decode_bytes=2 * GIB,
                 decode_bytes={'1': 2.2 * GIB, '2': 2.4 * GIB},
                 compute_s=1.0, memory_s=12.5),
        _program('update of stage1', needed=9 * GIB, spare=0.4375),
        _program('update of stage2', needed=10 * GIB, spare=0.375,
                 compute_s=7.25, sent_bytes={'fsdp': 3e9, 'tensor': 9e9},
                 least_fsdp_bytes=2e9),
        _program('evaluation')]}
DOES_NOT_FIT = {key: value for key, value in _program(
    'sampler', fits=False, reason='Ran out', largest=['f32[8] 3.00GiB']).items()
                if key not in ('peak', 'needed', 'temporaries', 'spare')}


def test_a_program_in_lines():
  program = _program(
      'sampler', cache=GIB, least_decode_bytes=2 * GIB,
      decode_bytes={1: 3 * GIB}, spare=0.05, least_fsdp_bytes=GIB,
      sent_bytes={'fsdp': 1.25 * GIB, 'tensor': 2 * GIB},
      faults=['layers are gathered'],
      collectives=[{'kind': 'all-gather', 'axis': 'fsdp', 'count': 3,
                    'bytes': GIB}])
  assert compile_lines.described(program).splitlines() == [
      'sampler (9 s): fits: 8.00 of 16.00 GiB, 5% spare; peak 6.00, less than '
      'is to be left',
      '  weights 1.00, cache 1.00, optimizer (stays) 2.00, temporaries 5.00',
      '  4.00 GiB read and written, at least 5 s; 3e+15 FLOPs of all devices, '
      'at least 7 s',
      '  the model itself: 2e+15 FLOPs; 1.50 times that',
      '  a token of attempt 1: 3.00 GiB; weights and cache are 2.00',
      '  3.25 GiB sent within the slice, at least 0.5 s; over fsdp 1.25 times '
      'what weights and gradients need',
      '  all-gather over fsdp: 3 times, 1.00 GiB',
      '  FAULT: layers are gathered']


def test_a_program_that_does_not_fit_in_lines():
  assert compile_lines.described(DOES_NOT_FIT).splitlines() == [
      'sampler (9 s): DOES NOT FIT: Ran out',
      '  weights 1.00, optimizer (stays) 2.00',
      '  largest pieces of memory: f32[8] 3.00GiB']


def test_what_fits_a_slice():
  row = compile_table.what_fits([RECORD]).splitlines()[2]
  assert row == (
      '| `pod` | `2 x v5e:4x4` (v5litepod-16) | 2 x 4 x 4 | 8.00 | 10.00 '
      '| 8.00 | 38% | 1.50 | 1.20 | 7.25 | 4 x 12.5 |')
  record = RECORD | {'programs': [DOES_NOT_FIT, *RECORD['programs'][1:]]}
  row = compile_table.what_fits([record]).splitlines()[2]
  assert '| too much | 10.00 | 8.00 | none | - |' in row


def test_what_takes_the_time_of_a_step():
  row = compile_table.what_takes_time([RECORD]).splitlines()[2]
  # Of the two updates the longer, and four parts of 12.5 s.
  assert row == '| `pod` | 0 | 50 | 2 | 7.2 | 5 | 0.5 | 1.50 | 57.2 |'
  busy = RECORD['programs'][0] | {'links_s': 20.0}
  copy = _program('copy for the sampler', compute_s=0.0, memory_s=0.25)
  record = RECORD | {'programs': [copy, busy, *RECORD['programs'][1:]]}
  row = compile_table.what_takes_time([record]).splitlines()[2]
  assert row == '| `pod` | 0.5 | 50 | 80 | 7.2 | 5 | 0.5 | 1.50 | 87.8 |'
  record = RECORD | {'programs': [DOES_NOT_FIT, *RECORD['programs'][1:]]}
  row = compile_table.what_takes_time([record]).splitlines()[2]
  assert row == '| `pod` | - | - | - | - | - | - | - | - |'


def test_the_command_writes_the_pages(tmp_path, monkeypatch, capsys):
  for name in ('pods.md', 'performance.md'):
    (tmp_path / name).write_text(
        f'before\n{compile_table.BEGIN}old\n{compile_table.END}after')
  monkeypatch.setattr(compile_table, 'DOCS', tmp_path)
  monkeypatch.setattr(compile_table.flags, 'FLAGS',
                      types.SimpleNamespace(write=True))
  (tmp_path / 'compile.json').write_text(json.dumps(RECORD))
  compile_table.main(str(tmp_path))
  tables = {'pods.md': compile_table.what_fits([RECORD]),
            'performance.md': compile_table.what_takes_time([RECORD])}
  assert capsys.readouterr().out == '\n'.join(tables.values())
  for name, table in tables.items():
    assert (tmp_path / name).read_text() == (
        f'before\n{compile_table.BEGIN}{table}{compile_table.END}after')


@pytest.mark.parametrize('folders,message', [
    ((), 'name the --workdir'), (('nowhere',), 'make it with --mode=compile')])
def test_what_was_not_compiled_has_no_row(folders, message):
  with pytest.raises(ValueError, match=message):
    compile_table.main(*folders)


@pytest.mark.parametrize('record', [
    RECORD | {'programs': RECORD['programs'][:-1]}, {}, [1]])
def test_what_was_cut_short_is_refused(record, tmp_path):
  (tmp_path / 'compile.json').write_text(json.dumps(record))
  with pytest.raises(ValueError, match='compile.json was cut short'):
    compile_table.main(str(tmp_path))


def test_what_an_older_version_wrote_is_refused(tmp_path):
  older = [{k: v for k, v in program.items() if k != 'links_s'}
           for program in RECORD['programs']]
  (tmp_path / 'compile.json').write_text(
      json.dumps(RECORD | {'programs': older}))
  with pytest.raises(ValueError, match='of an older version; make it with'):
    compile_table.main(str(tmp_path))
