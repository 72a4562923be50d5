"""Prompts and correction instructions as ids: plain, or a chat template.

    plain  [bos] question | attempt 1 </s> | \n instruction \n | attempt 2 </s>
    chat   turn of the user with the question, start of the model's turn
           | attempt 1 and the end of its turn
           | turn of the user with the instruction, start of the model's turn
           | attempt 2 and the end of its turn

The turns are what the tokenizer's own chat template writes around messages that
stand in for the question, the first answer and the instruction. The token that
ends an attempt belongs to the attempt: the policy samples it, or the sampler
puts it there when the attempt ran out of tokens. The ids of an attempt stay as
they were sampled, also where the template would write an old answer otherwise
(Qwen3 drops its thoughts).
"""

from collections.abc import Sequence
import dataclasses
import re

import numpy as np

from score_jax.text import roles
from score_jax.text import templates
from score_jax.text import tokenizer as tokenizer_lib

MARK = re.compile(r'<\|\w+\|>|<｜[\w\u2581]+｜>|<(?:start|end)_of_turn>')
"""Text that only ever names an added token."""


@dataclasses.dataclass(frozen=True)
class PromptFormat:
  """What stands around the question and around the instruction.

  Attributes:
    name: 'plain' or 'chat'.
    question: text before and after the question.
    instruction: text before and after the correction instruction, from behind
      the token that ends an attempt.
    trim: whether both lose the spaces and newlines around them.
    end: name of the token that ends an attempt, where the template writes it.
  """

  name: str
  question: tuple[str, str]
  instruction: tuple[str, str]
  trim: bool = False
  end: str = ''


PLAIN = PromptFormat('plain', ('', ''), ('\n', '\n'))


def format_for(
    tokenizer: tokenizer_lib.Tokenizer, thinking: bool = False
) -> PromptFormat:
  """The format that the model behind the tokenizer was tuned with.

  Args:
    tokenizer: see the protocol.
    thinking: have the model think before it answers, where its template knows
      `enable_thinking` (Qwen3).

  Returns:
    `PLAIN` without a chat template, else the turns that the template writes.
    They do not depend on the clock: see `templates`.

  Raises:
    ValueError: the template cannot be used (see `templates`), does not end an
      answer with the first stop token, or needs tokens that are not special.
  """
  if not tokenizer.chat_template:
    return PLAIN
  turns = templates.read_turns(
      tokenizer.chat_template, tokenizer.bos_token, tokenizer.eos_token,
      thinking)
  before, after = turns.instruction
  end = _pattern(tokenizer).match(before)
  if not end or tokenizer.added_ids[end.group()] != tokenizer.stop_ids[0]:
    raise ValueError(
        'the chat template of the tokenizer does not end an answer with a stop '
        f'token but goes on with {before[:20]!r}; the stop tokens are '
        f'{tokenizer.stop_ids}: use the tokenizer files that belong to it'
    )
  fmt = PromptFormat(
      'chat', turns.question, (before[end.end():], after), turns.trim,
      end.group())
  _check_marks(tokenizer, ''.join((*turns.question, *turns.instruction)))
  start = tokenizer.encode(turns.question[0], specials=True)[:2]
  if start == 2 * [tokenizer.bos_id]:
    raise ValueError(
        'the chat template of the tokenizer writes its begin token twice')
  return fmt


def first_ids(
    fmt: PromptFormat, tokenizer: tokenizer_lib.Tokenizer, question: str
) -> list[int]:
  """Return the ids up to attempt 1.

  A chat template writes the begin of the sequence itself, or there is none, as
  in transformers. A plain prompt begins with the tokenizer's, if it has one.
  """
  if fmt.name == 'chat':
    return _wrapped(fmt, tokenizer, fmt.question, question)
  bos = [] if tokenizer.bos_id is None else [tokenizer.bos_id]
  return bos + _wrapped(fmt, tokenizer, fmt.question, question)


