"""MLflow's scoring protocol: bytes to data, predictions to bytes."""
