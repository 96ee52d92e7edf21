# Everything that is done with this repository, by name. `make` alone lists it.

PYTHON ?= python3
CLUSTER = $(PYTHON) -m tests.cluster

# The first use of $(UV) finds uv or installs the pinned one into the cache; targets that do not use it need none.
UV = $(eval UV := $$(or $$(shell PYTHON='$(PYTHON)' tests/cluster/bootstrap.sh),$$(error there is no uv)))$(UV)

.DEFAULT_GOAL := help

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "%-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

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
