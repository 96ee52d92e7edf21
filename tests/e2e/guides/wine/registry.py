import mlflow
from mlflow.tracking import MlflowClient
import pandas as pd
import numpy as np

# Initialize MLflow client
client = MlflowClient()

# Model registry operations
def manage_model_registry():
    """Demonstrate model registry operations"""
    
    # List registered models
    registered_models = client.search_registered_models()
    print("üìã Registered Models:")
    for model in registered_models:
        print(f"  - {model.name}")
    
    # Get model versions
    model_name = "wine_classifier_rf"
    model_versions = client.search_model_versions(f"name='{model_name}'")
    
    print(f"\nüì¶ Versions for {model_name}:")
    for version in model_versions:
        print(f"  Version {version.version}: {version.current_stage}")
    
    # Transition model to staging
    if model_versions:
        latest_version = model_versions[0]
        client.transition_model_version_stage(
            name=model_name,
            version=latest_version.version,
            stage="Staging"
        )
        print(f"‚úÖ Model version {latest_version.version} transitioned to Staging")

# Model serving function
def serve_model_predictions():
    """Load and serve model predictions"""
    
    # Load model from registry
    model_name = "wine_classifier_rf"
    stage = "Staging"
    
    model_uri = f"models:/{model_name}/{stage}"
    loaded_model = mlflow.sklearn.load_model(model_uri)
    
    # Sample prediction data
    sample_data = np.array([[
        13.20, 1.78, 2.14, 11.2, 100, 2.65, 2.76, 0.26, 1.28, 4.38, 1.05, 3.40, 1050
    ]])
    
    # Make prediction
    prediction = loaded_model.predict(sample_data)
    prediction_proba = loaded_model.predict_proba(sample_data)
    
    print(f"üîÆ Prediction: {prediction[0]}")
    print(f"üìä Prediction Probabilities: {prediction_proba[0]}")
    
    return prediction, prediction_proba

# Model deployment with MLflow
def deploy_model_locally():
    """Deploy model as REST API locally"""
    
    model_name = "wine_classifier_rf"
    stage = "Staging"
    
    # This would typically be run from command line
    deployment_command = f"""
    mlflow models serve \\
        --model-uri models:/{model_name}/{stage} \\
        --host 0.0.0.0 \\
        --port 8080 \\
        --no-conda
    """
    
    print("üöÄ To deploy model as REST API, run:")
    print(deployment_command)
    
    # Example curl command for testing
    curl_command = """
    curl -X POST http://localhost:8080/invocations \\
        -H 'Content-Type: application/json' \\
        -d '{
            "dataframe_split": {
                "columns": ["feature_0", "feature_1", "feature_2", "feature_3", "feature_4", "feature_5", "feature_6", "feature_7", "feature_8", "feature_9", "feature_10", "feature_11", "feature_12"],
                "data": [[13.20, 1.78, 2.14, 11.2, 100, 2.65, 2.76, 0.26, 1.28, 4.38, 1.05, 3.40, 1050]]
            }
        }'
    """
    
    print("\nüß™ Test deployment with:")
    print(curl_command)

if __name__ == "__main__":
    print("üîß Managing model registry...")
    manage_model_registry()
    
    print("\nüéØ Serving model predictions...")
    serve_model_predictions()
    
    print("\nüöÄ Model deployment instructions...")
    deploy_model_locally()
