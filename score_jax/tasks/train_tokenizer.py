"""Trains the SentencePiece model of the chain task.

  python -m score_jax.tasks.train_tokenizer --out=chain.model

writes the file that is shipped as `chain.model` beside this module. Every
digit and operation is a piece of its own, and the fixed wording of prompts,
instruction and attempts is made of user-defined pieces, so that transcripts
are short: the instruction takes one token a sentence.

The ids 0 to 3 are the padding, begin, end and unknown pieces.
"""

import argparse
import io
from pathlib import Path
import re

import sentencepiece

from score_jax.tasks import chain

PIECES = (
    chain.PREFIX,
    chain.SUFFIX,
    chain.ANSWER,
    chain.SEPARATOR,
    chain.KEEP,
    chain.REDO,
    *re.findall(r'[^.]*\.', chain.INSTRUCTION),
    '=',
    '\n',  # Around the instruction, see `text.prompts`.
)
"""The fixed wording, whose texts become one piece each."""

VOCAB_SIZE = 64
"""Upper limit of the vocabulary; the trainer takes what the text needs."""


def texts(seed: int, size: int) -> list[str]:
  """The training text: the prompts of `size` problems of the train split.

  They hold every digit and operation; the rest of the transcripts consists of
  `PIECES`. So the model does not depend on the rates of the base corpus.
  """
  return [row['prompt'] for row in chain.rows('train', seed, size)]


def train(seed: int = 0, size: int = 2000) -> bytes:
  """Trains the model.

  Args:
    seed: seed of the problems.
    size: number of problems.

  Returns:
    The serialised SentencePiece model; equal arguments give equal pieces.
  """
  model = io.BytesIO()
  sentencepiece.SentencePieceTrainer.train(
      sentence_iterator=iter(texts(seed, size)),
      model_writer=model,
      model_type='unigram',
      vocab_size=VOCAB_SIZE,
      hard_vocab_limit=False,
      character_coverage=1.0,
      normalization_rule_name='identity',
      add_dummy_prefix=False,
      remove_extra_whitespaces=False,
      split_digits=True,
      user_defined_symbols=[piece.replace(' ', '\u2581') for piece in PIECES],
      pad_id=0,
      bos_id=1,
      eos_id=2,
      unk_id=3,
      num_threads=1,
      minloglevel=1,
  )
  return model.getvalue()


def main() -> None:
  """Parses the command line and writes the model."""
  parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
  parser.add_argument('--out', type=Path, required=True, help='file to write')
  args = parser.parse_args()
  args.out.write_bytes(train())


if __name__ == '__main__':
  main()
