"""Settings of every test: 8 fake CPU devices, strict shapes, full precision."""

import os

# Before jax is imported. NPROC enlarges XLA's thread pool: with 8 fake devices
# on few cores, collectives can otherwise wait for each other for ever.
os.environ['JAX_PLATFORMS'] = 'cpu'
os.environ['NPROC'] = '16'
os.environ['XLA_FLAGS'] = (
    os.environ.get('XLA_FLAGS', '')
    + ' --xla_force_host_platform_device_count=8'
    + ' --xla_backend_optimization_level=0'  # Compiles in half the time.
).strip()

import jax  # pylint: disable=wrong-import-position

jax.config.update('jax_numpy_rank_promotion', 'raise')
jax.config.update('jax_default_matmul_precision', 'highest')
