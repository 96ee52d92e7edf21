"""`mlflow run --backend modelyard`: a project backend of MLflow that runs MLprojects as Experiments."""
