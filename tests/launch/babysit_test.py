"""Runs that outlive their slices, on a gcloud that takes them away."""

import pytest

RUN = ('--bucket=b', '--config=experiments/stage2.py', '--run=r1')
START = ['scp', 'setup', 'start']


def _hosts(what, step='-'):
  """What four hosts say."""
  return ''.join(f'host{n} {what} {step}\n' for n in range(4))


NEW, DONE = _hosts('absent'), _hosts('ended 0', 'stage2:9')
RUNNING = _hosts('running', 'stage2:4')


def test_slices_are_created_awaited_and_the_run_started_and_fetched(
    laptop, capsys):
  gcloud = laptop.gcloud(
      states=['ACCEPTED', 'WAITING_FOR_RESOURCES', 'PROVISIONING', 'ACTIVE'],
      status=[NEW, RUNNING, RUNNING, DONE])
  assert laptop.tpu('babysit', *RUN) == 0
  assert gcloud.verbs() == ['create', *START, 'rsync']
  out = capsys.readouterr().out
  assert '# r1: running, last step stage2:4\n' in out
  assert out.count('stage2:4') == 1  # Once, though it was asked twice.
  assert len(laptop.slept) == 7
  assert out.endswith('# tpu1 is still there: delete it\n')


@pytest.mark.parametrize('gone', ['SUSPENDED', 'FAILED'])
def test_the_dead_slices_are_deleted_before_the_same_run_goes_on(laptop, gone):
  gcloud = laptop.gcloud(
      states=['ACTIVE', 'ACTIVE', 'SUSPENDING', gone, 'PROVISIONING', 'ACTIVE'],
      status=[NEW, RUNNING, _hosts('absent', 'stage2:4'), DONE])
  assert laptop.tpu('babysit', '--spot', *RUN) == 0
  assert gcloud.verbs() == [
      'create', *START, 'delete', 'create', *START, 'rsync']
  first, second = [call for call in gcloud.calls if 'on_vm.sh start r1' in
                   ' '.join(call)]
  assert first == second and '--workdir=gs://b/runs/r1' in first[-1]


def test_slices_that_somebody_else_made_are_not_deleted(laptop, capsys):
  gcloud = laptop.gcloud(states=['SUSPENDED'], labels={})
  assert laptop.tpu('babysit', *RUN) == 2
  assert gcloud.verbs() == []
  assert 'add --yes' in capsys.readouterr().err
  gcloud = laptop.gcloud(states=['SUSPENDED', 'ACTIVE'], labels={},
                         status=[DONE])
  assert laptop.tpu('babysit', '--yes', *RUN) == 0
  assert gcloud.verbs() == ['delete', 'create', 'rsync']


@pytest.mark.parametrize('code', [1, 2])
def test_a_run_that_fails_ends_it_with_its_last_words(laptop, capsys, code):
  failed = RUNNING.replace('running', f'ended {code}')
  gcloud = laptop.gcloud(states=['ACTIVE'], status=[NEW, RUNNING, failed],
                         last_words=['score_jax: loss is not finite'])
  assert laptop.tpu('babysit', *RUN) == 1
  assert gcloud.verbs() == ['create', *START, 'last_words']
  out = capsys.readouterr().out
  assert 'score_jax: loss is not finite' in out
  assert f'# stopped: r1 ended with exit code {code}; see above' in out


def test_one_failed_host_is_waited_out_and_then_ends_it(laptop):
  mixed = 'host0 ended 1 -\n' + RUNNING.partition('\n')[2]
  ended = 'host0 ended 1 -\n' + _hosts('ended 143').partition('\n')[2]
  gcloud = laptop.gcloud(states=['ACTIVE'], status=[mixed, ended], labels={})
  assert laptop.tpu('babysit', *RUN) == 1
  assert gcloud.verbs() == ['last_words']
  assert laptop.slept == [10]


def test_a_run_that_was_stopped_and_saved_goes_on(laptop):
  saved = _hosts('ended 143', 'stage2:4')
  gcloud = laptop.gcloud(states=['ACTIVE'], labels={},
                         status=[RUNNING, saved, DONE])
  assert laptop.tpu('babysit', *RUN) == 0
  assert gcloud.verbs() == [*START, 'rsync']


def test_a_run_that_comes_no_further_is_not_started_for_ever(laptop, capsys):
  killed = _hosts('ended 137', 'stage2:4')
  gcloud = laptop.gcloud(states=['ACTIVE'], labels={}, status=[killed])
  assert laptop.tpu('babysit', *RUN) == 1
  assert gcloud.verbs() == 3 * START
  assert 'started 3 times at step stage2:4' in capsys.readouterr().out


