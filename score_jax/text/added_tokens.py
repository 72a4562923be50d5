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


def characters(text: str) -> str:
  """Return `text` with U+FFFD for halves of surrogate pairs, as JSON may have.

  Tokenizers take no such text.
  """
  if text.isascii():
    return text
  return text.encode('utf-16', 'surrogatepass').decode('utf-16', 'replace')


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
    self._model, self._random = model, None
    self._added = dict(sorted(model.get_added_tokens_decoder().items()))
    special = [t.content for t in self._added.values() if t.special]
    others = [t.content for t in self._added.values() if not t.special]

    def cannot_spell(names):
      self._copy({*special, *names})
      return [name for name in names if not self._spells(name)]

    kept = {*others} - {*barred(others, template, cannot_spell)}
    names = {t.content for t in self._added.values()} - kept
    self.barred = {t.content: i for i, t in self._added.items()
                   if t.content in names}
    self._copy(names)
    self._renamed = functools.lru_cache(maxsize=64)(self._rename)

  def encode(self, text: str) -> list[int]:
    """Return the ids of `text`, none of which are `barred`."""
    text = characters(text)
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
    """Makes the copy in which these tokens have random names."""
    if self._random is not None and self._random.keys() == names:
      return
    self._random = {name: _random_name() for name in names}
    by_id = {i: self._random[token.content]
             for i, token in self._added.items() if token.content in names}
    self._plain, self._unknown = _bare(self._model, by_id)
    tokens = {i: _like(self._model, token, by_id.get(i))
              for i, token in self._added.items()}
    self._plain.add_tokens([*tokens.values()])
    # Tokens after the vocabulary are numbered anew.
    ids = {self._plain.token_to_id(token.content): i
           for i, token in tokens.items()}
    self._ids = {theirs: i for theirs, i in ids.items() if theirs != i}

  def _spells(self, name):
    """Whether the copy encodes all of a name, to tokens that it knows."""
    encoding = self._plain.encode(name, add_special_tokens=False)
    spelled = {i for start, end in encoding.offsets for i in range(start, end)}
    return self._unknown not in encoding.ids and all(
        i in spelled for i, c in enumerate(name) if not c.isspace())


def _random_name():
  """Twenty letters that no text contains, and that normalisers leave alone."""
  return ''.join(secrets.choice(string.ascii_lowercase) for _ in range(20))


def _like(model, token, name):
  """Return an added token under another name, or under its present one."""
  if name is None:
    return token
  survives = lambda text: model.normalizer is None or (
      model.normalizer.normalize_str(text)).count(text) == 1
  # Found after normalisation, as the original, where the name survives it.
  normalized = (token.normalized and survives(name)
                and survives(token.content))
  return tokenizers.AddedToken(
      name, lstrip=token.lstrip, rstrip=token.rstrip, normalized=normalized)


def _bare(model, random: dict[int, str]):
  """A tokenizer without added tokens, and its id of what it does not know.

  Args:
    model: the tokenizer.
    random: new names of the tokens that its model must not find, by id.
  """
  bpe = model.model
  if isinstance(bpe, tokenizers.models.BPE) and not any(
      _makes(bpe, i) for i in random):
    bare = tokenizers.Tokenizer(bpe)  # Shared, as it stays as it is.
    bare.normalizer, bare.pre_tokenizer = (model.normalizer,
                                           model.pre_tokenizer)
    unknown = bpe.unk_token
    return bare, None if unknown is None else bpe.token_to_id(unknown)
  data = json.loads(model.to_str())
  unknown = _unknown(data['model'])
  data |= {'model': _without(data['model'], random), 'added_tokens': [],
           'post_processor': None}
  return tokenizers.Tokenizer.from_str(json.dumps(data)), unknown


def _makes(bpe, token_id) -> bool:
  """Whether merges lead to a token: then they do so for its name alone."""
  name = bpe.id_to_token(token_id)
  if name is None:  # It is after the vocabulary.
    return False
  marked = bpe.continuing_subword_prefix or bpe.end_of_word_suffix
  return bool(marked) or any(
      token.id == token_id for token in bpe.tokenize(name))


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


def _unknown(model):
  """The id that the model of a tokenizer.json gives to what it lacks."""
  if isinstance(model['vocab'], list):
    return model.get('unk_id')
  return model['vocab'].get(model.get('unk_token'))
