r"""Find where a text states its answer.

A statement is looked for in this order, the last one of a kind counts:

1. the paper's form (SCoRe, arXiv 2409.12917, prompts for MATH), `Final Answer:
   The final answer is $answer$. I hope it is correct.`, markdown or not;
2. `\boxed{answer}`, or `\fbox`;
3. a line `#### answer`, as in the files of GSM8K;
4. `The final answer is answer.`; where usual phrases count, also
   `<answer>answer</answer>`, `The answer is answer.`, `Answer: answer`.

A mention such as `\boxed{}` or `The final answer is $answer$` states nothing. A
text that runs on with another problem after its answer is read up to there.
"""

from collections.abc import Iterator
import itertools
import re

from score_jax.grading import characters

LONGEST = 4000
"""Characters; a longer statement is nobody's answer."""

_TRIES = 20  # Of statements, or marks of a further problem, so many count.

_MARKUP = r'[\s*_#>`:.\-\u2013\u2014]'
_FORM = re.compile(
    rf'\bfinal\s++answer{_MARKUP}++(?:so\s++)?the\s++final\s++answer\s++is\b',
    re.IGNORECASE)
_END = re.compile(r'\bi\s++hope\s++(?:it|this|that)\s++is\s++correct',
                  re.IGNORECASE)
_BOX = re.compile(r'\\(?:boxed|fbox|framebox)(?![a-zA-Z])\s*+(?P<brace>\{?+)')
_BRACE = re.compile(r'\\.|[{}]', re.DOTALL)
HASHES = re.compile(r'^####[^\S\n]*+(\S.*)$', re.MULTILINE)
_IS = (r'(?:is|are|was|equals|(?:would|must|should|will|can only)\s++be|'
       r'comes\s++out\s++(?:to(?:\s++be)?|as))')
_FINAL = re.compile(
    r'\b(?:the|my|our)\s++final\s++answer[*_]*+'
    rf'(?:\s*+[*_]*+[:=]|[*_]*+\s++[*_]*+{_IS}\b)', re.IGNORECASE)
_USUAL = re.compile(
    r'<answer>|'
    r'\b(?:answer|(?:correct|right)\s++(?:option|choice))[*_]*+'
    r'(?:\s++(?:to|of|for)\s++(?:the|this|our|your)\s++'
    r'(?:whole\s++|original\s++|given\s++)?(?:question|problem|exercise))?+'
    rf'(?:\s*+[*_]*+[:=]|[*_]*+\s++[*_]*+{_IS}\b)|'
    r'\bans[*_]*+\s*+[.:=]|'
    r'^[ \t#>*_]*+(?:the\s++)?(?:final\s++)?answer[ \t*_]*+$',
    re.IGNORECASE | re.MULTILINE)
_XML_END = re.compile('</answer>', re.IGNORECASE)
# The dollar signs of a price do not reach into the next line.
_MATHS = (r'\$\$(?:[^$\\]|\\.)*+\$\$|\$(?:[^$\\\n]|\\.)++\$|'
          r'\$(?!\d[\d,.]*+\s)(?:[^$\\]|\\.)++\$|'
          r'\\\[(?:(?!\\\]).)*+\\\]|\\\((?:(?!\\\)).)*+\\\)')
# The first line, or more if a formula continues.
_LINE = re.compile(rf'(?:{_MATHS}|\\.|[^\\\n])*+', re.DOTALL)
_SENTENCE_END = re.compile(
    r'[.!?][*_`"\u201d)]*+\s++(?=[*_`"(]*+[A-Z])|'
    r',?\s++(?:because|since)\b')
# With one of these in the next sentence the answer is taken back, or hedged.
_DOUBT = re.compile(
    r'\b(?:or|no|not|wrong|actually|wait|maybe|perhaps|alternatively|sorry|'
    r'rather|instead|correction|incorrect|unless|otherwise|possibly|probably|'
    r'else|mistake|oops|hmm|but)\b', re.IGNORECASE)
_OUTSIDE = '*_`"\u201c\u201d \t\r\n'
_BOLD = re.compile(r'(?<![\w*`])(\*{1,3}|__?|`{1,3})(?=\S)(.+?)(?<=\S)\1'
                   r'(?![\w*`])', re.DOTALL)
_TAG = re.compile(r'</?(?:b|strong|em|i|u|span|mark)>', re.IGNORECASE)
_PLACEHOLDER = re.compile(
    r'(?:\\(?:text[a-z]*|ldots|cdots|dots|quad|[,;:! ])|[\s{}$.*_~?"\'`<>\[\]]|'
    r'(?:the|your|my|our|final|answer|number|result|here|is|x{3,})(?![a-z]))*+',
    re.IGNORECASE)
_BEFORE = re.compile(r'(?:[\s:"\u201c]|[*_`]++(?=\s))*+')

