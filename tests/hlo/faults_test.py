"""What a program must not hold or do."""

import pytest

from score_jax.hlo import faults
from score_jax.hlo import text

# 3 layers of 4 matrices of 32 x 16; a vocabulary of 64, a width of 96, split in
# two; 2 rows of 20 tokens.
SIZES = faults.Sizes(layers=3, vocab=frozenset({64}),
                     width=frozenset({96, 48}), scores=40, smallest=512,
                     blocks=3 * 4 * 512)
LOOP = '''
%token (t: (f32[8])) -> (f32[8]) {{
  ROOT %g = {line}
}}

%tokens (u: (f32[8])) -> pred[] {{
  %ten = s32[] constant(10)
}}

ENTRY %main (a: (f32[8])) -> (f32[8]) {{
  ROOT %while.1 = (f32[8]{{0}}) while(%a), condition=%tokens, body=%token, metadata={{op_name="jit(s)/attempt_1/while"}}
}}
'''  # noqa: E501


def _faults(line):
  return faults.faults(text.read(LOOP.format(line=line)), SIZES)


@pytest.mark.parametrize('shape,wrong', [
    ('f32[2,20,64]', True), ('bf16[40,64]', True), ('f32[2,10,64]', False),
    ('f32[96,64]', False),  # A head.
    ('f32[64,48]', False), ('f32[2,20,96]', False)])
def test_scores_of_every_token_are_a_fault(shape, wrong):
  name = shape.replace(',', ', ')
  assert _faults(f'{shape}{{0}} negate(%x)') == (
      [f'scores of every token exist at one time: {name}'] if wrong else [])


@pytest.mark.parametrize('shape,wrong', [
    ('bf16[3,32,16]', True), ('bf16[1,32,64]', False), ('f32[3,32]', False)])
def test_layers_gathered_all_at_once_are_a_fault(shape, wrong):
  found = _faults(f'{shape}{{0}} all-gather(%x), replica_groups=[2,4]<=[8]')
  expected = 'layers are gathered all at once: ' + shape.replace(',', ', ')
  assert (expected in found) == wrong


@pytest.mark.parametrize('shape,wrong', [
    ('bf16[32,16]', True), ('s32[4,1,32]', False)])
def test_a_weight_gathered_at_every_token_is_a_fault(shape, wrong):
  name = shape.replace(',', ', ')
  assert _faults(f'{shape}{{0}} all-gather(%x), replica_groups=[2,4]<=[8]') == (
      [f'attempt 1 gathers a weight at every token: {name}'] if wrong else [])
