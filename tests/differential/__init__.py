"""MLflow's registry and Modelyard's, under the same operations: what comes back must be the same."""

import warnings

with warnings.catch_warnings():
    # MLflow's database store uses what SQLAlchemy deprecates, and is told so where it is imported first.
    warnings.simplefilter("ignore")
    import mlflow.store.model_registry.sqlalchemy_store
    import mlflow.store.tracking.sqlalchemy_store  # noqa: F401
