"""What every act of a run shares: mesh, task, actor, files.

`open_run` builds it from the config and makes every check that needs no
training, so that a mistake shows before any work is done or written.
"""

import dataclasses
import pathlib
from typing import Any

import jax
from jax.sharding import Mesh
import optax

from score_jax import actor as actor_lib
from score_jax import checkpoint
from score_jax import config as config_lib
from score_jax import data
from score_jax import keys
from score_jax import sharding
from score_jax import shutdown
from score_jax import tasks
from score_jax import types
from score_jax import update
from score_jax import weights
from score_jax import writer as writer_lib
from score_jax.models import decoder
from score_jax.models import variants
from score_jax.text import tokenizer as tokenizer_lib


@dataclasses.dataclass(frozen=True)
class Run:
  """A run's config and what was built from it.

  Attributes:
    config: checked.
    folder: where everything is kept.
    mesh: the devices.
    actor: the policy at work on the task.
    writer: the folder's files.
    stop: asked between steps, so that SIGTERM ends a run saved.
    splits: problems read so far, by split.
  """

  config: config_lib.Config
  folder: pathlib.Path
  mesh: Mesh
  actor: actor_lib.Actor
  writer: writer_lib.Writer
  stop: shutdown.StopRequest
  splits: dict[str, list[types.Problem]] = dataclasses.field(
      default_factory=dict)

  def say(self, line: str):
    """One line for the person who watches."""
    self.writer.say(line)

  def settings(
      self, stage: str
  ) -> config_lib.BaseConfig | config_lib.StageConfig:
    """The part of the config that is a stage's own."""
    return {'base': self.config.base, 'stage1': self.config.stage1,
            'stage2': self.config.stage2}[stage]

  def problems(self, split: str) -> list[types.Problem]:
    """A split's problems whose prompts fit, in the order of the data set.

    Raises:
      ValueError: some do not, and `config.task.long_prompts` is 'error'.
    """
    if split not in self.splits:
      found = data.open_split(self.actor.task, split, self.folder / 'data')
      self.splits[split] = self._fitting(list(found), split)
    return self.splits[split]

  def transcripts(self) -> list[dict[str, str]]:
    """The base model's corpus, likewise without prompts that do not fit."""
    rows = list(data.open_transcripts(self.actor.task, self.folder / 'data'))
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
      self, stage: str, result: dict | None, act: str, wall_s: float
  ):
    """Adds a stage's evaluation, and what an act took, to `results.json`."""
    results = self.writer.read_results() or {
        'task': self.config.task.name, 'stages': {}, 'wall_s': {}}
    if result is not None:
      results['stages'][stage] = result
    results['wall_s'][act] = wall_s
    self.writer.results(results)

  def checkpoints(self, stage: str) -> checkpoint.Checkpoints:
    """The saved states of a stage."""
    return checkpoint.Checkpoints(
        self.folder / 'checkpoints' / stage, self.config.checkpoints.keep)

  def random_params(self) -> types.Params:
    """Fresh parameters, born where the mesh wants them."""
    key = keys.purpose_key(self.config.seed, 'init')
    model = self.config.model
    return jax.jit(lambda: decoder.init(model, key),
                   out_shardings=self.param_shardings())()

  def loaded_params(self) -> types.Params:
    """The weights that `config.model.checkpoint` names, on the mesh."""
    model = self.config.model
    return weights.load_params(model.checkpoint, model, self.param_shardings())

  def param_shardings(self) -> Any:
    """The sharding of each parameter."""
    return sharding.tree_shardings(
        self.mesh, decoder.logical_axes(self.config.model))

  def abstract_params(self) -> types.Params:
    """Shapes and shardings of the parameters."""
    return jax.tree.map(_sharded, decoder.abstract(self.config.model),
                        self.param_shardings())

  def abstract_state(
      self, optimizer: optax.GradientTransformation
  ) -> types.TrainState:
    """Shapes and shardings of a training state: moments lie as parameters."""
    shapes = jax.eval_shape(lambda p: update.init_state(optimizer, p),
                            self.abstract_params())
    replicated = sharding.named(self.mesh)
    opt_state = optax.tree_map_params(
        optimizer, _sharded, shapes.opt_state, self.param_shardings(),
        transform_non_params=lambda leaf: _sharded(leaf, replicated))
    return types.TrainState(
        _sharded(shapes.step, replicated), self.abstract_params(), opt_state)


def _sharded(leaf, where):
  return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=where)


def resolved(config: config_lib.Config) -> config_lib.Config:
  """The config with the sizes of the model that its checkpoint holds.

  Raises:
    ValueError: the file is not there, or not one that can be read.
  """
  if not config.model.checkpoint:
    return config
  return dataclasses.replace(config, model=weights.model_config(
      config.model.checkpoint, config.model))


def _check_devices(config, mesh):
  """ValueError unless rows and parameters split evenly over the mesh."""
  rollouts = config.rollout.prompts * config.rollout.samples
  rows = {'config.rollout.prompts': config.rollout.prompts,
          'config.evaluation.batch_size': config.evaluation.batch_size}
  for stage, settings, total in (('base', config.base, config.base.batch_size),
                                 ('stage1', config.stage1, rollouts),
                                 ('stage2', config.stage2, rollouts)):
    what = f'rows of a micro-batch (see config.{stage}.micro_batches)'
    rows[what] = total // settings.micro_batches
  for what, number in rows.items():
    sharding.check_batch(mesh, what, number)
  sharding.check_params(mesh, decoder.abstract(config.model),
                        decoder.logical_axes(config.model))


def open_run(
    config: config_lib.Config,
    folder: pathlib.Path,
    stop: shutdown.StopRequest,
) -> Run:
  """Checks the config against devices, files and folder, and opens the run.

  Args:
    config: see `config.from_dict` and `resolved`.
    folder: the workdir; may be new.
    stop: see `Run`.

  Raises:
    ValueError: something does not fit; nothing was written over.
  """
  if folder.exists() and not folder.is_dir():
    raise ValueError(f'--workdir={folder} is a file; name a folder, new or old')
  mesh = sharding.make_mesh(config.mesh)
  _check_devices(config, mesh)
  task = tasks.make(config.task)
  base_path = ''
  if config.model.checkpoint:
    base_path = variants.weights_path(config.model.checkpoint)
  elif 'base' not in task.splits:
    raise ValueError(
        f'task {task.name!r} has no transcripts to train a base model on; name '
        'one with --config.model.checkpoint=FILE')
  elif len(config.rollout.attempt_tokens) != 2:
    raise ValueError(
        'config.rollout.attempt_tokens has '
        f'{len(config.rollout.attempt_tokens)} attempts, but the transcripts '
        'that a base model is trained on have 2; name another base with '
        '--config.model.checkpoint=FILE')
  tokenizer = tokenizer_lib.load(
      config.model.tokenizer or base_path or task.tokenizer)
  actor = actor_lib.Actor(config, task, tokenizer, mesh)
  writer = writer_lib.Writer(folder)
  record = writer_lib.run_record(dataclasses.asdict(config))
  writer.check_config(record)
  data.prepare(task, folder / 'data', task.splits)
  writer.config(record)
  return Run(config, folder, mesh, actor, writer, stop)
