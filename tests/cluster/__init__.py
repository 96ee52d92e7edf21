"""Builds and runs the project's local single-node Kubernetes: `python3 -m tests.cluster COMMAND`."""
