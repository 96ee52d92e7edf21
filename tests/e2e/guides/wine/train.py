import mlflow
import mlflow.sklearn
import mlflow.xgboost
import pandas as pd
import numpy as np
from sklearn.model_selection import train_test_split, GridSearchCV
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, precision_score, recall_score, f1_score
from sklearn.datasets import load_wine
import xgboost as xgb
import matplotlib.pyplot as plt
import seaborn as sns
import warnings
warnings.filterwarnings('ignore')

# Set MLflow tracking URI
mlflow.set_tracking_uri("http://localhost:5000")

# Create or set experiment
experiment_name = "wine-classification-comparison"
mlflow.set_experiment(experiment_name)

# Load and prepare data
def load_and_prepare_data():
    """Load and prepare the wine dataset"""
    wine = load_wine()
    X, y = wine.data, wine.target
    feature_names = wine.feature_names
    
    # Split data
    X_train, X_test, y_train, y_test = train_test_split(
        X, y, test_size=0.2, random_state=42, stratify=y
    )
    
    return X_train, X_test, y_train, y_test, feature_names

# Model evaluation function
def evaluate_model(model, X_test, y_test):
    """Evaluate model and return metrics"""
    y_pred = model.predict(X_test)
    
    metrics = {
        'accuracy': accuracy_score(y_test, y_pred),
        'precision': precision_score(y_test, y_pred, average='weighted'),
        'recall': recall_score(y_test, y_pred, average='weighted'),
        'f1_score': f1_score(y_test, y_pred, average='weighted')
    }
    
    return metrics, y_pred

# Train Random Forest with MLflow tracking
def train_random_forest(X_train, X_test, y_train, y_test):
    """Train Random Forest with hyperparameter tuning"""
    
    with mlflow.start_run(run_name="random_forest_tuned"):
        # Log dataset info
        mlflow.log_param("dataset", "wine")
        mlflow.log_param("train_samples", len(X_train))
        mlflow.log_param("test_samples", len(X_test))
        mlflow.log_param("features", X_train.shape[1])
        
        # Hyperparameter tuning
        param_grid = {
            'n_estimators': [100, 200, 300],
            'max_depth': [5, 10, 15],
            'min_samples_split': [2, 5, 10]
        }
        
        rf = RandomForestClassifier(random_state=42)
        grid_search = GridSearchCV(rf, param_grid, cv=5, scoring='accuracy', n_jobs=-1)
        grid_search.fit(X_train, y_train)
        
        # Get best model
        best_rf = grid_search.best_estimator_
        
        # Log hyperparameters
        for param, value in grid_search.best_params_.items():
            mlflow.log_param(param, value)
        
        # Evaluate model
        metrics, y_pred = evaluate_model(best_rf, X_test, y_test)
        
        # Log metrics
        for metric_name, metric_value in metrics.items():
            mlflow.log_metric(metric_name, metric_value)
        
        # Log model
        mlflow.sklearn.log_model(
            best_rf, 
            "random_forest_model",
            registered_model_name="wine_classifier_rf"
        )
        
        # Create and log feature importance plot
        feature_importance = pd.DataFrame({
            'feature': range(len(best_rf.feature_importances_)),
            'importance': best_rf.feature_importances_
        }).sort_values('importance', ascending=False)
        
        plt.figure(figsize=(10, 6))
        sns.barplot(data=feature_importance.head(10), x='importance', y='feature')
        plt.title('Top 10 Feature Importances - Random Forest')
        plt.tight_layout()
        plt.savefig('rf_feature_importance.png')
        mlflow.log_artifact('rf_feature_importance.png')
        plt.close()
        
        return best_rf, metrics

# Train XGBoost with MLflow tracking
def train_xgboost(X_train, X_test, y_train, y_test):
    """Train XGBoost with hyperparameter tuning"""
    
    with mlflow.start_run(run_name="xgboost_tuned"):
        # Log dataset info
        mlflow.log_param("dataset", "wine")
        mlflow.log_param("train_samples", len(X_train))
        mlflow.log_param("test_samples", len(X_test))
        mlflow.log_param("features", X_train.shape[1])
        
        # Hyperparameter tuning
        param_grid = {
            'n_estimators': [100, 200, 300],
            'max_depth': [3, 6, 9],
            'learning_rate': [0.01, 0.1, 0.2],
            'subsample': [0.8, 0.9, 1.0]
        }
        
        xgb_model = xgb.XGBClassifier(random_state=42, eval_metric='mlogloss')
        grid_search = GridSearchCV(xgb_model, param_grid, cv=5, scoring='accuracy', n_jobs=-1)
        grid_search.fit(X_train, y_train)
        
        # Get best model
        best_xgb = grid_search.best_estimator_
        
        # Log hyperparameters
        for param, value in grid_search.best_params_.items():
            mlflow.log_param(param, value)
        
        # Evaluate model
        metrics, y_pred = evaluate_model(best_xgb, X_test, y_test)
        
        # Log metrics
        for metric_name, metric_value in metrics.items():
            mlflow.log_metric(metric_name, metric_value)
        
        # Log model
        mlflow.xgboost.log_model(
            best_xgb, 
            "xgboost_model",
            registered_model_name="wine_classifier_xgb"
        )
        
        # Create and log feature importance plot
        feature_importance = pd.DataFrame({
            'feature': range(len(best_xgb.feature_importances_)),
            'importance': best_xgb.feature_importances_
        }).sort_values('importance', ascending=False)
        
        plt.figure(figsize=(10, 6))
        sns.barplot(data=feature_importance.head(10), x='importance', y='feature')
        plt.title('Top 10 Feature Importances - XGBoost')
        plt.tight_layout()
        plt.savefig('xgb_feature_importance.png')
        mlflow.log_artifact('xgb_feature_importance.png')
        plt.close()
        
        return best_xgb, metrics

# Main execution
if __name__ == "__main__":
    print("üöÄ Starting MLflow experiment...")
    
    # Load data
    X_train, X_test, y_train, y_test, feature_names = load_and_prepare_data()
    print(f"üìä Dataset loaded: {X_train.shape[0]} training samples, {X_test.shape[0]} test samples")
    
    # Train models
    print("üå≤ Training Random Forest...")
    rf_model, rf_metrics = train_random_forest(X_train, X_test, y_train, y_test)
    
    print("üöÄ Training XGBoost...")
    xgb_model, xgb_metrics = train_xgboost(X_train, X_test, y_train, y_test)
    
    # Compare results
    print("\nüìà Model Comparison:")
    print("Random Forest:")
    for metric, value in rf_metrics.items():
        print(f"  {metric}: {value:.4f}")
    
    print("XGBoost:")
    for metric, value in xgb_metrics.items():
        print(f"  {metric}: {value:.4f}")
    
    print("\n‚úÖ Experiments completed! Check MLflow UI at http://localhost:5000")
