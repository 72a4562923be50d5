"""Right and wrong answers of many kinds, and what grading never depends on.

`variants.jsonl` holds an answer, or a text that states one, per line.
"""

import collections
import json
import pathlib

import hypothesis
from hypothesis import strategies as st
import pytest

from score_jax.grading import answers
from score_jax.grading import maths

FORM = 'Final Answer: The final answer is ${}$. I hope it is correct.'
VARIANTS = collections.defaultdict(list)
for line in pathlib.Path(__file__).with_name(
    'variants.jsonl').read_text().splitlines():
  row = json.loads(line)
  VARIANTS[row['kind']].append(row)


def _texts(stated):
  if any(mark in stated for mark in ('inal', 'boxed', '####')):
    return [stated]
  return [rf'So \boxed{{{stated}}}.', FORM.format(stated)]


@pytest.mark.parametrize('kind', VARIANTS)
def test_variants(kind):
  wrong = [(row['gold'], text, maths.answer(text)) for row in VARIANTS[kind]
           for text in _texts(row['answer'])
           if maths.grade(row['gold'], text) != row['right']]
  assert not wrong
  rights = collections.Counter(row['right'] for row in VARIANTS[kind])
  assert min(rights[0], rights[1]) >= 5  # Both sides are tried.


NEGATIVE = [
    r'\boxed{- 3}', '\\boxed{\u20133}', '\\boxed{\u2212 3}', '\\boxed{\u20103}',
    r'\boxed{\text{minus }3}', r'\boxed{-\$3}', r'\boxed{-(3)}',
    r'\boxed{-{3}}',
    r'\boxed{(-3)}', r'\boxed{-\ 3}', r'\boxed{-\,3}', r'\boxed{-~3}',
    r'\boxed{\text{negative } 3}', 'The answer is - 3.', 'so it is minus 3',
    'The answer is negative 3 degrees.', 'x = - 3', '#### - 3', '#### \u20133',
    'Answer: \u2013 3', FORM.format('- 3'), FORM.format('-\\$ 3'),
    'It equals \u20133.', r'\boxed{-$3}', r'\boxed{-€3}', r'\boxed{-¥3}',
    'The result is (-3).', 'Negative 3', 'The answer is -3 m^2.']


@pytest.mark.parametrize('text', NEGATIVE)
def test_the_sign_of_a_number_counts(text):
  assert answers.equal_numbers('-3', text) == 1
  assert answers.equal_numbers('3', text) == 0


@pytest.mark.parametrize('text', [
    r'\boxed{\pm 3}', r'\boxed{--3}', '±3', '3k', r'\boxed{3k}', '3 dozen',
    r'\boxed{3 \text{ thousand}}', '3 million dollars', '3 hundred', '3 K',
    '3M',
    r'\boxed{3\text{ dozens}}', '3 pairs', '3rd', '3 halves', '3 and a half',
    r'\boxed{3\frac{1}{2}}', '3½', r'\boxed{3^2}', r'\boxed{3!}', 'at least 3',
    'more than 3', 'not 3', r'\boxed{3 \text{ or more}}', r'\boxed{\geq 3}',
    r'\boxed{3x}', r'\boxed{3\pi}', '10^{3}', r'\boxed{x^{3}}', '3 bn',
    '3 grand',
    r'\boxed{2x=3}', r'\boxed{x^2=3}', r'\boxed{x+1=3}', r'\boxed{3+1=3}',
    '3 times ten', '3 mil', 'twice 3', 'half of 3', '3 lakh', '3 tenths',
    'The answer is 3 thousand.',
    r'\boxed{\frac{-4}{3}}', r'\boxed{x - 3}', r'\boxed{3 \text{ squared}}'])
def test_what_works_on_a_number_is_not_left_out(text):
  assert answers.equal_numbers('3', text) == 0


@pytest.mark.parametrize('text', [
    'The area is 29 m^2.', '29 m^{2}', r'29\text{ m}^2', '29 m2', '29m2',
    '29 m²',
    '29 km/h2', '29 kg of CO2', '29 g of H2O', '29 m/s^2', '29 m**2', '29 CO_2',
    r'\boxed{29\,\mathrm{m}^{2}}', 'The answer is 29 ft^3.', '29 m^-2',
    'it is 29 kg m^{-3}'])
def test_digits_of_units_are_no_numbers(text):
  assert answers.equal_numbers('29', text) == 1
  assert answers.equal_numbers('2', text) == 0
  assert answers.equal_numbers('3', text) == 0


@pytest.mark.parametrize('text', [
    'The trip is 8 miles.', 'He blinked 8 times.', '8 times a year', '8 km/h',
    'So 8 months', 'It takes 8 seconds', 'She has 8 millimeters left',
    '8 kilograms', '8 paths', '8 pints of milk'])
def test_nouns_behind_a_number_do_not_work_on_it(text):
  assert answers.equal_numbers('8', text) == 1


@pytest.mark.parametrize('text', [
    'First 20+22 is 42. Then half of', '20+22=42, and', 'So 42 + ',
    'He has 42 apples. He then gives', '42\nNext, we compute the number of',
    'First 20+22 is 42. Then half of the'])
def test_a_number_in_what_was_cut_off_is_no_answer(text):
  assert answers.final_number(text) is None
  assert answers.final_number('So 42. Well done!') == '42'


@pytest.mark.parametrize('text,is_stated', [
    (r'\boxed{42}', True), ('<answer>42</answer>', True), (FORM.format(42),
    True),
    ('The answer is 42.\nI', True), ('#### 42\n', True), ('#### 42', False),
    ('The answer is 4', False), ('so 42', False), ('', False),
    (r'\boxed{42', False), ('So 42 apples. The', False)])
