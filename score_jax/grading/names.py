r"""Left sides of `x = 5` that only name what the right side is.

Names are a variable, a label of points, a function of something, words:
`x`, `a_{10}`, `AB`, `|AB|`, `m\angle A`, `f(2)`, `P(A)`, `area`. Nothing else
is one: behind `x^2 =`, `2x =` or `x + 1 =` there is another answer.
"""

import re

from score_jax.grading import forms
from score_jax.grading import units

_GREEK = (r'\\(?:(?:var)?(?:alpha|beta|gamma|delta|epsilon|zeta|eta|theta|iota|'
          r'kappa|lambda|mu|nu|xi|rho|sigma|tau|upsilon|phi|chi|psi|omega)|'
          r'Gamma|Delta|Theta|Lambda|Xi|Pi|Sigma|Phi|Psi|Omega|ell|hbar)')
_INDEX = r'(?:_\{[\w,+-]{1,20}\})?'
_ATOM = rf"(?:[a-zA-Z]|{_GREEK}){_INDEX}'{{0,3}}"
_POINTS = r"[A-Z](?:_\{\w+\})?'?"
_WORDS = ('sum|ans|avg|max|min|len|total|answer|area|perimeter|volume|distance|'
          'speed|time|cost|price|mean|median|mode|probability|length|width|'
          'height|radius|value|number|result|product|difference|ratio|slope|'
          'angle|age|rate|profit|percent')
_NAME = re.compile(
    rf'(?:{_ATOM}|\\(?:hat|bar|vec|tilde|overline|mathbf)\{{{_ATOM}\}}|'
    rf'(?i:{_WORDS})|{_POINTS}(?:{_POINTS}){{1,5}}|\|{_POINTS}{_POINTS}\||'
    rf'\\(?:overline|vec|overrightarrow|widehat|overarc)\{{(?:{_POINTS})+\}}|'
    rf'(?:m|\\mathrm\{{m\}})?\\(?:angle|measuredangle|triangle) ?'
    rf'(?:\{{)?(?:{_ATOM}|(?:{_POINTS})+)(?:\}})?|'
    r'm(?=\\angle)|\[[A-Z]{3,6}\])')
_CALL = re.compile(
    rf"(?P<name>[e-hl-vA-Z]|{_GREEK}){_INDEX}(?:'{{1,3}}|\^\{{-1\}}|"
    r"\^\{\(\d\)\})?\((?P<argument>[^()=]{1,60})\)")
_WORD = re.compile(f'{forms.OPEN}([^{forms.CLOSE}]*){forms.CLOSE}')


def is_name(form: forms.Form) -> bool:
  """Tell whether the left side of an equation is a name."""
  if form.kind == 'words':
    words = form.spelling.lower()
    return len(words) == 1 or units.unit(words) is not None and (
        not re.fullmatch('[a-z]{2,3}', words) or bool(_NAME.fullmatch(words))
        or form.spelling.isupper() and _is_short(words))
  if form.kind == 'tuple' and form.spelling == '[]':  # [ABC], an area.
    return bool(re.fullmatch('[A-Z]{3,6}', form.parts[0].spelling))
  if form.kind != 'expression':
    return False
  text = form.spelling
  words = _WORD.match(text)
  if words:  # \text{Area of }ABC
    rest = text[words.end():]
    return units.unit(words[1]) is not None and bool(
        _NAME.fullmatch(rest) or re.fullmatch(r'_\{\w+\}|\([A-Z]\)', rest))
  call = _CALL.fullmatch(text)
  if call:
    return call['name'] not in call['argument']
  return bool(_NAME.fullmatch(text))


def _is_short(words) -> bool:
  return len(words) <= 3
