"""The run's configuration: frozen dataclasses, checked where they enter.

`Config` is the one place where fields, types and defaults are written. The
files in `experiments/` start from `defaults()`, an `ml_collections.ConfigDict`
of the same fields, change a few of them, and hand it to `score_jax.main`, which
calls `from_dict`. Nothing below `main` reads a ConfigDict.
"""

from collections.abc import Iterator
from collections.abc import Mapping
import dataclasses
import difflib
import math
import re
import types
import typing
from typing import Any

import ml_collections

STAGES = ('base', 'stage1', 'stage1b', 'stage2')
RL_METHODS = ('stage1', 'stage2', 'last', 'first', 'progress')
SFT_METHODS = ('star', 'star_plus', 'pairs', 'pairs_plus')
FEEDBACK = ('none', 'critique', 'verdict', 'tests')
STUDIES = ('scaling', 'in_a_row', 'self_refine', 'repair', 'swapped')
DTYPES = ('float32', 'bfloat16')
AUTO_STOPS = ('auto',)
_MOST = 2**24  # Of any size of a model; more is a slip of the keyboard.
_MOST_INT = 2**32  # Of any whole number; seeds are of 32 bits.
_MOST_STEPS = 2**31 - 1  # Steps are counted in int32.
_MOST_GENERATED = 10**7  # Problems; drawing more takes hours.
_MOST_SAMPLES = 2**16  # Of a problem in an evaluation.


@dataclasses.dataclass(frozen=True)
class LatentConfig:
  """How `bands` and `hops` are drawn; see `score_jax.tasks.latent`."""

  answers: int = 2  # That there are: a guess is right in one of so many cases.
  easy: float = 0.2  # Share of problems that attempt 1 has room for.
  hasty: float = 0.7  # Share of those in which it stops a step early.
  # Of the base's corpus: shares of second attempts.
  work: float = 0.01  # They go on: the only way to correct.
  slip: float = 0.4  # Share of those that give a wrong answer in the end.
  swap: float = 0.1  # They take another answer without work; the rest keep it.
  practice: float = 0.3  # Transcripts of another prompt: all of them go on.
  builds_on: bool = True  # From where attempt 1 stopped, not from the start.


@dataclasses.dataclass(frozen=True)
class TaskConfig:
  """Which problems, and from where."""

  name: str = 'chain'  # A key of `score_jax.tasks.TASKS`.
  # For tasks that have files: a folder of `score_jax.prepare_data`, or the
  # original files themselves.
  data_dir: str = 'data'
  question: str = ''  # In place of the task's own; {problem} stands in it.
  instruction: str = ''  # Between two attempts, in place of the task's own.
  train_problems: int = 8_192  # Generated tasks: size of the training split.
  transcripts: int = 30_000  # Generated tasks: size of the base's corpus.
  latent: LatentConfig = LatentConfig()
  long_prompts: str = 'error'  # 'error', or 'drop': leave out and list them.
  # Texts that end an attempt. ('auto',): the task's own for a model without a
  # chat template, none for one with a template. (): none.
  stop_strings: tuple[str, ...] = AUTO_STOPS


@dataclasses.dataclass(frozen=True)
class RopeScaling:
  """How rotary frequencies are scaled for long contexts."""

  # 'none', 'linear', 'llama3' (by wavelength), or 'yarn' (2309.00071).
  kind: str = 'none'
  factor: float = 1.0
  low_freq: float = 1.0  # 'llama3': slower waves are divided by `factor`.
  high_freq: float = 4.0  # 'llama3': faster waves stay; between, a blend.
  # 'llama3' and 'yarn': the context before scaling.
  original_positions: int = 8192
  # 'yarn': waves with more turns in that context stay, those with fewer than
  # `beta_slow` are divided by `factor`; between, a blend.
  beta_fast: float = 32.0
  beta_slow: float = 1.0
  truncate: bool = True  # 'yarn': the ends of the blend are whole dimensions.
  # 'yarn': factor of sines and cosines. 0: 0.1 ln(factor) + 1; or, with both
  # of the following, the quotient of 0.1 mscale ln(factor) + 1 for each.
  attention_factor: float = 0.0
  mscale: float = 0.0
  mscale_all_dim: float = 0.0


@dataclasses.dataclass(frozen=True)
class LoraConfig:
  """Low-rank adapters (Hu et al., 2106.09685): the base stays frozen."""

  rank: int = 0  # 0 trains all weights.
  alpha: float = 16.0  # Adapters are added with weight alpha / rank.
  targets: str = 'attention/(query|key|value|out)|mlp/(gate|up|down)'  # Regex.


