"""The MLflow tracking server's REST API, without the mlflow package."""
