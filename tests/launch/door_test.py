"""Flags in, lines of gcloud and xpk out; what is wrong is one line."""

import json
import shlex

import pytest

from launch import door

CONFIG = '--config=experiments/stage2.py:math'
QUEUED = 'gcloud compute tpus queued-resources'


@pytest.fixture
def dry(laptop, capsys, monkeypatch):
  """The lines of a command that are no remarks, where nothing is installed."""
  monkeypatch.setenv('PATH', '')

  def lines(command, *flags):
    code = laptop.tpu(command, '--dry-run', *flags)
    said = capsys.readouterr()
    assert (code, said.err) == (0, '')
    return [line for line in said.out.splitlines() if line[0] != '#']

  return lines


def test_create_is_one_line_and_labelled(dry):
  assert dry('create', '--spot', '--zone=z', '--project=p') == [
      f'{QUEUED} create tpu1 --project=p --zone=z --node-id=tpu1 '
      '--accelerator-type=v5litepod-16 --runtime-version=v2-alpha-tpuv5-lite '
      '--spot --labels=created-by=score-jax']


def test_several_slices_share_a_prefix_and_other_tiers_are_asked_for(dry):
  [line] = dry('create', '--node-count=2', '--reserved', '--type=v6e-256',
               '--create-flag=--valid-until-duration=6h')
  assert line == (
      f'{QUEUED} create tpu1 --node-count=2 --node-prefix=tpu1 '
      '--accelerator-type=v6e-256 --runtime-version=v2-alpha-tpuv6e '
      '--reserved --labels=created-by=score-jax --valid-until-duration=6h')
  [line] = dry('create', '--type=v4-8', '--runtime-version=mine')
  assert '--runtime-version=mine' in line
  assert '--spot' not in line and '--reserved' not in line


def test_every_line_reads_back_as_its_words(dry):
  config = "--config.task.name=it's two  words"
  lines = dry('run', CONFIG, '--bucket=b', config)
  [command] = [word for word in shlex.split(lines[0])
               if word.startswith('--command=')]
  assert config in shlex.split(command)


def test_run_starts_the_same_on_all_hosts_and_joins_them(dry):
  start = 'bash on_vm.sh start r1 --config=experiments/stage2.py:math'
  [line] = dry('run', CONFIG, '--run=r1', '--bucket=b')
  assert line == (
      f"{QUEUED} ssh tpu1 --node=all --worker=all '--command={start} "
      "--workdir=gs://b/runs/r1 --distributed'")
  [line] = dry('run', CONFIG, '--run=r1', '--type=v6e-8')  # One host.
  assert line.endswith("--workdir=/mnt/score_jax/runs/r1'")
  [line] = dry('run', CONFIG, '--type=v6e-8', '--node-count=2', '--shared=/n')
  assert line.endswith("--workdir=/n/runs/tpu1 --distributed'")


def test_a_vm_that_is_there_has_workers_and_no_nodes(dry):
  vm = 'gcloud compute tpus tpu-vm'
  assert dry('logs', '--via=vm', '--worker=3', '--lines=9', '--follow') == [
      f"{vm} ssh tpu1 --worker=3 "
      "'--command=tail -n 9 -F score_jax_runs/tpu1/log'"]
  assert dry('delete', '--via=vm', '--yes') == [
      f'{vm} describe tpu1 --format=json', f'{vm} delete tpu1 --quiet']


def test_setup_brings_the_commit_and_the_script(dry, laptop):
  bundle, copy, setup = dry('setup', '--bucket=b', '--ssh-flag=--internal-ip')
  path = f'{laptop.checkout}/build/score_jax.bundle'
  assert bundle == (
      f'git -C {laptop.checkout} bundle create -q {path} HEAD')
  assert copy == (f'{QUEUED} scp {path} {laptop.checkout}/launch/on_vm.sh '
                  'tpu1: --node=all --worker=all --internal-ip')
  assert setup.endswith(
      "'--command=bash on_vm.sh setup /mnt/score_jax b' --internal-ip")


def test_fetch_asks_the_bucket_or_the_first_host(dry, laptop):
  assert dry('fetch', '--bucket=b', '--checkpoints') == [
      "gcloud storage rsync --recursive '--exclude=^(compile_cache|data)/' "
      'gs://b/runs/tpu1 runs/tpu1']
  small, large = dry('fetch', '--to=here', '--checkpoints')
  where = 'tpu1:/mnt/score_jax/runs/tpu1'
  hosts = 'here --recurse --node=0 --worker=0'
  assert small == f"{QUEUED} scp '{where}/*.json*' {hosts}"
  assert large == f'{QUEUED} scp {where}/checkpoints {hosts}'
  assert not (laptop.folder / 'here').exists()


