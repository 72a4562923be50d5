"""Settings of every test: 8 fake CPU devices, strict shapes, full precision."""

import os
import tempfile

from tests import quick_xla

# Before jax is imported. NPROC enlarges XLA's thread pool: with 8 fake devices
# on few cores, collectives can otherwise wait for each other for ever.
os.environ['JAX_PLATFORMS'] = 'cpu'
os.environ['NPROC'] = '16'
os.environ['XLA_FLAGS'] = (
    f'{os.environ.get("XLA_FLAGS", "")} {quick_xla.FLAGS} '
    '--xla_force_host_platform_device_count=8').strip()

import jax  # pylint: disable=wrong-import-position

jax.config.update('jax_numpy_rank_promotion', 'raise')
jax.config.update('jax_default_matmul_precision', 'highest')

# A program that several tests build is compiled once.
_compiled = tempfile.TemporaryDirectory(prefix='score_jax_tests_')
jax.config.update('jax_compilation_cache_dir', _compiled.name)
jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.0)
jax.config.update('jax_persistent_cache_min_entry_size_bytes', 0)
