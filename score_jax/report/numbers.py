"""How a report writes numbers."""


def percent(rate: float) -> str:
  """0.4123 as '41.2%'."""
  return f'{100 * rate:.1f}%'


def points(difference: float) -> str:
  """0.4123 as '+41.2': percentage points, with their sign."""
  return f'{100 * difference:+.1f}'


def count(number: int) -> str:
  """1234 as '1,234'."""
  return f'{number:,}'


def plain(number: float) -> str:
  """Three digits: 0.012345 as '0.0123', 1234.5 as '1,234', 0.0 as '0'."""
  return f'{number:,.0f}' if abs(number) >= 1000 else f'{number:.3g}'


def p_value(p: float) -> str:
  """0.0312 as '0.031'; what three digits cannot tell from 0, as '< 0.001'."""
  return '< 0.001' if p < 0.001 else f'{p:.3f}'


def duration(seconds: float) -> str:
  """4000 seconds as '1 h 6 min'; less than an hour as '3 min 5 s'."""
  minutes, seconds = divmod(round(seconds), 60)
  hours, minutes = divmod(minutes, 60)
  return f'{hours} h {minutes} min' if hours else f'{minutes} min {seconds} s'