def test_babysit_shows_all_it_may_do_and_deletes_before_it_creates_again(dry):
  lines = dry('babysit', CONFIG, '--bucket=b')
  assert [line.split()[4] if 'rsync' not in line else 'rsync'
          for line in lines if line.startswith('gcloud')] == [
      'describe', 'ssh', 'create', 'scp', 'ssh', 'ssh', 'delete', 'rsync']


def test_xpk_runs_the_checkout_on_gke(dry, laptop):
  gke = ('--via=xpk', '--cluster=c')
  [line] = dry('run', CONFIG, *gke, '--spot', '--node-count=2',
               '--storage=disk', '--shared=/disk')
  words = shlex.split(line)
  assert words[:-1] == [
      'xpk', 'workload', 'create', '--cluster=c', '--workload=tpu1',
      '--tpu-type=v5litepod-16', '--num-slices=2', '--spot',
      '--base-docker-image=python:3.11', f'--script-dir={laptop.checkout}',
      '--storage=disk', '--max-restarts=1000',
      '--termination-grace-period-seconds=300']
  assert words[-1] == (
      "--command=pip install -q '.[tpu]' && exec python -m score_jax.main "
      f'{CONFIG} --workdir=/disk/runs/tpu1 --distributed')
  assert dry('status', *gke, '--zone=z') == [
      'xpk workload list --cluster=c --filter-by-job=tpu1 --zone=z']
  assert dry('delete', *gke) == [
      'xpk workload delete --cluster=c --workload=tpu1']
  assert dry('delete', *gke, '--yes')[0].endswith(' --force')
  assert dry('logs', *gke) == [
      'kubectl logs --prefix --tail=50 '
      '--selector=jobset.sigs.k8s.io/jobset-name=tpu1 --all-containers']


def test_an_argument_file_serves_all_commands_and_later_flags_win(
    dry, laptop):
  (laptop.folder / 'pod.args').write_text(
      f'# A pod.\n\n--type=v5p-128\n  --spot\n--bucket=b\n{CONFIG}\n')
  assert '--accelerator-type=v5p-128' in dry('create', '@pod.args')[0]
  [line] = dry('create', '@pod.args', '--type=v4-16')
  assert '--accelerator-type=v4-16' in line and '--spot' in line
  assert 'stage2.py:math' in dry('run', '@pod.args')[0]


def test_an_estimate_comes_before_what_costs(laptop, capsys):
  (laptop.folder / 'timings.jsonl').write_text(
      ''.join(json.dumps({'step_s': s}) + '\n' for s in (90, 36, 35)))
  flags = ('--dry-run', '--type=v5p-128', '--node-count=2', '--steps=1000')
  assert laptop.tpu('create', *flags, '--timings=timings.jsonl') == 0
  # v5p-128 is 64 chips; 1000 x 36 s are 10 h, on 128 chips 1280 chip-hours.
  assert capsys.readouterr().out.splitlines()[:2] == [
      '# tpu1: 2 x v5p-128: 128 chips on 32 hosts, on demand',
      '# estimate: 1000 steps of 36 s take 10 h, 1.28e+03 chip-hours, without '
      'waiting and set-up']
  assert laptop.tpu('create', *flags) == 0
  assert '# no estimate: give --steps, and' in capsys.readouterr().out


def test_status_says_state_processes_and_steps(laptop, capsys):
  said = 'host0 running stage2:7\nnoise\nhost1 ended 143 -\nnew absent -\n'
  laptop.gcloud(states=['ACTIVE'], labels={}, status=[said])
  assert laptop.tpu('status') == 0
  assert capsys.readouterr().out.splitlines() == [
      '# tpu1: ACTIVE', '# host0: running, last step stage2:7',
      '# host1: ended with exit code 143, last step -',
      '# new: not started, last step -']
  gcloud = laptop.gcloud(states=['SUSPENDED'], labels={})
  assert laptop.tpu('status') == 0
  assert capsys.readouterr().out == '# tpu1: SUSPENDED\n'
  assert gcloud.calls[-1][1] == 'describe'


def test_only_what_is_ours_is_deleted_without_a_yes(laptop, capsys):
  gcloud = laptop.gcloud(states=['ACTIVE'], labels={'created-by': 'somebody'})
  assert laptop.tpu('delete') == 2
  assert 'it has no label created-by=score-jax' in capsys.readouterr().err
  assert gcloud.verbs() == []
  assert laptop.tpu('delete', '--yes') == 0
  assert laptop.tpu('create') == 0
  assert laptop.tpu('delete') == 0
  assert gcloud.verbs() == ['delete', 'create', 'delete']
  assert laptop.tpu('delete') == 0  # There is nothing left.
  assert gcloud.verbs()[3:] == []


