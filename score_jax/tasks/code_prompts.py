"""What is said to a model about programs to write.

The three shots of MBPP (tasks 2, 3 and 4) and the instruction are the paper's,
word for word (SCoRe, arXiv 2409.12917), the leading `# ` included. The frame
around a task is MBPP's own (arXiv 2108.07732); where the program is to stand
the question ends. Of HumanEval the paper gives no prompt: there it is the
signature and docstring alone. Nor does it give one for Self-Refine: that is
the project's own (arXiv 2303.17651).
"""

import textwrap

QUESTION = '{problem}'
INSTRUCTION = (
    '# There might be an error in the code above because of lack of '
    'understanding of the question. Please correct the error, if any, and '
    'rewrite the solution. Only output the final correct Python program!'
)
CRITIQUE = (
    '# There is an error in the code above because of lack of understanding of '
    'the question. What is the error? To find the error, go through '
    'semantically complete blocks of the code, and check if everything looks '
    'good.'
)

MBPP_STOPS = ('[DONE]',)
"""The end of a program in MBPP's own prompts (arXiv 2108.07732)."""

HUMANEVAL_STOPS = (
    '\nclass', '\ndef', '\n#', '\n@', '\nif', '\nprint', '\n```')
"""Texts that follow the body of a function and are not part of it.

Those of Codex (arXiv 2107.03374), and the two more of the bigcode evaluation
harness: a line at the left margin.
"""

HUMANEVAL_LATER_STOPS = ('\nif __name__', '\nprint(', '\nassert ')
"""The same behind a whole program, which the instruction asks for."""

_ROLE = 'You are an expert Python programmer, and here is your task: '
_SHOTS = textwrap.dedent('''\
    You are an expert Python programmer, and here is your task: Write a function to find the similar elements from the given two tuple lists. Your code should pass these tests:

    assert similar_elements((3, 4, 5, 6),(5, 7, 4, 10)) == (4, 5)
    assert similar_elements((1, 2, 3, 4),(5, 4, 3, 7)) == (3, 4)
    assert similar_elements((11, 12, 14, 13),(17, 15, 14, 13)) == (13, 14)
    [BEGIN]
    def similar_elements(test_tup1, test_tup2):
      res = tuple(set(test_tup1) & set(test_tup2))
      return (res)
    [DONE]

    You are an expert Python programmer, and here is your task: Write a python function to identify non-prime numbers. Your code should pass these tests:

    assert is_not_prime(2) == False
    assert is_not_prime(10) == True
    assert is_not_prime(35) == True
    [BEGIN]
    import math
    def is_not_prime(n):
        result = False
        for i in range(2,int(math.sqrt(n)) + 1):
            if n % i == 0:
                result = True
        return result
    [DONE]

    You are an expert Python programmer, and here is your task: Write a function to find the largest integers from a given list of numbers using heap queue algorithm. Your code should pass these tests:

    assert heap_queue_largest( [25, 35, 22, 85, 14, 65, 75, 22, 58],3)==[85, 75, 65]
    assert heap_queue_largest( [25, 35, 22, 85, 14, 65, 75, 22, 58],2)==[85, 75]
    assert heap_queue_largest( [25, 35, 22, 85, 14, 65, 75, 22, 58],5)==[85, 75, 65, 58, 35]
    [BEGIN]
    import heapq as hq
    def heap_queue_largest(nums,n):
      largest_nums = hq.nlargest(n, nums)
      return largest_nums
    [DONE]

    ''')  # noqa: E501


def task(text: str, tests: list[str]) -> str:
  """A task and the tests that its program has to pass."""
  lines = '\n'.join(tests)
  return f'{text} Your code should pass these tests:\n\n{lines}'


def three_shot(text: str, tests: list[str]) -> str:
  """The same behind three others with their programs."""
  return f'{_SHOTS}{_ROLE}{task(text, tests)}\n[BEGIN]\n'
