"""Parameters in files: slices, dtypes, what a device reads, and bad numbers."""

import dataclasses

from flax import traverse_util
import jax
import ml_dtypes
import numpy as np
import pytest

from score_jax import config as config_lib
from score_jax import sharding
from score_jax.models import decoder
from score_jax.models import families
from score_jax.models import stored
from tests import folders


def _stored(arrays, stacked=True, asked=None):
  arrays = [np.asarray(a) for a in arrays]
  shape = arrays[0].shape

  def read(number):
    if asked is not None:
      asked.append(number)
    return arrays[number]

  return stored.Stored(
      tuple(f'w{i}' for i in range(len(arrays))),
      (len(arrays), *shape) if stacked else shape, arrays[0].dtype, read,
      stacked)


@pytest.mark.parametrize('index', [
    np.s_[:, :, :], np.s_[1:3, :, 2:4], np.s_[2:, 1:2, :], np.s_[:1, :, 4:],
    np.s_[0:4:2, ::2, 1:5:3]])
def test_slices_are_those_of_the_stacked_array(index):
  whole = np.arange(4 * 3 * 5, dtype=np.float32).reshape(4, 3, 5)
  asked = []
  param = _stored(whole, asked=asked)
  np.testing.assert_array_equal(param[index], whole[index])
  assert asked == list(range(4))[index[0]]  # And no other layer was read.
  np.testing.assert_array_equal(stored.whole(param), whole)
  np.testing.assert_array_equal(param.part(2), whole[2])


def test_a_parameter_of_no_layer():
  whole = np.arange(12.0).reshape(3, 4)
  param = _stored([whole], stacked=False)
  np.testing.assert_array_equal(param[np.s_[1:, :2]], whole[1:, :2])
  np.testing.assert_array_equal(stored.whole(param), whole)


@pytest.mark.parametrize('dtype', [np.float32, np.float16, ml_dtypes.bfloat16])
@pytest.mark.parametrize('bad', [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_are_named_where_they_are(dtype, bad):
  whole = np.ones((2, 3, 5), dtype)
  whole[1, 2, 4] = bad
  param = _stored(whole)
  np.testing.assert_array_equal(param[np.s_[:, :2, :]], whole[:, :2])
  for index in (np.s_[:, :, :], np.s_[1:, 2:, 4:]):
    with pytest.raises(ValueError, match='w1 has weights that are not finite'):
      param[index]


def test_the_last_of_many_numbers_is_tested():
  # They are tested in pieces of 2^22.
  whole = np.zeros(2**22 + 3, np.float16)
  stored.whole(_stored([whole], stacked=False))
  whole[-1] = np.nan
  with pytest.raises(ValueError, match='w0'):
    stored.whole(_stored([whole], stacked=False))


def test_the_largest_number_of_each_dtype_is_finite():
  for dtype in (np.float32, np.float16, ml_dtypes.bfloat16):
    whole = np.full((1, 2), ml_dtypes.finfo(dtype).max, dtype)
    assert stored.whole(_stored(whole)).dtype == dtype


def _model(family='qwen2', dtype='bfloat16', **changes):
  config = folders.small_config(family, **changes)
  arrays = folders.tensors(config, dtype)
  params, asked = {}, []
  for row in families.table(config):
    names = families.names(config, row)

    def read(number, row=row, names=names):
      asked.append(names[number])
      return families.to_ours(row, arrays[names[number]], config.head_dim)

    params[row.path] = stored.Stored(
        tuple(names), stored.our_shape(row, config),
        np.dtype(folders.DTYPES[dtype]), read, '{}' in row.name)
  return stored.Model('here', config, dtype, params), arrays, asked


def _where(config, *mesh):
  mesh = sharding.make_mesh(config_lib.MeshConfig(*mesh))
  return sharding.tree_shardings(mesh, decoder.logical_axes(config))


@pytest.mark.parametrize('mesh', [(8, 1, 1), (2, 2, 2)])
@pytest.mark.parametrize('param_dtype', ['float32', 'bfloat16'])
def test_load_puts_every_number_on_the_mesh(mesh, param_dtype):
  model, arrays, _ = _model(vocab_size=32)
  config = dataclasses.replace(model.config, param_dtype=param_dtype)
  where = _where(config, *mesh)
  params = stored.load(model, config, where)
  assert jax.tree.map(lambda x: (x.shape, x.dtype), params) == jax.tree.map(
      lambda x: (x.shape, x.dtype), decoder.abstract(config))
  assert jax.tree.map(lambda x: x.sharding, params) == where
  flat = traverse_util.flatten_dict(params)
  for row in families.table(config):
    for i, name in enumerate(families.names(config, row)):
      layer = flat[row.path][i] if '{}' in row.name else flat[row.path]
      np.testing.assert_array_equal(
          families.to_theirs(row, np.asarray(layer, np.float32)),
          arrays[name].astype(np.float32), err_msg=name)


def test_numbers_that_are_not_finite_are_named_with_their_file():
  model, arrays, _ = _model(vocab_size=32)
  arrays['model.layers.1.self_attn.v_proj.bias'][3] = np.nan
  with pytest.raises(ValueError) as error:
    stored.load(model, model.config, _where(model.config, 2, 2, 2))
  assert str(error.value) == ('here: model.layers.1.self_attn.v_proj.bias has '
                              'weights that are not finite')


def test_fields_of_the_run_are_kept():
  model = config_lib.ModelConfig(dtype='bfloat16', width=8, tokenizer='t',
                                 remat='none')
  found = folders.small_config('gemma3')
  both = stored.with_fields(model, found)
  assert both == dataclasses.replace(found, dtype='bfloat16', tokenizer='t',
                                     remat='none')


def test_check_tensors_lists_everything():
  expected = {'a': (1,), 'b': (2, 3), 'c': (4,), 'd': (5,)}
  stored.check_tensors('file', expected, dict(expected), 'a model')
  with pytest.raises(ValueError) as error:
    stored.check_tensors('file', expected, {
        'b': (3, 2), 'd': (6,), 'x': (1,), 'e': (1,)}, 'a model')
  assert str(error.value) == (
      'file: the tensors are not those of a model; missing: a, c; '
      'unknown: e, x; of another shape: b has shape (3, 2), not (2, 3), '
      'd has shape (6,), not (5,)')


def test_the_dtype_is_that_of_most_numbers():
  small = [_stored(np.ones((1, 3), np.float32)) for _ in range(3)]
  large = _stored(np.ones((1, 10), ml_dtypes.bfloat16))
  assert stored.most_common_dtype([*small, large]) == 'bfloat16'
  assert stored.most_common_dtype([*small, *small, large]) == 'float32'
