# batch_inference.py
import mlflow
import pandas as pd
from datetime import datetime

def run_batch_inference(model_name, input_path, output_path):
    """
    Run batch inference on a dataset using the production model.
    """
    # Load the production model
    model_uri = f"models:/{model_name}/Production"
    model = mlflow.sklearn.load_model(model_uri)

    # Load input data
    print(f"Loading data from {input_path}")
    data = pd.read_csv(input_path)

    # Store original identifiers
    if 'customer_id' in data.columns:
        customer_ids = data['customer_id']
        data = data.drop('customer_id', axis=1)
    else:
        customer_ids = range(len(data))

    # Make predictions
    print("Running predictions...")
    predictions = model.predict(data)
    probabilities = model.predict_proba(data)[:, 1]

    # Create output dataframe
    results = pd.DataFrame({
        'customer_id': customer_ids,
        'churn_prediction': predictions,
        'churn_probability': probabilities,
        'prediction_timestamp': datetime.now().isoformat()
    })

    # Save results
    results.to_csv(output_path, index=False)
    print(f"Predictions saved to {output_path}")

    # Log this batch run to MLflow for auditing
    with mlflow.start_run(run_name=f"batch-inference-{datetime.now().strftime('%Y%m%d')}"):
        mlflow.set_tag("job_type", "batch_inference")
        mlflow.log_param("model_name", model_name)
        mlflow.log_param("input_records", len(data))
        mlflow.log_metric("predicted_churns", int(predictions.sum()))
        mlflow.log_metric("avg_churn_probability", float(probabilities.mean()))
        mlflow.log_artifact(output_path)

    return results

# Example usage
if __name__ == "__main__":
    run_batch_inference(
        model_name="churn-prediction-model",
        input_path="data/customers_to_score.csv",
        output_path="data/churn_predictions.csv"
    )
