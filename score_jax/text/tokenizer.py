"""Tokenizers: one protocol over SentencePiece, tokenizer.json and GGUF files.

Text never becomes a token that was added to the vocabulary: '<|im_end|>' or
'<think>' inside a question is encoded as ordinary characters. `added_tokens`
tells which tokens these are.
"""

from collections.abc import Iterable
import os
from typing import Protocol

from score_jax.text import folders
from score_jax.text import gguf_file
from score_jax.text import gguf_tokenizer
from score_jax.text import huggingface
from score_jax.text import pieces
from score_jax.text import reading
from score_jax.text import token_bytes


class Tokenizer(Protocol):
  """Text to ids and back.

  Attributes:
    vocab_size: the largest id plus one.
    pad_id: id of dead slots; may equal a stop id, so read masks, not ids.
    bos_id: id that a sequence without chat template begins with, or None.
    stop_ids: ids that end an attempt. The first is the end-of-turn token of the
      chat template, which closes an attempt that ran out of tokens.
    special_ids: ids of the special tokens, by name.
    added_ids: ids that ordinary text never becomes, by name: special tokens and
      others that were added to the vocabulary.
    bos_token, eos_token: names for the chat template, or ''; a begin that has a
      name need not be one that every sequence begins with.
    chat_template: the Jinja template that the model was tuned with, or ''.
  """

  vocab_size: int
  pad_id: int
  bos_id: int | None
  stop_ids: tuple[int, ...]
  special_ids: dict[str, int]
  added_ids: dict[str, int]
  bos_token: str
  eos_token: str
  chat_template: str

  def encode(self, text: str, specials: bool = False) -> list[int]:
    """Ids of `text`; never adds a begin or end.

    Args:
      text: any text.
      specials: read the names of added tokens in `text` as these tokens.
        Only for the text of a template, never for a question.
    """

  def encode_between(self, before: str, text: str, after: str) -> list[int]:
    """Return the ids of a text in its place in a template.

    Args:
      before, after: text of the template, in which the names of added tokens
        are these tokens.
      text: any text, which becomes none of them.
    """

  def decode(self, ids: Iterable[int]) -> str:
    """The text of `ids`, without padding, stop and other special tokens.

    Ids from `vocab_size` on (of a model with a padded vocabulary) are left out.
    """

  def token_bytes(self) -> token_bytes.TokenBytes:
    """Return the bytes that each id adds to a decoded text.

    Raises:
      ValueError: the tokens have no bytes of their own.
    """

  def save(self, folder: str | os.PathLike):
    """Writes files that `transformers.AutoTokenizer` loads to the same ids.

    A tokenizer that came from such a folder is copied, file by file.

    Raises:
      ValueError: a file cannot be read or written.
    """


def load(path: str | os.PathLike) -> Tokenizer:
  """The tokenizer of a file, by what the file is, or of a folder.

  What lies beside a tokenizer.json or a `.model` is heeded (see `roles`).

  Args:
    path: a GGUF file, a `tokenizer.json`, a SentencePiece `.model`, or a folder
      with one of these.

  Raises:
    ValueError: the file is missing, damaged, or of another kind.
  """
  if os.path.isdir(path):
    path = folders.choose_file(path)
  head = reading.read_bytes(path, 256)
  if head.startswith(gguf_file.MAGIC):
    return gguf_tokenizer.load(path)
  if head.lstrip().startswith(b'{'):
    return huggingface.load_json(path)
  return pieces.load(path)


def check_fits(tokenizer: Tokenizer, vocab_size: int):
  """Checks that the model has a row for every id that can come up.

  A model may have more (a vocabulary padded to a round number), and it may lack
  special tokens that no prompt has: those of images in a model of text, such as
  id 262,144 of Gemma 3.

  Raises:
    ValueError: the tokenizer has ids that the model lacks.
  """
  roles = {*tokenizer.stop_ids, tokenizer.pad_id, tokenizer.bos_id}
  idle = {*tokenizer.special_ids.values()} - roles
  missing = [i for i in range(vocab_size, tokenizer.vocab_size)
             if i not in idle]
  if missing:
    raise ValueError(
        f'the tokenizer does not fit the model: it has {tokenizer.vocab_size} '
        f'ids and config.model.vocab_size is {vocab_size}'
    )
