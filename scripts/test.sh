#!/usr/bin/env bash
# Checks the whole project: style, then tests. Arguments go to pytest:
#   ./scripts/test.sh -m "not slow"
set -euo pipefail
cd "$(dirname "$0")/.."

[ -x .venv/bin/python ] || python3 -m venv .venv
.venv/bin/python -m pip install --quiet --disable-pip-version-check -e '.[test]'
.venv/bin/ruff check .
.venv/bin/ruff format --check .
exec .venv/bin/python -m pytest -n auto --dist loadfile "$@"
