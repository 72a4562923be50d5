"""What every act of a run shares: mesh, task, actor, files.

`open_run` builds it from the config and makes every check that needs no
training, so that a mistake shows before any work is done or written.
"""

import contextlib
import dataclasses
import pathlib
import re
from typing import Any

from flax import traverse_util
import jax
from jax.sharding import Mesh

from score_jax import actor as actor_lib
from score_jax import checkpoint
from score_jax import config as config_lib
from score_jax import cpu_collectives
from score_jax import data
from score_jax import feedback
from score_jax import files
from score_jax import hosts
from score_jax import keys
from score_jax import lock as lock_lib
from score_jax import origins
from score_jax import sharding
from score_jax import shutdown
from score_jax import size_checks
from score_jax import states as states_lib
from score_jax import tasks
from score_jax import trained
from score_jax import types
from score_jax import weights
from score_jax import writer as writer_lib
from score_jax.grading import graders
from score_jax.models import attention
from score_jax.models import decoder
from score_jax.models import variants
from score_jax.tasks import base as tasks_base
from score_jax.text import tokenizer as tokenizer_lib

_NOT_OF_TRAINING = (
    'stage', 'grading', 'evaluation', 'mesh', 'memory', 'profile')


@dataclasses.dataclass(frozen=True)
class Run:
  """A run's config and what was built from it.

  Attributes:
    config: checked.
    folder: where everything is kept.
    mesh: the devices.
    states: what its stages keep, and where.
    actor: the policy at work on the task.
    writer: the folder's files.
    lock: keeps other processes out of the folder; None on all but process 0.
    base: fingerprint of the weights that `config.model.checkpoint` names.
    stop: asked between steps, so that SIGTERM ends a run saved.
    splits: problems read so far, by split.
  """

  config: config_lib.Config
  folder: files.Path
  mesh: Mesh
  states: states_lib.States
  actor: actor_lib.Actor
  writer: writer_lib.Writer
  stop: shutdown.StopRequest
  lock: lock_lib.WriterLock | None = None
  base: str | None = None
  splits: dict[str, list[types.Problem]] = dataclasses.field(
      default_factory=dict)

  def say(self, line: str):
    """One line for the person who watches."""
    self.writer.say(line)

  @property
  def data(self) -> pathlib.Path:
    """Where the problems are prepared."""
    return files.on_disk(self.folder) / 'data'

  def settings(
      self, stage: str
  ) -> config_lib.BaseConfig | config_lib.StageConfig:
    """The part of the config that is a stage's own."""
    return self.states.settings(stage)

  def problems(self, split: str) -> list[types.Problem]:
    """A split's problems whose prompts fit, in the order of the data set.

    Raises:
      ValueError: some do not, and `config.task.long_prompts` is 'error'.
    """
    if split not in self.splits:
      found = data.open_split(self.actor.task, split, self.data)
      self.splits[split] = self._fitting(list(found), split)
    return self.splits[split]

  def transcripts(self) -> list[dict[str, str]]:
    """The base model's corpus, likewise without prompts that do not fit."""
    rows = list(data.open_transcripts(self.actor.task, self.data))
    found = [types.Problem(row['id'], row['prompt'], row['answer'])
             for row in rows]
    kept = {problem.id for problem in self._fitting(found, 'base')}
    return [row for row in rows if row['id'] in kept]

  def _fitting(self, found, split) -> list[types.Problem]:
    """Leaves out problems with long prompts, and says so."""
    kept, left_out = self.actor.check_lengths(found, split)
    if left_out:
      self.say(left_out)
    return kept

  def keep_result(
      self,
      stage: str,
      result: dict | None,
      act: str,
      wall_s: float,
      grading: dict | None = None,
  ):
    """Adds to `results.json` what an act took, and what it found of a stage.

    What depends on the clock (`grading`: of its grader) is kept apart from the
    stages, which are the same in equal runs.
    """
    results = self.writer.read_results() or {
        'task': self.config.task.name, 'stages': {}, 'wall_s': {}}
    if result is not None:
      results['stages'][stage] = result
      results.setdefault('transcripts', {})[stage] = (
          self.writer.transcripts_digest(stage))
      results.setdefault('grading', {})[stage] = grading
    results.setdefault('wall_s', {})[act] = wall_s
    self.writer.results(results)

  def close(self):
    """Saves what was logged, and ends the processes that grade."""
    try:
      self.writer.flush()
    finally:
      self.actor.grader.close()
      if self.lock:
        self.lock.release()

  def checkpoints(self, stage: str) -> checkpoint.Checkpoints:
    """The saved states of a stage."""
    return checkpoint.Checkpoints(
        self.folder / 'checkpoints' / stage, self.config.checkpoints.keep,
        origins.of_stage(self.config, stage, self.base))

  def random_params(self) -> types.Params:
    """A random base, born where the mesh wants it."""
    key = keys.purpose_key(self.config.seed, 'init')
    model = self.states.model('base')
    return jax.jit(lambda: decoder.init(model, key),
                   out_shardings=self.param_shardings())()

  def fresh_adapters(self) -> types.Params:
    """Adapters that change nothing: one of their two factors is zero."""
    key = keys.purpose_key(self.config.seed, 'init/adapters')
    model = self.config.model
    return jax.jit(
        lambda: decoder.trained(model, decoder.init(model, key)),
        out_shardings=states_lib.shardings(self.states.params('stage1')))()

  def loaded_params(self) -> types.Params:
    """The weights that `config.model.checkpoint` names, on the mesh."""
    model = self.config.model
    return weights.load_params(model.checkpoint, model, self.param_shardings())

  def param_shardings(self) -> Any:
    """The sharding of each parameter of the base."""
    return states_lib.shardings(self.states.params('base'))

  def start(self, base: types.Params) -> types.Params:
    """Where Stage I starts: at the base, or with adapters still without effect.
    """
    return self.fresh_adapters() if self.config.model.lora.rank else base

  def start_policy(self, base: types.Params) -> types.Params:
    """The base as a policy: with LoRA, under adapters without effect."""
    return decoder.policy(self.config.model, base, self.start(base))

  def reference(self, base: types.Params) -> types.Params:
    """What both stages are held against: the base itself, or a copy of it.

    A copy is what `config.memory` asks for, in few bits or on the host, and
    shares no array with the base.
    """
    memory = self.config.memory
    if (memory.reference_dtype == 'float32'
        and 'reference' not in memory.offload):
      return base
    where = states_lib.shardings(self.states.reference())
    return jax.jit(self.states.as_reference, out_shardings=where)(base)