@dataclasses.dataclass(frozen=True)
class ModelConfig:
  """A decoder-only transformer: Llama, Gemma or Qwen by these fields.

  A `checkpoint` replaces every field up to `max_positions`.
  """

  family: str = 'llama'  # Names in exported files: `models.families.FAMILIES`.
  vocab_size: int = 27
  num_layers: int = 3
  width: int = 64
  num_heads: int = 4
  num_kv_heads: int = 2
  head_dim: int = 16
  mlp_width: int = 192
  # Of the MLP's gate: 'silu', 'gelu' (by tanh), or 'gelu_exact' (by erf).
  activation: str = 'silu'
  rope_base: float = 100.0
  rope_scaling: RopeScaling = RopeScaling()
  local_rope_base: float = 0.0  # Of layers with a window; 0: as the others.
  local_rope_scaling: RopeScaling = RopeScaling()  # With `local_rope_base`.
  window: int = 0  # Positions that local layers see, their own included.
  global_every: int = 1  # Layer i is global if i + 1 divides by this.
  attention_scale: float = 0.0  # Factor of scores; 0: head_dim ** -0.5.
  attention_softcap: float = 0.0  # c * tanh(scores / c); 0: none.
  final_softcap: float = 0.0  # The same, of scores over the vocabulary.
  qkv_bias: bool = False
  qk_norm: bool = False  # Queries and keys normed, by head, before RoPE.
  post_norms: bool = False  # Norms also behind attention and MLP.
  norm_plus_one: bool = False  # Norms multiply by 1 + scale.
  embed_scale: bool = False  # Embeddings multiplied by sqrt(width).
  norm_eps: float = 1e-5
  tied_head: bool = False
  max_positions: int = 8192  # Of the longest sequence.
  dtype: str = 'float32'  # Of activations and matrix products.
  param_dtype: str = 'float32'  # Of the weights that are trained.
  remat: str = 'block'  # 'none'; 'block': recompute layers; 'dots': less.
  # Of whole sequences: 'plain', 'splash' (a TPU kernel; elsewhere interpreted,
  # slowly), or 'auto': splash where the mesh is of TPUs.
  attention: str = 'auto'
  unroll_decode: bool = True  # Layers unrolled in decode: faster on CPU.
  lora: LoraConfig = LoraConfig()
  # Weights of the base model: a Hugging Face folder, a folder of PEFT, a GGUF
  # file, a folder of `score_jax.convert`, or a name in
  # `models.variants.PACKAGED`.
  checkpoint: str = ''
  tokenizer: str = ''  # File or folder; '' takes the checkpoint's or task's.
  thinking: bool = False  # For chat templates that can think aloud (Qwen3).


@dataclasses.dataclass(frozen=True)
class RolloutConfig:
  """How attempts are sampled in training."""

  prompts: int = 32  # Problems a step.
  samples: int = 8  # Rollouts a problem (G), at least 2.
  prompt_buckets: tuple[int, ...] = (12,)  # Tokens, rising.
  attempt_tokens: tuple[int, ...] = (14, 16)  # Limit of each attempt.
  temperature: float = 1.0
  # Between two attempts, besides the instruction: 'none' (the paper), the
  # policy's own 'critique', a grader's 'verdict', or the outcome of the 'tests'
  # that a prompt shows. In training and in every evaluation.
  feedback: str = 'none'
  # Most tokens of a critique, or of what is said of tests; 0: as attempt 2.
  feedback_tokens: int = 0
  # Parts of a step that are sampled one after the other; each is graded while
  # those behind it are sampled.
  parts: int = 1


@dataclasses.dataclass(frozen=True)
class GradingConfig:
  """What an answer may take to grade, where it is graded apart.

  Attempts at `math` and at programs are untrusted: each is graded in a process
  with these limits. One that exceeds them scores 0 and is counted.
  """

  workers: int = 0  # Processes; 0: as many as there are processors.
  cpu_s: float = 5.0  # Processor seconds.
  wall_s: float = 20.0  # Seconds, for what waits.
  memory_gb: float = 2.0  # Address space.
  # Of programs. 'auto' takes the stronger of 'landlock' and 'bubblewrap' that
  # works here. 'seccomp' lets them read all files of this user; 'none' runs
  # them with limits alone: only for programs that are trusted.
  sandbox: str = 'auto'


@dataclasses.dataclass(frozen=True)
class OptimizerConfig:
  """Adam or Adafactor with an optional warm-up, decay and clipping."""

  name: str = 'adam'  # 'adam' (decoupled weight decay) or 'adafactor'.
  moments_dtype: str = 'float32'  # Adam's moments: float32 or bfloat16.
  learning_rate: float = 5e-6
  warmup_steps: int = 0
  schedule: str = 'constant'  # 'constant' or 'cosine' (to zero).
  clip_norm: float = 0.0  # Global norm; 0 turns clipping off.
  b1: float = 0.9
  b2: float = 0.999
  eps: float = 1e-8
  weight_decay: float = 0.0


@dataclasses.dataclass(frozen=True)
class BaseConfig:
  """Language modelling of two-attempt transcripts: makes the base model."""

  steps: int = 600
  batch_size: int = 128
  micro_batches: int = 1
  optimizer: OptimizerConfig = OptimizerConfig()


