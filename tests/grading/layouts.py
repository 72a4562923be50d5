"""Layouts in which models give a program; none changes what it computes.

Each function takes code and the name of its function, and returns an answer.
"""

from collections.abc import Callable
import textwrap


def _block(code, fence='```', info='python', indent=''):
  lines = [f'{fence}{info}', *code.rstrip('\n').split('\n'), fence]
  return '\n'.join(indent + line for line in lines)


def _in_list(code):
  return '1. The code:\n\n' + _block(code, indent='   ') + '\n\n2. Done.'


_USE = 'print({name})\nresult = {name}(None)\nprint(result)'
_MAIN = ('def main():\n  {name}(*input().split())\n\n'
         'if __name__ == "__main__":\n  main()\n\nmain()')
_TESTS = 'def test():\n  assert {name}(1, 2, 3, 4, 5, 6, 7) == 8\n\ntest()'

_Layout = Callable[[str, str], str]

FENCED: dict[str, _Layout] = {
    'fence': lambda code, name: _block(code),
    'prose': lambda code, name: f'Sure!\n\n{_block(code)}\n\nIt works.',
    'usage': lambda code, name: (
        f'{_block(code)}\n\nUsage:\n\n{_block(_USE.format(name=name))}'),
    'usage in the shell': lambda code, name: (
        f'{_block(code)}\n\nRun:\n\n{_block("python a.py", info="bash")}'),
    'wrong asserts': lambda code, name: (
        f'{_block(code)}\n\nTests:\n{_block(f"assert {name}(1, 2, 3) == {{}}")}'
    ),
    'tests in a function': lambda code, name: (
        f'{_block(code)}\n{_block(_TESTS.format(name=name))}'),
    'main': lambda code, name: (
        f'{_block(code)}\n{_block(_MAIN.format(name=name))}'),
    'session': lambda code, name: (
        f'{_block(code)}\n{_block(f">>> {name}(1)" + chr(10) + "2")}'),
    'output': lambda code, name: (
        f'{_block(code, info="")}\nOutput:\n{_block("[1, 2]", info="")}'),
    'output that is named': lambda code, name: (
        f'{_block(code, info="")}\n{_block("x = 1", info="output")}'),
    'draft': lambda code, name: (
        f'{_block(f"def {name}(*a):" + chr(10) + "  return 1")}\nNo:\n'
        f'{_block(code)}'),
    'space': lambda code, name: _block(code, info=' python'),
    'braces': lambda code, name: _block(code, info='{python}'),
    'class in braces': lambda code, name: _block(code, info='{.python .x}'),
    'title': lambda code, name: _block(code, info='python title="a.py"'),
    'file': lambda code, name: _block(code, info='python:src/a.py'),
    'capitals': lambda code, name: _block(code, info='Python3'),
    'unknown name': lambda code, name: _block(code, info='solution'),
    'tildes': lambda code, name: _block(code, fence='~~~'),
    'four': lambda code, name: _block(code, fence='````'),
    'list': lambda code, name: _in_list(code),
    'behind text': lambda code, name: f'My answer: {_block(code)}',
    'code before the closing fence': lambda code, name: (
        f'```python\n{code.rstrip()}```\nDone.'),
    'not closed': lambda code, name: f'```python\n{code}',
    'not closed, cut off': lambda code, name: (
        f'```python\n{code}\n\ndef more(x):\n  if x >'),
    'quoted': lambda code, name: '\n'.join(
        f'> {line}' for line in _block(code).split('\n')),
    'returns': lambda code, name: _block(code).replace('\n', '\r\n'),
    'markdown in markdown': lambda code, name: _block(
        f'# Answer\n\n{_block(code)}', fence='````', info='markdown'),
    'thinking': lambda code, name: (
        '<think>Maybe\n```python\ndef ' + name + '(*a): return 0\n```\n?'
        f'</think>\n{_block(code)}'),
    'thinking, opened by the prompt': lambda code, name: (
        'Maybe\n```python\ndef ' + name + '(*a): return 0\n```\n?\n'
        f'</think>\n\n{_block(code)}'),
    'end of text': lambda code, name: f'{_block(code)}<|im_end|>\n<|im_start|>',
    'marks': lambda code, name: f'[BEGIN]\n{_block(code)}\n[DONE]\nMore.',
    'marks in a fence': lambda code, name: _block(f'[BEGIN]\n{code}\n[DONE]'),
}

_OPEN = ': """x\n'
PLAIN: dict[str, _Layout] = {
    'plain': lambda code, name: code,
    'run on, function': lambda code, name: (
        f'{code}\n\n\ndef other(y):\n    if y > '),
    'run on, whole function': lambda code, name: (
        f'{code}\n\n\ndef other(y):\n    return undefined_name + y\n'),
    'run on, class': lambda code, name: f'{code}\n\nclass A(B):\n    def f(',
    'run on, prose': lambda code, name: f'{code}\n\nThis function is right.\n',
    'run on, a word': lambda code, name: f'{code}\n\nThanks\n',
    'run on, a note': lambda code, name: f'{code}\n\nNote: it works\n',
    'run on, example': lambda code, name: (
        f'{code}\n\n# Example\nprint({name}())\nassert {name}() == 3\n\nDone: !'
    ),
    'run on, task': lambda code, name: (
        f'{code}\n\nYou are an expert Python programmer, and here is your task:'
        ' Write.\n[BEGIN]\ndef f(x):\n  pass\n[DONE]'),
    'run on, docstring': lambda code, name: (
        f'{code}\n\ndef other(y){_OPEN}  Returns y'),
    'lone fence': lambda code, name: f'{code.rstrip()}\n```',
    'lone fence, prose': lambda code, name: (
        f'{code.rstrip()}\n```\n\nIt adds `x`. Try it!'),
    'lone fence, usage': lambda code, name: (
        f'{code.rstrip()}\n```\n\nUse:\n```python\n{name}("a")\n```\nor not.'),
    'end of text': lambda code, name: f'{code.rstrip()}<|endoftext|>Next',
    'end of sentence': lambda code, name: f'{code.rstrip()}</s>',
    'end of turn': lambda code, name: f'{code}<end_of_turn>\n<start_of_turn>',
    'done': lambda code, name: f'{code.rstrip()}\n[DONE]\n\nimport nothing',
    'done on its line': lambda code, name: f'{code.rstrip()} [DONE]',
    'thinking': lambda code, name: (
        f'<think>\ndef {name}(*a):\n  return 0\n</think>\n{code}'),
    'returns': lambda code, name: code.replace('\n', '\r\n'),
}

BODY: dict[str, _Layout] = {
    'first line not indented': lambda body, name: body.lstrip(),
    'not indented': lambda body, name: _block(textwrap.dedent(body)),
    'two spaces': lambda body, name: textwrap.indent(
        textwrap.dedent(body), '  '),
}

WHOLE: dict[str, _Layout] = {
    'future': lambda code, name: (
        f'from __future__ import annotations\n{code}'),
    'future in a fence': lambda code, name: _block(
        f'"""Solution."""\nfrom __future__ import annotations\n{code}'),
    'prose before': lambda code, name: f'Here is the code:\n\n{code}',
    'name of the language': lambda code, name: f'python\n{code}\n```',
}
