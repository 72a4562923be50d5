r"""Units of an answer, and words that do more than name one.

Units that are known have one name each and may be compound: `km/h`, `m s^{-2}`,
`miles per hour`. An unknown noun (`9 values`) is a unit without a name. Words
that multiply, divide, order, negate, bound or hedge a number are no unit.
"""

import re

_SPELLINGS = (
    'degree degrees deg', 'radian radians rad rads', 'percent percents pct',
    'dollar dollars usd us$ buck bucks', 'cent cents', 'euro euros eur',
    'sterling gbp', 'pound pounds', 'lb lbs', 'yen jpy', 'yuan cny rmb',
    'rupee rupees inr', 'won krw', 'ruble rubles rouble roubles rub',
    'lira liras try', 'franc francs chf', 'peso pesos mxn', 'real brl',
    'aud', 'cad', 'nzd', 'hkd', 'sgd', 'sek', 'nok', 'dkk', 'pln', 'czk', 'zar',
    'shekel shekels ils', 'dong vnd', 'baht thb', 'naira ngn', 'hryvnia uah',
    'bitcoin bitcoins btc', 'cedi ghs', 'tenge kzt', 'php', 'guarani pyg',
    'colon crc', 'kip lak', 'tugrik mnt', 'lari gel', 'manat azn', 'rial irr',
    'millimeter millimeters millimetre millimetres mm',
    'centimeter centimeters centimetre centimetres cm',
    'decimeter decimeters decimetre decimetres dm',
    'meter meters metre metres m',
    'kilometer kilometers kilometre kilometres km kms',
    'inch inches in', 'foot feet ft', 'yard yards yd yds', 'mile miles mi',
    'second seconds sec secs s', 'millisecond milliseconds ms',
    'minute minutes min mins', 'hour hours hr hrs h', 'day days',
    'week weeks wk', 'month months', 'year years yr yrs',
    'gram grams g gm gms', 'kilogram kilograms kg kgs kilo kilos',
    'milligram milligrams mg', 'ounce ounces oz', 'ton tons', 'tonne tonnes',
    'liter liters litre litres l', 'milliliter milliliters ml',
    'gallon gallons gal', 'pint pints pt', 'quart quarts qt', 'cup cups',
    'acre acres', 'hectare hectares ha', 'newton newtons n',
    'joule joules j', 'watt watts w', 'volt volts v', 'pascal pascals pa',
    'celsius', 'fahrenheit', 'am a.m. a.m', 'pm p.m. p.m')
NAMES = {spelling: names.split()[0] for names in _SPELLINGS
          for spelling in names.split()}
COMPOUNDS = {
    'mph': 'mile/hour', 'kph': 'kilometer/hour', 'kmh': 'kilometer/hour',
    'kmph': 'kilometer/hour', 'mpg': 'mile/gallon', 'fps': 'foot/second',
    'mps': 'meter/second', 'sqft': 'foot^2'}
SIGNS = {
    '$': 'dollar', '€': 'euro', '£': 'sterling', '¥': 'yen', '₹': 'rupee',
    '₩': 'won', '₽': 'ruble', '₺': 'lira', '₣': 'franc', '₱': 'php',
    '₪': 'shekel', '₫': 'dong', '฿': 'baht', '₦': 'naira', '₴': 'hryvnia',
    '₿': 'bitcoin', '₵': 'cedi', '₸': 'tenge', '₲': 'guarani', '₡': 'colon',
    '₭': 'kip', '₮': 'tugrik', '₾': 'lari', '₼': 'manat', '﷼': 'rial',
    '¢': 'cent', '₨': 'rupee', '₤': 'sterling', '₳': 'austral', '¤': 'currency'}
"""Names of the units that signs of a currency stand for."""
PREFIXES = {'US': 'dollar', 'A': 'aud', 'AU': 'aud', 'C': 'cad', 'CA': 'cad',
            'NZ': 'nzd', 'HK': 'hkd', 'S': 'sgd', 'R': 'real', 'MX': 'peso',
            'NT': 'twd'}
"""Names of the units of dollars that are not the American one."""
CODES = ('USD|EUR|GBP|JPY|CNY|RMB|INR|KRW|RUB|TRY|CHF|MXN|BRL|AUD|CAD|NZD|HKD|'
         'SGD|SEK|NOK|DKK|PLN|CZK|ZAR|ILS|VND|THB|NGN|UAH|BTC|PHP')
_MONEY = frozenset(SIGNS.values()) | frozenset(PREFIXES.values()) | frozenset(
    NAMES[code.lower()] for code in CODES.split('|'))

_ONES = ('zero one two three four five six seven eight nine ten eleven twelve '
         'thirteen fourteen fifteen sixteen seventeen eighteen nineteen twenty '
         'thirty forty fifty sixty seventy eighty ninety')
