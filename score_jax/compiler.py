"""What the compiler is told, where its own choice costs time."""

from jax.sharding import Mesh

from score_jax import config as config_lib

_WHOLE = {
    'xla_tpu_enable_windowed_einsum_for_all_gather': False,
    'xla_tpu_enable_windowed_einsum_for_reduce_scatter': False,
}
# By default it takes `INDIVIDUAL_DOT` too: products, on one core.
_BY_ALL_CORES = {
    'xla_cpu_experimental_ynn_fusion_type': 'LIBRARY_FUSION_TYPE_REDUCE'}


def options(config: config_lib.MeshConfig, mesh: Mesh) -> dict[str, bool | str]:
  """The options of an update, for `jax.jit`.

  On TPUs weights come whole before they are multiplied. By itself the compiler
  lets them come by one device's part after another, a product for each, and
  every partial sum goes through the HBM. On CPUs products with a batch, which
  all of attention's are, run on all cores; the library that the compiler takes
  for them by itself has them on one: docs/performance.md.
  """
  platform = mesh.devices.flat[0].platform
  if platform == 'cpu':
    return dict(_BY_ALL_CORES)
  whole = platform == 'tpu' and not config.collective_matmul
  return dict(_WHOLE) if whole else {}
