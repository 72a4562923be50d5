#!/usr/bin/env bash
# What launch/tpu.py does on each host of a slice; `setup` copies it there.
#
#   on_vm.sh setup SHARED [BUCKET]   checkout, Python, packages, the folder
#   on_vm.sh start RUN ARG...        one process of the run, as a service
#   on_vm.sh run RUN ARG...          what the service does
#   on_vm.sh status RUN FOLDER       a line: HOST running|ended CODE|absent STEP
#   on_vm.sh last_words RUN          the end of the log, if the run failed
#
# As a service, the run gets SIGTERM when the host shuts down, before the bucket
# and the network go, and has the time to save.
set -euo pipefail

readonly unit=score_jax bucket_unit=score_jax_bucket gcsfuse=3.2.0

# Also while it is being stopped.
is_active() {
  case $(systemctl show -p ActiveState --value "$unit") in
    inactive | failed) return 1 ;;
  esac
}

setup() {
  if is_active; then
    echo "ERROR: a run is active on $(hostname); its code is not replaced" >&2
    exit 1
  fi
  rm -rf "$HOME/score_jax"
  git -c advice.detachedHead=false clone -q score_jax.bundle "$HOME/score_jax"
  PIP_BREAK_SYSTEM_PACKAGES=1 python3 -m pip install -q --user uv
  python3 -m uv venv -q --allow-existing --python 3.11 "$HOME/score_jax_venv"
  python3 -m uv pip install -q --python "$HOME/score_jax_venv/bin/python" \
    -e "$HOME/score_jax[tpu,gcs]"
  sudo mkdir -p "$1"
  if ! mountpoint -q "$1"; then
    sudo chown "$(id -u):$(id -g)" "$1"
    if [ -n "${2:-}" ]; then
      mount_bucket "$2" "$1"
    fi
  fi
}

mount_bucket() {
  if ! command -v gcsfuse >/dev/null; then
    local deb="gcsfuse_${gcsfuse}_amd64.deb"
    curl -fsSLO "https://github.com/GoogleCloudPlatform/gcsfuse/releases/download/v$gcsfuse/$deb"
    sudo apt-get install -y -q "./$deb"
  fi
  # Nothing is cached, since other hosts write, too.
  service "$bucket_unit" gcsfuse --foreground --implicit-dirs \
    --metadata-cache-ttl-secs=0 --rename-dir-limit=100000 "$1" "$2"
  for _ in {1..30}; do
    mountpoint -q "$2" && return
    sleep 1
  done
  echo "ERROR: bucket $1 cannot be mounted on $(hostname); see" \
    "journalctl -u $bucket_unit there" >&2
  exit 1
}

start() {
  if is_active; then
    echo "$(hostname) runs already"
    return
  fi
  rm -f "$HOME/score_jax_runs/$1/exit_code"
  service "$unit" bash "$HOME/on_vm.sh" run "$@"
}

# Limits are those of a login; a service's own are too low for TPUs.
service() {
  local name=$1
  shift
  sudo systemd-run -q --collect --unit="$name" --uid="$(id -u)" \
    --gid="$(id -g)" --setenv=HOME="$HOME" --setenv=PATH="$PATH" \
    -p After="$bucket_unit.service" -p After=network-online.target \
    -p KillMode=mixed -p TimeoutStopSec=600 \
    -p LimitMEMLOCK=infinity -p LimitNOFILE=1048576 "$@"
}

run() {
  local state="$HOME/score_jax_runs/$1" code=0
  shift
  mkdir -p "$state"
  cd "$HOME/score_jax"
  PYTHONUNBUFFERED=1 "$HOME/score_jax_venv/bin/python" -m score_jax.main "$@" \
    >>"$state/log" 2>&1 &
  local child=$!
  trap 'kill -TERM $child' TERM
  wait "$child" || code=$?
  # A signal ends the first wait and not the child, which saves.
  while kill -0 "$child" 2>/dev/null; do
    code=0
    wait "$child" || code=$?
  done
  echo "$code" >"$state/exit_code"
  exit "$code"
}

status() {
  local what=absent step end="$HOME/score_jax_runs/$1/exit_code"
  if is_active; then
    what=running
  elif [ -f "$end" ]; then
    what="ended $(<"$end")"
  fi
  step=$(tail -n 1 "$2/metrics.jsonl" 2>/dev/null |
    sed -E 's/.*"stage": "([^"]*)", "step": ([0-9]+).*/\1:\2/') || true
  echo "$(hostname) $what ${step:--}"
}

last_words() {
  local state="$HOME/score_jax_runs/$1"
  case $(cat "$state/exit_code" 2>/dev/null) in
    1 | 2) tail -n 20 "$state/log" ;;
  esac
}

"$@"
