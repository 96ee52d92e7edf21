"""Asks a server of the doubles' sum through tritonclient, over HTTP and gRPC, in every encoding that it has.

Runs with the Python of an environment of its own: `stock_client.py <http address> <grpc address>`. Prints one JSON
document; whether that is right is for the test to say.
"""

from __future__ import annotations

import importlib
import json
import sys
from typing import Any

import numpy as np


def ask(module: Any, address: str, **typed: Any) -> dict[str, Any]:
    """What a server answers one of the library's two clients. `typed`: how tensors are sent that are not binary."""
    client = module.InferenceServerClient(address)
    matrix = np.array([[1.5, 2.0], [3.0, 4.0]])
    found: dict[str, Any] = {
        "live": client.is_server_live(),
        "ready": client.is_server_ready(),
        "model": client.is_model_ready("sums"),
        "version": client.is_model_ready("sums", "7"),
        "other": refused(lambda: client.get_model_metadata("other")),
    }
    for way in ({}, typed):
        whole = tensor(module, "x", matrix, **way)
        columns = [tensor(module, name, matrix[:, [i]].astype(np.float32), **way) for i, name in enumerate("ab")]
        for name, inputs in (("whole", [whole]), ("columns", columns)):
            result = client.infer("sums", inputs, request_id="42")
            found[f"{name} {sorted(way)}"] = [
                result.as_numpy("predict").tolist(),
                str(result.as_numpy("predict").dtype),
            ]
    output = module.InferRequestedOutput("predict")
    found["output"] = client.infer("sums", [whole], outputs=[output], model_version="7").as_numpy("predict").tolist()
    found["unknown output"] = refused(
        lambda: client.infer("sums", [whole], outputs=[module.InferRequestedOutput("fly")])
    )
    short = tensor(module, "a", matrix[:, 0])
    found["missing column"] = refused(lambda: client.infer("sums", [short]))
    return found


def tensor(module: Any, name: str, values: Any, **way: Any) -> Any:
    """An input that holds an array."""
    datatype = {"float64": "FP64", "float32": "FP32"}[str(values.dtype)]
    each = module.InferInput(name, list(values.shape), datatype)
    each.set_data_from_numpy(np.ascontiguousarray(values), **way)
    return each


def refused(call: Any) -> Any:
    """The status with which a call is refused."""
    try:
        call()
    except Exception as error:  # InferenceServerException
        return str(error.status() if hasattr(error, "status") else error)
    return None


if __name__ == "__main__":
    http, rpc = sys.argv[1:]
    answers = {
        "http": ask(importlib.import_module("tritonclient.http"), http, binary_data=False),
        "grpc": ask(importlib.import_module("tritonclient.grpc"), rpc),
    }
    print(json.dumps(answers))
