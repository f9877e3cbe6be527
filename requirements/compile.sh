#!/bin/sh
# Locks what is installed, with hashes and without download addresses. Run after a change of pyproject.toml.
set -eu
cd "$(dirname "$0")/.."
uv=${UV:-.venv/bin/uv}
lock() { "$uv" pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --no-emit-index-url --upgrade "$@"; }
lock pyproject.toml --extra hub --extra kubernetes --group dev --output-file requirements/dev.txt
lock pyproject.toml --extra hub --output-file requirements/hub.txt
lock hub/kqi_hub/environments/default.in --output-file hub/kqi_hub/environments/default.txt
printf 'uv\n' | lock - --output-file requirements/uv.txt
