"""Trains the SentencePiece model of an embedded task.

  python -m score_jax.tasks.train_tokenizer --task=chain --out=chain.model

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

from score_jax import config as config_lib
from score_jax.tasks import bands
from score_jax.tasks import chain
from score_jax.tasks import hops
from score_jax.tasks import latent

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
"""The fixed wording of `chain`, whose texts become one piece each."""

WORDING = {'chain': PIECES, 'bands': latent.all_pieces(bands.FAMILY),
           'hops': latent.all_pieces(hops.FAMILY)}
TASKS = {'chain': chain.task, 'bands': bands.task, 'hops': hops.task}

VOCAB_SIZE = 80
"""Upper limit of the vocabulary; the trainer takes what the text needs."""


def texts(task: str, size: int) -> list[str]:
  """The training text: the prompts of `size` problems of the train split.

  They hold every operation, and with the ten digits all that the transcripts
  consist of beside `WORDING`. So the model does not depend on the rates of the
  base corpus.
  """
  made = TASKS[task](config_lib.TaskConfig(train_problems=size))
  return [row['prompt'] for row in made.rows('train')] + ['0123456789']


def train(task: str, size: int = 2000) -> bytes:
  """Trains the model.

  Args:
    task: a key of `TASKS`.
    size: number of problems.

  Returns:
    The serialised SentencePiece model; equal arguments give equal pieces.
  """
  model = io.BytesIO()
  sentencepiece.SentencePieceTrainer.train(
      sentence_iterator=iter(texts(task, size)),
      model_writer=model,
      model_type='unigram',
      vocab_size=VOCAB_SIZE,
      hard_vocab_limit=False,
      character_coverage=1.0,
      normalization_rule_name='identity',
      add_dummy_prefix=False,
      remove_extra_whitespaces=False,
      split_digits=True,
      user_defined_symbols=[piece.replace(' ', '\u2581')
                            for piece in WORDING[task]],
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
  parser.add_argument('--task', choices=TASKS, default='chain')
  parser.add_argument('--out', type=Path, required=True, help='file to write')
  args = parser.parse_args()
  args.out.write_bytes(train(args.task))


if __name__ == '__main__':
  main()