@dataclasses.dataclass(frozen=True)
class StageConfig:
  """One stage: SCoRe's (paper Eq. 3 to 5), or what it is compared with.

  `method` says what is learned from sampled attempts. By REINFORCE with KL, see
  `rl.rewards`:

    'stage1'      the last reward for the last attempt, others pinned (Eq. 3)
    'stage2'      each attempt its own reward, and the bonus (Eq. 4 and 5)
    'last'        the last reward alone (Eq. 1 of the paper's first version)
    'first'       single-turn RL: r1 for attempt 1; attempt 2 is only measured
    'progress'    the last reward for all, and alpha times each one's progress
                  (MRT, Qu et al., 2503.07572)

  By cross-entropy, of examples made of attempts that were sampled beforehand,
  as many as the other methods sample; see `rl.examples`:

    'star'        STaR: wrong, then right, in one rollout; D+ is 'star_plus'
    'pairs'       Pair-SFT: wrong, then any right one; D+ is 'pairs_plus'
  """

  steps: int = 200  # 0 leaves the stage out.
  method: str = 'stage2'
  micro_batches: int = 1
  alpha: float = 10.0  # Bonus alpha * (r2 - r1); 'stage2' and 'progress'.
  gamma: float = 0.0  # Discount of later rewards; 'stage2' and 'last'.
  beta1: float = 0.01  # KL weight, ordinary.
  beta2: float = 0.1  # KL weight that pins attempt 1; 'stage1' only.
  # What leave-one-out is taken of: 'shaped' rewards, or 'factored': of what an
  # attempt can still change. One expected gradient, less variance.
  baseline: str = 'shaped'
  # Attempts that ran out of tokens: their reward is 'as_graded' or 'zero', or
  # they are 'masked': nothing is learned from their tokens.
  truncated: str = 'as_graded'
  # The bonus of an attempt after a truncated one: 'paid', or 'unpaid'.
  truncated_bonus: str = 'paid'
  # Share of a step's problems whose first attempts the frozen base draws.
  offline: float = 0.0
  attempts: int = 0  # The first so many of all; 0: all.
  reference: str = 'base'  # Of the KL; 'start': where the stage starts.
  rounds: int = 1  # Cross-entropy: of sampling, then learning (paper: 3).
  kl: str = 'exact'  # 'exact' over the vocabulary, or 'k2'.
  kl_credit: str = 'sequence'  # 'sequence' KL as in Eq. 2, or 'token'.
  # Baseline of the KL of later tokens ('sequence' credit): that of the other
  # samples ('leave_one_out'), or 'none'. One expected gradient; less variance.
  kl_baseline: str = 'leave_one_out'
  normalisation: str = 'sequence'  # Sum over tokens, or mean per 'token'.
  optimizer: OptimizerConfig = OptimizerConfig()
  checkpoint: str = ''  # Stage I only: take its weights from this folder.


_STAGE_1 = StageConfig(method='stage1')
# Stage I(b): of three attempts the last, with those before it pinned to Stage
# I(a), which is Stage I (paper, appendix A). Left out unless it has steps.
_STAGE_1B = StageConfig(method='stage1', steps=0, reference='start')


@dataclasses.dataclass(frozen=True)
class EvaluationConfig:
  """Greedy two-attempt evaluation on held-out problems, and studies beside.

  A study is made of the same problems, by `score_jax.studies`:

    'scaling'      samples in parallel against samples corrected once
    'in_a_row'     many attempts, one after the other
    'self_refine'  by prompting alone: the policy's own critique comes between
    'repair'       given wrong attempts, as many, of the split `repair_split`
    'swapped'      attempt 2 after another problem's attempt 1: does it read it?
  """

  split: str = 'test'
  problems: int = 0  # 0 takes the whole split.
  batch_size: int = 200  # Sequences at a time.
  studies: tuple[str, ...] = ()
  temperature: float = 0.7  # 'scaling'.
  samples: int = 16  # 'scaling': the largest K, of 2K against K + K.
  attempts: int = 10  # 'in_a_row'.
  repair_split: str = 'repair'


@dataclasses.dataclass(frozen=True)
class MemoryConfig:
  """What the reference and the optimizer cost; see docs/memory.md."""

  reference_dtype: str = 'float32'  # 'bfloat16' halves the reference.
  offload: tuple[str, ...] = ()  # Of 'reference', 'optimizer': on the host.


@dataclasses.dataclass(frozen=True)
class MeshConfig:
  """Devices along each mesh axis; -1 (once) takes those that are left."""

  data: int = -1
  fsdp: int = 1
  tensor: int = 1
  collective_matmul: bool = False  # TPU: multiply weights as they are gathered.


@dataclasses.dataclass(frozen=True)
class CheckpointConfig:
  """When the whole run is saved."""

  every: int = 50  # Steps between saves; the last step is always saved.
  keep: int = 2


@dataclasses.dataclass(frozen=True)
class ProfileConfig:
  """Which steps are traced into WORKDIR/profile; see docs/profiling.md."""

  steps: int = 0  # How many, one after the other; 0 traces none.
  first: int = 3  # The first of them; a stage begins with 1, which compiles.
  stage: str = ''  # Whose steps: base, stage1, stage2; '': `Config.stage`.