def test_what_is_not_committed_is_named(laptop, capsys):
  laptop.gcloud()
  (laptop.checkout / 'new.py').touch()
  try:
    assert laptop.tpu('setup') == 0
  finally:
    (laptop.checkout / 'new.py').unlink()
  assert '# not committed, so not taken along: new.py' in (
      capsys.readouterr().out)
  assert (laptop.checkout / 'build' / 'score_jax.bundle').stat().st_size > 100


def test_a_refused_host_is_tried_again_and_then_given_up(laptop, capsys):
  refused = 'ERROR: ssh: connect to host h port 22: Connection timed out'
  gcloud = laptop.gcloud(start=[refused])
  assert laptop.tpu('run', CONFIG, '--bucket=b', '--tries=3') == 1
  assert gcloud.verbs() == ['start', 'start', 'start']
  assert laptop.slept == [10, 10]
  assert capsys.readouterr().err == f'launch: {refused}\n'


def test_other_errors_are_one_line_at_once(laptop, capsys):
  laptop.gcloud(create=['ERROR: (gcloud) PERMISSION_DENIED: no\nmore\n'])
  assert laptop.tpu('create') == 1
  assert laptop.slept == []
  assert capsys.readouterr().err == (
      'launch: ERROR: (gcloud) PERMISSION_DENIED: no\n')


@pytest.mark.parametrize('name, setting', [
    ('project', 'project'), ('zone', 'compute/zone')])
def test_what_gcloud_is_not_set_to_is_said(name, setting, laptop, capsys):
  laptop.gcloud(create=[
      'ERROR: (gcloud) Error parsing [queued_resource].\nThe [queued_resource] '
      'resource is not properly specified.\nFailed to find attribute '
      f'[{name}]. The attribute can be set in the following ways: \n'])
  assert laptop.tpu('create') == 1
  assert capsys.readouterr().err == (
      f'launch: gcloud has no {name}: give --{name}, or set its own with '
      f'gcloud config set {setting}\n')


@pytest.mark.parametrize('flags, words', [
    (['create', '--type=v9-8'], 'v6e-1 -4 -8 -16'),
    (['create', '--type=v5litepod-2'], 'is not known; there are v4-8'),
    (['create', '--type='], 'create needs --type'),
    (['create', '--name='], '--name is missing'),
    (['create', '--nme=x'], 'unknown flag --nme=x'),
    (['creat'], 'invalid choice'),
    (['create', '@none.args'], 'there is no argument file none.args'),
    (['create', '--node-count=0'], 'at least 1'),
    (['create', '--spot', '--reserved'], 'not allowed with'),
    (['create', '--via=vm'], 'needs --via=queued'),
    (['create', '--timings=none'], '--timings=none is no timings.jsonl'),
    (['setup', '--checkout=.'], 'no git checkout of score_jax'),
    (['run', '--bucket=b'], '--config=FILE of the run is missing'),
    (['run', CONFIG], '4 hosts need a folder that all of them share'),
    (['run', CONFIG, '--bucket=b', '--run=a b'], 'use letters'),
    (['run', CONFIG, '--bucket=b', '--via=xpk'], 'needs --cluster'),
    (['babysit', CONFIG, '--via=xpk'], 'GKE re-creates'),
    (['fetch', '--via=xpk'], 'needs --bucket'),
])
def test_bad_flags_are_one_line(laptop, capsys, flags, words):
  assert laptop.tpu(*flags) == 2
  said = capsys.readouterr().err
  assert said.startswith('launch: ') and said.count('\n') == 1
  assert words in said


@pytest.mark.parametrize('name, flags, way', [
    ('gcloud', ['create'], 'cloud.google.com/sdk'),
    ('xpk', ['run', CONFIG, '--via=xpk', '--cluster=c', '--storage=s'], 'pip'),
])
def test_a_missing_program_is_named_and_how_to_get_it(
    laptop, capsys, monkeypatch, name, flags, way):
  monkeypatch.setenv('PATH', str(laptop.folder))
  assert laptop.tpu(*flags) == 2
  said = capsys.readouterr().err
  assert f'launch: {name} is not installed here; see ' in said and way in said


def test_ctrl_c_is_one_line(laptop, capsys, monkeypatch):
  laptop.gcloud(states=['PROVISIONING'], labels={})

  def interrupted(unused_s):
    raise KeyboardInterrupt

  monkeypatch.setattr(laptop, '_sleep', interrupted)
  assert laptop.tpu('babysit', CONFIG, '--bucket=b') == door.INTERRUPTED
  assert capsys.readouterr().err == (
      'launch: interrupted; slices and runs are as they were\n')