def test_a_truncated_text_states_what_nothing_can_change(text, is_stated):
  assert answers.is_stated(text) == is_stated
  assert maths.is_stated(text) == is_stated


@pytest.mark.parametrize('text', [
    'The answer is 1600.', 'Answer: 1600', '<answer>1600</answer>',
    '**Answer:** 1600', '### Answer\n\n1600',
    'So the answer is $1600$ because x',
    'The correct answer is **1600**.', r'\boxed{1600}', '#### 1600',
    'The answer is 1600.\n\nQuestion: And now? Answer: 7', 'Ans: 1,600'])
def test_usual_phrases_state_an_answer_where_they_are_asked_for(text):
  assert maths.grade_usual('1600', text) == 1
  assert maths.answer_usual(text) == '1600'
  assert maths.grade_usual('7', text) == 0
  assert answers.equal_numbers('1600', text) == 1


@pytest.mark.parametrize('text', [
    'The answer is not 1600.', 'The answer is 1600. Or 1700.', 'Answer: 16000',
    'The answer is 1600 or 1700.', 'The answer is at least 1600.',
    'The answer is 1600 thousand.', '<answer>1600 or 7</answer>'])
def test_usual_phrases_do_not_hedge(text):
  assert maths.grade_usual('1600', text) == 0
  assert answers.equal_numbers('1600', text) == 0


@pytest.mark.parametrize('gold', [r'\frac{', '(1,2', r'\boxed{', ')', '{', '3}',
                                  'x' * 1001, '.', r'\sqrt'])
def test_a_gold_answer_that_nothing_equals_is_an_error(gold):
  with pytest.raises(ValueError, match="the field 'answer' is .* no attempt"):
    maths.check_gold(gold)


# What does not change an answer, by name.
LAYOUT = {
    'spaces': ' {} ', 'left and right': r'\left({}\right)',
    'display': r'\displaystyle {}', 'thin space': r'\,{}\,', 'gap': r'~{}\ ',
    'size': r'\large {}', 'colour': r'\color{{red}}{{{}}}', 'group': '{{{}}}',
    'box': r'\boxed{{{}}}', 'dollars': '${}$', 'font': r'\boldsymbol{{{}}}',
    'stop': '{}.', 'underline': r'\underline{{{}}}', 'quad': r'\quad {}\quad',
    'invisible': '\u200b{}', 'no-break space': '\u00a0{}\u00a0'}
STATED = [r'\boxed{{{}}}', FORM, r'#### {}', '**The final answer is ${}$.**',
          'Final Answer: The final answer is **${}$**. I hope it is correct.']
_whole = st.integers(-10**6, 10**6).map(str)
_fraction = st.tuples(st.integers(-99, 99), st.integers(2, 99)).filter(
    lambda pair: pair[0] % pair[1]).map(
        r'\frac{{{0[0]}}}{{{0[1]}}}'.format)
_decimal = st.decimals(-999, 999, places=2).map(lambda d: f'{d:f}')
_atom = st.one_of(_whole, _fraction, _decimal, st.sampled_from([
    'x', r'2\sqrt{3}', r'\frac{\pi}{4}', 'x^2+1', r'\frac{1}{x}', '3+4i']))
_gold = st.one_of(
    _atom, st.tuples(_atom, _atom).map('({0[0]}, {0[1]})'.format),
    _whole.map(r'{}\text{{ cm}}'.format), _whole.map(r'\${}'.format),
    _whole.map(r'{}\%'.format), _whole.map('x = {}'.format),
    st.tuples(_whole, _whole).map(r'\{{{0[0]}, {0[1]}\}}'.format))


@hypothesis.given(_gold, st.sampled_from(sorted(LAYOUT)),
                  st.sampled_from(STATED))
@hypothesis.settings(max_examples=2500, deadline=None, database=None,
                     derandomize=True)
def test_layout_changes_no_grade(gold, layout, stated):
  text = stated.format(gold)
  assert maths.grade(gold, text) == 1
  if layout == 'left and right' and not gold.lstrip('-').isalnum():
    return
  changed = stated.format(LAYOUT[layout].format(gold))
  assert maths.grade(gold, changed) == 1, changed
  other = stated.format(LAYOUT[layout].format(r'7\spadesuit'))
  assert maths.grade(gold, other) == 0


_pieces = st.sampled_from([
    *'0123456789,./-+$\\%{}()[]^_=<>!|&xi \n?*#~', r'\frac', r'\sqrt{',
    r'\text{',
    r'\boxed{', '####', ' or ', r'\pi', r'\cup', r'\pm', r'\over',
    r'\color{red}',
    r'\begin{pmatrix}', r'\end{pmatrix}', r'\\', r'\left(', r'\overline{',
    '\ud800', '\x00', '\x01', '\x02', '\x03', '\x04', '½', '²', '√', '１',
    '\u0663',
    '\u202f', ' km/h', '€', '^\\circ', '\\tan', '_{eight}', '(C) ', ' thousand',
    'Final Answer: The final answer is ', 'I hope it is correct', 'Problem: ',
    'The answer is ', '<answer>', '</answer>'])


@hypothesis.given(st.lists(_pieces, max_size=14).map(''.join), _gold)
@hypothesis.settings(max_examples=2500, deadline=None, database=None,
                     derandomize=True)
def test_no_text_raises_and_grades_are_0_or_1(inside, gold):
  for text in (inside, rf'\boxed{{{inside}}}'):
    assert maths.grade('z', text) in (0, 1)
    assert maths.grade_usual(gold, text) in (0, 1)
    number = answers.final_number(text)
    assert number is None or answers.final_number(number) == number