@dataclasses.dataclass(frozen=True)
class Config:
  """A whole run: base, Stage I, Stage II, each evaluated."""

  name: str = 'chain'  # The run is kept in runs/NAME by default.
  stage: str = 'stage2'  # The last stage to run, of STAGES.
  seed: int = 0
  head_chunk: int = 32  # Positions whose logits exist at one time.
  collapse_unchanged: float = 0.95  # Warn when more attempts 2 repeat 1.
  task: TaskConfig = TaskConfig()
  model: ModelConfig = ModelConfig()
  rollout: RolloutConfig = RolloutConfig()
  base: BaseConfig = BaseConfig()
  stage1: StageConfig = _STAGE_1
  stage1b: StageConfig = _STAGE_1B
  stage2: StageConfig = StageConfig()
  grading: GradingConfig = GradingConfig()
  evaluation: EvaluationConfig = EvaluationConfig()
  memory: MemoryConfig = MemoryConfig()
  mesh: MeshConfig = MeshConfig()
  checkpoints: CheckpointConfig = CheckpointConfig()
  profile: ProfileConfig = ProfileConfig()


@dataclasses.dataclass(frozen=True)
class SweepConfig:
  """Many runs that are compared: what a config with `sweep` in it is of.

  A cell is the rest of that config with the fields that are the cell's own. All
  run for every seed, and for every value of the dial, if there is one.
  """

  seeds: int = 5  # 0, 1 and so on; each has a base of its own.
  # By name: a cell's own fields, or the name of a method (recipes/methods.py),
  # which changes the fields that are set for all cells.
  cells: dict = dataclasses.field(default_factory=dict)
  only: tuple[str, ...] = ()  # Of the cells; empty: all.
  against: str = 'score'  # The cell that the others are compared with.
  studies: tuple[str, ...] = ()  # More of evaluation.studies, of `against`.
  dial: tuple[str, ...] = ()  # Fields, such as 'task.train_problems', and
  values: tuple[float, ...] = ()  # what all of them are set to.


def defaults() -> ml_collections.ConfigDict:
  """A locked ConfigDict with every field of `Config` at its default."""
  return ml_collections.ConfigDict(dataclasses.asdict(Config())).lock()


def nearest(name: str, known) -> str:
  """A hint `; did you mean 'x'?` with the closest known name, or ''."""
  close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.4)
  return f'; did you mean {close[0]!r}?' if close else ''


def check_override(arg: str):
  """ValueError if `arg` is `--config.FIELD...` of a field that is not there."""
  match = re.match(r'--?config\.([\w.]+)', arg)
  if not match:
    return
  cls, path = Config, 'config'
  for name in match.group(1).split('.'):
    hints = typing.get_type_hints(cls) if dataclasses.is_dataclass(cls) else {}
    if cls is Config:
      hints['sweep'] = SweepConfig
    if name not in hints:
      raise ValueError(f'unknown field {path}.{name}{_hint(path, name, hints)}')
    cls, path = hints[name], f'{path}.{name}'


def _paths(cls, path: str) -> Iterator[str]:
  """Yield the dotted path of every field under a group, and of the groups."""
  for name, hint in typing.get_type_hints(cls).items():
    yield f'{path}.{name}'
    if dataclasses.is_dataclass(hint):
      yield from _paths(hint, f'{path}.{name}')


def _hint(path: str, name: str, here) -> str:
  """Return a hint with the field that was probably meant, or ''.

  Args:
    path: of the group that has no field `name`.
    name: what was given.
    here: names of the group's fields.
  """
  everywhere = [*_paths(Config, 'config'),
                *_paths(SweepConfig, 'config.sweep')]
  same = [of for of in everywhere if of.rpartition('.')[2] == name]
  within = [of for of in same if of.startswith(f'{path}.')]
  misspelt = difflib.get_close_matches(name, list(here), n=1, cutoff=0.8)
  if within or (same and not misspelt):
    return f'; did you mean {" or ".join((within or same)[:3])}?'
  if hint := nearest(name, here):
    return hint
  names = {of.rpartition('.')[2]: of for of in reversed(everywhere)}
  close = difflib.get_close_matches(name, list(names), n=1, cutoff=0.6)
  return f'; did you mean {names[close[0]]}?' if close else ''


def from_dict(values) -> Config:
  """Builds and checks a `Config`.

  Args:
    values: a mapping (or ConfigDict) with any of the fields of `Config`.

  Raises:
    ValueError: an unknown field, a value of the wrong type, or values that
      contradict each other; the message names the field and the way out.
  """
  if hasattr(values, 'to_dict'):
    values = values.to_dict()
  config = _build(Config(), values, 'config')
  _check(config)
  return config


def sweep_from_dict(values) -> SweepConfig:
  """Builds and checks a `SweepConfig`.

  Raises:
    ValueError: as `from_dict`.
  """
  where = 'config.sweep'
  sweep = _build(SweepConfig(), values, where)
  _at_least(f'{where}.seeds (an interval needs more than one)', sweep.seeds, 2)
  for name in (*sweep.only, sweep.against):
    _one_of(f'{where}.only or against', name, sweep.cells)
  _require(
      not sweep.only or sweep.against in sweep.only,
      f'{where}.only leaves out {sweep.against!r}, which the others are '
      f'compared with; name it too')
  for study in sweep.studies:
    _one_of(f'{where}.studies', study, STUDIES)
  _require(
      bool(sweep.dial) == bool(sweep.values),
      f'{where}.dial is {sweep.dial} and its values are {sweep.values}; give '
      'both or neither')
  return sweep