_TENTHS = ('first third fourth fifth sixth seventh eighth ninth tenth eleventh '
           'twelfth thirteenth fourteenth fifteenth sixteenth seventeenth '
           'eighteenth nineteenth twentieth thirtieth fortieth fiftieth '
           'sixtieth seventieth eightieth ninetieth hundredth thousandth '
           'millionth billionth trillionth zeroth nth th st nd rd')
# An `s` behind makes no difference, but for those that are then nouns.
_NOUNS = frozenset([
    'points', 'squares', 'cubes', 'roots', 'powers', 'bases', 'limits',
    'bounds', 'inverses', 'opposites', 'negatives', 'positives',
    'remainders', 'decimals', 'zeros', 'debts', 'losses'])
_TELLING = frozenset(f"""
    {_ONES} {_TENTHS} half halve halves quarter
    hundred thousand million billion trillion quadrillion quintillion zillion
    googol lakh crore myriad grand dozen score gross pair couple trio double
    twice thrice triple quadruple fold tuple k bn mn tn mil mio kilo mega giga
    tera micro nano milli squared cubed square cube factorial power root
    inverse reciprocal opposite negative negated minus plus positive point
    repeating recurring times divided multiplied by mod modulo remainder choose
    base binary octal hexadecimal hex ternary decimal pi e i x y z n infinity
    infinite infinitely not no never nothing none neither nor is are was were
    isn don doesn if but maybe perhaps possibly probably likely unless else
    otherwise either except excluding without with to through thru versus vs
    than more less fewer greater smaller larger bigger higher lower over under
    above below beyond up down upward upwards downward downwards about
    approximately approx roughly almost nearly around circa least most maximum
    minimum max maximal minimal bound bounded limit upper exceeding within
    between wrong incorrect false impossible guess or and any anything
    something short deficit debt loss owed behind owing decrease decreased
    ago bc onward onwards off surplus
    mille permil permille permyriad bps basis ppm ppb""".split())
_WORD = re.compile('[a-z]+')
_ATOM = re.compile(
    r'\s*+(?:(?P<per>/|per\b|a(?=\s)|an(?=\s))|(?P<times>\\cdot|[*·-])|'
    r'(?P<power>\^?\{?(?P<exponent>-?[1-9])\}?)|'
    r'(?P<name>(?:us)?\$|[a-z]+(?:\.[a-z]+)*\.?))', re.ASCII)
_SQUARE = re.compile(r'\b(square|sq\.?|cubic|cu\.)\s+([a-z]+)')


def unit(words: str) -> str | None:
  r"""Return the name of a unit.

  Args:
    words: such as `km/h`, `square feet` or `m\cdot s^{-2}`.

  Returns:
    A name that all spellings share; '' for a unit that is not known; None if
    the words say more than a unit does.
  """
  if words.strip(' .') in ('K', 'M', 'B', 'T', 'G', 'MM'):
    return None
  words = words.lower().replace('per cent', 'percent').strip(' .()')
  found = _WORD.findall(_SQUARE.sub(r'\2', words))
  if not found or any(
      word in _TELLING or word.removesuffix('s') in _TELLING
      for word in found if word not in NAMES and word not in _NOUNS):
    return None
  words = _SQUARE.sub(
      lambda found: f'{found[2]}^{3 if found[1][:2] == "cu" else 2}', words)
  for short, long in COMPOUNDS.items():
    words = re.sub(rf'\b{short}\b', long, words)
  return _product(words)


def money(name: str) -> bool:
  """Tell whether a unit is a currency."""
  return name in _MONEY


def agree(one: str, other: str) -> bool:
  """Tell whether two units can be the same; '' agrees with all.

  Pounds may be money or a mass.
  """
  if not one or not other or one == other:
    return True
  return any(re.sub(r'\bpound\b', meaning, one)
             == re.sub(r'\bpound\b', meaning, other)
             for meaning in ('lb', 'sterling'))


def _product(words) -> str:
  """The name of a product or quotient of units; '' if one is not known."""
  exponents, at, sign, name = {}, 0, 1, ''
  while at < len(words.rstrip()):
    atom = _ATOM.match(words, at)
    if not atom:
      return ''
    at = atom.end()
    if atom['per']:
      sign = -1
    elif atom['power']:
      if not name:
        return ''
      exponents[name] += sign * (int(atom['exponent']) - 1)
      name = ''
    elif atom['name']:
      name = NAMES.get(atom['name'], NAMES.get(atom['name'].strip('.')))
      if not name:
        return ''
      exponents[name] = exponents.get(name, 0) + sign
  return '*'.join(f'{name}^{exponent}' if exponent != 1 else name
                  for name, exponent in sorted(exponents.items()) if exponent)
