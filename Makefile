# Everything that is done with this repository, by name. `make` alone lists it.

PYTHON ?= python3
CLUSTER = $(PYTHON) -m tests.cluster
CACHE = $(or $(MODELYARD_CACHE),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/modelyard)
GUIDES = $(CACHE)/guides-python
CLIENTS = $(CACHE)/clients-python
CLIENTS_LOCK = tests/unit/serving/protocol/clients/requirements.txt

# The first use of $(UV) finds uv or installs the pinned one into the cache; targets that do not use it need none.
UV = $(eval UV := $$(or $$(shell PYTHON='$(PYTHON)' tests/cluster/bootstrap.sh),$$(error there is no uv)))$(UV)

.DEFAULT_GOAL := help

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "%-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: bootstrap
bootstrap: ## Get uv and the project's Python environment
	$(UV) sync --all-packages

.PHONY: cluster-build
cluster-build: ## Obtain everything that the local cluster is made of, into the cache
	$(CLUSTER) build

.PHONY: cluster-up
cluster-up: ## Start the local cluster, or use the one that KUBECONFIG names
	$(CLUSTER) up

.PHONY: cluster-down
cluster-down: ## Stop the local cluster and remove all of it but the cache
	$(CLUSTER) down

.PHONY: cluster-status
cluster-status: ## List the local cluster's processes
	$(CLUSTER) status

.PHONY: env
env: ## Print the shell commands that make a shell use the cluster: eval "$(make -s env)"
	@$(CLUSTER) env

.PHONY: images
images: ## Build what changed of the images and put it into the local cluster
	$(PYTHON) -m tests.cluster.images

# A shell that uses the cluster, and the images that were built for it.
USE_CLUSTER = eval "$$($(CLUSTER) env)" &&

.PHONY: crds
crds: ## Generate the CRDs and the reference from the API's types
	$(UV) run python -m modelyard.api.crd crds charts/modelyard/files/crds
	$(UV) run python -m modelyard.api.reference docs/reference.md

.PHONY: released-crds
released-crds: ## Keep the CRDs as those of the release that is being made: later ones are compared with them
	cp crds/*.yaml crds/released/

.PHONY: lint
lint: bootstrap ## Check style, types, layers and that generated files are current
	$(UV) run ruff check .
	$(UV) run ruff format --check .
	$(UV) run mypy
	$(UV) run lint-imports
	$(UV) run python -m modelyard.api.crd --check crds charts/modelyard/files/crds
	$(UV) run python -m modelyard.api.reference --check docs/reference.md
	$(UV) run python -m modelyard.api.compatibility crds/released crds

.PHONY: clients-python
clients-python: ## Make the environment of a stock client of the Open Inference Protocol
	$(UV) venv --quiet --allow-existing $(CLIENTS)
	$(UV) pip install --quiet --require-hashes --python $(CLIENTS)/bin/python -r $(CLIENTS_LOCK)

# They bring an API server, MinIO and an MLflow of their own, and need no cluster.
ALONE := $(addprefix tests/e2e/test_,cli.py cli_deployment.py policies.py registry.py registry_clients.py run_retention.py webhooks.py)

.PHONY: test-unit
test-unit: bootstrap cluster-build clients-python ## Run the tests that need no cluster: units, and what an API server of their own is enough for
	MODELYARD_TRITON_PYTHON=$(CLIENTS)/bin/python $(UV) run pytest --numprocesses auto --dist loadfile --hypothesis-profile same-every-time --durations 20 tests/unit tests/api $(ALONE)

.PHONY: guides-python
guides-python: ## Make the environment of MLflow's guides: the oldest client that is promised to work
	$(UV) venv --quiet --allow-existing $(GUIDES)
	$(UV) pip install --quiet --require-hashes --python $(GUIDES)/bin/python -r tests/e2e/guides/requirements.txt

.PHONY: test-cluster
test-cluster: bootstrap cluster-up images guides-python ## Run the tests that need one: the chart, the whole
	$(USE_CLUSTER) MODELYARD_GUIDES_PYTHON=$(GUIDES)/bin/python $(UV) run pytest --durations 40 $(ALONE:%=--ignore=%) tests/e2e

.PHONY: test-models
test-models: bootstrap cluster-up images ## Promote twenty bad and twenty harmless versions (make test: every fourth)
	$(USE_CLUSTER) MODELYARD_ALL_MODELS=1 $(UV) run pytest -s tests/e2e/test_rollout_models.py

.PHONY: test-guides
test-guides: bootstrap cluster-up images guides-python ## Run both guides' projects with all that they install (make test: the first)
	$(USE_CLUSTER) MODELYARD_ALL_GUIDES=1 $(UV) run pytest -s tests/e2e/test_guides_experiments.py

.PHONY: test
test: lint test-unit test-cluster ## Run all checks and tests, on a real cluster

.PHONY: demo
demo: bootstrap cluster-up images ## Show the main job, from nothing to a version replaced under load
	$(USE_CLUSTER) $(UV) run python -m examples.demo

.PHONY: bench
bench: bootstrap cluster-up images ## Measure a promotion beside a bare kubectl set image
	$(USE_CLUSTER) $(UV) run python -m tests.bench.promotion

.PHONY: bench-deployments
bench-deployments: bootstrap cluster-build ## Measure what a thousand ModelDeployments cost the API server
	$(UV) run python -m tests.bench.deployments

.PHONY: bench-experiments
bench-experiments: bootstrap cluster-build ## Measure what a sweep of a thousand trials costs the API server and MLflow
	$(UV) run python -m tests.bench.experiments

.PHONY: bench-registry
bench-registry: bootstrap cluster-build ## Measure a registry of thousands of versions beside MLflow's own
	$(UV) run python -m tests.bench.registry

.PHONY: bench-serving
bench-serving: bootstrap cluster-build ## Measure the serving image beside mlflow models serve and MLServer
	$(UV) run python -m tests.bench.serving