def splice_ids(
    fmt: PromptFormat, tokenizer: tokenizer_lib.Tokenizer, instruction: str
) -> list[int]:
  """Ids between the token that ends an attempt and the next attempt."""
  before, after = fmt.instruction
  if not fmt.end:
    return _wrapped(fmt, tokenizer, (before, after), instruction)
  # The token that ends an attempt may drop the spaces behind it.
  ids = _wrapped(fmt, tokenizer, (fmt.end + before, after), instruction)
  return ids[ids.index(tokenizer.stop_ids[0]) + 1 :]


def _wrapped(fmt, tokenizer, around, text):
  before, after = around
  if fmt.trim:
    text = text.strip()
  if fmt.name == 'plain':
    return tokenizer.encode(before + text + after)
  return tokenizer.encode_between(before, text, after)


def _pattern(tokenizer):
  return roles.names_pattern(tuple(tokenizer.added_ids))


def _check_marks(tokenizer, text):
  """Checks that the marks of turns are tokens, and in a question are not."""
  pattern = _pattern(tokenizer)
  for name in sorted({*MARK.findall(text), *pattern.findall(text)}):
    id_ = tokenizer.added_ids.get(name)
    if (tokenizer.encode(name, specials=True) != [id_]
        or id_ in tokenizer.encode(name)):
      raise ValueError(
          f'the chat template writes {name}, which is not a special token of '
          'the tokenizer; use the tokenizer file that belongs to the template'
      )


def pad_left(
    ids_list: Sequence[Sequence[int]], length: int, pad_id: int
) -> tuple[np.ndarray, np.ndarray]:
  """Prompts as one array, each ending in the last slot.

  Args:
    ids_list: N prompts.
    length: slots, S.
    pad_id: what the slots before a prompt hold.

  Returns:
    tokens_NS int32 and valid_NS bool, False on padding.

  Raises:
    ValueError: a prompt is longer than `length`; prompts are never cut.
  """
  tokens_NS = np.full((len(ids_list), length), pad_id, np.int32)
  valid_NS = np.zeros((len(ids_list), length), bool)
  for n, ids in enumerate(ids_list):
    if len(ids) > length:
      raise ValueError(
          f'prompt {n} has {len(ids)} tokens and there are {length} slots'
      )
    tokens_NS[n, length - len(ids):] = ids
    valid_NS[n, length - len(ids):] = True
  return tokens_NS, valid_NS


def choose_bucket(longest: int, buckets: Sequence[int]) -> int:
  """The smallest of the rising `buckets` that holds `longest` tokens.

  Raises:
    ValueError: none does.
  """
  for bucket in buckets:
    if longest <= bucket:
      return bucket
  raise ValueError(
      f'a prompt has {longest} tokens, more than the largest of '
      f'config.rollout.prompt_buckets {tuple(buckets)}'
  )


def keep_fitting(
    lengths: Sequence[int],
    ids_of_problems: Sequence[str],
    longest_bucket: int,
    split: str,
    long_prompts: str = 'error',
) -> tuple[list[int], str]:
  """Which prompts of a split fit the largest bucket.

  Args:
    lengths: tokens of each prompt.
    ids_of_problems: `Problem.id` of each.
    longest_bucket: the last of `config.rollout.prompt_buckets`.
    split: name of the split, for the message.
    long_prompts: `config.task.long_prompts`, 'error' or 'drop'.

  Returns:
    Indices that fit, in order, and a line that counts and lists what was left
    out ('' if nothing was), which the caller has to show.

  Raises:
    ValueError: a prompt does not fit and `long_prompts` is 'error', or none
      fits.
  """
  kept = [n for n, length in enumerate(lengths) if length <= longest_bucket]
  too_long = [
      name for name, length in zip(ids_of_problems, lengths, strict=True)
      if length > longest_bucket
  ]
  if not too_long:
    return kept, ''
  names = ', '.join(too_long[:5]) + (', ...' if len(too_long) > 5 else '')
  found = (
      f'{len(too_long)} of {len(lengths)} prompts of the split {split!r} are '
      f'longer than {longest_bucket} tokens, the longest {max(lengths)}: '
      f'{names}'
  )
  if long_prompts == 'drop' and kept:
    return kept, f'left out: {found}'
  raise ValueError(
      f'{found}; add a larger bucket to config.rollout.prompt_buckets'
      + ('' if not kept else " or set config.task.long_prompts='drop'")
  )
