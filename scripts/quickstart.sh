#!/usr/bin/env bash
# From a folder of images to a classifier, printing every command:
#   ./scripts/quickstart.sh                    draws a small set of images first
#   ./scripts/quickstart.sh path/to/photos     uses yours, with a folder for each class
# See scripts/quickstart.py for the rest.
set -euo pipefail
root=$(dirname "$0")/..

bin=$root/.venv/bin
[ -x "$bin/python" ] || python3 -m venv "$root/.venv"
if [ ! -x "$bin/slim-classifier" ] || ! "$bin/python" -c "import tf_slim, PIL, tqdm, matplotlib" 2>/dev/null; then
  echo "Installing TensorFlow and a few other packages into .venv: about 600 MB to"
  echo "download and 2.5 GB on disk, a few minutes. Nothing outside .venv changes."
  "$bin/pip" install --disable-pip-version-check -e "$root"
fi
exec "$bin/python" "$root/scripts/quickstart.py" "$@"
