"""The data: synthetic customers, and whether they left."""

from __future__ import annotations

import numpy as np
import pandas as pd

TARGET = "churn"
COLUMNS = [
    "tenure_months",
    "monthly_charges",
    "total_charges",
    "num_support_tickets",
    "contract_type",  # 0 month-to-month, 1 one year, 2 two years
    "payment_method",
]


def load() -> pd.DataFrame:
    """Return the customers; in production this would ask the data warehouse."""
    np.random.seed(42)
    n_samples = 1000
    data = pd.DataFrame(
        {
            "tenure_months": np.random.randint(1, 72, n_samples),
            "monthly_charges": np.random.uniform(20, 100, n_samples),
            "total_charges": np.random.uniform(100, 5000, n_samples),
            "num_support_tickets": np.random.poisson(2, n_samples),
            "contract_type": np.random.choice([0, 1, 2], n_samples),
            "payment_method": np.random.choice([0, 1, 2, 3], n_samples),
        }
    )
    # Customers with short tenure and high charges are more likely to leave.
    churn_probability = (
        0.3 - (data["tenure_months"] / 100) + (data["monthly_charges"] / 200) + (data["num_support_tickets"] / 20)
    )
    data[TARGET] = (churn_probability + np.random.normal(0, 0.1, n_samples) > 0.3).astype(int)
    return data