def model_from_dict(values, where: str) -> ModelConfig:
  """Builds and checks a `ModelConfig`.

  Args:
    values: a mapping with any of its fields.
    where: what messages call it.

  Raises:
    ValueError: as `from_dict`.
  """
  model = _build(ModelConfig(), values, where)
  check_model(model, where)
  return model


def _build(default, values, path):
  """The default with the values in place of its own."""
  hints = typing.get_type_hints(type(default))
  kwargs = {}
  for name, value in values.items():
    where = f'{path}.{name}'
    if name not in hints:
      raise ValueError(f'unknown field {where}{_hint(path, name, hints)}')
    if dataclasses.is_dataclass(hints[name]):
      if not hasattr(value, 'items'):
        raise ValueError(f'{where} must be a group of fields, got {value!r}')
      kwargs[name] = _build(getattr(default, name), value, where)
    else:
      kwargs[name] = _typed(hints[name], value, where)
  return dataclasses.replace(default, **kwargs)


def _typed(hint, value, where):
  if isinstance(hint, types.GenericAlias):  # tuple[int, ...]
    item = hint.__args__[0]
    if not isinstance(value, (tuple, list)):
      raise ValueError(f'{where} must be a tuple, got {value!r}')
    if item is str:  # --config.FIELD=a,b arrives as one text.
      value = [name for text in value for name in _names(text)]
    return tuple(_typed(item, v, where) for v in value)
  if hint is float and isinstance(value, int) and not isinstance(value, bool):
    value = float(value)
  if type(value) is not hint:
    raise ValueError(f'{where} must be {hint.__name__}, got {value!r}')
  if hint is float and not math.isfinite(value):
    raise ValueError(f'{where} must be finite, got {value!r}')
  if hint is int and not -_MOST_INT <= value < _MOST_INT:
    raise ValueError(f'{where} is {value}; it must be below {_MOST_INT}')
  return value


def _names(text) -> list:
  """Return the names in 'a,b' or '(a, b)'; other values as they are."""
  if not isinstance(text, str):
    return [text]
  return [name.strip(' \'"') for name in text.strip(' ()[]').split(',')
          if name.strip(' \'"')]


def _require(ok, message):
  if not ok:
    raise ValueError(message)


def _one_of(path, value, known):
  _require(
      value in known,
      f'{path} is {value!r}; known: {", ".join(known)}{nearest(value, known)}',
  )


def _at_least(path, value, least):
  _require(value >= least, f'{path} is {value}; it must be at least {least}')


def _at_most(path, value, most):
  _require(value <= most, f'{path} is {value}; it must be at most {most}')


def check_warmup(config: Config, overrides: Mapping[str, Any]):
  """Check warm-ups that were given on the command line.

  Args:
    config: the whole config.
    overrides: values of the command line, by path without `config.`.

  Raises:
    ValueError: a warm-up is longer than its stage.
  """
  for name in STAGES:
    steps, field = getattr(config, name).steps, f'{name}.optimizer.warmup_steps'
    _require(
        not steps or field not in overrides or overrides[field] <= steps,
        f'config.{field} is {overrides.get(field)}, more than config.{name}'
        f'.steps {steps}; the learning rate would never be reached')


def short_warmups(config: Config) -> list[str]:
  """Return a line for each stage that ends before its warm-up does."""
  return [
      f'{name}: the learning rate rises for {warmup} steps '
      f'(config.{name}.optimizer.warmup_steps), and the stage has {steps}'
      for name in STAGES[: STAGES.index(config.stage) + 1]
      if (steps := getattr(config, name).steps) < (
          warmup := getattr(config, name).optimizer.warmup_steps) and steps]


