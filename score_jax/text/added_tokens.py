"""Added tokens: which of them text never becomes, and an encoder without them.

A vocabulary has tokens that no training of it found: special ones around turns
and texts, and others that somebody added ('<think>' of Qwen3, or DeepSeek's
marks of turns, which are not special). A question that contains the name of one
must not become it. Three kinds stay ordinary vocabulary, unless they are
special:

    whitespace alone ('\\n\\n', runs of spaces), which is how text is laid out;
    one letter, digit or punctuation mark of ASCII;
    what the rest of the vocabulary cannot spell, unless the chat template
    writes it: a small vocabulary may have whole sentences as tokens.
"""

from collections.abc import Callable
from collections.abc import Iterable
import functools
import json
import secrets
import string

import tokenizers

_SPACE = '\u2581'  # A space in pieces of SentencePiece.
_TEXT = frozenset(string.ascii_letters + string.digits + string.punctuation)


def barred(
    names: Iterable[str],
    template: str,
    cannot_spell: Callable[[tuple[str, ...]], Iterable[str]],
) -> tuple[str, ...]:
  """Return the names of added tokens that text must not become.

  Args:
    names: of tokens that are added and not special.
    template: the chat template, '' without one.
    cannot_spell: from names to those among them for which the vocabulary has no
      other ids, once all of them are barred.
  """
  found = tuple(
      name for name in names
      if name not in _TEXT and name.replace(_SPACE, ' ').strip())
  kept = {name for name in cannot_spell(found)
          if name.replace(_SPACE, ' ') not in template}
  return tuple(name for name in found if name not in kept)


class Encoder:
  """Encodes text to ids that are no added tokens, and templates to those.

  In a copy of the tokenizer each barred token has a random name, which no text
  contains. A template's tokens are renamed before it is encoded together with
  the text in it, in one go. So text around a token is normalised, cut and
  merged, and spaces next to it are dropped, as the tokenizer itself does it.

  Attributes:
    barred: ids that text never becomes, by name.
  """

  def __init__(self, model: tokenizers.Tokenizer, template: str):
    """Copy `model`, which has neither truncation nor padding.

    Args:
      model: the tokenizer.
      template: the chat template, '' without one.
    """
    self._model = model
    self._data = json.loads(model.to_str())
    added = model.get_added_tokens_decoder()
    special = {t.content: i for i, t in added.items() if t.special}
    others = {t.content: i for i, t in added.items() if not t.special}

    def cannot_spell(names):
      plain = self._copy(special | {name: others[name] for name in names})[0]
      unknown = _unknown(self._data['model'])
      return [name for name in names if not _spells(plain, unknown, name)]

    names = barred(others, template, cannot_spell)
    self.barred = dict(sorted(
        (special | {name: others[name] for name in names}).items(),
        key=lambda item: item[1]))
    self._plain, self._random = self._copy(self.barred)
    del self._data
    # Tokens after the vocabulary are numbered anew in the copy.
    ids = {**{name: self._random[name] for name in self.barred},
           **{name: name for name in others if name not in self.barred}}
    ids = {self._plain.token_to_id(ids[name]): i
           for name, i in {**others, **special}.items()}
    self._ids = {theirs: i for theirs, i in ids.items() if theirs != i}
    self._renamed = functools.lru_cache(maxsize=64)(self._rename)

  def encode(self, text: str) -> list[int]:
    """Return the ids of `text`, none of which are `barred`."""
    ids = self._plain.encode(text, add_special_tokens=False).ids
    return [self._ids.get(i, i) for i in ids] if self._ids else ids

  def encode_between(self, before: str, text: str, after: str) -> list[int]:
    """Return ids; names of tokens are read in `before` and `after` alone."""
    return self.encode(self._renamed(before) + text + self._renamed(after))

  def _rename(self, template):
    """The text with the random name of each token in it."""
    encoding = self._model.encode(template, add_special_tokens=False)
    names = {i: name for name, i in self.barred.items()}
    parts, at = [], 0
    for i, (start, end) in zip(encoding.ids, encoding.offsets, strict=True):
      if i in names and end > start >= at:
        parts += [template[at:start], self._random[names[i]]]
        at = end
    return ''.join((*parts, template[at:]))

  def _copy(self, names):
    """A tokenizer with random names, and these by the old ones."""
    random = {name: _random_name() for name in names}
    by_id = {i: random[name] for name, i in names.items()}
    # Model and list of tokens are new objects; `_data` stays as it is.
    data = dict(self._data, model=_without(self._data['model'], by_id))
    data['added_tokens'] = [
        _renamed_token(self._model, token, random.get(token['content']))
        for token in self._data['added_tokens']]
    return tokenizers.Tokenizer.from_str(json.dumps(data)), random


def _random_name():
  """Twenty letters that no text contains, and that normalisers leave alone."""
  return ''.join(secrets.choice(string.ascii_lowercase) for _ in range(20))


def _renamed_token(model, token, name):
  if name is None:
    return token
  like = lambda text: model.normalizer is None or (
      model.normalizer.normalize_str(text)).count(text) == 1
  # Found after normalisation, as the original, where the name survives it.
  normalized = token['normalized'] and like(name) and like(token['content'])
  return dict(token, content=name, normalized=normalized, single_word=False)


def _without(model, random: dict[int, str]):
  """The model of a tokenizer.json that no text leads to these ids.

  Args:
    model: BPE, WordPiece, WordLevel or Unigram.
    random: the new name of a token, by id.
  """
  if isinstance(model['vocab'], list):  # Unigram: pieces with scores.
    vocab = [[random.get(i, piece), score]
             for i, (piece, score) in enumerate(model['vocab'])]
    return dict(model, vocab=vocab)
  renamed = {name: random[i] for name, i in model['vocab'].items()
             if i in random}
  if not renamed:
    return model
  changed = dict(model, vocab={
      renamed.get(name, name): i for name, i in model['vocab'].items()})
  unknown = model.get('unk_token')
  if unknown in renamed:
    changed['unk_token'] = renamed[unknown]
  if model.get('merges'):
    cut = len(model.get('continuing_subword_prefix') or '')
    changed['merges'] = [
        pair for pair in map(_pair, model['merges'])
        if not renamed.keys() & {*pair, pair[0] + pair[1][cut:]}]
  return changed


def _pair(merge):
  """The two parts of a merge, which old files write as one text."""
  return merge.split(' ', 1) if isinstance(merge, str) else merge


def _spells(plain, unknown, name):
  """Whether a tokenizer encodes all of a name, to tokens that it knows."""
  encoding = plain.encode(name, add_special_tokens=False)
  spelled = {i for start, end in encoding.offsets for i in range(start, end)}
  return unknown not in encoding.ids and all(
      i in spelled for i, c in enumerate(name) if not c.isspace())


def _unknown(model):
  """The id that the model of a tokenizer.json gives to what it lacks."""
  if isinstance(model['vocab'], list):
    return model.get('unk_id')
  return model['vocab'].get(model.get('unk_token'))
