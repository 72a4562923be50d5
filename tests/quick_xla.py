"""Flags with which XLA compiles a program in a quarter of the time.

What a test runs takes milliseconds, to compile it seconds: so it is neither
optimised nor cut into pieces for threads, and fusions are emitted in the older
and shorter way. The slow tests and the README's commands run without these.
"""

FLAGS = ('--xla_backend_optimization_level=0'
         ' --xla_cpu_use_fusion_emitters=false'
         ' --xla_cpu_parallel_codegen_split_count=1')
