"""Mathematical answers: where they are stated, which are equal, and tricks."""

import collections
import json
import random
import subprocess
import sys

import pytest

from score_jax import grader_accuracy as accuracy
from score_jax.grading import answers
from score_jax.grading import forms
from score_jax.grading import maths
from score_jax.grading import pool
from tests import real_data

FORM = 'Final Answer: The final answer is ${}$. I hope it is correct.'

EQUAL = [
    # Numbers.
    ('5', '5.'), ('5', '+5'), ('5', '5.0'), ('5', 'x = 5'), ('5', '(5)'),
    ('12', '7+5=12'), ('x=5', '5'), ('x=5', 'x = 5'), ('0.5', '.5'),
    (r'\frac{3}{4}', r'\frac34'), (r'\frac{3}{4}', r'\dfrac{6}{8}'),
    (r'\frac{3}{4}', '3/4'), (r'\frac{3}{4}', '0.75'), ('0.75', r'\frac{3}{4}'),
    (r'-\frac{1}{2}', r'\frac{-1}{2}'), (r'-\frac{1}{2}', r'\frac{1}{-2}'),
    (r'2\frac{1}{4}', r'\frac94'),
    (r'2\frac{1}{4}', '2 1/4'), (r'2\frac{1}{4}', '2.25'),
    ('1000', '1,000'), ('1000', r'1,\!000'), ('1000', '1{,}000'),
    ('1,000,000', '1000000'), ('52_8', '52_{8}'), ('52_8', r'\text{52}_8'),
    # Units, which may be left out.
    (r'50\%', '50'), ('50', r'50\%'), (r'50\%', '50 percent'),
    (r'30^\circ', '30'), ('30', '30\u00b0'), (r'30^\circ', '30 degrees'),
    (r'\$5', '5'), (r'\$5', '5 dollars'), ('5', r'\$5'), ('18', '18 apples'),
    (r'5\text{ cm}', '5'), (r'5\text{ cm}', r'5\,\mathrm{cm}'),
    (r'5\text{ cm}', '5 centimeters'), (r'9\text{ values}', '9'),
    (r'3\text{ square inches}', r'3\text{ in}^2'), (r'4\text{ cm}^2', '4 cm^2'),
    (r'\text{4:30 p.m.}', '4:30 PM'),
    # Expressions.
    (r'2\sqrt{3}', r'\sqrt{12}'), (r'\frac{1}{\sqrt{2}}', r'\frac{\sqrt2}{2}'),
    (r'\sqrt[3]{4}', '4^{1/3}'), (r'12\pi', r'\pi \cdot 12'),
    (r'\frac{\pi}{4}', r'0.25\pi'), (r'\pi', '\u03c0'),
    ('2^{10}', '2^{10}'), ('2^{10}', '1024'), ('9^{9^{9^9}}', '9^{9^{9^9}}'),
    ('x^2+2x+1', '2x + 1 + x^{2}'), ('5(n+2)', '5n+10'),
    ('(x+1)(x+2)', '(x+2)(x+1)'), ('(x-1)(x-2)', '(1-x)(2-x)'),
    (r'\frac{x+1}{y}', r'\frac{1+x}{y}'), (r'\sin x \cos y', r'\cos y\sin x'),
    ('4+7i', '7i+4'), (r'\frac{1}{5}+\frac{3}{5}i', r'\frac{1+3i}{5}'),
    # Relations.
    ('y=2x+1', '2x+1'), ('2x+1', 'f(x)=2x+1'), ('y=2x+1', 'y-2x=1'),
    ('2x+3y=6', '4x+6y-12=0'), ('x<3', 'x < 3'), (r'x\le 3', r'x \leq 3'),
    ('x>3', '3<x'), (r'1<x\le 2', r'1 < x \leq 2'), (r'2\ge x>1', r'1<x\le 2'),
    ('1:2', '1 : 2'), ('AB=9, CD=4', 'CD=4, AB=9'),
    # Several, in any order or in this one.
    ('1,2', '2, 1'), ('1,2', r'\{1, 2\}'), (r'\{1,2\}', '1 and 2'),
    ('1,2', r'1 \text{ or } 2'), ('1, 2, 3', '1, 2, and 3'),
    (r'1\pm\sqrt{2}', r'1-\sqrt{2}, 1+\sqrt{2}'), ('-5,5', r'\pm 5'),
    ('(1,2)', r'\left( 1, 2 \right)'), (r'(1,\sqrt{8})', r'(1,2\sqrt2)'),
    ('[0,1)', r'\left[0, 1\right)'), ('[0,1)', r'x \in [0,1)'),
    (r'(-\infty,1)\cup(2,\infty)', r'(2,+\infty) \cup (-\infty, 1)'),
    (r'\begin{pmatrix} 1 \\ 2 \end{pmatrix}',
     '\\begin{bmatrix}1\\\\[4pt]\n2.0\\end{bmatrix}'),
    (r'\begin{pmatrix} 1 \\ 2 \end{pmatrix}',
     r'\left[\begin{array}{c}1\\2\end{array}\right]'),
    # Words and choices.
    (r'\text{B}', 'B'), (r'\text{B}', '(B)'), ('B', r'\textbf{(b)}'),
    (r'\text{no solution}', 'no solution'), (r'\emptyset', r'\varnothing'),
    (r'\text{odd}', 'Odd'), (r'\text{two lines}', 'two lines'),
]

