# Two commands matter: `make up` runs the platform, `make test` proves it. Nothing beforehand but Python >= 3.11, make and git.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# What tests and demo use of Debian: sandboxes, a browser, letters of all three languages, a directory.
PACKAGES := bubblewrap chromium fonts-noto-cjk slapd ldap-utils
# What a Kubernetes of the tests' own is built and run with; Go comes from go.dev.
CLUSTER_PACKAGES := busybox-static iptables iproute2 gcc pkg-config libseccomp-dev
# The real PostgreSQL that the integration tests start for themselves.
POSTGRES_PACKAGES := postgresql
# Active Directory (Samba) and 389 Directory Server, which run in namespaces of the tests' own.
DIRECTORY_PACKAGES := samba-ad-dc samba-ad-provision ldb-tools 389-ds-base iproute2
# What images are built and tried with.
IMAGE_PACKAGES := buildah mmdebstrap runc
# Files of tests go to workers in the order of `tests/conftest.py`.
SPREAD := -n auto --dist loadfile --no-loadscope-reorder
# Programs of ours start hundreds of times in tests; none of them should compile itself anew.
unexport PYTHONDONTWRITEBYTECODE
.DEFAULT_GOAL := help

.PHONY: help up demo demo-cluster packages cluster-packages directory-packages image-packages check test test-postgres test-directories test-images test-cluster cluster foreign images drills bench lock clean

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

$(VENV)/.uv: requirements/uv.txt
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed: PYTHON=/path/to/python3.11 make up")'
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --require-hashes -r requirements/uv.txt
	@touch $@

$(VENV)/.hub: $(VENV)/.uv requirements/hub.txt pyproject.toml
	@[ -e $(VENV)/.dev ] || VIRTUAL_ENV=$(VENV) $(BIN)/uv pip install --quiet --require-hashes --no-deps -r requirements/hub.txt
	@VIRTUAL_ENV=$(VENV) $(BIN)/uv pip install --quiet --no-deps --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.uv requirements/dev.txt pyproject.toml
	@VIRTUAL_ENV=$(VENV) $(BIN)/uv pip install --quiet --require-hashes --no-deps -r requirements/dev.txt
	@VIRTUAL_ENV=$(VENV) $(BIN)/uv pip install --quiet --no-deps --editable .
	@touch $@ $(VENV)/.hub

up: $(VENV)/.hub ## set everything up on this machine and run the platform
	@exec $(BIN)/kqi-hub up $(ARGS)

demo: $(VENV)/.dev packages ## a user's whole day on real input; ONCE=1 ends it
	@exec $(BIN)/python -m tests.demo

demo-cluster: $(VENV)/.dev packages cluster-packages image-packages ## the same day on a Kubernetes of its own; ONCE=1 ends it
	@exec $(BIN)/python -m tests.demo.cluster

packages:
	@requirements/debian.sh $(PACKAGES)

check: $(VENV)/.dev ## ruff, mypy --strict, import-linter, the shape of the code
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --cache-dir $(VENV)/.importlinter
	@$(BIN)/python -m pytest -q tests/architecture

test: $(VENV)/.dev packages ## set up and pass all tests
	@$(BIN)/python -m pytest $(SPREAD) --maxprocesses 4 --ignore tests/cluster --ignore tests/directories --ignore tests/images $(ARGS)

test-postgres: $(VENV)/.dev packages ## pass the integration tests once more, on a PostgreSQL of their own
	@requirements/debian.sh $(POSTGRES_PACKAGES)
	@KQI_TEST_DATABASE=postgresql $(BIN)/python -m pytest $(SPREAD) --maxprocesses 4 tests/integration $(ARGS)

directory-packages:
	@requirements/debian.sh $(DIRECTORY_PACKAGES)

test-directories: $(VENV)/.dev directory-packages ## pass the tests on a real Active Directory and a real 389 Directory Server
	@$(BIN)/python -m pytest tests/directories $(ARGS)

cluster-packages:
	@requirements/debian.sh $(CLUSTER_PACKAGES)

test-cluster: $(VENV)/.dev cluster-packages image-packages ## pass the tests on a real Kubernetes of their own
	@$(BIN)/python -m pytest $(SPREAD) --maxprocesses 2 tests/cluster $(ARGS)

cluster: $(VENV)/.dev cluster-packages ## a Kubernetes to play with, until Ctrl-C; NODES=2 for two nodes
	@exec $(BIN)/python -m tests.cluster.harness $(NODES)

image-packages:
	@requirements/debian.sh $(IMAGE_PACKAGES)

images: image-packages ## build the images: IMAGES="hub proxy" TAG=1.2 ARGS="--build-arg BASE=debian:trixie --archive DIR"
	@$(PYTHON) -m images $(IMAGES) $(if $(TAG),--tag $(TAG)) $(ARGS)

test-images: $(VENV)/.dev image-packages ## build the images and pass their tests
	@requirements/debian.sh busybox-static
	@$(BIN)/python -m pytest tests/images $(ARGS)

foreign: ## pass the tests of KubeSpawner 7.1.0 or ldapauthenticator 2.0.2: SRC=checkout of its repository
	@tests/foreign/run $(SRC)

drills: $(VENV)/.dev packages cluster-packages image-packages ## long fault drills
	@$(BIN)/python -m tests.drills $(ARGS)

bench: $(VENV)/.dev cluster-packages ## side by side with the peers
	@$(BIN)/python -m bench $(ARGS)

lock: ## lock the dependencies anew
	@requirements/compile.sh

clean: ## remove what was built here (never the platform's state)
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache
