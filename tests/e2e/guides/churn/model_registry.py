# model_registry.py
from mlflow.tracking import MlflowClient
import mlflow

# Initialize the MLflow client
client = MlflowClient()

def register_best_model(experiment_name, model_name):
    """
    Find the best model from an experiment and register it.
    """
    # Get the experiment
    experiment = client.get_experiment_by_name(experiment_name)

    # Search for the best run based on F1 score
    runs = client.search_runs(
        experiment_ids=[experiment.experiment_id],
        filter_string="",
        order_by=["metrics.f1_score DESC"],
        max_results=1
    )

    if not runs:
        print("No runs found in the experiment")
        return None

    best_run = runs[0]
    print(f"Best run: {best_run.info.run_id}")
    print(f"F1 Score: {best_run.data.metrics.get('f1_score', 'N/A')}")

    # Register the model from the best run
    model_uri = f"runs:/{best_run.info.run_id}/model"

    # This creates a new registered model or adds a version to an existing one
    result = mlflow.register_model(model_uri, model_name)
    print(f"Registered model version: {result.version}")

    return result

def transition_model_stage(model_name, version, stage):
    """
    Transition a model version to a new stage.
    Valid stages: None, Staging, Production, Archived
    """
    client.transition_model_version_stage(
        name=model_name,
        version=version,
        stage=stage,
        archive_existing_versions=True  # Archive any existing model in this stage
    )
    print(f"Model {model_name} version {version} transitioned to {stage}")

def get_production_model(model_name):
    """
    Load the current production model for inference.
    """
    # Load model using the production alias
    model_uri = f"models:/{model_name}/Production"

    try:
        model = mlflow.sklearn.load_model(model_uri)
        print(f"Loaded production model: {model_name}")
        return model
    except Exception as e:
        print(f"No production model found: {e}")
        return None

def list_model_versions(model_name):
    """
    List all versions of a registered model with their stages.
    """
    versions = client.search_model_versions(f"name='{model_name}'")

    print(f"\nModel: {model_name}")
    print("-" * 50)
    for v in versions:
        print(f"Version {v.version}: Stage={v.current_stage}, "
              f"Created={v.creation_timestamp}, "
              f"Run ID={v.run_id[:8]}...")

# Example usage
if __name__ == "__main__":
    model_name = "churn-prediction-model"

    # Register the best model from our experiments
    result = register_best_model("customer-churn-prediction", model_name)

    if result:
        # Transition to staging for testing
        transition_model_stage(model_name, result.version, "Staging")

        # After validation, promote to production
        # In practice, this would happen after automated tests pass
        transition_model_stage(model_name, result.version, "Production")

        # List all versions
        list_model_versions(model_name)
