"""The final number of a text: its spellings, and how one might be fooled."""

import random

import pytest

from score_jax.grading import answers

FORM = 'Final Answer: The final answer is ${}$. I hope it is correct.'


@pytest.mark.parametrize('text, number', [
    (FORM.format('18'), '18'),
    (FORM.format(r'\$18.00'), '18'),
    (FORM.format('x = 5'), '5'),
    ('final answer: the final answer is\n18 apples', '18'),
    (r'So \boxed{3}, or rather \boxed{4}', '4'),
    (r'\boxed{\text{12 apples}}', '12'),
    (r'\boxed{\frac{3}{4}} of 8', '3/4'),
    ('It takes 3 and 4.\n#### 1,234', '1234'),
    ('#### 1\n#### 2\nafter 9 days', '2'),
    ('7 + 5 = 12.', '12'),
    ('She has 4 boxes of 6, so 24 pens', '24'),
])
def test_where_the_answer_is_looked_for(text, number):
  assert answers.final_number(text) == number


def test_the_statement_binds_in_the_order_of_the_places():
  form, box, hashes = FORM.format(1), r'\boxed{2}', '#### 3'
  assert answers.final_number(f'{form}\n{box}\n{hashes}\n4') == '1'
  assert answers.final_number(f'{box}\n{hashes}\n4') == '2'
  assert answers.final_number(f'{hashes}\n4') == '3'
  # Found, but no number in it: the rest of the text does not help.
  assert answers.final_number('4\n' + FORM.format('answer')) is None
  assert answers.final_number(r'4 and \boxed{x}') is None
  # Of the last one, and not of an earlier one.
  assert answers.final_number(FORM.format(5) + FORM.format('x')) is None


def test_a_heading_in_markdown_is_no_statement():
  assert answers.final_number('#### 2. Add them\nwhich gives 12') == '12'


@pytest.mark.parametrize('text, number', [
    ('1,000', '1000'), ('1{,}000', '1000'), (r'1,\!000,\!000', '1000000'),
    ('+7', '7'), ('-3', '-3'), ('\u22123', '-3'), ('-$3', '-3'), ('$-3', '-3'),
    ('-0', '0'), ('007', '7'), ('18.', '18'), ('18.0', '18'), ('18.00.', '18'),
    ('0.50', '1/2'), ('.5', '1/2'), ('-.5', '-1/2'), ('1,000.25', '4001/4'),
    ('3/4', '3/4'), ('6/8', '3/4'), ('-7/2', '-7/2'),
    (r'$\dfrac{1}{3}$', '1/3'), (r'-\frac{1}{3}', '-1/3'),
    ('$5', '5'), (r'\$5', '5'), ('€5', '5'), ('5$', '5'), ('5 dollars', '5'),
    ('12cm', '12'), ('50%', '50'), (r'50\%', '50'), ('**12**', '12'),
    ('(12)', '12'), ('...12', '12'), ('Step 1: 5', '5'), ('- 5', '5'),
    ('a-5', '5'), ('[12, ', '12'),
])
def test_spellings(text, number):
  assert answers.final_number(text) == number


def test_decimals_are_exact():
  assert answers.final_number('0.1') == '1/10'
  assert answers.equal_numbers('0.3', '0.30') == 1
  assert answers.equal_numbers('0.3', '0.30000000000000000001') == 0
  assert answers.equal_numbers('1/3', '0.3333333333') == 0


HEDGES = ['3 or 4', '4 or 3', '$3$ or $4$', '3 apples or 4 apples', '3, 4',
          '3,4', '3 and 4', '3-4', '$3$-$4$', '3/4/5', '3:4', '3 4', '3; 4']
UNFINISHED = ['3+1', '7 - 3', '2*2', '2 x 2 * 2', r'2 \times 2', '2^2', '2**2',
              '8/2', '8 / 2', '1 1/2', r'1\frac{1}{2}', '4/0']


@pytest.mark.parametrize('text', HEDGES + UNFINISHED)
@pytest.mark.parametrize(
    'stated', ['{}', 'The answer is {}.', FORM, r'\boxed{{{}}}', '#### {}'])
def test_an_answer_is_not_hedged_or_left_to_be_worked_out(text, stated):
  assert answers.final_number(stated.format(text)) is None


@pytest.mark.parametrize('text', [
    '', 'no number', 'x12', '1e9', '1e999999999', '1E+5', '10\u00b2', '2\u00bd',
    '\u00bd', '1_000', '0x1F2', '3.4.5', '1,00,000', '1 000',
    '\u0661\u0662', '\uff112', '1\u0662', r'\sqrt{16}', '\u221a16',
    r'\boxed{12', '9' * 101, '1.' + '0' * 100, '1/' + '3' * 100,
])
def test_what_is_not_read_as_a_number(text):
  assert answers.final_number(text) is None


def test_other_numbers_are_not_paid():
  for text in ('12', '21', '2.1', '-2', '2.0000001', '22', '02.5', '2/3', '2e0',
               '20%', '2,000', '0.02'):
    assert answers.equal_numbers('2', text) == 0, text


def test_percent_is_itself_and_not_a_part_of_one():
  assert answers.equal_numbers('50', '50%') == 1
  assert answers.equal_numbers('50%', '50') == 1
  assert answers.equal_numbers('0.5', '50%') == 0


def test_the_longest_number_that_counts():
  digits = '9' * answers.MAX_DIGITS
  assert answers.equal_numbers(digits, digits) == 1


def test_a_gold_answer_that_is_no_number_is_named():
  with pytest.raises(ValueError, match="'twelve' is not a number"):
    answers.equal_numbers('twelve', '12')


@pytest.mark.parametrize('piece', [
    '9', '9,', '1,234,', '1_', '-', ' ', '\n####', '####\t', '\\boxed{',
    '\\frac{1',
])
def test_a_very_long_text_takes_linear_time(piece):
  # In quadratic time this would not end within half an hour.
  answers.final_number('1' + piece * 200_000 + 'x')


def test_no_text_raises():
  rng = random.Random(0)
  pieces = ['1', '23', ',', '.', '-', '/', '0', '$', '\\', '%', ' ', '\n', '{',
            '}', '\\boxed{', '\\frac{', '####', 'or', '=', 'e9', '\u00b2',
            '\u0663', '\ud800', '\x00', '\u2028', '\u0130', 'x', '_', '_1',
            'Final Answer: The final answer is ', 'I hope it is correct']
  for _ in range(20_000):
    text = ''.join(rng.choices(pieces, k=rng.randrange(12)))
    number = answers.final_number(text)
    # A canonical spelling is its own, and equals the text it came from.
    if number is not None:
      assert answers.final_number(number) == number
      assert answers.equal_numbers(number, text) == 1
  for _ in range(2_000):
    answers.final_number(rng.randbytes(40).decode('latin-1'))
    answers.final_number(''.join(chr(rng.randrange(0x110000))
                                 for _ in range(20)))
