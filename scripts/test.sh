#!/usr/bin/env bash
# Checks the style, then runs all tests. Arguments go to pytest:
#   ./scripts/test.sh --quick            the widest proof in two minutes
#   ./scripts/test.sh tests/datasets     one folder
set -euo pipefail
cd "$(dirname "$0")/.."

[ -x .venv/bin/python ] || python3 -m venv .venv
.venv/bin/python -m pip install --quiet --disable-pip-version-check -e '.[test]'
.venv/bin/ruff check .
.venv/bin/ruff format --check .
# A process that crashes ends all: with another in its place pytest-xdist would not end.
exec .venv/bin/python -m pytest -n auto --dist loadfile --max-worker-restart=0 "$@"
