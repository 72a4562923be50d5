"""Whole runs of a model of 2,000 parameters, a few steps a stage."""

import zlib

import jax

from score_jax import checkpoint
from score_jax import config as config_lib
from score_jax import pipeline
from score_jax import run as run_lib
from score_jax import shutdown
from score_jax.recipes import base_recipes
from score_jax.tasks import chain


def grade_by_chance(patch):
  """Have a third of all texts graded right: untrained models have rewards.

  Without any the gradients are zero, and no weight of a stage moves.
  """
  patch.setattr(chain, 'grade', lambda answer, text: int(
      zlib.crc32(text.encode()) % 3 == 0))


def config(name: str, **groups) -> config_lib.Config:
  """The config of an experiment, tiny, and with these fields changed."""
  values = base_recipes.make(name, 'stage2')
  values.model.update(num_layers=1, width=16, num_heads=2, num_kv_heads=1,
                      head_dim=8, mlp_width=16)
  values.task.update(train_problems=64, transcripts=64)
  values.rollout.update(prompts=8, samples=2)
  values.base.update(batch_size=16, micro_batches=2, steps=2)
  for stage in (values.stage1, values.stage1b, values.stage2):
    stage.micro_batches = 2
    stage.steps = min(stage.steps, 4)
  values.evaluation.update(problems=8, batch_size=8)
  values.checkpoints.every = 2
  for group, fields in groups.items():
    values[group].update(fields)
  return config_lib.from_dict(values)


def start(folder, config: config_lib.Config) -> run_lib.Run:
  """The run, before anything is trained."""
  return run_lib.open_run(config, folder, shutdown.StopRequest())


def train(run: run_lib.Run) -> dict:
  """Trains it to its end; the contents of results.json."""
  with jax.set_mesh(run.mesh):
    return pipeline.train_all(run)


def params(run: run_lib.Run, stage: str = 'stage2'):
  """What a stage has saved."""
  with checkpoint.Checkpoints(run.folder / 'checkpoints' / stage, 2) as saved:
    state, _ = saved.restore(run.states.state(stage))
  return jax.device_get(state.params)


def train_stopping_after(run: run_lib.Run, steps: int, monkeypatch):
  """Trains until so many steps were logged, then stops and saves."""
  log, count = run.writer.metrics, iter(range(1, steps + 1))

  def metrics(*row):
    log(*row)
    run.stop.requested = next(count) == steps

  monkeypatch.setattr(run.writer, 'metrics', metrics)
  try:
    train(run)
  except shutdown.Stopped:
    return
  raise AssertionError('it was not stopped')
