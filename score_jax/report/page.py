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
  folders = ' or '.join(str(run.folder) for run in runs)
  with runs_lib.expected(f'a file in {folders}'):
    return _page(runs)


def _page(runs):
  script = _source('page.js')
  rows, num_transcripts = transcripts.carried(runs)
  return _rendered(
      'page.html', f'script-src {_hash(script)}; ',
      script=markupsafe.Markup(script),
      data=markupsafe.Markup('[' + ',\n'.join(rows) + ']'),
      num_carried=len(rows),
      num_transcripts=num_transcripts,
      labels=[run.label for run in runs],
      overview=tables.overview(runs),
      differences=tables.differences(runs),
      paper=paper.of_tasks({run.record['config']['task']['name']
                            for run in runs}),
      training=curves.training(runs),
      drawn_studies=curves.studies(runs),
      **_results(runs),
  )


def sweep_page(
    name: str,
    found: Sequence[tables.Table],
    drawn: dict[str, tuple[str, list[charts.Chart]]],
) -> str:
  """The HTML of a sweep.

  Args:
    name: of the sweep.
    found: its tables.
    drawn: titles and charts.
  """
  return _rendered('sweep.html', name=name, tables=found,
                   charts=list(drawn.values()))


def plot(chart: charts.Chart) -> str:
  """A chart as an SVG of its own."""
  return _rendered('plot.svg', it=chart, legend=chart.legend())


def _rendered(template, allowed='', **fields):
  environment = jinja2.Environment(
      loader=jinja2.FileSystemLoader(_FOLDER), autoescape=True,
      undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
  style = _source('page.css')
  text = environment.get_template(template).render(
      style=markupsafe.Markup(style), plot=charts,
      policy=f"default-src 'none'; style-src {_hash(style)}; {allowed}"
             "base-uri 'none'; form-action 'none'", **fields)
  return _NO_TEXT.sub('\ufffd', text)


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
