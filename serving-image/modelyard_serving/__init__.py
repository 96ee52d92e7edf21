"""Serves one registered MLflow model: MLflow's scoring protocol, the Open Inference Protocol V2 and KServe's V1.

The package stands alone: it does not import the operator, and MLflow only for models that need it. Layers, outermost
first:

    __main__ → server → app → control → replay → tally → compare, distribution
    server → startup; app → web → state → model → engine, protocol, flavors → schema → call, table, errors

`startup` brings the model in (`fetch`, `digest`, `mlmodel`, `environments`, `flavors`), `web` takes requests, a
`protocol` reads and writes them, the `engine` predicts, `server` owns the process: signals, draining and the exit
code. A version that is to be served is rehearsed first: it fetches (`reference`) the requests that the served one
remembers (`recent`), answers them too (`replay`) and counts differences (`tally`).
"""