def _check(config: Config):
  """Facts that hold across fields and need no device or file."""
  _one_of('config.stage', config.stage, STAGES)
  _at_least('config.seed', config.seed, 0)
  for name in ('train_problems', 'transcripts'):
    _at_least(f'config.task.{name}', getattr(config.task, name), 1)
    _at_most(f'config.task.{name}', getattr(config.task, name), _MOST_GENERATED)
  _one_of('config.task.long_prompts', config.task.long_prompts,
          ('error', 'drop'))
  stops = config.task.stop_strings
  _require(all(stops) and (stops == AUTO_STOPS or 'auto' not in stops),
           f'config.task.stop_strings is {stops}; give texts that end an '
           "attempt, ('auto',) alone for those of the task, or () for none")
  model = config.model
  check_model(model)
  rollout = config.rollout
  _at_least('config.rollout.prompts', rollout.prompts, 1)
  _at_least('config.rollout.samples (a leave-one-out baseline needs others)',
            rollout.samples, 2)
  _require(
      rollout.prompt_buckets
      and list(rollout.prompt_buckets) == sorted(set(rollout.prompt_buckets))
      and rollout.prompt_buckets[0] > 0,
      'config.rollout.prompt_buckets must be rising positive lengths, got '
      f'{rollout.prompt_buckets}',
  )
  _at_least('the number of config.rollout.attempt_tokens',
            len(rollout.attempt_tokens), 2)
  _at_least('config.rollout.attempt_tokens', min(rollout.attempt_tokens), 1)
  _require(rollout.temperature > 0,
           'config.rollout.temperature must be above 0 in training, got '
           f'{rollout.temperature}; evaluation is greedy by itself')
  _at_least('config.rollout.parts', rollout.parts, 1)
  _require(rollout.prompts % rollout.parts == 0,
           f'config.rollout.prompts {rollout.prompts} is not divisible by '
           f'config.rollout.parts {rollout.parts}')
  _check_feedback(config)
  for name in STAGES[1:]:
    _check_stage(name, config)
  _require(config.stage == 'base' or getattr(config, config.stage).steps,
           f'config.stage is {config.stage!r}, and config.{config.stage}.steps '
           'is 0, which leaves it out; end with another stage')
  _require(config.stage1.steps or not config.stage1.checkpoint,
           'config.stage1.checkpoint names weights, and config.stage1.steps is '
           '0, which leaves the stage out; change either')
  for name in STAGES[2:]:
    _require(not getattr(config, name).checkpoint,
             f'config.{name}.checkpoint is not read; a finished stage is '
             'evaluated with --mode=eval and its --workdir')
  memory = config.memory
  _one_of('config.memory.reference_dtype', memory.reference_dtype, DTYPES)
  for name in memory.offload:
    _one_of('config.memory.offload', name, ('reference', 'optimizer'))
  _check_lora_reference(model.lora, memory)
  _at_least('config.base.steps', config.base.steps, 1)
  for name in STAGES:
    _at_most(f'config.{name}.steps', getattr(config, name).steps, _MOST_STEPS)
  _at_least('config.base.batch_size', config.base.batch_size, 1)
  _check_accumulation('config.base', config.base.batch_size,
                      config.base.micro_batches)
  _check_optimizer('config.base.optimizer', config.base.optimizer)
  _check_evaluation(config.grading, config.evaluation)
  _at_least('config.checkpoints.every', config.checkpoints.every, 1)
  _at_least('config.checkpoints.keep', config.checkpoints.keep, 1)
  _at_least('config.head_chunk', config.head_chunk, 1)
  _check_profile(config, config.profile)


def _check_profile(config, profile):
  """Steps that are never done would be traced in vain."""
  stage = profile.stage or config.stage
  run = STAGES[: STAGES.index(config.stage) + 1]
  _one_of('config.profile.stage', stage, run)
  _at_least('config.profile.steps', profile.steps, 0)
  _at_least('config.profile.first', profile.first, 1)
  last = profile.first + profile.steps - 1
  there = getattr(config, stage).steps
  _require(
      not profile.steps or last <= there,
      f'config.profile asks for steps {profile.first} to {last} of {stage}, '
      f'and config.{stage}.steps is {there}; lower config.profile.first or '
      'config.profile.steps')


def _check_stage(name, config):
  """ValueError unless the fields of Stage I or II fit the config."""
  where, stage = f'config.{name}', getattr(config, name)
  rollout = config.rollout
  attempts = len(rollout.attempt_tokens)
  _at_least(f'{where}.steps', stage.steps, 0)
  _one_of(f'{where}.method', stage.method, RL_METHODS + SFT_METHODS)
  _one_of(f'{where}.baseline', stage.baseline, ('shaped', 'factored'))
  _one_of(f'{where}.kl', stage.kl, ('exact', 'k2'))
  _one_of(f'{where}.kl_credit', stage.kl_credit, ('sequence', 'token'))
  _one_of(f'{where}.kl_baseline', stage.kl_baseline,
          ('leave_one_out', 'none'))
  _one_of(f'{where}.normalisation', stage.normalisation, ('sequence', 'token'))
  for field in ('alpha', 'beta1', 'beta2'):
    _at_least(f'{where}.{field}', getattr(stage, field), 0)
  _require(0 <= stage.gamma <= 1, f'{where}.gamma is {stage.gamma}; it must be '
           'between 0 and 1')
  _require(not stage.gamma or stage.method in ('stage2', 'last'),
           f'{where}.gamma is {stage.gamma}, but the method {stage.method!r} '
           'has no returns; leave it at 0')
  _check_offline(where, stage, config)
  _check_truncated(where, stage)
  _require(not stage.attempts or 2 <= stage.attempts <= attempts,
           f'{where}.attempts is {stage.attempts}; it must be 0, for all, or '
           f'2 to {attempts}, as config.rollout.attempt_tokens has')
  _one_of(f'{where}.reference', stage.reference, ('base', 'start'))
  own = stage.steps and stage.reference == 'start'
  _require(not own or not config.model.lora.rank,
           f"{where}.reference is 'start', but with config.model.lora.rank "
           f"{config.model.lora.rank} the reference is the base; use 'base'")
  _at_least(f'{where}.rounds', stage.rounds, 1)
  sft = stage.method in SFT_METHODS
  _require(stage.rounds == 1 or sft,
           f'{where}.rounds is {stage.rounds}, but the method '
           f'{stage.method!r} samples at every step; leave it at 1')
  _require(not stage.steps or stage.rounds <= stage.steps,
           f'{where}.rounds is {stage.rounds}, more than {where}.steps '
           f'{stage.steps}')
  _require(not sft or attempts == 2,
           f'{where}.method {stage.method!r} is of two attempts, and '
           f'config.rollout.attempt_tokens has {attempts}')
  _check_accumulation(where, rollout.prompts * rollout.samples,
                      stage.micro_batches)
  _check_kl_baseline(where, stage, rollout)
  _check_optimizer(f'{where}.optimizer', stage.optimizer)


