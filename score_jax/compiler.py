"""What the TPU compiler is told, where its own choice costs time."""

from jax.sharding import Mesh

from score_jax import config as config_lib

_WHOLE = {
    'xla_tpu_enable_windowed_einsum_for_all_gather': False,
    'xla_tpu_enable_windowed_einsum_for_reduce_scatter': False,
}


def options(config: config_lib.MeshConfig, mesh: Mesh) -> dict[str, bool]:
  """The options of an update, for `jax.jit`.

  Weights come whole before they are multiplied. By itself the compiler lets
  them come by one device's part after another, a product for each, and every
  partial sum goes through the HBM: docs/performance.md.
  """
  on_tpus = mesh.devices.flat[0].platform == 'tpu'
  return dict(_WHOLE) if on_tpus and not config.collective_matmul else {}
