# ml_pipeline.py
import mlflow
import mlflow.sklearn
from mlflow.tracking import MlflowClient
import pandas as pd
import numpy as np
from sklearn.model_selection import train_test_split, cross_val_score
from sklearn.ensemble import RandomForestClassifier, GradientBoostingClassifier
from sklearn.preprocessing import StandardScaler
from sklearn.metrics import accuracy_score, precision_score, recall_score, f1_score
import warnings
warnings.filterwarnings('ignore')

# Configure MLflow to use a local tracking server
# Change this URI to point to a remote server for team collaboration
mlflow.set_tracking_uri("http://localhost:5000")

# Create or get an experiment
# Experiments group related runs together for easy comparison
experiment_name = "customer-churn-prediction"
mlflow.set_experiment(experiment_name)

def load_and_prepare_data():
    """
    Load and prepare the dataset for training.
    In production, this would connect to your data warehouse.
    """
    # Generate synthetic data for demonstration
    np.random.seed(42)
    n_samples = 1000

    # Create features that simulate customer behavior
    data = pd.DataFrame({
        'tenure_months': np.random.randint(1, 72, n_samples),
        'monthly_charges': np.random.uniform(20, 100, n_samples),
        'total_charges': np.random.uniform(100, 5000, n_samples),
        'num_support_tickets': np.random.poisson(2, n_samples),
        'contract_type': np.random.choice([0, 1, 2], n_samples),  # Month-to-month, One year, Two year
        'payment_method': np.random.choice([0, 1, 2, 3], n_samples),
    })

    # Create target variable with some logic
    # Customers with short tenure and high charges are more likely to churn
    churn_probability = (
        0.3 - (data['tenure_months'] / 100) +
        (data['monthly_charges'] / 200) +
        (data['num_support_tickets'] / 20)
    )
    data['churn'] = (churn_probability + np.random.normal(0, 0.1, n_samples) > 0.3).astype(int)

    return data

def preprocess_data(data):
    """
    Preprocess the data by scaling numerical features.
    """
    # Separate features and target
    X = data.drop('churn', axis=1)
    y = data['churn']

    # Split into train and test sets
    X_train, X_test, y_train, y_test = train_test_split(
        X, y, test_size=0.2, random_state=42, stratify=y
    )

    # Scale numerical features
    scaler = StandardScaler()
    X_train_scaled = scaler.fit_transform(X_train)
    X_test_scaled = scaler.transform(X_test)

    return X_train_scaled, X_test_scaled, y_train, y_test, scaler

def train_and_log_model(model_class, model_params, X_train, X_test, y_train, y_test, run_name):
    """
    Train a model and log everything to MLflow.
    This function demonstrates comprehensive experiment tracking.
    """
    with mlflow.start_run(run_name=run_name) as run:
        # Log the model class name as a tag for filtering
        mlflow.set_tag("model_type", model_class.__name__)
        mlflow.set_tag("developer", "data-science-team")

        # Log all hyperparameters
        # These can be used to reproduce the exact model later
        for param_name, param_value in model_params.items():
            mlflow.log_param(param_name, param_value)

        # Log dataset information
        mlflow.log_param("train_samples", len(y_train))
        mlflow.log_param("test_samples", len(y_test))
        mlflow.log_param("feature_count", X_train.shape[1])

        # Initialize and train the model
        model = model_class(**model_params)
        model.fit(X_train, y_train)

        # Make predictions
        y_pred = model.predict(X_test)
        y_pred_proba = model.predict_proba(X_test)[:, 1]

        # Calculate multiple metrics
        # Logging several metrics helps compare models across different criteria
        metrics = {
            "accuracy": accuracy_score(y_test, y_pred),
            "precision": precision_score(y_test, y_pred),
            "recall": recall_score(y_test, y_pred),
            "f1_score": f1_score(y_test, y_pred),
        }

        # Perform cross-validation and log the results
        cv_scores = cross_val_score(model, X_train, y_train, cv=5, scoring='f1')
        metrics["cv_f1_mean"] = cv_scores.mean()
        metrics["cv_f1_std"] = cv_scores.std()

        # Log all metrics
        for metric_name, metric_value in metrics.items():
            mlflow.log_metric(metric_name, metric_value)

        # Log the model with its signature
        # The signature helps validate inputs during inference
        from mlflow.models import infer_signature
        signature = infer_signature(X_train, y_pred)
        mlflow.sklearn.log_model(
            model,
            "model",
            signature=signature,
            registered_model_name=None  # We will register manually later
        )

        # Log feature importance as an artifact
        if hasattr(model, 'feature_importances_'):
            importance_df = pd.DataFrame({
                'feature': [f'feature_{i}' for i in range(len(model.feature_importances_))],
                'importance': model.feature_importances_
            }).sort_values('importance', ascending=False)

            importance_df.to_csv('feature_importance.csv', index=False)
            mlflow.log_artifact('feature_importance.csv')

        print(f"Run {run_name} completed with F1 Score: {metrics['f1_score']:.4f}")
        return run.info.run_id, metrics

if __name__ == "__main__":
    # Load and prepare data
    print("Loading and preparing data...")
    data = load_and_prepare_data()
    X_train, X_test, y_train, y_test, scaler = preprocess_data(data)

    # Define experiments to run
    # Each configuration will be logged as a separate run
    experiments = [
        {
            "model_class": RandomForestClassifier,
            "params": {"n_estimators": 100, "max_depth": 10, "random_state": 42},
            "name": "rf-baseline"
        },
        {
            "model_class": RandomForestClassifier,
            "params": {"n_estimators": 200, "max_depth": 15, "min_samples_split": 5, "random_state": 42},
            "name": "rf-tuned"
        },
        {
            "model_class": GradientBoostingClassifier,
            "params": {"n_estimators": 100, "max_depth": 5, "learning_rate": 0.1, "random_state": 42},
            "name": "gb-baseline"
        },
    ]

    # Run all experiments
    results = []
    for exp in experiments:
        run_id, metrics = train_and_log_model(
            exp["model_class"],
            exp["params"],
            X_train, X_test, y_train, y_test,
            exp["name"]
        )
        results.append({"run_id": run_id, "name": exp["name"], **metrics})

    # Print summary
    print("\n" + "="*60)
    print("Experiment Summary")
    print("="*60)
    results_df = pd.DataFrame(results)
    print(results_df[['name', 'accuracy', 'f1_score', 'cv_f1_mean']].to_string(index=False))
