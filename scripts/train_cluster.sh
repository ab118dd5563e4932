#!/usr/bin/env bash
# Trains with several processes on this machine, to try out what a cluster does:
#   ./scripts/train_cluster.sh 4 -- --train_dir=run --dataset_name=image_folder ...
# starts train_image_classifier.py with these flags as four workers; see
# scripts/local_cluster.py for the rest.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
python=python3
[ ! -x "$root/.venv/bin/python" ] || python=$root/.venv/bin/python
exec "$python" "$root/scripts/local_cluster.py" "$@"