def resolved(config: config_lib.Config) -> config_lib.Config:
  """The config with the sizes of the model that its checkpoint holds.

  Raises:
    ValueError: the file is in a bucket or not there, or cannot be read.
  """
  for field, name in (('model.checkpoint', config.model.checkpoint),
                      ('model.tokenizer', config.model.tokenizer),
                      ('task.data_dir', config.task.data_dir)):
    files.check_on_disk(f'config.{field}', name)
  if not config.model.checkpoint:
    return config
  _check_checkpoint(config.model.checkpoint)
  return dataclasses.replace(config, model=weights.model_config(
      config.model.checkpoint, config.model))


def _check_checkpoint(name):
  """ValueError for what is easily taken for a folder of weights."""
  path = files.folder(name)
  if path.is_dir() and trained.is_run(path):
    raise ValueError(
        f'config.model.checkpoint {name} is of a run; make weights of it: '
        f'python -m score_jax.convert --from={name} --to=DIR, and name DIR')
  if re.fullmatch(r'[\w-]+/[\w.-]+', name) and not path.exists():
    raise ValueError(
        f'config.model.checkpoint {name} is no folder here; a model of the hub '
        f'is fetched with: hf download {name} --local-dir=DIR, and name DIR')


def check_devices(config: config_lib.Config, mesh: Mesh):
  """ValueError unless rows and parameters split evenly over the mesh.

  The devices also have to have attention in jax's default precision.
  """
  rollouts = config.rollout.prompts * config.rollout.samples
  rows = {'config.rollout.prompts': config.rollout.prompts,
          'problems of a part (see config.rollout.parts)':
              config.rollout.prompts // config.rollout.parts,
          'config.evaluation.batch_size': config.evaluation.batch_size}
  part = config.rollout.prompts // config.rollout.parts
  for stage in config_lib.STAGES:
    settings = getattr(config, stage)
    total = config.base.batch_size if stage == 'base' else rollouts
    what = f'rows of a micro-batch (see config.{stage}.micro_batches)'
    rows[what] = total // settings.micro_batches
    if stage != 'base':
      what = f'problems of a part (see config.{stage}.offline)'
      rows[what] = round(settings.offline * part)
  for what, number in rows.items():
    sharding.check_batch(mesh, what, number)
  sharding.check_params(mesh, decoder.abstract(config.model),
                        decoder.logical_axes(config.model))
  attention.check_precision(config.model, mesh)


def _check_adapters(model):
  """ValueError if LoRA is asked for and can have no effect, or is too large.
  """
  lora = model.lora
  if not lora.rank:
    return
  if lora.rank > model.width:
    raise ValueError(
        f'config.model.lora.rank is {lora.rank}, but matrices of width '
        f'{model.width} have no higher rank than that; lower it')
  if lora.alpha <= 0:
    raise ValueError(f'config.model.lora.alpha is {lora.alpha}; adapters have '
                     'an effect to train only if it is above 0')
  abstract = decoder.abstract(model)
  if not decoder.trained(model, abstract):
    paths = traverse_util.flatten_dict(abstract)
    names = ('/'.join(path[1:-1]) for path in paths
             if path[0] == 'blocks' and path[-1] == 'kernel')
    raise ValueError(
        f'config.model.lora.targets {model.lora.targets!r} matches no weight; '
        f'there are: {", ".join(names)}')


def _base_of(config) -> str | None:
  if not config.model.checkpoint:
    return None
  return weights.fingerprint(weights.open_model(
      variants.weights_path(config.model.checkpoint)))


