"""The page in a real browser: Chromium without a window, and its driver.

Both have to be on PATH, as Debian's `chromium` and `chromium-driver` are.
Selenium is of the extra `browser`, and imported only when the tests run.
"""

import json
import shutil

import pytest

from score_jax.report import page as page_lib
from score_jax.report import runs as runs_lib
from tests.report import made

pytestmark = pytest.mark.browser

ROWS = 5000
BAD = 100  # Every so many rows hold a text that no page likes.


def _rows():
  for i in range(ROWS):
    stage = ('base', 'stage1', 'stage2')[i % 3]
    texts = {'tags': {'level': f'Level {i % 5}'}}
    if i % BAD == 0:
      bad = made.HOSTILE[i // BAD % len(made.HOSTILE)]
      texts = {'id': f'bad {i}.', 'problem': bad, 'answer': bad,
               'attempts': [bad, f'{bad} end'],
               'tags': {bad: bad}}
    elif i == ROWS - 1:
      texts['attempts'] = ['one', 'one two', 'one two three']
      texts |= {'grades': [0, 0, 1], 'truncated': [False] * 3}
    else:
      texts['attempts'] = [
          f'First 2 + {i} is 5.\nThen {i} - 1 is four.\n' + 'And on. ' * 200,
          f'First 2 + {i} is 5.\nThen {i} - 1 is three.\n' + 'And on. ' * 200]
    yield made.transcript(i, stage, **texts)


@pytest.fixture(name='file', scope='module')
def _file(tmp_path_factory):
  """A page with all of them, and with a hostile run beside."""
  folder = tmp_path_factory.mktemp('browser')
  name = made.HOSTILE[1].replace('/', '')
  bad = made.run(folder / name, config={'name': ' '.join(made.HOSTILE)},
                 transcripts=[])
  runs = runs_lib.read([str(made.run(folder / 'made', transcripts=[*_rows()])),
                        str(bad)])
  path = folder / 'report.html'
  path.write_text(page_lib.page(runs))
  return path


def _open(file, *arguments):
  from selenium import webdriver
  from selenium.webdriver.chrome import service
  options = webdriver.ChromeOptions()
  options.binary_location = shutil.which('chromium')
  for argument in ('--headless=new', '--no-sandbox', '--disable-gpu',
                   '--window-size=1400,1000', *arguments):
    options.add_argument(argument)
  options.set_capability('goog:loggingPrefs',
                         {'browser': 'ALL', 'performance': 'ALL'})
  driver = webdriver.Chrome(
      options=options, service=service.Service(shutil.which('chromedriver')))
  driver.get(file.as_uri())
  return driver


@pytest.fixture(name='browser')
def _browser(file):
  """The page, open; whatever a test does, nothing in it may run."""
  driver = _open(file)
  try:
    yield driver
    # A dialog would raise here.
    assert driver.execute_script('return globalThis.ran') is None
    assert driver.get_log('browser') == []
    sent = [json.loads(entry['message'])['message']
            for entry in driver.get_log('performance')]
    urls = [event['params']['request']['url'] for event in sent
            if event['method'] == 'Network.requestWillBeSent']
    assert set(urls) == {file.as_uri()}
  finally:
    driver.quit()


def _find(browser, selector):
  return browser.find_element('css selector', selector)


def _all(browser, selector):
  return browser.find_elements('css selector', selector)


def _text(browser, selector):
  """The text of an element, as it is, and not as it is laid out."""
  return _find(browser, selector).get_property('textContent')


def _count(browser):
  return _text(browser, '#count')


def _facet(browser, name):
  from selenium.webdriver.support import select
  return select.Select(_find(browser, f'select[aria-label="{name}"]'))


def test_it_opens_with_every_transcript_and_few_of_them_in_the_page(browser):
  assert _count(browser) == '5,000 of 5,000 transcripts'
  assert 10 < len(_all(browser, '.row')) < 60
  assert _text(browser, '#detail h3') == 'bad 0.'
  assert _text(browser, '#detail pre') == made.HOSTILE[0]


def test_filters_leave_what_they_say(browser):
  # Grades are the two last bits of the number, but for the last row.
  _find(browser, 'input[value="i→c"]').click()
  assert _count(browser) == '1,251 of 5,000 transcripts'
  assert _text(browser, '.row:first-child .below') == (
      'wrong → right · base · made-9')
  _find(browser, 'input[value="c→i"]').click()
  assert _count(browser) == '1,250 of 5,000 transcripts'
  _find(browser, 'input[value="unchanged"]').click()  # 2 modulo 4, 0 modulo 7.
  assert _count(browser) == '179 of 5,000 transcripts'
  _find(browser, 'input[value="unchanged"]').click()
  _find(browser, 'input[value="truncated"]').click()  # 2 of 4, 0 modulo 50.
  assert _count(browser) == '50 of 5,000 transcripts'
  _facet(browser, 'stage').select_by_visible_text('base')
  assert _count(browser) == '17 of 5,000 transcripts'  # 150, 450, ..., 4950.
  _find(browser, 'input[value="all"]').click()
  _find(browser, 'input[value="truncated"]').click()
  _facet(browser, 'level').select_by_visible_text('Level 2')
  assert _count(browser) == '333 of 5,000 transcripts'


def test_search_finds_a_row_and_reads_both_attempts(browser):
  _find(browser, '#search').send_keys('then 4321 - 1 IS')
  assert _count(browser) == '1 of 5,000 transcripts'
  end = 'And on. ' * 200
  assert _text(browser, '#detail h3') == 'made-4321'
  assert _text(browser, '.left pre') == (
      f'First 2 + 4321 is 5.\nThen 4321 - 1 is four.\n{end}')
  assert _text(browser, '.right pre') == (
      f'First 2 + 4321 is 5.\nThen 4321 - 1 is three.\n{end}')
  marked = lambda tag: [element.text for element in _all(browser, tag)]
  assert (marked('del'), marked('ins')) == (['four'], ['three'])
  assert _find(browser, 'del').value_of_css_property('background-color') != (
      _find(browser, 'ins').value_of_css_property('background-color'))


def test_no_match_leaves_an_empty_list(browser):
  _find(browser, '#search').send_keys('nowhere to be found')
  assert _count(browser) == '0 of 5,000 transcripts'
  assert not _all(browser, '.row, #detail > *')


def test_the_keyboard_reaches_the_last_row_and_more_than_two_attempts(browser):
  from selenium.webdriver.common.keys import Keys
  rows = _find(browser, '#list')
  rows.send_keys(Keys.ARROW_DOWN, Keys.ARROW_DOWN, Keys.ARROW_UP)
  assert _text(browser, '#detail h3') == 'made-3'  # Of stage base, the second.
  rows.send_keys(Keys.END)
  assert _text(browser, '#detail h3') == 'made-4997'
  # In one go: rows are made anew when the list scrolls.
  place, selected, below_top, above_bottom = browser.execute_script('''
      const list = document.getElementById('list');
      const row = document.getElementById(
          list.getAttribute('aria-activedescendant'));
      const box = row.getBoundingClientRect();
      const of = list.getBoundingClientRect();
      return [row.getAttribute('aria-posinset'),
              row.getAttribute('aria-selected'),
              box.top - of.top, of.bottom - box.bottom];''')
  assert (place, selected) == ('5000', 'true')
  assert below_top >= 0 and above_bottom >= 0
  _find(browser, '#search').send_keys('one two three')
  assert _text(browser, '.right pre') == 'one two three'
  _facet(browser, 'Attempt on the right').select_by_visible_text('Attempt 2')
  assert _text(browser, '.right pre') == 'one two'
  assert _text(browser, '.left pre') == 'one'


def test_every_hostile_text_is_shown_as_what_it_is(browser):
  for number, bad in enumerate(made.HOSTILE):
    if len(bad) > 20_000:
      continue  # Its middle is left out.
    search = _find(browser, '#search')
    search.clear()
    search.send_keys(f'bad {BAD * number}.')
    assert _count(browser) == '1 of 5,000 transcripts'
    shown = browser.execute_script(
        'return JSON.stringify([...document.querySelectorAll("#detail pre")]'
        '.map((element) => element.textContent))')
    assert json.loads(shown) == [bad, bad, bad, f'{bad} end']
    assert browser.execute_script(
        'return document.querySelectorAll("#detail img, #detail script, '
        '#detail a, #detail iframe, #detail svg").length') == 0


def test_text_that_turns_round_stays_in_its_element(browser):
  for selector in ('#detail pre', '.row .title', '#detail h3 bdi'):
    assert _find(browser, selector).value_of_css_property('unicode-bidi') in (
        'isolate', 'plaintext')


@pytest.mark.parametrize('arguments, paper, ink', [
    ((), '251, 251, 249', '29, 31, 35'),
    (('--blink-settings=preferredColorScheme=0',), '20, 22, 26',
     '230, 231, 234'),
])
def test_it_is_light_or_dark_and_fits_a_phone(file, arguments, paper, ink):
  driver = _open(file, *arguments)
  try:
    driver.execute_cdp_cmd('Emulation.setDeviceMetricsOverride', {
        'width': 390, 'height': 844, 'deviceScaleFactor': 2, 'mobile': True})
    body = _find(driver, 'body')
    assert paper in body.value_of_css_property('background-color')
    assert ink in body.value_of_css_property('color')
    assert driver.execute_script(
        'return document.documentElement.scrollWidth') == 390
    left, right = _find(driver, '.left').rect, _find(driver, '.right').rect
    assert left['y'] < right['y'] and left['x'] == right['x']  # One column.
  finally:
    driver.quit()