def _check_feedback(config):
  """ValueError unless what stands between the attempts fits the rest."""
  rollout, where = config.rollout, 'config.rollout.feedback'
  _one_of(where, rollout.feedback, FEEDBACK)
  _at_least(f'{where}_tokens', rollout.feedback_tokens, 0)
  if rollout.feedback == 'none':
    return
  is_on = f'{where} is {rollout.feedback!r}'
  _require(len(rollout.attempt_tokens) == 2,
           f'{is_on}, which stands between two attempts, and '
           f'config.rollout.attempt_tokens has {len(rollout.attempt_tokens)}')
  _require(not config.evaluation.studies,
           f'{is_on}, and studies are made without; leave '
           "config.evaluation.studies empty, or take 'none'")
  for name in STAGES[1:]:
    stage = getattr(config, name)
    _require(not stage.offline,
             f'{is_on}, and config.{name}.offline has first attempts of the '
             'base, of which nothing is said; leave either out')
    _require(rollout.feedback != 'critique' or stage.method in RL_METHODS,
             f'{is_on}, and the method {stage.method!r} of config.{name} makes '
             "no examples of critiques; take another feedback")


def _check_offline(where, stage, config):
  """ValueError unless first attempts of the base have their place."""
  _require(0 <= stage.offline <= 1,
           f'{where}.offline is {stage.offline}; it is a share, 0 to 1')
  if not stage.offline:
    return
  _require(stage.method in RL_METHODS and stage.method != 'first',
           f'{where}.offline is {stage.offline}, but the method '
           f'{stage.method!r} has no use for first attempts of the base')
  part = config.rollout.prompts // config.rollout.parts
  _require((stage.offline * part).is_integer(),
           f'{where}.offline is {stage.offline}, which is no whole number of '
           f'the {part} problems of a part (config.rollout.prompts, .parts)')
  _require('reference' not in config.memory.offload,
           f'{where}.offline is {stage.offline}: the reference samples, so it '
           'cannot lie on the host; leave it out of config.memory.offload')


def _check_truncated(where, stage):
  """ValueError unless the treatment of truncated attempts has an effect."""
  _one_of(f'{where}.truncated', stage.truncated,
          ('as_graded', 'zero', 'masked'))
  _one_of(f'{where}.truncated_bonus', stage.truncated_bonus,
          ('paid', 'unpaid'))
  _require(stage.truncated == 'as_graded' or stage.method in RL_METHODS,
           f'{where}.truncated is {stage.truncated!r}, but the method '
           f"{stage.method!r} learns from right attempts alone; leave it at "
           "'as_graded'")
  _require(stage.truncated_bonus == 'paid'
           or stage.method in ('stage2', 'progress'),
           f'{where}.truncated_bonus is {stage.truncated_bonus!r}, but the '
           f"method {stage.method!r} has no bonus; leave it at 'paid'")


def _check_evaluation(grading, evaluation):
  _at_least('config.grading.workers', grading.workers, 0)
  for name in ('cpu_s', 'wall_s', 'memory_gb'):
    value = getattr(grading, name)
    _require(value > 0, f'config.grading.{name} is {value}; it must be above 0')
  _at_least('config.evaluation.problems', evaluation.problems, 0)
  _at_least('config.evaluation.batch_size', evaluation.batch_size, 1)
  for study in evaluation.studies:
    _one_of('config.evaluation.studies', study, STUDIES)
  _require(evaluation.temperature > 0,
           f'config.evaluation.temperature is {evaluation.temperature}; it '
           'must be above 0, or samples in parallel are all the same')
  _at_least('config.evaluation.samples', evaluation.samples, 1)
  _at_most('config.evaluation.samples', evaluation.samples, _MOST_SAMPLES)
  _at_least('config.evaluation.attempts', evaluation.attempts, 2)


