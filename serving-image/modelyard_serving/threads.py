"""How many threads one prediction may take: one, unless the environment says otherwise.

The server itself predicts several requests at a time (`MODELYARD_THREADS`). Were each of these to start a thread for
every core of the node, as OpenMP and BLAS do by default, they would be in each other's way, above all in a container
that may use less than the node has; and for the few rows of a request, handing out the work takes longer than doing it.
Besides, a sum that several threads add to depends on who comes first, so that the same request could be answered with
another last digit the next time.
"""

from __future__ import annotations

from collections.abc import MutableMapping

VARIABLES = (
    "OMP_NUM_THREADS",  # OpenMP: scikit-learn's HistGradientBoosting, XGBoost, LightGBM
    "OPENBLAS_NUM_THREADS",  # the BLAS of numpy's and scipy's wheels
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",  # pandas, where numexpr is installed
)


def pin(env: MutableMapping[str, str]) -> None:
    """One thread for each library that `env` says nothing of. The libraries read this when they are imported: call it
    before numpy is."""
    for name in VARIABLES:
        env.setdefault(name, "1")


def per_prediction(env: MutableMapping[str, str]) -> int:
    """What the libraries that take the number as an argument are told: `OMP_NUM_THREADS`, else 1."""
    value = env.get("OMP_NUM_THREADS", "")
    return max(1, int(value)) if value.isdecimal() else 1
