"""Every experiment by name: the defaults of `score_jax.config` and a few lines.

`stage1.py` and `stage2.py` share these; they differ in where a run ends, so
both can go on in one workdir.
"""

import ml_collections

from score_jax import config as config_lib
from score_jax.recipes import methods

ConfigDict = ml_collections.ConfigDict


def chain(config: ConfigDict):
  """The embedded task: base, Stage I and Stage II in minutes on two cores.

  Expected: base acc@t1 and acc@t2 about 38%; after Stage II acc@t2 above 95%,
  acc@t1 as before (RESULTS.md). Attempt 1 has room for two steps of working
  and an answer, and no more: see `score_jax.tasks.chain`.
  """
  # Going on is learned last: after 600 steps only on some machines and seeds.
  config.base.steps = 1200
  config.base.optimizer.update(
      learning_rate=3e-3, warmup_steps=50, schedule='cosine', clip_norm=1.0,
      b2=0.99)
  for stage in (config.stage1, config.stage2):
    stage.beta1 = 0.1
    stage.beta2 = 1.0
    stage.optimizer.update(warmup_steps=10, clip_norm=1.0, b2=0.99)
  # Parts of 32 rows stay in a CPU's cache: 2.5 times faster than one of 128.
  config.base.micro_batches = 4
  config.stage1.micro_batches = config.stage2.micro_batches = 8
  config.stage1.steps = 90
  config.stage1.optimizer.learning_rate = 5e-4
  config.stage2.steps = 60
  config.stage2.optimizer.learning_rate = 3e-4


def bands(config: ConfigDict):
  """The first task of the comparison: arithmetic, 64 training problems.

  See `score_jax.tasks.latent` for how it is made, RESULTS.md for what was tried
  and how each method fares. All settings were chosen on the split `validation`.
  """
  chain(config)
  config.task.name = 'bands'
  _latent(config)
  config.model.vocab_size = 31
  config.base.steps = 500


def hops(config: ConfigDict):
  """The second task of the comparison: lookups in the prompt. As `bands`."""
  chain(config)
  config.task.name = 'hops'
  _latent(config)
  config.model.update(vocab_size=72, num_layers=2, mlp_width=128)
  config.rollout.update(prompt_buckets=(10,), attempt_tokens=(6, 6))
  config.base.steps = 700


def _latent(config: ConfigDict):
  config.task.train_problems = 64
  config.rollout.prompts = 16
  for stage in (config.stage1, config.stage2):
    stage.micro_batches = 4
    stage.optimizer.learning_rate = 1e-4
  config.stage1.steps = 90
  config.stage2.steps = 30


def math(config: ConfigDict):
  """Any model on MATH at the paper's settings: 12,000 problems, 500 held out.

      --config.model.checkpoint=DIR --config.task.data_dir=FOLDER

  DIR is a Hugging Face folder; FOLDER is of `score_jax.prepare_data`, or has
  the original files in math/. For an accelerator: 512 rollouts a step in
  bfloat16. The paper's 3,000 steps are taken as those of both stages together.
  Its result for Gemini 1.5 Flash: acc@t2 41.4 -> 64.4, delta -11.2 -> +4.4.
  With LoRA (--config.model.lora.rank=16) a learning rate about ten times as
  high is usual.
  """
  config.task.name = 'math'
  config.task.long_prompts = 'drop'
  _accelerator(config, prompts=64, samples=8)
  config.rollout.update(prompt_buckets=(256, 512, 1024),
                        attempt_tokens=(1024, 1024))
  for stage in (config.stage1, config.stage2):
    stage.steps = 1500
    stage.optimizer.learning_rate = 5e-6
    stage.beta2 = 0.1


def gsm8k(config: ConfigDict):
  """Any model on GSM8K, at the paper's settings for MATH.

  As `math`; attempts are half as long, and FOLDER may be that of train.jsonl
  and test.jsonl itself.
  """
  math(config)
  config.task.name = 'gsm8k'
  config.rollout.attempt_tokens = (512, 512)