HOSTILE = [
    '9^{9^{9^9}}', '10000000!', '9^{99999999}', r'2^{2^{2^{2^2}}}',
    '(x+1)^{9999999}', r'\sum_{k=1}^{99999999} k', '(' * 400 + ')' * 400,
    r'\frac{1}' * 200, '^' * 900, r'\sqrt' * 150, '{' * 900, '9' * 900,
    '*'.join(['(x+1)'] * 100), r'\int_0^{99} x^x dx', '1,' * 450,
    '(x+y+z+w)^{50}', '__import__("os").abort()', r'\infty' * 150,
]


@pytest.mark.parametrize('gold,text', EQUAL)
def test_right_answers(gold, text):
  assert maths.grade(gold, rf'So \boxed{{{text}}}.') == 1
  assert maths.grade(gold, FORM.format(text)) == 1


def test_near_misses_are_refused():
  pairs = accuracy.near_misses()
  accepted = [pair for pair in pairs if maths.grade(pair.gold, pair.text)]
  assert len(pairs) >= 300 and not accepted


def test_the_gold_answers_of_near_misses_equal_themselves():
  golds = {pair.gold for pair in accuracy.near_misses()}
  assert not [g for g in golds if not maths.grade(g, FORM.format(g))]


def test_hostile_answers_score_0_and_hurt_no_other():
  pairs = []
  for hostile in HOSTILE:
    for gold in ('5', 'x^2', r'\sqrt{2}', '2^{10}', '(x+1)^2'):
      pairs += [(gold, FORM.format(hostile)), (gold, FORM.format(gold))]
  graders = pool.Pool(maths.grade, 2, pool.Limits(10.0, 60.0, 2 << 30))
  found = graders.submit(pairs).result()
  graders.close()
  assert found.grades == [0, 1] * (len(pairs) // 2)
  assert (found.timeouts, found.crashes) == (0, 0)  # Refused before.


@pytest.mark.parametrize('text,stated', [
    (FORM.format('5') + FORM.format('x^2'), 'x^{2}'),
    ('final answer: the final answer is 3/6', '1/2'),
    ('Final Answer: The final answer is\n$5$.\nThat is all.', '5'),
    (FORM.format('\n\\frac12\n'), '1/2'),
    (FORM.format(r'\boxed{7}'), '7'),
    (r'\boxed{\frac{1}{2}} or \boxed{ \{1, 2\} }', 'list(1; 2)'),
    ('**Final Answer:** The final answer is $5$. I hope it is correct.', '5'),
    (r'so \fbox{5} it is', '5'), (r'so $\boxed 5$.', '5'),
    ('#### 4\n#### 1,234\nDone.', '1234'), ('#### $x = 2$', 'relation=(x; 2)'),
])
def test_where_the_answer_is_looked_for(text, stated):
  assert maths.answer(text) == stated


def test_a_statement_binds_in_the_order_of_the_places():
  form, box, hashes = FORM.format(1), r'\boxed{2}', '#### 3'
  assert maths.answer(f'{form}\n{box}\n{hashes}') == '1'
  assert maths.answer(f'{box}\n{hashes}') == '2'
  assert maths.answer('5 ' + FORM.format('')) is None
  assert maths.answer(r'\boxed{5} \boxed{') is None


def test_a_text_that_states_no_answer_has_none():
  for text in ('', '5', 'The answer is 5.', r'The area is $12\pi$.', '## 5'):
    assert maths.answer(text) is None
    assert maths.grade('5', text) == 0


@pytest.mark.parametrize('texts', [
    ['0.5', r'\frac12', '1/2', r'\dfrac{2}{4}', '.50', r'\frac{1}{2}\text{ m}'],
    ['1,000', '1000', r'1,\!000', '1000.'], ['(1,2)', r'\left( 1 , 2 \right)'],
    ['1, 2', '2,1', r'\{1,2\}', '1 and 2'], [r'\text{B}', 'B', '(B)'],
    [r'2\sqrt3', r'2 \sqrt{3}', r'$2\sqrt{3}$'], ['x^2', 'x^{2}', ' x ^ 2 '],
])
def test_one_spelling_for_what_is_written_in_many_ways(texts):
  assert len({maths.answer(FORM.format(text)) for text in texts}) == 1


def test_other_answers_have_other_spellings():
  found = [maths.answer(FORM.format(text)) for text in (
      '(1,2)', '[1,2]', '(2,1)', '1,2', '12', '1.2', '1/2', '1:2', '1=2', 'x',
      'X', r'\frac{1}{x}', '12_3', r'(1,2)\cup(3,4)',
      r'\begin{pmatrix}1&2\end{pmatrix}', r'\begin{pmatrix}1\\2\end{pmatrix}')]
  assert max(collections.Counter(found).values()) == 1


def test_the_training_process_imports_no_sympy():
  code = ('import sys; from score_jax.grading import maths; '
          r'maths.answer(r"\boxed{\sqrt{2}}"); maths.grade("5", "#### 6"); '
          'sys.exit("sympy" in sys.modules)')
  assert subprocess.run([sys.executable, '-c', code]).returncode == 0


def test_no_text_raises():
  rng = random.Random(0)
  pieces = [*'12,./-$\\%{}()[]^_=<>!|&xi \n?', r'\frac', r'\sqrt', r'\text{',
            r'\boxed{', '####', ' or ', r'\pi', r'\cup', r'\pm', r'\infty',
            r'\begin{pmatrix}', r'\end{pmatrix}', r'\\', r'\left(', '\ud800',
            '\x00', '\x01', '\x02', '\x03', '\u2028', '\u0663', r'\in', 'cm',
            'Final Answer: The final answer is ', 'I hope it is correct']
  for _ in range(2000):
    inside = ''.join(rng.choices(pieces, k=rng.randrange(12)))
    for text in (inside, f'#### {inside}', rf'\boxed{{{inside}}}'):
      stated = maths.answer(text)
      assert maths.grade('z', text) == 0
      json.dumps(stated)


@pytest.mark.parametrize('piece', [
    '9', '9,', '1,234,', ' ', '\n####', '#### 1\n', r'\boxed{', r'\frac{1', '$',
    '\\', '{', 'Final Answer: The final answer is $', 'I hope it is correct'])
@pytest.mark.parametrize('before', [
    '', r'\boxed{', '#### ', 'Final Answer: The final answer is '])
def test_a_very_long_text_takes_linear_time(piece, before):
  # In quadratic time this would not end within half an hour.
  maths.answer(before + piece * 200_000 + '}')


def test_the_longest_answer_that_counts():
  words = 'a' * (forms.MAX_LENGTH - 7)
  assert maths.grade(words, rf'\boxed{{{words}}}') == 1
  assert maths.answer(rf'\boxed{{{"a" * (forms.MAX_LENGTH + 1)}}}') is None
  digits = '9' * answers.MAX_DIGITS
  assert maths.grade(f'{digits}.0', f'#### {digits}') == 1


def test_every_gold_answer_of_math_equals_itself():
  golds = accuracy.gold_answers(real_data.folder('math'))
  pairs = accuracy.stated(dict.fromkeys(golds))
  refused = [pair for pair in pairs if not maths.grade(pair.gold, pair.text)]
  assert len(golds) > 12_000 and not refused
