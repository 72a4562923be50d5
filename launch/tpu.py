"""Runs score_jax on slices of Cloud TPUs, from any machine that has gcloud.

    python launch/tpu.py create --name=NAME --type=v5litepod-16 [--spot]
    python launch/tpu.py babysit @ARGUMENT_FILE

docs/launch.md leads through it; `--help` lists the flags.
"""

import pathlib
import sys

sys.path[0] = str(pathlib.Path(__file__).resolve().parent.parent)

from launch import door  # noqa: E402  Python looks for it there.

if __name__ == '__main__':
  sys.exit(door.main(sys.argv[1:]))
