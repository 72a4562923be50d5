"""Graders of modules that only this process has loaded."""

import functools
import importlib.util
import sys

import pytest

from score_jax.grading import pool
from score_jax.grading import send

_MODULE = """
import functools

def same(gold, text):
  return int(gold == text)

def limited(gold, text, most):
  return int(len(text) <= most)

within_3 = functools.partial(limited, most=3)

def made():
  def inner(gold, text):
    return 1
  return inner
"""
_LIMITS = pool.Limits(cpu_s=30.0, wall_s=120.0, memory_bytes=2**31)


@pytest.fixture
def loaded(tmp_path, monkeypatch):
  """A module as --config loads it: by its path, under a name of no file."""
  path = tmp_path / 'my task.py'
  path.write_text(_MODULE)
  monkeypatch.delitem(sys.modules, 'config_config', raising=False)
  spec = importlib.util.spec_from_file_location('config_config', path)
  sys.modules['config_config'] = module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  yield module
  sys.modules.pop('config_config', None)


def test_workers_load_the_file_of_a_config(loaded):
  for grade, text in ((loaded.same, 'abcd'), (loaded.within_3, 'abc'),
                      (functools.partial(loaded.limited, most=4), 'abcd')):
    grader = pool.Pool(grade, 1, _LIMITS)
    try:
      found = grader.submit([(text, text), ('a', 'abcdefg')]).result()
    finally:
      grader.close()
    assert found.grades == [1, 0] and not found.crashes


@pytest.mark.parametrize('grade', [
    lambda gold, text: 1,
    functools.partial(lambda gold, text, x: 1, x=1),
])
def test_what_cannot_be_sent_is_named(grade):
  with pytest.raises(ValueError, match='cannot be sent to worker processes'):
    send.dumps(grade)


def test_an_inner_function_is_named(loaded):
  with pytest.raises(ValueError, match='made.<locals>.inner.* cannot be sent'):
    send.dumps(loaded.made())


def test_a_function_of_main_is_named(loaded):
  loaded.same.__module__ = '__main__'
  with pytest.raises(ValueError, match='__main__, which worker processes'):
    send.dumps(loaded.same)


def test_importable_functions_bring_no_file():
  before = dict(sys.modules)
  assert send.loads(send.dumps(pool.Pool.close)) is pool.Pool.close
  assert sys.modules == before
