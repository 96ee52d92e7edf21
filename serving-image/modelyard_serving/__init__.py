"""Serves one registered MLflow model over MLflow's scoring protocol."""