def code(config: ConfigDict):
  """Any model on MBPP at the paper's settings, evaluated on HumanEval.

      --config.model.checkpoint=DIR --config.task.data_dir=FOLDER

  Also evaluated on HumanEvalFix, the public set of programs to repair, in place
  of MBPP-R. The paper's 1,500 steps are taken as those of both stages together.
  Its result for Gemini 1.0 Pro: acc@t2 56.7 -> 64.6, delta +3.0 -> +12.2,
  repair 47.3 -> 60.6. Programs run in a sandbox: see docs/grading.md.
  """
  config.task.name = 'code'
  config.task.long_prompts = 'drop'
  _accelerator(config, prompts=16, samples=8)
  config.rollout.update(prompt_buckets=(512, 1024, 1536),
                        attempt_tokens=(512, 512))
  config.evaluation.split = 'humaneval'
  config.evaluation.studies = ('repair',)
  for stage in (config.stage1, config.stage2):
    stage.steps = 750
    stage.optimizer.learning_rate = 1e-5
    stage.beta2 = 0.25


def _accelerator(config: ConfigDict, prompts: int, samples: int):
  config.model.dtype = 'bfloat16'
  config.model.unroll_decode = False
  config.rollout.update(prompts=prompts, samples=samples, parts=2)
  config.evaluation.batch_size = 64
  for stage in (config.stage1, config.stage2):
    stage.micro_batches = 4
    stage.optimizer.clip_norm = 1.0


def smollm2_gsm8k(config: ConfigDict):
  """SmolLM2-135M-Instruct on GSM8K: mechanics on real input, a few steps.

  Needs --config.task.data_dir=FOLDER with train.jsonl and test.jsonl. A model
  this small solves next to nothing of GSM8K, so nothing is learned.
  """
  _smollm2(config)
  config.task.name = 'gsm8k'
  config.task.long_prompts = 'drop'
  config.rollout.prompt_buckets = (256,)
  config.rollout.attempt_tokens = (128, 128)


def smollm2_code(config: ConfigDict):
  """SmolLM2-135M-Instruct on MBPP and HumanEval: mechanics on real input.

  Needs --config.task.data_dir=FOLDER, as `code`.
  """
  _smollm2(config)
  config.task.name = 'code'
  config.task.long_prompts = 'drop'
  config.evaluation.split = 'humaneval'
  config.rollout.prompt_buckets = (512, 1024)
  config.rollout.attempt_tokens = (256, 256)


def smollm2_sums(config: ConfigDict):
  """SmolLM2-135M-Instruct on sums in words: rewards that are alive.

  Its greedy acc@t1 is about 40%; at temperature 1 this quantised model babbles
  and is right 5% of the time (RESULTS.md), hence the lower temperature.
  """
  _smollm2(config)
  config.task.name = 'sums'
  config.rollout.prompts = 4
  config.rollout.temperature = 0.4
  for stage in (config.stage1, config.stage2):
    stage.optimizer.learning_rate = 2e-5
  config.rollout.prompt_buckets = (80,)
  config.rollout.attempt_tokens = (48, 48)


def _smollm2(config: ConfigDict):
  config.model.checkpoint = 'smollm2_135m'
  config.rollout.prompts = 2
  config.rollout.samples = 4
  config.evaluation.problems = 50
  config.evaluation.batch_size = 25
  config.checkpoints.every = 5
  config.checkpoints.keep = 1
  for stage in (config.stage1, config.stage2):
    stage.steps = 3
    stage.optimizer.learning_rate = 5e-6
    stage.optimizer.clip_norm = 1.0


VARIANTS = {
    'chain': chain,
    'bands': bands,
    'hops': hops,
    'math': math,
    'gsm8k': gsm8k,
    'code': code,
    'smollm2_gsm8k': smollm2_gsm8k,
    'smollm2_code': smollm2_code,
    'smollm2_sums': smollm2_sums,
}


def make(arg: str | None, stage: str) -> ConfigDict:
  """The config of VARIANT, METHOD or VARIANT+METHOD, up to a stage.

  Args:
    arg: a name in `VARIANTS` ('' or None, or where there is none: the embedded
      task), and one in `methods.METHODS` (where there is none: SCoRe).
    stage: the last to run, unless the method ends before it.

  Raises:
    ValueError: unknown name; the message lists the known ones.
  """
  variant, _, method = (arg or 'chain').partition('+')
  if variant in methods.METHODS and not method:
    variant, method = 'chain', variant
  _require_known('variant', variant, VARIANTS if method else
                 VARIANTS | methods.METHODS)
  _require_known('method', method or 'score', methods.METHODS)
  config = config_lib.defaults()
  config.stage = stage
  with config.unlocked():
    VARIANTS[variant](config)
    methods.METHODS[method or 'score'](config)
  config.name = arg or variant
  return config


def _require_known(what, name, known):
  if name not in known:
    raise ValueError(
        f'unknown {what} {name!r}{config_lib.nearest(name, known)}; known: '
        f'{", ".join(known)}')