def _check_length(config, actor):
  """ValueError if a sequence can be longer than the model's context."""
  layout = actor.conversation.longest
  most = config.model.max_positions
  if layout.slots > most:
    raise ValueError(
        f'a sequence takes up to {layout.slots} positions (prompt '
        f'{layout.prompt}, attempts {layout.attempts}, instructions '
        f'{layout.splices}) and the model has {most} '
        '(config.model.max_positions); lower config.rollout.prompt_buckets or '
        'config.rollout.attempt_tokens')


def _check_problems(config, task, directory):
  """ValueError if more problems are to be evaluated than there are."""
  asked, split = config.evaluation.problems, config.evaluation.split
  there = len(data.open_split(task, split, directory)) if asked else 0
  if asked > there:
    raise ValueError(
        f'config.evaluation.problems is {asked}, and the split {split!r} of '
        f'task {task.name!r} has {there} problems; 0 takes all of them')


def open_run(
    config: config_lib.Config,
    folder: files.Path,
    stop: shutdown.StopRequest,
    evaluating: bool = False,
    allow_gaps: bool = False,
) -> Run:
  """Checks the config against devices, files and folder, and opens the run.

  Args:
    config: see `config.from_dict` and `resolved`.
    folder: the workdir; may be new.
    stop: see `Run`.
    evaluating: nothing will be trained: the folder may be of a run with other
      settings of what has no part in training.
    allow_gaps: see `writer.Writer`.

  Raises:
    ValueError: something does not fit, or another process writes into the
      folder; nothing was written over.
  """
  if folder.exists() and not folder.is_dir():
    raise ValueError(f'--workdir={folder} is a file; name a folder, new or old')
  if evaluating and not folder.exists() and not config.model.checkpoint:
    raise ValueError(f'--workdir={folder} does not exist, so there is nothing '
                     'to evaluate; train first, with --mode=train, or name '
                     'weights with --config.model.checkpoint')
  with contextlib.ExitStack() as undo:
    # A folder in use is refused before weights are read.
    known = hosts.is_first() and (folder / 'config.json').exists()
    held = _lock(folder, undo) if known else None
    run = _open(config, folder, stop, evaluating, allow_gaps, held, undo)
    undo.pop_all()
  return run


def _lock(folder, undo):
  held = lock_lib.take(folder)
  undo.callback(held.release)
  return held


def _open(config, folder, stop, evaluating, allow_gaps, held, undo):
  mesh = sharding.make_mesh(config.mesh)
  check_devices(config, mesh)
  cpu_collectives.connect(mesh)
  states_lib.check_offload(config.memory, mesh.local_devices)
  _check_adapters(config.model)
  task = tasks.make(config.task)
  tasks_base.require_split(task.name, config.evaluation.split, task.splits)
  base_path = ''
  if config.model.checkpoint:
    base_path = variants.weights_path(config.model.checkpoint)
  elif 'base' not in task.splits:
    raise ValueError(
        f'task {task.name!r} has no transcripts to train a base model on; name '
        'one with --config.model.checkpoint=FILE')
  tokenizer = tokenizer_lib.load(
      config.model.tokenizer or base_path or task.tokenizer)
  grader, says = graders.make(task.grade, task.grading, config.grading)
  actor = actor_lib.Actor(config, task, tokenizer, mesh, grader)
  actor.conversation = feedback.conversation(actor, config.rollout)
  _check_length(config, actor)
  size_checks.check(config, actor.conversation.longest, mesh)
  base = _base_of(config)
  record = writer_lib.run_record(dataclasses.asdict(config), base)
  hosts.check_same('config', files.flat(record['config']))
  writer = writer_lib.Writer(folder, allow_gaps=allow_gaps)
  _check_config(writer, record, evaluating)  # Before a file is made there.
  if hosts.is_first():
    held = held or _lock(folder, undo)
    writer.guard = held.check
  _prepare(config, task, folder, writer, record, evaluating)
  stops = actor.stop_strings.note if actor.stop_strings else ''
  for line in filter(None, (
      *task.notes, says, stops, *config_lib.short_warmups(config))):
    writer.say(line)
  return Run(config, folder, mesh, states_lib.States(config, mesh), actor,
             writer, stop, held, base)


def _check_config(writer, record, evaluating):
  writer.check_config(record, *([_NOT_OF_TRAINING] if evaluating else []))


def _prepare(config, task, folder, writer, record, evaluating):
  """Compares the folder with the run, and makes what the run needs there."""
  _check_config(writer, record, evaluating)
  kept = files.on_disk(folder)
  if hosts.is_first() or kept != folder:  # Each host on a disk of its own.
    data.prepare(task, kept / 'data', task.splits)
    _check_problems(config, task, kept / 'data')
  if hosts.is_first() and not (
      evaluating and (folder / 'config.json').exists()):
    writer.config(record)
  hosts.barrier()
  path = folder / 'config.json'
  if files.read_json(path) != hosts.from_first(lambda: files.read_json(path)):
    raise ValueError(
        f'--workdir={folder} of process {hosts.number()} is not that of '
        'process 0; name a folder that all hosts share')