def test_starts_that_come_further_or_have_new_slices_are_not_counted(laptop):
  killed = [_hosts('ended 137', f'stage2:{n}') for n in range(4)]
  laptop.gcloud(states=['ACTIVE'], labels={}, status=[*killed, DONE])
  assert laptop.tpu('babysit', *RUN) == 0
  gcloud = laptop.gcloud(states=4 * ['ACTIVE', 'SUSPENDED'] + ['ACTIVE'],
                         labels={'created-by': 'score-jax'},
                         status=[*(4 * [NEW]), DONE])
  assert laptop.tpu('babysit', *RUN) == 0
  assert gcloud.verbs().count('start') == 8  # Of both.


def test_no_capacity_is_waited_for_ever_longer_up_to_an_hour(laptop):
  full = ('ERROR: There is no more capacity in the zone "z"; you can try in '
          'another zone')
  gcloud = laptop.gcloud(states=['ACTIVE'], create=[*(10 * [full]), ''],
                         status=[DONE])
  assert laptop.tpu('babysit', *RUN) == 0
  assert gcloud.verbs() == [*(11 * ['create']), 'rsync']
  assert laptop.slept[:10] == [
      10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3600]


def test_a_request_that_failed_for_capacity_is_made_again(laptop):
  failed = {'state': 'FAILED', 'failedData': {'error': {
      'code': 8, 'message': 'There is no more capacity in the zone'}}}
  gcloud = laptop.gcloud(states=['PROVISIONING', failed, failed, 'ACTIVE'],
                         status=[DONE])
  assert laptop.tpu('babysit', *RUN) == 0
  assert gcloud.verbs() == ['create', 'delete', 'create', 'delete', 'create',
                            'rsync']


QUOTA = ("Quota limit 'TPUV5sPreemptibleLitepodPerProjectPerZoneForTPUAPI' has "
         'been exceeded. Limit: 0 in zone z.')


def test_quota_ends_it_with_the_reason(laptop, capsys):
  laptop.gcloud(create=[f'ERROR: RESOURCE_EXHAUSTED: {QUOTA}'])
  assert laptop.tpu('babysit', *RUN) == 1
  assert laptop.slept == []
  assert QUOTA in capsys.readouterr().out


def test_a_request_that_failed_for_quota_is_kept_to_look_at(laptop, capsys):
  failed = {'state': 'FAILED', 'failedData': {'error': {'message': QUOTA}}}
  gcloud = laptop.gcloud(states=['WAITING_FOR_RESOURCES', failed])
  assert laptop.tpu('babysit', *RUN) == 1
  assert gcloud.verbs() == ['create']
  assert QUOTA in capsys.readouterr().out


REFUSED = 'ERROR: ssh: connect to host 1.2.3.4 port 22: Connection refused'


def test_ssh_that_is_refused_at_first_is_tried_again(laptop):
  gcloud = laptop.gcloud(states=['ACTIVE'], status=[REFUSED, NEW, DONE],
                         setup=[REFUSED, REFUSED, ''])
  assert laptop.tpu('babysit', *RUN) == 0
  assert gcloud.verbs() == [
      'create', 'scp', 'setup', 'setup', 'setup', 'start', 'rsync']


def test_ssh_that_is_always_refused_ends_it(laptop, capsys):
  laptop.gcloud(states=['ACTIVE'], status=[REFUSED])
  assert laptop.tpu('babysit', *RUN) == 1
  assert len(laptop.slept) == 21  # Once after the request.
  assert 'Connection refused, 20 times in a row' in capsys.readouterr().out


def test_hosts_that_fall_silent_for_good_are_replaced(laptop):
  gcloud = laptop.gcloud(
      states=['ACTIVE'], status=[NEW, *(21 * ['host0 running stage2:1']), DONE])
  assert laptop.tpu('babysit', *RUN) == 0
  assert gcloud.verbs() == ['create', *START, 'delete', 'create', 'rsync']


def test_slices_with_a_node_that_is_gone_are_replaced(laptop):
  gone = 'ERROR: This TPU has terminal state "PREEMPTED", so it cannot be used'
  gcloud = laptop.gcloud(states=['ACTIVE'], status=[NEW, gone, NEW, DONE])
  assert laptop.tpu('babysit', *RUN) == 0
  assert gcloud.verbs() == [
      'create', *START, 'delete', 'create', *START, 'rsync']


def test_other_errors_end_it_with_one_line(laptop, capsys):
  laptop.gcloud(create=['ERROR: PERMISSION_DENIED: tpu.nodes.create'])
  assert laptop.tpu('babysit', *RUN) == 1
  out = capsys.readouterr().out.splitlines()
  assert out[-1] == '# stopped: ERROR: PERMISSION_DENIED: tpu.nodes.create'


def test_slices_are_deleted_at_the_end_if_so_wished(laptop):
  gcloud = laptop.gcloud(states=['ACTIVE'], status=[DONE])
  assert laptop.tpu('babysit', '--delete-when-done', *RUN) == 0
  assert gcloud.verbs() == ['create', 'rsync', 'delete']
