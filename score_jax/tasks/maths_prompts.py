"""What is said to a model about problems of mathematics.

The question and the instruction are the paper's for MATH, word for word (SCoRe,
arXiv 2409.12917); that the problem follows after an empty line is our choice.
For Self-Refine the paper gives no prompt: ours is that project's for programs
(arXiv 2303.17651), with solutions in their place.
"""

_FORM = (
    'At the end of the Solution, when you give your final answer, write it in '
    'the form "Final Answer: The final answer is $answer$. I hope it is '
    'correct."'
)
QUESTION = (
    'You are a math expert. When you respond, respond only with the Solution '
    f'of the final Problem, thinking step by step. {_FORM}\n\n'
    'Problem: {problem}'
)
INSTRUCTION = (
    'There might be an error in the solution above because of lack of '
    'understanding of the question. Please correct the error, if any, and '
    f'rewrite the solution. Only output the final solution! {_FORM}'
)
STOPS = ('Problem:',)  # Text that runs on poses another problem.
CRITIQUE = (
    'There is an error in the solution above because of lack of understanding '
    'of the question. What is the error? To find the error, go through '
    'semantically complete blocks of the solution, and check if everything '
    'looks good.'
)
