"""Versions, stages and their records; the MLflow store plugin. One module writes them, whoever asks."""