def check_model(model: ModelConfig, where: str = 'config.model'):
  """ValueError unless the fields of a model fit each other.

  Args:
    model: the fields.
    where: what messages call the model.
  """
  for name in ('dtype', 'param_dtype'):
    _one_of(f'{where}.{name}', getattr(model, name), DTYPES)
  _one_of(f'{where}.remat', model.remat, ('none', 'block', 'dots'))
  _one_of(f'{where}.attention', model.attention, ('auto', 'plain', 'splash'))
  _one_of(f'{where}.activation', model.activation,
          ('silu', 'gelu', 'gelu_exact'))
  for name in ('vocab_size', 'num_layers', 'width', 'num_heads',
               'num_kv_heads', 'head_dim', 'mlp_width', 'global_every',
               'max_positions'):
    value = getattr(model, name)
    _at_least(f'{where}.{name}', value, 1)
    _require(value <= _MOST, f'{where}.{name} is {value}; no model is that '
             f'large (at most {_MOST})')
  for name in ('local_rope_base', 'window', 'attention_scale',
               'attention_softcap', 'final_softcap'):
    _at_least(f'{where}.{name}', getattr(model, name), 0)
  for name in ('rope_base', 'norm_eps'):
    _require(getattr(model, name) > 0,
             f'{where}.{name} is {getattr(model, name)}; it must be above 0')
  _require(
      model.num_heads % model.num_kv_heads == 0,
      f'{where}.num_heads {model.num_heads} is not divisible by '
      f'{where}.num_kv_heads {model.num_kv_heads}',
  )
  _require(model.head_dim % 2 == 0,
           f'{where}.head_dim is {model.head_dim}; RoPE needs it even')
  _require(model.window > 0 or model.global_every == 1,
           f'{where}.global_every is {model.global_every}, but the local '
           f'layers have no {where}.window')
  _check_rope(f'{where}.rope_scaling', model.rope_scaling, model.rope_base)
  _check_rope(f'{where}.local_rope_scaling', model.local_rope_scaling,
              model.local_rope_base)
  _require(model.local_rope_scaling.kind == 'none' or model.local_rope_base > 0,
           f'{where}.local_rope_scaling.kind is '
           f'{model.local_rope_scaling.kind!r}, but {where}.local_rope_base is '
           '0; set it to the base of the layers with a window')
  _at_least(f'{where}.lora.rank', model.lora.rank, 0)
  try:
    re.compile(model.lora.targets)
  except re.error as error:
    raise ValueError(f'{where}.lora.targets {model.lora.targets!r} is no '
                     f'regular expression: {error}') from error


def _check_rope(where, scaling, base):
  _one_of(f'{where}.kind', scaling.kind, ('none', 'linear', 'llama3', 'yarn'))
  _require(scaling.factor >= 1,
           f'{where}.factor is {scaling.factor}; it must be at least 1')
  _at_least(f'{where}.original_positions', scaling.original_positions, 1)
  _require(0 < scaling.low_freq < scaling.high_freq,
           f'{where}.low_freq {scaling.low_freq} must be above 0 and below '
           f'high_freq {scaling.high_freq}')
  _require(0 < scaling.beta_slow <= scaling.beta_fast,
           f'{where}.beta_slow {scaling.beta_slow} must be above 0 and at most '
           f'beta_fast {scaling.beta_fast}')
  for name in ('attention_factor', 'mscale', 'mscale_all_dim'):
    _at_least(f'{where}.{name}', getattr(scaling, name), 0)
  _require(scaling.kind != 'yarn' or base > 1,
           f"{where}.kind is 'yarn', but the base of its layers is {base}; it "
           'must be above 1')


def _check_accumulation(where, rows, micro_batches):
  _at_least(f'{where}.micro_batches', micro_batches, 1)
  _require(rows % micro_batches == 0,
           f'{rows} rows a step are not divisible by {where}.micro_batches '
           f'{micro_batches}')


def _check_kl_baseline(where, stage, rollout):
  """ValueError unless a micro-batch has other samples to compare with."""
  rows = rollout.prompts * rollout.samples // stage.micro_batches
  has_kl = stage.beta1 or stage.method == 'stage1' and stage.beta2
  needed = (stage.kl_baseline != 'none' and stage.kl_credit == 'sequence'
            and stage.method in RL_METHODS and stage.steps and has_kl)
  _require(
      not needed or math.gcd(rollout.samples, rows) > 1,
      f'{where}.kl_baseline is {stage.kl_baseline!r}, but a micro-batch of '
      f'{rows} rows ({where}.micro_batches {stage.micro_batches}) of '
      f'{rollout.samples} samples a problem holds no two of each; lower '
      f"{where}.micro_batches, or set {where}.kl_baseline to 'none'")


def _check_lora_reference(lora, memory):
  """With LoRA the reference is the policy's own base: no array apart."""
  why = f'config.model.lora.rank is {lora.rank}: the reference is the policy\'s'
  _require(
      not lora.rank or memory.reference_dtype == 'float32',
      f'config.memory.reference_dtype is {memory.reference_dtype!r}, but {why} '
      "own base; store that in half with config.model.param_dtype='bfloat16'")
  _require(
      not lora.rank or 'reference' not in memory.offload,
      f'config.memory.offload has \'reference\', but {why} own base, needed at '
      'every step; leave it out')


def _check_optimizer(where, optimizer):
  _one_of(f'{where}.name', optimizer.name, ('adam', 'adafactor'))
  _one_of(f'{where}.moments_dtype', optimizer.moments_dtype, DTYPES)
  _require(optimizer.name == 'adam' or optimizer.moments_dtype == 'float32',
           f'{where}.moments_dtype is {optimizer.moments_dtype!r}, but the '
           "means that adafactor keeps are small; use 'float32'")
  _one_of(f'{where}.schedule', optimizer.schedule, ('constant', 'cosine'))
  for name in ('learning_rate', 'warmup_steps', 'clip_norm', 'weight_decay'):
    _at_least(f'{where}.{name}', getattr(optimizer, name), 0)