# Text that a model writes after its answer when nothing stops it.
_RUN_ON = re.compile(
    r'(?:^[*_#>\[ \t]*+|(?<=\s)[*_]{0,3}+)(?:(?:New|Next|Another) )?'
    r'(?:Problem|PROBLEM|Question|QUESTION|Exercise|EXERCISE)'
    r'(?:[ \t]++\#?\d{1,4})?+[*_\] \t]*+:|'
    r'^[ \t]*+[*_#>\[]++[ \t]*+(?:New |Next |Another )?'
    r'(?:Problem|Question|Exercise|Instruction|Input|Task|User|Human)\b|'
    r'^(?:New |Next |Another )?(?:Problem|Question|Exercise)[ \t]*+'
    r'(?:\#?\d{1,4}[ \t]*+[.):]?[ \t]*+)?$|'
    r'^[*_ \t]*+(?:Q|User|Human|USER|HUMAN|Instruction|Input|user|human)'
    r'[*_ \t]*+(?:\d{1,4}[ \t]*+)?:|'
    r'There might be an error in the solution above|You are a math expert\.|'
    r'<\|[a-zA-Z_]{1,40}\|>|<\uff5c[^<>]{1,40}\uff5c>|</s>|<eos>|'
    r'<(?:start|end)_of_turn>|\[/?INST\]', re.MULTILINE)


def statement(
    text: str, hashes: re.Pattern[str] = HASHES, usual: bool = True
) -> str | None:
  """Return what a text states as its answer; None if it states nothing.

  Args:
    text: any text. Time is linear in it.
    hashes: matches a line `#### answer`, the answer in its only group.
    usual: whether usual phrases count.

  Returns:
    The answer as it is written; '' if it is cut off or taken back.
  """
  return _statement(before_run_on(text, hashes, usual), hashes, usual)


def before_run_on(
    text: str, hashes: re.Pattern[str] = HASHES, usual: bool = True
) -> str:
  """Return a text up to a further problem that comes after its answer.

  Args:
    text: any text.
    hashes: see `statement`.
    usual: same.
  """
  text = characters.visible(text)
  for at in run_on_marks(text):
    stated = _statement(text[:at], hashes, usual)
    if stated is not None and not (stated and _is_placeholder(stated)):
      return text[:at]
  return text


def run_on_marks(text: str) -> Iterator[int]:
  """Yield where a further problem may begin; the first few of these places."""
  for mark in itertools.islice(_RUN_ON.finditer(text), _TRIES):
    yield mark.start()


def _statement(text, hashes, usual) -> str | None:
  """See `statement`; a placeholder if there is nothing else."""
  placeholder = None
  for kind in (_forms(text), _boxes(text), _hashes(text, hashes),
               _phrases(text, _USUAL if usual else _FINAL)):
    for stated in kind:
      if not stated or not _is_placeholder(stated):
        return stated
      placeholder = stated
  return placeholder


def _is_placeholder(stated) -> bool:
  return bool(_PLACEHOLDER.fullmatch(stated.strip()[:200]))


def _last(pattern, text) -> list[re.Match[str]]:
  """The last few matches, the last one first."""
  return list(pattern.finditer(text))[:-_TRIES - 1:-1]


# Each kind yields the last statement first; '' where it is cut off or taken
# back, which binds like any other; a space where there is nothing in it.


def _forms(text) -> Iterator[str]:
  for form in _last(_FORM, text):
    stated = _first_sentence(text, form.end())
    yield stated if stated.strip('$ ') else ''


def _boxes(text) -> Iterator[str]:
  for box in _last(_BOX, text):
    if box['brace']:
      yield _up_to_closing_brace(text, box.end())
    else:
      found = re.compile(r'[^$\s]*+').match(text, box.end()).group()
      yield ' ' if re.match('[a-zA-Z]{2}', found) else found or ' '


def _hashes(text, hashes) -> Iterator[str]:
  for found in _last(hashes, text):
    yield _unwrapped(found[1]) or ' '


def _phrases(text, pattern) -> Iterator[str]:
  for phrase in _last(pattern, text):
    if phrase.group().lower() == '<answer>':
      end = _XML_END.search(text, phrase.end(), phrase.end() + LONGEST)
      if end:
        yield _unwrapped(text[phrase.end():end.start()]) or ' '
        continue
    yield _first_sentence(text, phrase.end())


def _first_sentence(text, start) -> str:
  """The sentence that begins at a place, or the formula."""
  text = text[start:start + LONGEST + 1]
  text = _END.split(text, maxsplit=1)[0]
  text = text[_BEFORE.match(text).end():]
  line = _LINE.match(text).group()
  if len(line) > LONGEST:
    return ''
  end = _SENTENCE_END.search(line)
  if end:
    if end.group()[0] in '.!?' and _DOUBT.search(line, end.end()):
      return ''
    line = line[:end.start()]
  return _unwrapped(line) or ' '


def _unwrapped(text) -> str:
  """Without markdown, quotation marks and the full stop around it."""
  if len(text) <= 1000:
    text = _TAG.sub('', text)
    text = _BOLD.sub(r'\2', text)
  return text.strip(_OUTSIDE).rstrip(_OUTSIDE + '.!')


def _up_to_closing_brace(text, start) -> str:
  depth = 1
  for brace in _BRACE.finditer(text, start, start + 2 * LONGEST):
    depth += (brace.group() == '{') - (brace.group() == '}')
    if not depth:
      return text[start:brace.start()] or ' '
  return ''
