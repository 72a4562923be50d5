"""Prompts and correction instructions as ids: plain or ChatML.

    plain   [bos] question | attempt 1 </s> | \n instruction \n | attempt 2 </s>
    ChatML  <|im_start|>system\n...<|im_end|>\n<|im_start|>user\n question
            <|im_end|>\n<|im_start|>assistant\n | attempt 1 <|im_end|> |
            \n<|im_start|>user\n instruction <|im_end|>\n<|im_start|>assistant\n
            | attempt 2 <|im_end|>

The token that ends an attempt belongs to the attempt: the policy samples it, or
the sampler puts it there when the attempt ran out of tokens.
"""

from collections.abc import Sequence
import dataclasses
import re

import numpy as np

from score_jax.text import tokenizer as tokenizer_lib

CHATML = ('<|im_start|>', '<|im_end|>')


@dataclasses.dataclass(frozen=True)
class PromptFormat:
  """What stands around the question and around the instruction.

  Attributes:
    name: 'plain' or 'chatml'.
    question: text before and after the question.
    instruction: text before and after the correction instruction.
  """

  name: str
  question: tuple[str, str]
  instruction: tuple[str, str]


PLAIN = PromptFormat('plain', ('', ''), ('\n', '\n'))


def chatml(system: str) -> PromptFormat:
  """ChatML with a system turn of this text; '' leaves the turn out."""
  start, end = CHATML
  turn = f'{start}system\n{system}{end}\n' if system else ''
  user = f'{start}user\n'
  answer = f'{end}\n{start}assistant\n'
  return PromptFormat(
      'chatml', (turn + user, answer), ('\n' + user, answer)
  )


def format_for(tokenizer: tokenizer_lib.Tokenizer) -> PromptFormat:
  """The format that the model behind the tokenizer was tuned with.

  Returns:
    `PLAIN` without a chat template. With one, ChatML and the system text that
    the template takes where the messages have none.

  Raises:
    ValueError: the chat template is not ChatML.
  """
  template = tokenizer.chat_template
  if not template:
    return PLAIN
  start, end = CHATML
  if start not in template or end not in template:
    raise ValueError(
        'the chat template of the tokenizer is not ChatML (it lacks '
        f'{start} or {end}); use a ChatML model, or one without a template'
    )
  for name in CHATML:
    if (len(tokenizer.encode(name, specials=True)) != 1
        or len(tokenizer.encode(name)) == 1):
      raise ValueError(
          f'the chat template is ChatML, but {name} is not a special token of '
          'the tokenizer; use the tokenizer file that belongs to the template'
      )
  return chatml(_default_system(template))


def _default_system(template):
  """The system text that a ChatML template writes out itself, or ''.

  A text that is a variable in the template is the caller's, not a default. A
  newline is a character or, in a quoted text of Jinja, an escape.
  """
  start, end = map(re.escape, CHATML)
  turn = re.compile(
      rf"""(['"]?){start}system(?:\n|\\n)(.*?){end}""", re.DOTALL
  )
  for quote, text in turn.findall(template):
    if (quote or '{') not in text:
      return text
  return ''


def first_ids(
    fmt: PromptFormat, tokenizer: tokenizer_lib.Tokenizer, question: str
) -> list[int]:
  """Ids up to attempt 1: begin (if the tokenizer has one) and the question."""
  bos = [] if tokenizer.bos_id is None else [tokenizer.bos_id]
  return bos + _wrapped(fmt, tokenizer, fmt.question, question)


def splice_ids(
    fmt: PromptFormat, tokenizer: tokenizer_lib.Tokenizer, instruction: str
) -> list[int]:
  """Ids between the token that ends an attempt and the next attempt."""
  return _wrapped(fmt, tokenizer, fmt.instruction, instruction)


def _wrapped(fmt, tokenizer, around, text):
  before, after = around
  if fmt.name == 'plain':
    return tokenizer.encode(before + text + after)
  # Encoded apart, so that no text inside a question can open a turn.
  return (
      tokenizer.encode(before, specials=True)
      + tokenizer.encode(text)
      + tokenizer.encode(after, specials=True)
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
