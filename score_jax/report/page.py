"""The page: one file that needs no other, and in which no data can run."""

import base64
from collections.abc import Sequence
import hashlib
import pathlib
import re

import jinja2
import markupsafe

from score_jax.report import charts
from score_jax.report import curves
from score_jax.report import paper
from score_jax.report import runs as runs_lib
from score_jax.report import tables
from score_jax.report import transcripts

_FOLDER = pathlib.Path(__file__).parent

# Controls, halves of surrogate pairs and what else no HTML may hold; a name or
# a config can.
_NO_TEXT = re.compile(
    '[^\t\n -~\xa0-\ud7ff\ue000-\ufdcf\ufdf0-\ufffd\U00010000-\U0010ffff]')


def page(runs: Sequence[runs_lib.Run]) -> str:
  """The HTML of a report.

  Its policy lets the browser load nothing and run one script, the page's own,
  known by its hash. Transcripts are data in it that this script reads and puts
  there as text.

  Raises:
    ValueError: a file of a run is not as a run writes it.
  """
  environment = jinja2.Environment(
      loader=jinja2.FileSystemLoader(_FOLDER), autoescape=True,
      undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
  style, script = _source('page.css'), _source('page.js')
  rows, num_transcripts = transcripts.carried(runs)
  html = environment.get_template('page.html').render(
      style=markupsafe.Markup(style),
      script=markupsafe.Markup(script),
      policy=f"default-src 'none'; style-src {_hash(style)}; "
             f"script-src {_hash(script)}; base-uri 'none'; form-action 'none'",
      data=markupsafe.Markup('[' + ',\n'.join(rows) + ']'),
      num_carried=len(rows),
      num_transcripts=num_transcripts,
      plot=charts,
      labels=[run.label for run in runs],
      overview=tables.overview(runs),
      differences=tables.differences(runs),
      paper=paper.of_tasks({run.record['config']['task']['name']
                            for run in runs}),
      training=curves.training(runs),
      drawn_studies=curves.studies(runs),
      **_results(runs),
  )
  return _NO_TEXT.sub('\ufffd', html)


def _results(runs):
  """Tables of what `results.json` holds."""
  found = {'results': [], 'groups': [], 'studies': []}
  for run in runs:
    if run.results:
      with runs_lib.expected(run.folder / 'results.json'):
        found['results'].append(tables.results(run))
        found['groups'] += tables.groups(run)
        found['studies'] += tables.studies(run)
  return found


def _source(name):
  return (_FOLDER / name).read_text(encoding='utf-8')


def _hash(text):
  digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
  return f"'sha256-{digest}'"
