"""Serves one registered MLflow model over MLflow's scoring protocol.

The package stands alone: it imports neither MLflow nor the operator. Layers, outermost first:

    __main__ → server → app → control → replay → tally → compare, distribution
    server → startup; state → model → protocol, flavors → schema → errors

`startup` brings the model in (`artifacts`, `digest`, `mlmodel`, `flavors`), `app` answers HTTP, `server` owns the
process: signals, draining and the exit code. A version that is to be served is rehearsed first: it fetches
(`reference`) the requests that the served one remembers (`recent`), answers them too (`replay`) and counts differences
(`tally`).
"""
